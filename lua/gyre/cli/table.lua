-- Tables for people: columns aligned, text to the left and numbers to the right.
local concat = table.concat
local ipairs, max, tostring = ipairs, math.max, tostring

local tables = {}

--- Lines of a table.
---@param head string[] names of the columns
---@param rows string[][]
---@param left? table<integer, boolean> columns that are text
---@return string[] lines without line ends; the first is the head
function tables.lines(head, rows, left)
  left = left or {}
  local widths, out = {}, {}
  local function measure(row)
    for i, cell in ipairs(row) do
      widths[i] = max(widths[i] or 0, #tostring(cell))
    end
  end
  local function line(row)
    local cells = {}
    for i, cell in ipairs(row) do
      local pad = (" "):rep(widths[i] - #tostring(cell))
      cells[i] = left[i] and tostring(cell) .. pad or pad .. tostring(cell)
    end
    out[#out + 1] = concat(cells, "  "):gsub("%s+$", "")
  end
  measure(head)
  for _, row in ipairs(rows) do
    measure(row)
  end
  line(head)
  for _, row in ipairs(rows) do
    line(row)
  end
  return out
end

--- Seconds as people say them: "0.4s", "42s", "3m05s", "2h10m", "4d03h".
---@param seconds number
---@return string
function tables.duration(seconds)
  if seconds < 10 then
    return ("%.1fs"):format(seconds)
  elseif seconds < 60 then
    return ("%ds"):format(seconds)
  elseif seconds < 3600 then
    return ("%dm%02ds"):format(seconds / 60, seconds % 60)
  elseif seconds < 86400 then
    return ("%dh%02dm"):format(seconds / 3600, seconds / 60 % 60)
  end
  return ("%dd%02dh"):format(seconds / 86400, seconds / 3600 % 24)
end

--- A number of milliseconds, or "-".
---@param ms? number
---@return string
function tables.milliseconds(ms)
  return ms and ("%.1f"):format(ms) or "-"
end

return tables
