-- CSV lists: a header that names the columns, then one proxy a row. RFC 4180 quoting within a line. The separator is
-- what the header has: a comma, a semicolon or a tab. Cells are taken as they stand; only a url column is
-- percent-decoded, by the core. Pure.
local entry = require "gyre.list.entry"

local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub

local csv = {}

local ADDRESS = { url = true, host = true }
local SEPARATORS = { ",", ";", "\t" }

-- The end of the quoted cell that begins at `from`, and its text.
local function quoted(text, from)
  local at = from + 1
  while true do
    local quote = find(text, '"', at, true)
    if not quote then
      return nil
    end
    if sub(text, quote + 1, quote + 1) ~= '"' then
      return quote + 1, (gsub(sub(text, from + 1, quote - 1), '""', '"'))
    end
    at = quote + 2
  end
end

--- The cells of one row.
---@param text string without line end
---@param separator? string [","]
---@return string[]? cells
---@return string? why
function csv.cells(text, separator)
  separator = separator or ","
  local space = separator == "\t" and " *" or "%s*"
  local cells, at = {}, 1
  while true do
    local start = match(text, "^" .. space .. "()", at)
    local next_cell
    if sub(text, start, start) == '"' then
      local after, cell = quoted(text, start)
      if not after then
        return nil, "a quote that is not closed"
      end
      next_cell = match(text, "^" .. space .. "()" .. separator, after)
      if not next_cell and not find(text, "^%s*$", after) then
        return nil, "text after a closing quote"
      end
      cells[#cells + 1] = cell
    else
      next_cell = find(text, separator, start, true)
      cells[#cells + 1] = match(sub(text, start, (next_cell or 0) - 1), "^(.-)%s*$")
    end
    if not next_cell then
      return cells
    end
    at = next_cell + 1
  end
end

local function names_address(cells)
  for i = 1, #cells do
    if ADDRESS[entry.canonical(cells[i])] then
      return true
    end
  end
  return false
end

--- The columns that a line names, or nil when it is no header.
---@param text string
---@return string[]? columns
---@return string? separator
function csv.header(text)
  for _, separator in ipairs(SEPARATORS) do
    local cells = csv.cells(text, separator)
    if cells and names_address(cells) then
      return cells, separator
    end
  end
end

--- One row under a header.
---@param text string
---@param columns string[]
---@param separator? string [","]
---@return gyre.list.Entry? entry
---@return string? why never holds a part of the row
---@return string[]? unknown columns that mean nothing here
function csv.parse(text, columns, separator)
  local cells, why = csv.cells(text, separator)
  if not cells then
    return nil, why
  end
  if #cells ~= #columns then
    return nil, ("%d cells under a header of %d"):format(#cells, #columns)
  end
  local fields = {}
  for i = 1, #columns do
    if cells[i] ~= "" then
      fields[columns[i]] = cells[i]
    end
  end
  return entry.from_fields(fields)
end

return csv
