-- Writes JSON, the fields of an object in the order they are given: output that people read and compare. Reading is
-- lua-cjson's.
local concat, find, floor, format, gsub = table.concat, string.find, math.floor, string.format, string.gsub
local byte, error, ipairs, pairs, sort, tostring, type = string.byte, error, ipairs, pairs, table.sort, tostring, type

local json = {}

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

--- A text as JSON.
---@param value string
---@return string
function json.text(value)
  if find(value, '[%c"\\\127]') then
    value = gsub(value, '[%c"\\\127]', escape)
  end
  return '"' .. value .. '"'
end

local function array(list)
  local items = {}
  for i, value in ipairs(list) do
    items[i] = json.encode(value)
  end
  return "[" .. concat(items, ",") .. "]"
end

--- An object with these of its fields, in this order; those that are nil are left out.
---@param object table
---@param fields string[]
---@return string
function json.object(object, fields)
  local items = {}
  for _, name in ipairs(fields) do
    local value = object[name]
    if value ~= nil then
      items[#items + 1] = json.text(name) .. ":" .. json.encode(value)
    end
  end
  return "{" .. concat(items, ",") .. "}"
end

--- A value as JSON: numbers so that they read back as they were (NaN, infinity: null), tables with [1] as arrays and
--- others as objects, their fields sorted. An empty table is an array.
---@param value any
---@return string
function json.encode(value)
  local kind = type(value)
  if kind == "string" then
    return json.text(value)
  elseif kind == "number" then
    return number(value)
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind ~= "table" then
    error("no JSON for a " .. kind, 2)
  elseif value[1] ~= nil or next(value) == nil then
    return array(value)
  end
  local names = {}
  for name in pairs(value) do
    names[#names + 1] = name
  end
  sort(names)
  return json.object(value, names)
end

return json
