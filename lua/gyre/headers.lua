-- The headers of requests: from the table that a script gives to the lines that are sent.
local error, pairs, tostring, type = error, pairs, tostring, type
local concat, find, lower, match = table.concat, string.find, string.lower, string.match

local headers = {}

--- Whether a text is a token (RFC 9110, 5.6.2): a method, or the name of a header.
---@param text string
---@return boolean
function headers.is_token(text)
  return find(text, "^[%w!#$%%&'*+.^_`|~-]+$") ~= nil
end

local function text_of(name, value, level)
  if type(value) ~= "string" and type(value) ~= "number" then
    error(("header '%s' must be a string, not a %s"):format(name, type(value)), level + 1)
  end
  local text = match(tostring(value), "^[ \t]*(.-)[ \t]*$")
  if find(text, "[\r\n%z]") then
    error(("header '%s' holds a line end or a NUL"):format(name), level + 1)
  end
  return text
end

local function texts_of(name, value, level)
  if type(value) ~= "table" then
    return { text_of(name, value, level + 1) }
  end
  local texts = {}
  for i = 1, #value do
    texts[i] = text_of(name, value[i], level + 1)
  end
  return texts
end

-- As libcurl takes them.
local function add_lines(lines, name, texts)
  for i = 1, #texts do
    lines[#lines + 1] = texts[i] == "" and name .. ";" or name .. ": " .. texts[i]
  end
end

--- The lines to send; misuse raises `level` calls up. What has to be counted is not taken over: a Content-Length of
--- another request would have the target wait for more, or take the rest for the next request.
---@param given table<string, string|number|string[]|false>
---@param keeps_cookies boolean cookies of the script's own have to come in one header with those that are kept (RFC
--- 6265, 5.4), which is made elsewhere
---@param level integer
---@return string[] lines
---@return string? cookie what is to be in that header
function headers.lines(given, keeps_cookies, level)
  local lines, cookie = {}, nil
  for name, value in pairs(given) do
    if type(name) ~= "string" or not headers.is_token(name) then
      error(("'%s' is no name of a header"):format(tostring(name)), level + 1)
    end
    local known = lower(name)
    if value == false then
      lines[#lines + 1] = name .. ":"
    else
      local texts = texts_of(name, value, level + 1)
      if keeps_cookies and known == "cookie" then
        cookie = find(concat(texts), "%S") and concat(texts, "; ") or nil
      elseif known ~= "content-length" then
        add_lines(lines, name, texts)
      end
    end
  end
  return lines, cookie
end

return headers
