-- How gyre top lays things out: the same lines for a terminal and for a file. Pure.
local tables = require "gyre.cli.table"

local ipairs, max, min = ipairs, math.max, math.min
local format = string.format

local view = {}

-- Key, field, name of the column; the larger comes first but for ema and id, where few are good.
view.SORTS = {
  { key = "r", field = "rate", name = "requests/s" },
  { key = "s", field = "success", name = "success", small = true },
  { key = "e", field = "ema", name = "ema" },
  { key = "a", field = "active", name = "in flight" },
  { key = "f", field = "failed", name = "failed" },
  { key = "i", field = "id", name = "id", small = true },
}

local HEAD = { "ID", "STATE", "REQ/S", "SHARE", "ACTIVE", "EMA MS", "SUCCESS", "STARTED", "FAILED", "PROXY" }
local LEFT = { STATE = true, PROXY = true }

--- Sorts rows by one of SORTS.
---@param rows table[]
---@param sort table
---@param reverse boolean
function view.sort(rows, sort, reverse)
  local field, ascending = sort.field, (sort.small or false) ~= reverse
  table.sort(rows, function(a, b)
    local left, right = a[field], b[field]
    if left == right then
      return a.id < b.id
    elseif left == nil or right == nil then
      return left ~= nil -- who has none comes last
    elseif ascending then
      return left < right
    end
    return left > right
  end)
end

local function state(row)
  return row.benched and "open " .. tables.duration(row.benched) or row.state
end

local function cells(row)
  return { format("%.0f", row.id), state(row), format("%.1f", row.rate), format("%.1f%%", 100 * row.share),
    format("%d", row.active), tables.milliseconds(row.ema), format("%.1f%%", 100 * row.success),
    format("%.0f", row.started), format("%.0f", row.failed), row.name }
end

--- The lines above the table.
---@param found table path, strategy, generation, stats, sessions, sums
---@return string[]
function view.head(found)
  local stats, sums = found.stats, found.sums
  return {
    format("%s  %s  strategy %s, generation %d", found.path, found.time, found.strategy, found.generation),
    format("%d proxies: %d eligible, %d benched, %d half-open, %d draining, %d disabled", stats.proxies, stats.eligible,
      stats.benched, stats.half_open, stats.draining, stats.disabled),
    format("%.1f requests/s, %d in flight, %d failed in %.1f s; %d sessions", sums.rate, sums.active, sums.failures,
      sums.seconds, found.sessions),
  }
end

-- What goes first where there is no room for all: the proxy's name comes last in a line, and is what one looks for.
local SPARE = { "STARTED", "SHARE", "ID", "FAILED", "EMA MS" }

local function without(row, spared)
  local kept = {}
  for i, cell in ipairs(row) do
    kept[#kept + 1] = not spared[HEAD[i]] and cell or nil
  end
  return kept
end

local function lines_without(rows, spared)
  local all, left = {}, {}
  for i, row in ipairs(rows) do
    all[i] = without(row, spared)
  end
  local head = without(HEAD, spared)
  for i, name in ipairs(head) do
    left[i] = LEFT[name]
  end
  return tables.lines(head, all, left)
end

local function fits(lines, columns)
  for _, line in ipairs(lines) do
    if #line > columns then
      return false
    end
  end
  return true
end

--- The table, with fewer columns where not all of them fit.
---@param rows table[] completed
---@param columns? integer of the screen [any number]
---@return string[] lines the first is the head
function view.table(rows, columns)
  local all, spared = {}, {}
  for i, row in ipairs(rows) do
    all[i] = cells(row)
  end
  local lines = lines_without(all, spared)
  for _, name in ipairs(columns and SPARE or {}) do
    if fits(lines, columns) then
      break
    end
    spared[name] = true
    lines = lines_without(all, spared)
  end
  return lines
end

local COLOURS = { open = "31", half_open = "33", draining = "36", disabled = "90", removed = "90" }

--- A frame for a screen: cut to its size, with colours if wanted.
---@param head string[]
---@param lines string[] of view.table()
---@param rows table[]
---@param foot string
---@param size { columns: integer, rows: integer, colours: boolean }
---@return string
function view.frame(head, lines, rows, foot, size)
  local out = {}
  local function add(line, colour)
    line = line:sub(1, size.columns)
    if colour and size.colours then
      line = "\27[" .. colour .. "m" .. line .. "\27[0m"
    end
    out[#out + 1] = line .. "\27[K"
  end
  for _, line in ipairs(head) do
    add(line)
  end
  add(lines[1] .. (" "):rep(size.columns - #lines[1]), "7")
  for i = 2, min(#lines, max(size.rows - #head - 2, 0) + 1) do
    add(lines[i], COLOURS[rows[i - 1].state])
  end
  while #out < size.rows - 1 do
    add ""
  end
  out[size.rows] = foot:sub(1, size.columns) .. "\27[K"
  return "\27[H" .. table.concat(out, "\r\n", 1, size.rows)
end

return view
