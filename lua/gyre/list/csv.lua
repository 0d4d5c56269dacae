-- CSV lists: a header that names the columns, then one proxy a row. RFC 4180 quoting within a line. Cells are taken as
-- they stand; only a url column is percent-decoded, by the core. Pure.
local entry = require "gyre.list.entry"

local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub

local csv = {}

local ADDRESS = { url = true, host = true }

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
---@return string[]? cells
---@return string? why
function csv.cells(text)
  local cells, at = {}, 1
  while true do
    local start = match(text, "^%s*()", at)
    local next_comma
    if sub(text, start, start) == '"' then
      local after, cell = quoted(text, start)
      if not after then
        return nil, "a quote that is not closed"
      end
      next_comma = match(text, "^%s*(),", after)
      if not next_comma and not find(text, "^%s*$", after) then
        return nil, "text after a closing quote"
      end
      cells[#cells + 1] = cell
    else
      next_comma = find(text, ",", start, true)
      cells[#cells + 1] = match(sub(text, start, (next_comma or 0) - 1), "^(.-)%s*$")
    end
    if not next_comma then
      return cells
    end
    at = next_comma + 1
  end
end

--- The columns that a line names, or nil when it is no header.
---@param text string
---@return string[]? columns
function csv.header(text)
  local cells = csv.cells(text)
  if not cells then
    return nil
  end
  local has_address = false
  for i = 1, #cells do
    local name = entry.canonical(cells[i])
    has_address = has_address or ADDRESS[name] or false
  end
  return has_address and cells or nil
end

--- One row under a header.
---@param text string
---@param columns string[]
---@return gyre.list.Entry? entry
---@return string? why never holds a part of the row
---@return string[]? unknown columns that mean nothing here
function csv.parse(text, columns)
  local cells, why = csv.cells(text)
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
