-- How items become lines: JSON, or CSV (RFC 4180).
local csv_list = require "gyre.list.csv"
local json = require "gyre.json"

local concat, find, gsub = table.concat, string.find, string.gsub
local assert, ipairs, pairs, tostring, type = assert, ipairs, pairs, tostring, type

local format = {}

local function jsonl(item)
  return json.object(item, json.names(item)) .. "\n"
end

local function cell(value)
  if value == nil then
    return ""
  elseif type(value) == "table" then
    value = json.encode(value)
  else
    value = tostring(value)
  end
  if find(value, '[",\r\n]') or find(value, "^%s") or find(value, "%s$") then
    return '"' .. gsub(value, '"', '""') .. '"'
  end
  return value
end

local function row(cells)
  return concat(cells, ",") .. "\r\n"
end

local function heading(columns)
  local cells = {}
  for i, name in ipairs(columns) do
    cells[i] = cell(name)
  end
  return row(cells)
end

-- The first item of the crawl (in whatever worker, in whatever run) decides on the columns.
local function csv(frontier, columns)
  local known
  local function settle(item)
    local header = frontier:header(heading(columns or json.names(item)))
    columns, known = assert(csv_list.cells((gsub(header, "\r\n$", "")))), {}
    for _, name in ipairs(columns) do
      known[name] = true
    end
  end
  return function(item)
    if not known then
      settle(item)
    end
    for name in pairs(item) do
      if not known[name] then
        return nil, ("the field '%s' is no column: name all of them in the option columns"):format(name)
      end
    end
    local cells = {}
    for i, name in ipairs(columns) do
      cells[i] = cell(item[name])
    end
    return row(cells)
  end
end

--- The function that makes a line of an item, or returns nil and why it cannot.
---@param name "jsonl"|"csv"
---@param frontier userdata where the heading of a CSV is kept
---@param columns? string[]
---@return fun(item: table<string, any>): string?, string?
function format.encoder(name, frontier, columns)
  if name == "csv" then
    return csv(frontier, columns)
  end
  return jsonl
end

return format
