-- Options of strategies as text, for the segment to carry: JSON. Written by gyre.json; read here, since plain LuaJIT
-- and nginx need no cjson for anything else.
local json = require "gyre.json"

local error, next, pcall, tonumber, type = error, next, pcall, tonumber, type
local char, find, format, match, sub = string.char, string.find, string.format, string.match, string.sub
local concat = table.concat

local MOST_DEEP = 16
local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }
local WORDS = { ["true"] = true, ["false"] = false }

local text = {}

local function fail(at, what)
  error(format("%s at byte %d", what, at), 0)
end

local function utf8(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xc0 + code / 64, 0x80 + code % 64)
  end
  return char(0xe0 + code / 4096, 0x80 + code / 64 % 64, 0x80 + code % 64)
end

local function read_escape(source, at)
  local letter = sub(source, at, at)
  if letter == "u" then
    local hex = match(source, "^%x%x%x%x", at + 1)
    if not hex then
      fail(at, "no four hexadecimal digits")
    end
    return utf8(tonumber(hex, 16)), at + 5
  elseif not ESCAPES[letter] then
    fail(at, "no escape")
  end
  return ESCAPES[letter], at + 1
end

local function read_string(source, at)
  local parts, from = {}, at + 1
  while true do
    local stop = find(source, '["\\]', from)
    if not stop then
      fail(at, "a text without end")
    end
    parts[#parts + 1] = sub(source, from, stop - 1)
    if sub(source, stop, stop) == '"' then
      return concat(parts), stop + 1
    end
    parts[#parts + 1], from = read_escape(source, stop + 1)
  end
end

local read_value

local function skip(source, at)
  return find(source, "[^ \t\r\n]", at) or #source + 1
end

local function read_array(source, at, depth)
  local list, n = {}, 0
  at = skip(source, at + 1)
  if sub(source, at, at) == "]" then
    return list, at + 1
  end
  while true do
    n = n + 1
    list[n], at = read_value(source, at, depth)
    at = skip(source, at)
    local mark = sub(source, at, at)
    if mark == "]" then
      return list, at + 1
    elseif mark ~= "," then
      fail(at, "no , or ]")
    end
    at = skip(source, at + 1)
  end
end

local function read_object(source, at, depth)
  local object = {}
  at = skip(source, at + 1)
  if sub(source, at, at) == "}" then
    return object, at + 1
  end
  while true do
    if sub(source, at, at) ~= '"' then
      fail(at, "no name")
    end
    local name
    name, at = read_string(source, at)
    at = skip(source, at)
    if sub(source, at, at) ~= ":" then
      fail(at, "no :")
    end
    object[name], at = read_value(source, skip(source, at + 1), depth)
    at = skip(source, at)
    local mark = sub(source, at, at)
    if mark == "}" then
      return object, at + 1
    elseif mark ~= "," then
      fail(at, "no , or }")
    end
    at = skip(source, at + 1)
  end
end

function read_value(source, at, depth)
  local mark = sub(source, at, at)
  if depth > MOST_DEEP then
    fail(at, "nested too deeply")
  elseif mark == "{" then
    return read_object(source, at, depth + 1)
  elseif mark == "[" then
    return read_array(source, at, depth + 1)
  elseif mark == '"' then
    return read_string(source, at)
  end
  local _, last, word = find(source, "^([%w+.-]+)", at)
  local value = WORDS[word]
  if value == nil then
    value = word and tonumber(word)
  end
  if value == nil then
    fail(at, "no value")
  end
  return value, last + 1
end

--- Options from text; "" are none.
---@param source string
---@return table? options
---@return string? why
function text.read(source)
  if source == "" then
    return {}
  end
  local read, value, at = pcall(read_value, source, skip(source, 1), 0)
  if not read then
    return nil, value
  elseif type(value) ~= "table" then
    return nil, "options are an object"
  elseif skip(source, at) <= #source then
    return nil, format("more after the end at byte %d", at)
  end
  return value
end

--- Text from options, or nil and why they are none that others could read.
---@param options? table
---@return string? written
---@return string? why
function text.write(options)
  if options == nil or next(options) == nil then
    return ""
  end
  local written, value = pcall(json.encode, options)
  if not written then
    return nil, match(value, "no JSON for.*") or "they refer to themselves"
  end
  return value
end

return text
