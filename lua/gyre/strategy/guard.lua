-- Stops a strategy that would never return. LuaJIT does not look at debug hooks inside compiled code, so the check is
-- in the code: before it is compiled, `B[0]=B[0]-1 if B[0]<0 then A() end` is put behind the head of every loop and
-- function and before every goto, on the same line, so that line numbers stay. No loop of Lua goes without; what C does
-- in one call (a pattern, a huge string) is bounded by sandbox.lua.
--
-- A call has a grant of steps for nothing; who needs more than that is given time by the clock of the processor, until
-- the budget is spent. Then every check raises, also inside pcall and coroutines, until the call is over.
local ffi = require "ffi"

local error, tonumber = error, tonumber
local byte, find, format, match, sub = string.byte, string.find, string.format, string.match, string.sub
local concat = table.concat

-- Under a name of our own: others may have declared it their way.
ffi.cdef [[int gyre_thread_clock(int clock, int64_t *time) asm("clock_gettime");]]

local GRANT = 100000
local THREAD_CPUTIME = 3 -- CLOCK_THREAD_CPUTIME_ID of Linux
local CHECK = " __gyre_b[0]=__gyre_b[0]-1 if __gyre_b[0]<0 then __gyre_a() end "
local PREFIX = "local __gyre_b,__gyre_a=...; "
local RESERVED = "^__gyre"

---@class gyre.strategy.guard
local guard = { GRANT = GRANT }

local steps = ffi.new("int32_t[1]", 2 ^ 31 - 1)
local now_cell = ffi.new "int64_t[2]"
local depth, began, over, budget = 0, false, false, 10 -- of the call under way

local function now_ms()
  ffi.C.gyre_thread_clock(THREAD_CPUTIME, now_cell)
  return tonumber(now_cell[0]) * 1e3 + tonumber(now_cell[1]) / 1e6
end

-- Called by a check whose grant is used up.
local function out_of_steps()
  if depth == 0 then -- called by the program itself: its own affair
    steps[0] = GRANT
    return
  elseif not over then
    local now = now_ms()
    began = began or now
    over = now - began >= budget
  end
  if over then
    steps[0] = 0 -- the next check is here again
    error(format("it ran past its time budget of %g ms", budget), 2)
  end
  steps[0] = GRANT
end

--- Begins a call of guarded code.
---@param milliseconds number beyond the grant
function guard.begin(milliseconds)
  steps[0] = GRANT
  depth, budget = depth + 1, milliseconds
  if began then
    began, over = false, false
  end
end

--- Ends it. Did it run past its budget, whatever it made of the error?
---@return boolean
function guard.finish()
  depth = depth - 1
  return over
end

-- ---- reading Lua ----

