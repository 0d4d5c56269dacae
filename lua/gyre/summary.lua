-- What a job prints at its end: a table per proxy, then totals. Proxies are shown without their credentials.
local ipairs, pairs, tostring = ipairs, pairs, tostring
local concat = table.concat

local HEAD = { "proxy", "requests", "share", "failed", "mean ms", "ema ms" }
local MOST_LINES = 40 -- proxies that have a line; of more than these the busiest

local summary = {}

--- The counters of every proxy, to be subtracted later: a shared pool has a life before the job.
---@param pool gyre.Pool
---@return table<number, table>
function summary.baseline(pool)
  local counters = {}
  for proxy in pool:each() do
    counters[proxy.id] = { started = proxy.started, failed = proxy.failed }
  end
  return counters
end

local function milliseconds(value)
  return value and ("%.1f"):format(value) or "-"
end

local function rows(pool, baseline, latencies)
  local found, all = {}, 0
  for proxy in pool:each() do
    local before = baseline[proxy.id] or { started = 0, failed = 0 }
    local latency = latencies[proxy.id]
    local row = {
      id = proxy.id,
      at = #found + 1,
      name = tostring(proxy),
      started = proxy.started - before.started,
      failed = proxy.failed - before.failed,
      mean = latency and latency:mean(),
      ema = proxy.ema_ms,
    }
    found[#found + 1] = row
    all = all + row.started
  end
  return found, all
end

local function busier(a, b)
  if a.started ~= b.started then
    return a.started > b.started
  end
  return a.at < b.at
end

-- Takes away all but the busiest, and says in a line what those taken away come to.
local function cut(found)
  if #found <= MOST_LINES then
    return nil
  end
  table.sort(found, busier)
  local others, started, failed = #found - MOST_LINES, 0, 0
  for i = #found, MOST_LINES + 1, -1 do
    started, failed = started + found[i].started, failed + found[i].failed
    found[i] = nil
  end
  return ("and %d more proxies: %d requests, %d failed"):format(others, started, failed)
end

-- Users of one gateway look the same without their credentials.
local function tell_apart(found)
  local count = {}
  for _, row in ipairs(found) do
    count[row.name] = (count[row.name] or 0) + 1
  end
  for _, row in ipairs(found) do
    if count[row.name] > 1 then
      row.name = ("%s #%.0f"):format(row.name, row.id)
    end
  end
end

local function cells(row, all)
  return {
    row.name,
    ("%d"):format(row.started),
    all > 0 and ("%.1f%%"):format(100 * row.started / all) or "-",
    ("%d"):format(row.failed),
    milliseconds(row.mean),
    milliseconds(row.ema),
  }
end

-- The first column to the left, numbers to the right.
local function align(lines)
  local widths, out = {}, {}
  for _, line in ipairs(lines) do
    for i, cell in ipairs(line) do
      widths[i] = math.max(widths[i] or 0, #cell)
    end
  end
  for _, line in ipairs(lines) do
    local text = { line[1] .. (" "):rep(widths[1] - #line[1]) }
    for i = 2, #line do
      text[i] = (" "):rep(widths[i] - #line[i]) .. line[i]
    end
    out[#out + 1] = concat(text, "  ")
  end
  return concat(out, "\n")
end

--- A table with a line a proxy: requests (attempts), share of all, failed, mean and average latency. In a large pool
--- the busiest have a line, busiest first, and the others one together.
---@param pool gyre.Pool
---@param options? { baseline?: table, latencies?: table<number, gyre.Histogram> } of summary.baseline(); per proxy id
---@return string text without a line end
function summary.of(pool, options)
  options = options or {}
  local found, all = rows(pool, options.baseline or {}, options.latencies or {})
  tell_apart(found)
  local others = cut(found)
  local lines = { HEAD }
  for _, row in ipairs(found) do
    lines[#lines + 1] = cells(row, all)
  end
  return others and align(lines) .. "\n" .. others or align(lines)
end

local function sorted(set)
  local list = {}
  for key in pairs(set) do
    list[#list + 1] = key
  end
  table.sort(list)
  return list
end

--- The totals of a job.
---@param totals { responses: integer, errors: integer, attempts: integer, bytes: number, elapsed: number, latency:
--- gyre.Histogram, blamed?: table<string, boolean>, mixed?: boolean }
---@return string text without a line end
function summary.totals(totals)
  local latency = totals.latency
  local requests = totals.responses + totals.errors
  local first = ("%d requests, %d errors, %d attempts, %.1f MiB in %.1f s: %.1f requests/s"):format(
    requests, totals.errors, totals.attempts, totals.bytes / 2 ^ 20, totals.elapsed,
    requests / math.max(totals.elapsed, 1e-3)
  )
  local second = ("latency: p50 %s ms, p95 %s ms, p99 %s ms"):format(
    milliseconds(latency:percentile(0.50)), milliseconds(latency:percentile(0.95)),
    milliseconds(latency:percentile(0.99))
  )
  local lines = { first, second }
  if totals.mixed then
    lines[#lines + 1] = "identities were not kept apart (isolate = false): connections, TLS sessions, cookies"
  end
  for _, host in ipairs(sorted(totals.blamed or {})) do
    lines[#lines + 1] = host .. " refused most of the pool at once: it refuses everybody, or the judge is wrong"
  end
  return concat(lines, "\n")
end

return summary
