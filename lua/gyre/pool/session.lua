-- Sessions of a pool: acquire { session = "cart-17" } makes and uses them; these methods look at them and end them.
local ffi = require "ffi"
local C = require "gyre.clib"
local base = require "gyre.pool.base"
local proxy = require "gyre.proxy"
local registry = require "gyre.registry"
local status = require "gyre.status"

local rawget, setmetatable, tonumber, tostring = rawget, setmetatable, tonumber, tostring
local closed, check_text = base.closed, base.check_text

local id_cell = ffi.new "uint64_t[1]"
local cursor_cell = ffi.new "uint64_t[1]"
local info = ffi.new("struct gyre_session", { size = ffi.sizeof "struct gyre_session" })
local stats = ffi.new("struct gyre_session_stats", { size = ffi.sizeof "struct gyre_session_stats" })
local STATS = { "hits", "assigned", "moved", "evicted", "expired", "closed" }

--- A session as it was when it was looked at. Times are pool times in seconds.
---@class gyre.Session
---@field id string
---@field proxy gyre.Proxy its proxy; may be out, or removed: the session's next use moves it then
---@field created number when it got this proxy
---@field last_used number
---@field expires number when it is over unless it is used before
local Session = {}

local Pool = {}

local TIMES = { created = true, last_used = true, expires = true }

local function take_times(session)
  session.created, session.last_used, session.expires = info.created, info.last_used, info.expires
end

local function find_times(session)
  local pool = registry.pools[session.pool]
  if pool and C.gyre_session_info(pool.handle, session.id, info) == 0 then
    take_times(session)
  end
end

local metatable = {}

function metatable.__index(self, key)
  if TIMES[key] then
    find_times(self)
    return rawget(self, key)
  end
  return Session[key]
end

function metatable.__tostring(self)
  return "session on " .. tostring(self.proxy) -- not the id: it may be a user's secret
end

--- Ends the session.
---@return true? ended
---@return gyre.Error? err kinds: not_found, closed
function Session.close(self)
  local pool = registry.pools[self.pool]
  if not pool then
    return closed()
  end
  return base.result(C.gyre_session_close(pool.handle, self.id))
end

local function object(self, id, proxy_id)
  local found = { pool = self.number, id = id, proxy = proxy.by_id(registry.states[self.number], proxy_id) }
  return setmetatable(found, metatable)
end

--- A session, or nil when there is none or it is over. Does not count as a use of it. O(1); its times, when asked for,
--- O(sessions).
---@param id string
---@return gyre.Session? session
---@return gyre.Error? err when the id is none
function Pool.session(self, id)
  check_text(id, "a session id")
  if self.handle == nil then
    return closed()
  end
  local code = C.gyre_session_get(self.handle, id, id_cell)
  if code == 0 then
    return object(self, id, tonumber(id_cell[0]))
  elseif code == C.GYRE_ENOT_FOUND then
    return nil
  end
  return nil, status.error(code)
end

local function next_session(walk)
  local pool = registry.pools[walk.pool]
  cursor_cell[0] = walk.cursor
  if not pool or C.gyre_session_next(pool.handle, cursor_cell, info) ~= 1 then
    return nil
  end
  walk.cursor = cursor_cell[0]
  local found = object(pool, ffi.string(info.id), tonumber(info.proxy))
  take_times(found)
  return found
end

--- `for session in pool:sessions() do`, in no order. Sessions may be made and closed meanwhile.
---@return fun(walk: table): gyre.Session?
---@return table walk
function Pool.sessions(self)
  return next_session, { pool = self.number, cursor = 0ULL }
end

--- Ends all sessions; returns how many.
---@return integer? ended
---@return gyre.Error? err
function Pool.close_sessions(self)
  if self.handle == nil then
    return closed()
  end
  local count = C.gyre_session_close_all(self.handle)
  if count < 0 then
    return nil, status.error(count)
  end
  return count
end

--- Empties the places of sessions that are over; returns how many. Never needed: new sessions do it as they come.
---@return integer? emptied
---@return gyre.Error? err
function Pool.cleanup_sessions(self)
  if self.handle == nil then
    return closed()
  end
  local count = C.gyre_session_cleanup(self.handle)
  if count < 0 then
    return nil, status.error(count)
  end
  return count
end

--- Sums over the sessions: count, capacity; hits, assigned, moved; and how they ended: evicted, expired, closed.
---@return table<string, number>? stats
---@return gyre.Error? err
function Pool.session_stats(self)
  if self.handle == nil then
    return closed()
  end
  local code = C.gyre_session_stats(self.handle, stats)
  if code < 0 then
    return nil, status.error(code)
  end
  local sums = { count = stats.count, capacity = stats.capacity }
  for i = 1, #STATS do
    sums[STATS[i]] = tonumber(stats[STATS[i]])
  end
  return sums
end

return Pool