-- The end of a long bracket that begins at `at`, or nil.
local function long_end(text, at)
  local level = match(text, "^%[(=*)%[", at)
  if not level then
    return nil
  end
  local _, last = find(text, "]" .. level .. "]", at + #level + 2, true)
  return last or #text
end

local function quoted_end(text, at)
  local quote, i = sub(text, at, at), at + 1
  while true do
    local stop = find(text, "[\\\n" .. quote .. "]", i)
    if not stop then
      return #text
    end
    local char = sub(text, stop, stop)
    if char == "\\" then
      -- \z skips white space; \<line end> may be two characters
      local _, last = find(text, "^z%s*", stop + 1)
      i = last and last + 1 or stop + (sub(text, stop + 1, stop + 2) == "\r\n" and 3 or 2)
    else
      return stop -- a bare line end is an error that the compiler will name
    end
  end
end

local function comment_end(text, at)
  return long_end(text, at + 2) or (find(text, "\n", at, true) or #text + 1) - 1
end

local function number_end(text, at)
  local _, last = find(text, "^0[xX][%x.]*[pP][+-]?%d*[%w_]*", at)
  if not last then
    _, last = find(text, "^0[xX][%w.]*", at)
  end
  if not last then
    _, last = find(text, "^[%d.]*[eE][+-]?[%w]*", at)
  end
  if not last then
    _, last = find(text, "^[%d.]+%w*", at)
  end
  return last
end

-- The next token from `at` on: kind, first and last byte. Kinds: "word", "mark", "value"; nil at the end.
local function next_token(text, at)
  while true do
    local first = find(text, "[^%s]", at)
    if not first then
      return nil
    end
    local code = byte(text, first)
    if code == 45 and byte(text, first + 1) == 45 then -- "--"
      at = comment_end(text, first) + 1
    elseif find(text, "^[%a_\128-\255]", first) then
      local _, last = find(text, "^[%w_\128-\255]+", first)
      return "word", first, last
    elseif code == 34 or code == 39 then
      return "value", first, quoted_end(text, first)
    elseif code == 91 and long_end(text, first) then
      return "value", first, long_end(text, first)
    elseif find(text, "^%.?%d", first) then
      return "value", first, number_end(text, first)
    else
      local _, last = find(text, "^%.%.%.?", first)
      if not last then
        _, last = find(text, "^::", first)
      end
      return "mark", first, last or first
    end
  end
end

-- `goto` is a word like others unless a name follows, where a statement can begin.
local NOT_BEFORE_STATEMENT = {
  ["="] = true, ["("] = true, ["{"] = true, [","] = true, ["["] = true, ["."] = true, [":"] = true, ["+"] = true,
  ["-"] = true, ["*"] = true, ["/"] = true, ["%"] = true, ["^"] = true, [".."] = true, ["<"] = true, [">"] = true,
  ["~"] = true, ["#"] = true, ["return"] = true, ["and"] = true, ["or"] = true, ["not"] = true, ["in"] = true,
  ["if"] = true, ["elseif"] = true, ["while"] = true, ["until"] = true, ["local"] = true, ["function"] = true,
}

local function is_goto(text, before, last)
  local kind, first, stop = next_token(text, last + 1)
  local KEYWORDS = guard.KEYWORDS
  return kind == "word" and not KEYWORDS[sub(text, first, stop)] and not NOT_BEFORE_STATEMENT[before]
end

guard.KEYWORDS = {}
local WORDS = "and break do else elseif end false for function if in local nil not or repeat return then true until "
  .. "while"
for word in WORDS:gmatch "%a+" do
  guard.KEYWORDS[word] = true
end

--- Puts the checks into the text of a chunk.
---@param text string
---@return string? guarded
---@return string? why
function guard.insert(text)
  local parts, from, at = {}, 1, 1
  if sub(text, 1, 3) == "\239\187\191" then -- a byte order mark
    from, at = 4, 4
  end
  if sub(text, at, at) == "#" then
    at = find(text, "\n", at, true) or #text + 1
    from = at
  end
  parts[1] = PREFIX
  local before, in_head = "", false
  while true do
    local kind, first, last = next_token(text, at)
    if not kind then
      break
    end
    local word = kind ~= "value" and sub(text, first, last) or ""
    local here
    if kind == "word" then
      if find(word, RESERVED) then
        return nil, "names that begin with __gyre are reserved"
      elseif word == "function" and before ~= "." and before ~= ":" then
        in_head = true
      elseif word == "do" or word == "repeat" then
        here = last + 1
      elseif word == "goto" and is_goto(text, before, last) then
        here = first
      end
    elseif in_head and word == ")" then
      in_head, here = false, last + 1
    end
    if here then
      parts[#parts + 1] = sub(text, from, here - 1)
      parts[#parts + 1] = CHECK
      from = here
    end
    before, at = word, last + 1
  end
  parts[#parts + 1] = sub(text, from)
  return concat(parts)
end

--- Compiles text, with checks in it: a function without arguments, or nil and why.
---@param text string
---@param chunk_name string
---@return function?
---@return string? why
function guard.compile(text, chunk_name)
  local guarded, why = guard.insert(text)
  if not guarded then
    return nil, why
  end
  -- What is wrong with the text is said of the text as it is: "t" keeps bytecode out.
  local sound
  sound, why = loadstring(text, chunk_name, "t")
  if not sound then
    return nil, why
  end
  local chunk
  chunk, why = loadstring(guarded, chunk_name, "t")
  if not chunk then
    return nil, why
  end
  return function()
    return chunk(steps, out_of_steps)
  end, nil, chunk
end

return guard
