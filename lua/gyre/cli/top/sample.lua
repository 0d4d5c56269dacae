-- What gyre top shows: counters of all proxies at one moment, and what happened between two of them. What all proxies
-- are asked for comes from their hot records, without a call; the rest is read for the rows that are shown.
local net = require "gyre.net"

local ipairs, tostring = ipairs, tostring

local sample = {}

--- The counters of all proxies now.
---@param pool gyre.Pool
---@return table
function sample.take(pool)
  local counters = {}
  for proxy in pool:each() do
    counters[proxy.id] = { started = proxy.started, failed = proxy.failed }
  end
  return { at = net.now(), counters = counters }
end

local NONE = { started = 0, failed = 0 }

-- A row of what is known without a call.
local function row_of(proxy, before, seconds)
  local started, failed = proxy.started, proxy.failed
  if not started then
    return nil -- just removed
  end
  return {
    proxy = proxy,
    id = proxy.id,
    started = started,
    failed = failed,
    rate = seconds > 0 and (started - before.started) / seconds or 0,
    failures = failed - before.failed,
    active = proxy.active,
    ema = proxy.ema_ms,
    success = proxy.success_rate,
  }
end

--- Rows of all proxies, for the time since `before` was taken; and the sums.
---@param pool gyre.Pool
---@param before table of sample.take()
---@return table[] rows, table sums
function sample.compare(pool, before)
  local now, rows = net.now(), {}
  local sums = { rate = 0, active = 0, failures = 0, seconds = now - before.at }
  for proxy in pool:each() do
    local row = row_of(proxy, before.counters[proxy.id] or NONE, sums.seconds)
    if row then
      rows[#rows + 1] = row
      sums.rate, sums.active = sums.rate + row.rate, sums.active + row.active
      sums.failures = sums.failures + row.failures
    end
  end
  for _, row in ipairs(rows) do
    row.share = sums.rate > 0 and row.rate / sums.rate or 0
  end
  return rows, sums
end

--- Fills in what takes a call: state and name. For rows that are shown.
---@param row table
---@param now number pool time
function sample.complete(row, now)
  local proxy = row.proxy
  row.state, row.name = proxy.state, tostring(proxy)
  local ends = proxy.benched_until
  row.benched = ends and math.max(ends - now, 0) or nil
end

return sample
