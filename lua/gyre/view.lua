-- Views: the candidates for one request, as a strategy sees them. A view belongs to one strategy of one pool. It asks
-- the core only for what the strategy asks: a pick by one of the core's rules costs one call and no list; the list is
-- made, by one call too, when the strategy looks at the proxies themselves.
--
-- What changes between choosing and leasing is noticed by the core when the pick is leased, and then the strategy
-- chooses again without it: see choose.lua.
--
-- The object is a cdata, since a table has no `#` of its own in LuaJIT; what it knows is in its face, by number.
local ffi = require "ffi"
local bit = require "bit"
local C = require "gyre.clib"
local criteria = require "gyre.criteria"
local filter = require "gyre.filter"
local proxy = require "gyre.proxy"
local random = require "gyre.random"
local registry = require "gyre.registry"
local status = require "gyre.status"

local error, setmetatable, tonumber, tostring, type = error, setmetatable, tonumber, tostring, type
local band, rshift = bit.band, bit.rshift
local pools, at = registry.pools, proxy.at

local MAX_SAMPLE = 64 -- of gyre_sample()
local FIRST_ROOM = 128
local ids = ffi.new("uint64_t[?]", MAX_SAMPLE)

--- The eligible proxies for a request: `#view` of them, `view[1]` to `view[#view]`, in the order of their slots.
---@class gyre.View: ffi.cdata*
---@field [integer] gyre.Proxy
---@field pool gyre.Pool
local View = {}

-- What a view knows.
---@class gyre.view.Face
---@field view gyre.View
---@field state gyre.State
---@field asked gyre.Criteria
---@field root gyre.view.Face of where(): the view of the request; otherwise itself
---@field slots ffi.cdata* the list
---@field room integer how many fit
---@field picked ffi.cdata* ids that the core picked, the last MAX_SAMPLE
---@field picks integer how many it has picked
---@field listed integer n when it was closed
---@field none? boolean of where(): nobody can pass this filter and the request's
---@field children gyre.view.Face[]

---@type table<integer, gyre.view.Face>
local faces = setmetatable({}, { __mode = "v" })
local last_number = 0

-- `n` is how many are listed, or one of these.
local UNLISTED, OVER = -1, -2

-- The face, and the handle of the pool. Methods call this directly: level 3 is their caller.
local function enter(self)
  local face = faces[self.number]
  if self.n == OVER or not face then
    error("a view is valid during select only", 3)
  end
  local pool = pools[face.state.number]
  if not pool then
    error("the pool of this view is closed", 3)
  end
  return face, pool.handle
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
  local self = face.view
  if self.n < 0 then
    self.n = face.none and 0 or list(face, handle)
  end
  return self.n
end

-- The i-th of the list, from 0. It learns its place, so that has() finds it without searching.
local function listed(state, slots, i)
  local slot = slots[i]
  local object = at(state, slot, state.slots[slot].generation)
  object.place = i
  return object
end

-- The proxy with an id that the core chose.
local function chosen(face, id)
  local root = face.root
  local picks = root.picks
  root.picked[band(picks, MAX_SAMPLE - 1)] = id
  root.picks = picks + 1
  return at(face.state, tonumber(band(id, 0xfffffULL)), tonumber(rshift(id, 20)))
end

-- A pick by one of the core's rules; nil when the view is empty.
local function pick(face, handle, picker)
  if face.none then
    return nil
  end
  local cell = face.asked.cell
  cell.picker = picker
  local code = C.gyre_pick(handle, cell, ids)
  if code == 0 then
    return chosen(face, ids[0])
  elseif code == C.GYRE_ENO_PROXY or code == C.GYRE_EBUSY then
    return nil
  end
  error(tostring(status.error(code)), 2)
end

-- The pick is a tail call, so that an error is the strategy's.
local function picks_by(picker)
  return function(self)
    local face, handle = enter(self)
    return pick(face, handle, picker)
  end
end

--- The next proxy, around: between two picks of a proxy that stays eligible every other one that stays eligible is
--- picked once, by all strategies, threads and processes that use the same filter. nil when the view is empty. O(1).
---@type fun(self: gyre.View): gyre.Proxy?
View.round_robin = picks_by(C.GYRE_PICK_ROUND_ROBIN)

--- A proxy, each with the same chance; nil when the view is empty. O(1).
---@type fun(self: gyre.View): gyre.Proxy?
View.random = picks_by(C.GYRE_PICK_RANDOM)

