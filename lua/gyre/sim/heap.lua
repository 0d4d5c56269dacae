-- A binary heap of events: a time, what happens, and a version by which one that is out of date is told. In C arrays,
-- since a simulation pushes and pops several for each request.
local ffi = require "ffi"

local floor = math.floor

ffi.cdef [[
struct gyre_sim_event { double at; int32_t what, version; };
]]

local Events = ffi.typeof "struct gyre_sim_event[?]"
local FIRST_ROOM = 64

---@class gyre.sim.Event: ffi.cdata*
---@field at number
---@field what integer
---@field version integer

---@class gyre.sim.Heap
---@field count integer
---@field room integer
---@field items ffi.cdata* from 1 on
local Heap = {}
Heap.__index = Heap

local function set(items, i, at, what, version)
  local item = items[i]
  item.at, item.what, item.version = at, what, version
end

local function grow(self)
  local room = self.room * 2
  local items = Events(room)
  ffi.copy(items, self.items, self.room * ffi.sizeof "struct gyre_sim_event")
  self.items, self.room = items, room
end

--- Adds an event.
---@param at number
---@param what integer
---@param version integer
function Heap:push(at, what, version)
  local i = self.count + 1
  if i >= self.room then
    grow(self)
  end
  self.count = i
  local items = self.items
  while i > 1 do
    local parent = floor(i / 2)
    local above = items[parent]
    if above.at <= at then
      break
    end
    set(items, i, above.at, above.what, above.version)
    i = parent
  end
  set(items, i, at, what, version)
end

--- Takes the earliest away; read it at items[1] before. Not on an empty heap.
function Heap:pop()
  local items, n = self.items, self.count - 1
  local last = items[n + 1]
  local at, what, version = last.at, last.what, last.version
  self.count = n
  local i = 1
  while true do
    local child = i * 2
    if child > n then
      break
    end
    if child < n and items[child + 1].at < items[child].at then
      child = child + 1
    end
    local below = items[child]
    if below.at >= at then
      break
    end
    set(items, i, below.at, below.what, below.version)
    i = child
  end
  set(items, i, at, what, version)
end

---@class gyre.sim.heap
local heap = {}

--- An empty heap.
---@return gyre.sim.Heap
function heap.new()
  return setmetatable({ count = 0, room = FIRST_ROOM, items = Events(FIRST_ROOM) }, Heap)
end

return heap
