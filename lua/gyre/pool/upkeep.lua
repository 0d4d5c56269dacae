-- The pool as a whole: sums, soundness, time.
local ffi = require "ffi"
local C = require "gyre.clib"
local base = require "gyre.pool.base"
local errors = require "gyre.error"
local status = require "gyre.status"

local tonumber = tonumber
local closed, result = base.closed, base.result

local stats = ffi.new("struct gyre_stats", { size = ffi.sizeof "struct gyre_stats" })
local report = ffi.new("struct gyre_check", { size = ffi.sizeof "struct gyre_check" })
local STATS = {
  "proxies", "eligible", "benched", "half_open", "disabled", "draining", "bench_refused", "ban_refused", "ban_blamed",
}
local SUMS = { "started", "completed", "succeeded", "failed", "aborted", "active" }

local Pool = {}

--- Sums over the pool: proxies, eligible; benched, half_open, disabled, draining by state; started, completed,
--- succeeded, failed, aborted, active. bench_refused and ban_refused: how often max_benched kept a failing proxy in
--- use, or one that a host banned; if they grow, the network or the rule that judges responses is at fault. ban_blamed:
--- how often a host banned most of the pool within seconds, see pool:host_blamed(). O(proxies).
---@return table<string, number>? stats
---@return gyre.Error? err
function Pool.stats(self)
  if self.handle == nil then
    return closed(self)
  end
  local code = C.gyre_pool_stats(self.handle, stats)
  if code ~= 0 then
    return nil, status.error(code)
  end
  local sums = {}
  for i = 1, #STATS do
    sums[STATS[i]] = stats[STATS[i]]
  end
  for i = 1, #SUMS do
    sums[SUMS[i]] = tonumber(stats[SUMS[i]])
  end
  return sums
end

--- Sets all counters, averages and windows back. Leases in flight stay, and count as started.
---@return true? reset
---@return gyre.Error? err
function Pool.reset_counters(self)
  if self.handle == nil then
    return closed(self)
  end
  return result(C.gyre_pool_reset_counters(self.handle))
end

--- Verifies what must hold between all parts of the segment. Takes the lock for O(capacity); changes nothing.
---@return true? sound
---@return gyre.Error? err kind "corrupt" has `findings`, and the first in its message
function Pool.check(self)
  if self.handle == nil then
    return closed(self)
  end
  local findings = C.gyre_pool_check(self.handle, report)
  if findings < 0 then
    return nil, status.error(findings)
  elseif findings == 0 then
    return true
  end
  local message = ("%d findings, the first: %s"):format(findings, ffi.string(report.first))
  return nil, errors.new("corrupt", message, { findings = findings })
end

--- Makes anew what can be derived, drops what is unsound, and ends what dead processes had in flight. Happens by itself
--- when a process died holding the lock; this does it now. Costs as check().
---@return true? repaired
---@return gyre.Error? err
function Pool.repair(self)
  if self.handle == nil then
    return closed(self)
  end
  return result(C.gyre_pool_repair(self.handle))
end

--- Pool time, seconds: what proxy.last_used and proxy.benched_until compare with.
---@return number? seconds
---@return gyre.Error? err
function Pool.time(self)
  if self.handle == nil then
    return closed(self)
  end
  return C.gyre_pool_time(self.handle)
end

--- Moves the clock of a pool opened with clock = "manual"; never back.
---@param seconds number
---@return true? moved
---@return gyre.Error? err
function Pool.set_time(self, seconds)
  base.check_number(seconds, "a time is a number of seconds")
  if self.handle == nil then
    return closed(self)
  end
  return result(C.gyre_pool_set_time(self.handle, seconds))
end

return Pool