--- One with the fewest leases since it joined; nil when the view is empty. O(1) on the average.
---@type fun(self: gyre.View): gyre.Proxy?
View.least_used = picks_by(C.GYRE_PICK_LEAST_USED)

--- One with the fewest leases in flight; nil when the view is empty. O(1).
---@type fun(self: gyre.View): gyre.Proxy?
View.least_active = picks_by(C.GYRE_PICK_LEAST_ACTIVE)

--- The best of a few random ones by latency, load, success and weight; nil when the view is empty. O(choices).
---@param choices? integer 1 to 64 [the request's, or the strategy's, or 3]
---@return gyre.Proxy?
function View.best(self, choices)
  if choices ~= nil and not (type(choices) == "number" and choices >= 1 and choices <= MAX_SAMPLE) then
    error("the best of 1 to 64 can be had", 2)
  end
  local face, handle = enter(self)
  local cell = face.asked.cell
  local before = cell.choices
  cell.choices = choices or before
  local found = pick(face, handle, C.GYRE_PICK_BEST)
  cell.choices = before
  return found
end

--- The proxy for a key: the same for the same key while the pool stays as it is, and few keys move when it changes. nil
--- when the view is empty. O(1).
---@param key string
---@return gyre.Proxy?
function View.hash(self, key)
  if type(key) ~= "string" then
    error("a key is text, not a " .. type(key), 2)
  end
  local face, handle = enter(self)
  face.asked.key = key
  face.asked.cell.key = key
  return pick(face, handle, C.GYRE_PICK_HASH)
end

local function weight_by(by, candidate)
  local weight = type(by) == "function" and by(candidate) or candidate[by]
  if type(weight) == "number" and weight > 0 and weight < math.huge then
    return weight
  end
  return 0
end

--- A proxy at random, proportional to its weight, in O(1); or to a field, or to what a function says, in O(n). Those
--- without a weight above 0 are passed over; nil when there are no others.
---@param by? string|fun(proxy: gyre.Proxy): number? name of a field, or function
---@return gyre.Proxy?
function View.weighted(self, by)
  local face, handle = enter(self)
  if by == nil then
    return pick(face, handle, C.GYRE_PICK_WEIGHTED)
  end
  -- One pass: each candidate takes over with its share of the sum so far (Chao 1982, for a sample of one).
  local state, picked, sum = face.state, nil, 0
  for i = 0, count(face, handle) - 1 do
    local candidate = listed(state, face.slots, i)
    local weight = weight_by(by, candidate)
    sum = sum + weight
    if weight > 0 and face.root.random:unit() * sum < weight then
      picked = candidate
    end
  end
  return picked
end

