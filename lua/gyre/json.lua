-- Writes JSON, the fields of an object in the order they are given: output that people read and compare. Reading is
-- lua-cjson's.
local ffi = require "ffi"

local concat, find, floor, format, gsub = table.concat, string.find, math.floor, string.format, string.gsub
local byte, sub = string.byte, string.sub
local error, ipairs, pairs, sort, tostring, type = error, ipairs, pairs, table.sort, tostring, type

local json = {}

local cast, bytes_of = ffi.cast, ffi.typeof "const uint8_t *"

local DEEPEST = 100 -- tables in tables that unfit() looks through
local REPLACEMENT = "\239\191\189" -- U+FFFD

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(char)
  return ESCAPES[char] or format("\\u%04x", byte(char))
end

local function number(value)
  if value ~= value or value == 1 / 0 or value == -1 / 0 then
    return "null"
  elseif value == floor(value) and value > -2 ^ 53 and value < 2 ^ 53 then
    return format("%.0f", value)
  end
  local text = format("%.15g", value)
  return tonumber(text) == value and text or format("%.17g", value)
end

-- The bytes at `i` that belong together, the first not ASCII: their number, and whether they are a character of UTF-8
-- (RFC 3629). What is none counts as one mistake up to where it went wrong, as Unicode (3.9, table 3-8) recommends.
local function sequence(text, i)
  local first, least, most = byte(text, i), 0x80, 0xbf
  local more
  if first < 0xc2 or first > 0xf4 then
    return 1, false
  elseif first < 0xe0 then
    more = 1
  elseif first < 0xf0 then
    more = 2
    least, most = first == 0xe0 and 0xa0 or least, first == 0xed and 0x9f or most -- overlong, surrogates
  else
    more = 3
    least, most = first == 0xf0 and 0x90 or least, first == 0xf4 and 0x8f or most -- overlong, beyond U+10FFFF
  end
  for n = 1, more do
    local next_byte = byte(text, i + n)
    if not next_byte or next_byte < least or next_byte > most then
      return n, false
    end
    least, most = 0x80, 0xbf
  end
  return more + 1, true
end

-- Where the text stops being UTF-8, looked for from `i` on; and how many bytes are wrong there. A loop over bytes, as
-- LuaJIT compiles no pattern: a tenth of what string.find takes.
local function fault(text, i)
  local bytes, size = cast(bytes_of, text), #text
  while i <= size do
    if bytes[i - 1] < 0x80 then
      i = i + 1
    else
      local length, good = sequence(text, i)
      if not good then
        return i, length
      end
      i = i + length
    end
  end
  return nil
end

local function replace_faults(text, at, length)
  local parts, from = {}, 1
  while at do
    parts[#parts + 1] = sub(text, from, at - 1)
    parts[#parts + 1] = REPLACEMENT
    from = at + length
    at, length = fault(text, from)
  end
  parts[#parts + 1] = sub(text, from)
  return concat(parts)
end

--- A text as UTF-8: bytes that are none, as those of a page in Latin-1, become U+FFFD.
---@param value string
---@return string
function json.utf8(value)
  local at, length = fault(value, 1)
  return at and replace_faults(value, at, length) or value
end

--- A text as JSON, as json.utf8() has it: JSON has no other text.
---@param value string
---@param as_is? boolean leave the bytes: for what gyre itself reads again, and must find unchanged
---@return string
function json.text(value, as_is)
  if not as_is then
    value = json.utf8(value)
  end
  if find(value, '[%c"\\\127]') then
    value = gsub(value, '[%c"\\\127]', escape)
  end
  return '"' .. value .. '"'
end

--- Whether a table is a list. Nothing is left out silently: neither what has a name beside [1], nor what comes after a
--- hole.
---@param list table
---@return boolean
function json.is_list(list)
  local count = 0
  for _ in pairs(list) do
    count = count + 1
  end
  for i = 1, count do
    if list[i] == nil then
      return false
    end
  end
  return true
end
local is_list = json.is_list

local function array(list, as_is)
  if not is_list(list) then
    error("no JSON for a table that is neither a list nor all names", 2)
  end
  local items = {}
  for i, value in ipairs(list) do
    items[i] = json.encode(value, as_is)
  end
  return "[" .. concat(items, ",") .. "]"
end

--- An object with these of its fields, in this order; those that are nil are left out.
---@param object table
---@param fields string[]
---@param as_is? boolean as json.text() has it
---@return string
function json.object(object, fields, as_is)
  local items = {}
  for _, name in ipairs(fields) do
    local value = object[name]
    if value ~= nil then
      items[#items + 1] = json.text(tostring(name), as_is) .. ":" .. json.encode(value, as_is)
    end
  end
  return "{" .. concat(items, ",") .. "}"
end

local function is_name(name)
  return type(name) == "string" or type(name) == "number"
end

-- What lua-cjson reads null as.
local function is_null(value)
  return type(value) == "userdata" and tostring(value) == "userdata: NULL"
end

--- A value as JSON: numbers so that they read back as they were (NaN, infinity: null), tables with [1] as arrays and
--- others as objects, their fields sorted. An empty table is an array. Raises for what JSON has no form of:
--- json.unfit() says where it is.
---@param value any
---@param as_is? boolean as json.text() has it
---@return string
function json.encode(value, as_is)
  local kind = type(value)
  if kind == "string" then
    return json.text(value, as_is)
  elseif kind == "number" then
    return number(value)
  elseif kind == "boolean" then
    return tostring(value)
  elseif is_null(value) then
    return "null"
  elseif kind ~= "table" then
    error("no JSON for a " .. kind, 2)
  elseif value[1] ~= nil or next(value) == nil then
    return array(value, as_is)
  end
  return json.object(value, json.names(value), as_is)
end

local function by_text(a, b)
  return tostring(a) < tostring(b)
end

--- The names of a table's fields, sorted; numbers serve too. Raises when one is neither.
---@param object table
---@return (string|number)[]
function json.names(object)
  local names = {}
  for name in pairs(object) do
    if not is_name(name) then
      error("no JSON for a field whose name is a " .. type(name), 2)
    end
    names[#names + 1] = name
  end
  sort(names, by_text)
  return names
end

--- What encode() would raise about, for people: "meta.f is a function". nil: nothing.
---@param value any
---@param path? string what the value is called
---@param depth? integer
---@return string?
function json.unfit(value, path, depth)
  path, depth = path or "it", depth or 0
  local kind = type(value)
  if kind ~= "table" then
    local fits = kind == "string" or kind == "number" or kind == "boolean" or is_null(value)
    return not fits and path .. " is a " .. kind or nil
  elseif depth > DEEPEST then
    return "a table is in itself, or nested too deeply"
  elseif value[1] ~= nil and not is_list(value) then
    return path .. " has both [1] and other fields, or holes"
  end
  for name, field in pairs(value) do
    if not is_name(name) then
      return path .. " has a field whose name is a " .. type(name)
    end
    local why = json.unfit(field, depth == 0 and tostring(name) or path .. "." .. tostring(name), depth + 1)
    if why then
      return why
    end
  end
  return nil
end

return json
