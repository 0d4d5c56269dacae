-- The deadlines of what is being served. All have the same timeout, so that the first in is the first out: a ring.
local ffi = require "ffi"

local huge, setmetatable = math.huge, setmetatable

ffi.cdef [[
struct gyre_sim_deadline { double at; int32_t request, serial; };
]]

local Ring = ffi.typeof "struct gyre_sim_deadline[?]"
local FIRST_ROOM = 1024

---@class gyre.sim.Deadlines
---@field requests ffi.cdata* whose `serial` tells whether a deadline still matters
local Deadlines = {}
Deadlines.__index = Deadlines

local function grow(self)
  local room = self.room * 2
  local ring = Ring(room)
  for i = self.first, self.last - 1 do
    ring[i % room] = self.ring[i % self.room]
  end
  self.ring, self.room = ring, room
end

--- Adds one that is later than all there are.
---@param at number
---@param request integer
---@param serial integer
function Deadlines:add(at, request, serial)
  if self.last - self.first == self.room then
    grow(self)
  end
  local deadline = self.ring[self.last % self.room]
  deadline.at, deadline.request, deadline.serial = at, request, serial
  self.last = self.last + 1
end

--- When the next one is; infinity when there is none.
---@return number
function Deadlines:next()
  while self.first < self.last do
    local deadline = self.ring[self.first % self.room]
    if self.requests[deadline.request].serial == deadline.serial then
      return deadline.at
    end
    self.first = self.first + 1
  end
  return huge
end

--- Whose the next one is, after next() has found one.
---@return integer
function Deadlines:request()
  return self.ring[self.first % self.room].request
end

local deadline = {}

--- A ring for the requests of an array.
---@param requests ffi.cdata*
---@return gyre.sim.Deadlines
function deadline.new(requests)
  local ring = Ring(FIRST_ROOM)
  return setmetatable({ requests = requests, ring = ring, room = FIRST_ROOM, first = 0, last = 0 }, Deadlines)
end

return deadline
