-- Proxies as servers that share themselves: up to `capacity` requests at once go at full speed, more share that
-- capacity equally (processor sharing). Each server counts the service that a request present all the time would have
-- had; a request ends when that count has grown by its work, so that one heap a server holds whatever the load.
local ffi = require "ffi"
local heap = require "gyre.sim.heap"

local abs, huge, max = math.abs, math.huge, math.max

ffi.cdef [[
struct gyre_sim_server { double served, updated, due; int32_t active, capacity, version; };
]]

local SAME = 1e-9 -- seconds

---@class gyre.sim.Service
---@field servers ffi.cdata*
---@field heaps gyre.sim.Heap[]
---@field events gyre.sim.Heap
---@field requests ffi.cdata* whose `serial` tells whether one is still being served
---@field code integer event of server p: code + 8 * p
local Service = {}
Service.__index = Service

local function speed(server)
  return server.active <= server.capacity and 1 or server.capacity / server.active
end

local function advance(server, now)
  server.served = server.served + (now - server.updated) * speed(server)
  server.updated = now
end

-- Announces the next end on a server, unless that is announced already.
local function schedule(self, p, now)
  local server, waiting, requests = self.servers[p], self.heaps[p], self.requests
  while waiting.count > 0 and requests[waiting.items[1].what].serial ~= waiting.items[1].version do
    waiting:pop() -- it was given up
  end
  local due = huge
  if waiting.count > 0 then
    due = now + max(0, waiting.items[1].at - server.served) / speed(server)
  end
  local same = due == server.due or abs(due - server.due) < SAME -- both may be infinite
  if not same then
    server.due = due
    server.version = server.version + 1
    if due < huge then
      self.events:push(due, self.code + 8 * p, server.version)
    end
  end
end

--- A request with so many seconds of work begins.
function Service:enter(p, now, work, request, serial)
  local server = self.servers[p]
  advance(server, now)
  server.active = server.active + 1
  self.heaps[p]:push(server.served + work, request, serial)
  schedule(self, p, now)
end

--- A request is given up; its serial has changed already.
function Service:leave(p, now)
  local server = self.servers[p]
  advance(server, now)
  server.active = server.active - 1
  schedule(self, p, now)
end

--- The request that an event of the server says has ended; nil when the event is out of date.
---@return integer?
function Service:ended(p, now, version)
  local server, waiting = self.servers[p], self.heaps[p]
  if server.version ~= version then
    return nil
  end
  local request = waiting.items[1].what
  advance(server, now)
  waiting:pop()
  server.active = server.active - 1
  server.due = -1
  return request
end

--- After ended(), when the request's serial has changed.
function Service:go_on(p, now)
  schedule(self, p, now)
end

---@class gyre.sim.service
local service = {}

--- n servers.
---@param capacities integer[]
---@param events gyre.sim.Heap
---@param code integer
---@return gyre.sim.Service
function service.new(capacities, events, code)
  local n = #capacities
  local made = { servers = ffi.new("struct gyre_sim_server[?]", n + 1), heaps = {}, events = events, code = code }
  for p = 1, n do
    made.servers[p].capacity, made.servers[p].due = capacities[p], huge
    made.heaps[p] = heap.new()
  end
  return setmetatable(made, Service)
end

return service
