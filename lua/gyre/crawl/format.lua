-- How items become lines: JSON, or CSV (RFC 4180).
local csv_list = require "gyre.list.csv"
local json = require "gyre.json"

local concat, find, gsub = table.concat, string.find, string.gsub
local assert, ipairs, next, pairs, type = assert, ipairs, next, pairs, type

local format = {}

local function jsonl(item)
  return json.object(item, json.names(item)) .. "\n"
end

-- A value as JSON has it, but that text is bare and null (NaN, infinity) is nothing. What JSON has no form of raises.
local function cell(value)
  if value == nil then
    return ""
  end
  local is_text = type(value) == "string"
  local text = is_text and json.utf8(value) or json.encode(value)
  if text == "null" and not is_text then
    return ""
  elseif find(text, '[",\r\n]') or find(text, "^%s") or find(text, "%s$") then
    return '"' .. gsub(text, '"', '""') .. '"'
  end
  return text
end

local function row(cells)
  if #cells == 1 and cells[1] == "" then
    return '""\r\n' -- readers pass over a blank line
  end
  return concat(cells, ",") .. "\r\n"
end

local function heading(columns)
  local cells = {}
  for i, name in ipairs(columns) do
    cells[i] = cell(name)
  end
  return row(cells)
end

-- Columns that nobody named are those of the first item of the crawl, in whatever worker, in whatever run.
local function csv(frontier, columns)
  local known
  local function settle(names)
    local wanted = heading(names)
    local header = assert(frontier:header(wanted))
    columns, known = assert(csv_list.cells((gsub(header, "\r\n$", "")))), {}
    for _, name in ipairs(columns) do
      known[name] = true
    end
    return header == wanted, header
  end
  if columns then
    local as_wanted, header = settle(columns)
    if not as_wanted then
      return nil, ("the CSV has the columns %s so far: use another output, or start over with --fresh"):format(
        gsub(header, "\r\n$", ""))
    end
  end
  return function(item)
    if not known then
      if next(item) == nil then
        return nil, "the first item of a CSV says what the columns are, and this one has no fields"
      end
      settle(json.names(item))
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

--- The function that makes a line of an item, or returns nil and why it cannot. nil and why when the output that is
--- there has other columns.
---@param name "jsonl"|"csv"
---@param frontier userdata where the heading of a CSV is kept
---@param columns? string[]
---@return (fun(item: table<string, any>): string?, string?)? encode
---@return string? why
function format.encoder(name, frontier, columns)
  if name == "csv" then
    return csv(frontier, columns)
  end
  return jsonl
end

return format
