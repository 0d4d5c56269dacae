-- Hosts of a pool: which proxies a host has banned, and whether it wants requests to wait. Outcomes of leases taken
-- with a request's `host` change both by themselves; these methods look at them, and change them by hand.
local ffi = require "ffi"
local C = require "gyre.clib"
local base = require "gyre.pool.base"
local proxy = require "gyre.proxy"
local registry = require "gyre.registry"
local status = require "gyre.status"

local error, tonumber = error, tonumber
local closed, result, check_id, check_host, check_number = base.closed, base.result, base.check_id, base.check_host,
  base.check_number

local cursor_cell = ffi.new "uint32_t[1]"
local ban_cell = ffi.new("struct gyre_ban", { size = ffi.sizeof "struct gyre_ban" })

--- A proxy banned by a host.
---@class gyre.Ban
---@field proxy gyre.Proxy
---@field host string lower case; "" until a request has named it
---@field ends number pool time in seconds
---@field strikes integer bans in a row by verdicts
---@field judged boolean by a verdict, not by pool:ban()

local Pool = {}

--- Bans a proxy for a host for so long, in place of any ban there is.
---@param id number
---@param host string
---@param seconds number above 0, a week at most
---@return true? banned
---@return gyre.Error? err kinds: invalid, not_found, closed
function Pool.ban(self, id, host, seconds)
  check_id(id)
  check_host(host)
  check_number(seconds, "a ban's length is a number of seconds")
  if self.handle == nil then
    return closed(self)
  end
  return result(C.gyre_host_ban(self.handle, id, host, seconds))
end

--- Lifts a proxy's ban: by one host, or with only an id all of the proxy's, or with a nil id all of the host's.
---@param id? number
---@param host? string
---@return integer? lifted how many were in force
---@return gyre.Error? err
function Pool.unban(self, id, host)
  if id == nil and host == nil then
    error("unban takes an id, a host, or both", 2)
  end
  if id ~= nil then
    check_id(id)
  end
  if host ~= nil then
    check_host(host)
  end
  if self.handle == nil then
    return closed(self)
  end
  local count = C.gyre_host_unban(self.handle, id or 0, host)
  if count < 0 then
    return nil, status.error(count)
  end
  return count
end

local function next_ban(walk)
  local pool = registry.pools[walk.pool]
  cursor_cell[0] = walk.cursor
  if not pool or C.gyre_host_next(pool.handle, cursor_cell, ban_cell) ~= 1 then
    return nil
  end
  walk.cursor = cursor_cell[0]
  return {
    proxy = proxy.by_id(registry.states[walk.pool], tonumber(ban_cell.id)),
    host = ffi.string(ban_cell.host),
    ends = ban_cell["until"],
    strikes = ban_cell.strikes,
    judged = ban_cell.judged ~= 0,
  }
end

--- `for ban in pool:bans() do`: those in force.
---@return fun(walk: table): gyre.Ban?
---@return table walk
function Pool.bans(self)
  return next_ban, { pool = self.number, cursor = 0 }
end

--- Holds back requests for a host for exactly so long from now: acquire is `busy` until then. 0 lets them through.
---@param host string
---@param seconds number
---@return true? set
---@return gyre.Error? err
function Pool.throttle(self, host, seconds)
  check_host(host)
  check_number(seconds, "a throttle's length is a number of seconds")
  if self.handle == nil then
    return closed(self)
  end
  return result(C.gyre_host_throttle(self.handle, host, seconds))
end

--- Seconds until requests for a host may go on; 0 when they may now.
---@param host string
---@return number? seconds
---@return gyre.Error? err
function Pool.host_delay(self, host)
  check_host(host)
  if self.handle == nil then
    return closed(self)
  end
  return C.gyre_host_delay(self.handle, host)
end

--- Seconds for which no verdict benches a proxy for this host, because it banned most of the pool within ten seconds:
--- the rule that reads its responses is wrong, or it refuses everybody. 0: it is not blamed.
---@param host string
---@return number? seconds
---@return gyre.Error? err
function Pool.host_blamed(self, host)
  check_host(host)
  if self.handle == nil then
    return closed(self)
  end
  return C.gyre_host_blamed(self.handle, host)
end

return Pool
