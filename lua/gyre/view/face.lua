-- What a view knows, apart from its methods: the request, the list, and what the core picked. See view.lua.
local ffi = require "ffi"
local bit = require "bit"
local C = require "gyre.clib"
local criteria = require "gyre.criteria"
local filter = require "gyre.filter"
local proxy = require "gyre.proxy"
local random = require "gyre.random"
local status = require "gyre.status"

local error, setmetatable, tostring = error, setmetatable, tostring
local band = bit.band
local at, in_cell, belongs, put = proxy.at, proxy.in_cell, proxy.belongs, proxy.put

local writable = ffi.typeof "struct { int32_t n; uint32_t number; } *"
local MAX_SAMPLE = 64 -- of gyre_sample()
local FIRST_ROOM = 128
local ids = ffi.new("uint64_t[?]", MAX_SAMPLE)

-- What a view knows.
---@class gyre.view.Face
---@field view gyre.View
---@field own ffi.cdata* the same object, for writing
---@field state gyre.State
---@field asked gyre.Criteria
---@field root gyre.view.Face of where(): the view of the request; otherwise itself
---@field slots ffi.cdata* the list
---@field room integer how many fit
---@field picked ffi.cdata* ids that the core picked, the last MAX_SAMPLE
---@field picks integer how many it has picked
---@field listed integer n when it was closed
---@field confined? boolean of a strategy that is not trusted
---@field none? boolean of where(): nobody can pass this filter and the request's
---@field children gyre.view.Face[]

---@class gyre.view.face
local module = { MAX_SAMPLE = MAX_SAMPLE, ids = ids }

---@type table<integer, gyre.view.Face>
local faces = setmetatable({}, { __mode = "v" })
module.by_number = faces
local last_number = 0

-- `n` is how many are listed, or one of these.
local UNLISTED, OVER = -1, -2
module.UNLISTED, module.OVER = UNLISTED, OVER

-- The face, and the handle of the pool. Methods call this directly: level 3 is their caller.
function module.enter(self)
  local face = faces[self.number]
  if self.n == OVER or not face then
    error("a view is valid during select only", 3)
  end
  local handle = face.state.handle
  if handle == nil then
    error("the pool of this view is closed", 3)
  end
  return face, handle
end

-- gyre_list() with room for all; of several countries the first that has anyone.
local function list(face, handle)
  local cell = face.asked.cell
  while true do
    local n = filter.list(handle, cell, face.asked.country, face.slots, face.room)
    if n < face.room then
      return n > 0 and n or 0
    end
    face.room = face.room * 4
    face.slots = ffi.new("uint32_t[?]", face.room)
  end
end

local function count(face, handle)
  local own = face.own
  if own.n < 0 then
    own.n = face.none and 0 or list(face, handle)
  end
  return own.n
end

module.count = count

-- The i-th of the list, from 0. It learns its place, so that has() finds it without searching.
local function listed(state, slots, i)
  local slot = slots[i]
  local object = at(state, slot, state.slots[slot].generation)
  put(object, i)
  return object
end

module.listed = listed

-- The i-th proxy that the core chose, from 0.
local function chosen(face, i)
  local root = face.root
  local picks = root.picks
  root.picked[band(picks, MAX_SAMPLE - 1)] = ids[i]
  root.picks = picks + 1
  return in_cell(face.state, ids + i)
end

module.chosen = chosen

-- A pick by one of the core's rules; nil when the view is empty.
function module.pick(face, handle, picker)
  if face.none then
    return nil
  end
  local cell = face.asked.cell
  cell.picker = picker
  local code = C.gyre_pick(handle, cell, ids)
  if code == 0 then
    return chosen(face, 0)
  elseif code == C.GYRE_ENO_PROXY or code == C.GYRE_EBUSY then
    return nil
  end
  error(tostring(status.error(code)), 2)
end

--- A new one, whose view is made by `Handle`; with `root` for a narrowed view.
function module.new(state, Handle, root)
  last_number = last_number + 1
  local face = {
    view = Handle(OVER, last_number), state = state, asked = criteria.new(),
    slots = ffi.new("uint32_t[?]", FIRST_ROOM), room = FIRST_ROOM, picks = 0, children = {}, listed = -1, none = false,
  }
  face.own = ffi.cast(writable, face.view)
  face.root = root or face
  if not root then
    face.picked = ffi.new("uint64_t[?]", MAX_SAMPLE)
  end
  faces[last_number], face.type = face, Handle
  return face
end

--- The generator of a view. Made when it is first needed: nginx opens its pools before it forks, and its workers shall
--- not all draw the same.
---@param face gyre.view.Face
---@return gyre.Random
function module.random(face)
  local root = face.root
  if not root.random then
    root.random = random.new(root.state.seed)
  end
  return root.random
end

--- Begins a choice: what is known of the last one is forgotten.
---@param face gyre.view.Face
function module.open(face)
  face.picks, face.listed = 0, UNLISTED
  face.own.n = UNLISTED
end

local function close_children(children)
  for i = 1, #children do
    children[i].own.n = OVER
    close_children(children[i].children)
  end
end

--- Ends it: a strategy may keep its view, and what that shows is no longer so.
---@param face gyre.view.Face
function module.close(face)
  face.listed = face.own.n
  face.own.n = OVER
  if face.children[1] then
    close_children(face.children)
  end
end

local function was_picked(face, id)
  local picks = face.picks
  for i = picks > MAX_SAMPLE and picks - MAX_SAMPLE or 0, picks - 1 do
    if face.picked[band(i, MAX_SAMPLE - 1)] == id then
      return true
    end
  end
  return false
end

--- Whether an open view lists the proxy with this id.
---@param face gyre.view.Face
---@param handle ffi.cdata*
---@param id number
---@return boolean
local function lists(face, handle, id)
  local slot = id % proxy.ID_SLOTS
  for i = 0, count(face, handle) - 1 do
    if face.slots[i] == slot then
      return listed(face.state, face.slots, i).id == id
    end
  end
  return false
end

module.lists = lists

--- Whether a value is a proxy of an open view: one that the core picked from it, or else one that it lists.
---@param face gyre.view.Face
---@param handle ffi.cdata*
---@param value any
---@return boolean
function module.has(face, handle, value)
  if not belongs(face.state, value) then
    return false
  end
  -- Nearly always it is the last pick or the one before, or knows its place in the list; loops would end the compiled
  -- trace.
  local id, picks, place = value.core_id, face.picks, value.place
  if picks > 0 and face.picked[band(picks - 1, MAX_SAMPLE - 1)] == id then
    return true
  elseif picks > 1 and face.picked[band(picks - 2, MAX_SAMPLE - 1)] == id then
    return true
  elseif place < face.own.n and face.slots[place] == value.slot then
    return true
  end
  return was_picked(face, id) or lists(face, handle, value.id)
end

--- How many candidates there were when it was closed, for the log.
---@param face gyre.view.Face
---@param handle ffi.cdata*
---@return integer
function module.candidates(face, handle)
  if face.listed >= 0 then
    return face.listed
  end
  local n = C.gyre_pool_eligible(handle, face.asked.cell)
  return n > 0 and n or 0
end

return module