-- R. Floyd's algorithm (Bentley, "A sample of brilliance", 1987): k draws, whatever the size of the view.
local function sample_listed(face, handle, k)
  local n, sample, taken = count(face, handle), {}, {}
  for top = (k < n and n - k or 0) + 1, n do
    local i = face.root.random:upto(top)
    if taken[i] then
      i = top
    end
    taken[i] = true
    sample[#sample + 1] = listed(face.state, face.slots, i - 1)
  end
  return sample
end

--- `k` distinct proxies, or all when there are fewer, in no particular order. Makes a table. O(k), for more than 64 and
--- for nearly all of the view O(n).
---@param k integer
---@return gyre.Proxy[]
function View.sample(self, k)
  if type(k) ~= "number" or k < 0 or k % 1 ~= 0 then
    error("sample takes a whole number from 0 on", 2)
  end
  local face, handle = enter(self)
  if k == 0 or face.none then
    return {}
  end
  local found = k <= MAX_SAMPLE and C.gyre_sample(handle, face.asked.cell, ids, k) or 0
  if found < k then -- not so many, or the core did not hit them all
    return sample_listed(face, handle, k)
  end
  local sample = {}
  for i = 1, k do
    sample[i] = chosen(face, ids[i - 1])
  end
  return sample
end

--- The proxy with the lowest score, the first of several; those without a score (nil, NaN) are passed over. O(n).
---@param score fun(proxy: gyre.Proxy): number?
---@return gyre.Proxy?
function View.min(self, score)
  local face, handle = enter(self)
  local n, slots, state = count(face, handle), face.slots, face.state
  local best, lowest = nil, nil
  for i = 0, n - 1 do
    local candidate = listed(state, slots, i)
    local value = score(candidate)
    if value ~= nil then
      if type(value) ~= "number" then
        error("a score is a number or nil, not a " .. type(value), 2)
      end
      if value == value and (lowest == nil or value < lowest) then
        best, lowest = candidate, value
      end
    end
  end
  return best
end

local function advance(position)
  local i = position.i + 1
  position.i = i
  return position.view[i]
end

--- `for proxy in view:each() do`. `for i = 1, #view do` makes no table and is faster.
---@return fun(position: table): gyre.Proxy?
---@return table position
function View.each(self)
  return advance, { view = self, i = 0 }
end

local new_face

--- Those of the view that pass a filter too: another view, valid as long as this one. The same filter gives the same
--- view.
---@param wanted { country?: string|string[], region?: string, tags?: string|string[] }
---@return gyre.View
function View.where(self, wanted)
  local face = enter(self)
  local country, region, tags, fault = filter.read(wanted)
  if fault then
    error(fault, 2)
  end
  local children, child = face.children, nil
  for i = 1, #children do
    local has = children[i].wanted
    if has.country == country and has.region == region and has.tags == tags then
      child = children[i]
      break
    end
  end
  if not child then
    child = new_face(face.state, face.root)
    child.wanted = { country = country, region = region, tags = tags }
    children[#children + 1] = child
  end
  if child.view.n == OVER then
    child.view.n = UNLISTED
    child.none = filter.narrow(child.asked, face.asked, child.wanted) or face.none
  end
  return child.view
end

local function index(self, key)
  if type(key) == "number" then
    if self.n < 0 then
      count(enter(self))
    end
    if key >= 1 and key <= self.n then
      local face = faces[self.number]
      return listed(face.state, face.slots, key - 1)
    end
    return nil
  end
  local method = View[key]
  if method then
    return method
  elseif key == "pool" then
    return pools[enter(self).state.number]
  end
  if key == nil then
    return nil -- as view[request.metadata], say, is of no use but no mistake either
  end
  error(("a view has no '%s'"):format(tostring(key)), 2)
end

local function length(self)
  if self.n < 0 then
    count(enter(self))
  end
  return self.n
end

local Handle = ffi.metatype(ffi.typeof "struct { int32_t n; uint32_t number; }", { __index = index, __len = length })

function new_face(state, root)
  last_number = last_number + 1
  local face = {
    view = Handle(OVER, last_number), state = state, asked = criteria.new(),
    slots = ffi.new("uint32_t[?]", FIRST_ROOM), room = FIRST_ROOM, picks = 0, children = {}, listed = -1,
  }
  face.root = root or face
  faces[last_number] = face
  return face
end

---@class gyre.view
local view = {}

--- What the view of one strategy in one pool needs. Its `asked` is filled by whoever opens it.
---@param state gyre.State
---@return gyre.view.Face
function view.new(state)
  local face = new_face(state)
  face.picked = ffi.new("uint64_t[?]", MAX_SAMPLE)
  face.random = random.new(state.seed)
  return face
end

--- Begins a choice: what is known of the last one is forgotten.
---@param face gyre.view.Face
function view.open(face)
  face.picks, face.listed = 0, UNLISTED
  face.view.n = UNLISTED
end

local function close_children(children)
  for i = 1, #children do
    children[i].view.n = OVER
    close_children(children[i].children)
  end
end

--- Ends it: a strategy may keep its view, and what that shows is no longer so.
---@param face gyre.view.Face
function view.close(face)
  face.listed = face.view.n
  face.view.n = OVER
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
function view.lists(face, handle, id)
  local slot = id % proxy.ID_SLOTS
  for i = 0, count(face, handle) - 1 do
    if face.slots[i] == slot then
      return listed(face.state, face.slots, i).id == id
    end
  end
  return false
end

--- Whether a value is a proxy of an open view: one that the core picked from it, or else one that it lists.
---@param face gyre.view.Face
---@param handle ffi.cdata*
---@param value any
---@return boolean
function view.has(face, handle, value)
  if not proxy.belongs(face.state, value) then
    return false
  end
  -- Nearly always it is the last pick, or knows its place in the list; loops would end the compiled trace.
  local id, picks, place = value.id, face.picks, value.place
  if picks > 0 and face.picked[band(picks - 1, MAX_SAMPLE - 1)] == id then
    return true
  elseif place < face.view.n and face.slots[place] == value.slot then
    return true
  end
  return was_picked(face, id) or view.lists(face, handle, id)
end

--- How many candidates there were when it was closed, for the log.
---@param face gyre.view.Face
---@param handle ffi.cdata*
---@return integer
function view.candidates(face, handle)
  if face.listed >= 0 then
    return face.listed
  end
  local n = C.gyre_pool_eligible(handle, face.asked.cell)
  return n > 0 and n or 0
end

return view
