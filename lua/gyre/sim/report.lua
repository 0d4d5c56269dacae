-- A comparison as a table for people and as JSON.
local json = require "gyre.json"
local tables = require "gyre.cli.table"

local ipairs, format = ipairs, string.format

local report = {}

local HEAD = { "STRATEGY", "MEAN MS", "P50", "P95", "P99", "CHANGE", "IN ALL MS", "CHANGE", "TRIES OK", "OK",
  "MAX SHARE", "ENTROPY" }
local FIELDS = { "name", "mean_ms", "mean_sd_ms", "p50_ms", "p95_ms", "p99_ms", "mean_change", "end_to_end_ms",
  "end_to_end_p99_ms", "end_to_end_change", "attempt_success", "success", "max_share", "entropy", "recovery",
  "requests", "attempts", "starved", "waits" }

local function ms(value)
  return value and format("%.0f", value) or "-"
end

local function percent(value, digits, sign)
  return value and format("%" .. (sign and "+" or "") .. "." .. digits .. "f%%", value * 100) or "-"
end

local function cells(row, first)
  local figures, change = row.figures, row.change
  return { row.name, ms(figures.mean_ms), ms(figures.p50_ms), ms(figures.p95_ms), ms(figures.p99_ms),
    first and "" or percent(change.mean_ms, 1, true), ms(figures.end_to_end_ms),
    first and "" or percent(change.end_to_end_ms, 1, true), percent(figures.attempt_success, 1),
    percent(figures.success, 2), percent(figures.max_share, 2), format("%.3f", figures.entropy) }
end

-- What is not in every run, a line each.
local function remarks(rows, lines)
  for _, row in ipairs(rows) do
    if row.recovery then
      lines[#lines + 1] = format("%s: proxies that recovered had %.2f of a fair share 30 to 60 s later", row.name,
        row.recovery)
    end
    if row.figures.starved > 0 then
      lines[#lines + 1] = format("%s: %.0f requests found no proxy for 10 s", row.name, row.figures.starved)
    end
  end
end

--- The table. MEAN to P99 are of attempts that succeeded, IN ALL is from arrival to the end of the last attempt,
--- changes are against the first row.
---@param rows gyre.sim.Row[]
---@return string text without a last line end
function report.text(rows)
  local body = {}
  for i, row in ipairs(rows) do
    body[i] = cells(row, i == 1)
  end
  local lines = tables.lines(HEAD, body, { true })
  remarks(rows, lines)
  return table.concat(lines, "\n")
end

--- One JSON object a row and line.
---@param rows gyre.sim.Row[]
---@return string text without a last line end
function report.json(rows)
  local lines = {}
  for i, row in ipairs(rows) do
    local object = { name = row.name, recovery = row.recovery, mean_change = row.change.mean_ms,
      end_to_end_change = row.change.end_to_end_ms }
    for name, value in pairs(row.figures) do
      object[name] = value
    end
    lines[i] = json.object(object, FIELDS)
  end
  return table.concat(lines, "\n")
end

return report
