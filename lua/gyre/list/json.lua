-- JSON for lists, by lua-cjson; asked for only when a list is JSON.
local entry = require "gyre.list.entry"
local line = require "gyre.list.line"

local type, pairs, pcall, tostring = type, pairs, pcall, tostring

local json = {}

local decoder

-- An instance of its own: settings of the global one belong to the program.
local function decode(text)
  if not decoder then
    local found, cjson = pcall(require, "cjson")
    if not found then
      return nil, "JSON lists need the Lua module cjson (Debian: lua-cjson)"
    end
    decoder = cjson.new()
    decoder.decode_invalid_numbers(false)
  end
  local decoded, value = pcall(decoder.decode, text)
  if decoded then
    return value
  end
  -- lua-cjson names token and position, never the text.
  return nil, "no JSON: " .. tostring(value)
end

--- An entry from one decoded value: text as on a line, or an object with named fields.
---@param value any
---@return gyre.list.Entry? entry
---@return string? why
---@return string[]? unknown
function json.entry(value)
  if type(value) == "string" then
    return line.parse(value)
  end
  if type(value) == "table" and value[1] == nil then
    return entry.from_fields(value)
  end
  return nil, "neither text nor an object"
end

local function is_address(value)
  for key in pairs(value) do
    local name = type(key) == "string" and entry.canonical(key)
    if name == "url" or name == "host" then
      return true
    end
  end
  return false
end

--- Why a text that is one JSON object, such as an API's answer, is no list; nil when it is something else.
---@param text string
---@return string? why
function json.whole(text)
  local value = decode(text)
  if type(value) ~= "table" or value[1] ~= nil or is_address(value) then
    return nil
  end
  local fields = {}
  for name, field in pairs(value) do
    if type(field) == "table" and field[1] ~= nil and #name <= 40 and not name:find "[^%w_]" then
      fields[#fields + 1] = name
    end
  end
  table.sort(fields)
  local where = fields[1] and (", such as its field '%s' (jq .%s)"):format(fields[1], fields[1]) or ""
  return "one JSON object; a list is an array" .. where .. ", or an object a line"
end

--- One line of JSONL.
---@param text string
---@return gyre.list.Entry? entry
---@return string? why
---@return string[]? unknown
function json.parse(text)
  local value, why = decode(text)
  if value == nil then
    return nil, why
  end
  return json.entry(value)
end

--- The items of a JSON array.
---@param text string
---@return any[]? items
---@return string? why
function json.array(text)
  local value, why = decode(text)
  if value == nil then
    return nil, why
  end
  return value
end

return json
