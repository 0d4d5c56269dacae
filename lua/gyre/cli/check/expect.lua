-- What a good response looks like: --expect.
--   200  2xx          its status
--   status:200        likewise
--   text:Welcome      its body holds this text; so does a word without a prefix
--   regex:^ok         its body matches this extended regular expression, as grep -E has them
-- Several have to hold all. Without any, a status below 400 is good.
local ffi = require "ffi"
local exit = require "gyre.cli.exit"

local ipairs = ipairs

ffi.cdef [[
int regcomp(void *preg, const char *pattern, int flags);
int regexec(const void *preg, const char *text, size_t count, void *matches, int flags);
size_t regerror(int code, const void *preg, char *buffer, size_t size);
void regfree(void *preg);
]]

local EXTENDED, NO_SUBMATCHES, BY_LINE = 1, 8, 4 -- of regex.h
local REGEX_SIZE = 512 -- more than sizeof(regex_t) anywhere

local expect = {}

local function status(text)
  local pattern = text:match "^%d%d%d$" or text:match "^%dxx$" and text:sub(1, 1) .. "%d%d"
  if not pattern then
    return nil
  end
  return function(response)
    local got = ("%d"):format(response.status)
    return not got:find("^" .. pattern .. "$") and ("the status is %s, not %s"):format(got, text) or nil
  end
end

local function text_in_body(text)
  return function(response)
    return not response.body:find(text, 1, true) and "the text is not in its body" or nil
  end
end

local function regex(pattern)
  local compiled = ffi.gc(ffi.new("char[?]", REGEX_SIZE), nil)
  local code = ffi.C.regcomp(compiled, pattern, EXTENDED + NO_SUBMATCHES + BY_LINE)
  if code ~= 0 then
    local buffer = ffi.new "char[256]"
    ffi.C.regerror(code, compiled, buffer, 256)
    exit.usage(("option '--expect': '%s': %s"):format(pattern, ffi.string(buffer)))
  end
  compiled = ffi.gc(compiled, ffi.C.regfree)
  return function(response)
    local found = ffi.C.regexec(compiled, response.body, 0, nil, 0) == 0
    return not found and "its body does not match" or nil
  end
end

local function compile(text)
  local prefix, rest = text:match "^(%a+):(.*)$"
  if text == "" or (rest == "" and (prefix == "text" or prefix == "regex")) then
    exit.usage(("option '--expect': '%s' expects nothing"):format(text)) -- any response would do
  end
  if prefix == "text" then
    return text_in_body(rest)
  elseif prefix == "regex" then
    return regex(rest)
  elseif prefix == "status" then
    return status(rest) or exit.usage(("option '--expect': '%s' is no status"):format(rest))
  end
  return status(text) or text_in_body(text)
end

local function below_400(response)
  return response.status >= 400 and ("the status is %d"):format(response.status) or nil
end

--- A function that says what is wrong with a response, or nil.
---@param texts string[]
---@return fun(response: gyre.Response): string?
function expect.compile(texts)
  local rules = {}
  for i, text in ipairs(texts) do
    rules[i] = compile(text)
  end
  rules[1] = rules[1] or below_400
  return function(response)
    for _, rule in ipairs(rules) do
      local fault = rule(response)
      if fault then
        return fault
      end
    end
    return nil
  end
end

return expect
