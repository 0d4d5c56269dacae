-- Views: the candidates for one request, as a strategy sees them. A view belongs to one strategy of one pool. It asks
-- the core only for what the strategy asks: a pick by one of the core's rules costs one call and no list; the list is
-- made, by one call too, when the strategy looks at the proxies themselves.
--
-- What changes between choosing and leasing is noticed by the core when the pick is leased, and then the strategy
-- chooses again without it: see choose.lua.
--
-- The object is a cdata, since a table has no `#` of its own in LuaJIT, and constant, since strategies hold it; what it
-- knows is in its face, by number.
local ffi = require "ffi"
local C = require "gyre.clib"
local criteria = require "gyre.criteria"
local faces = require "gyre.view.face"
local facade = require "gyre.strategy.facade"
local filter = require "gyre.filter"
local guard = require "gyre.strategy.guard"

local error, tostring, type = error, tostring, type
local enter, count, listed, chosen, pick, new_face = faces.enter, faces.count, faces.listed, faces.chosen, faces.pick,
  faces.new
local random_of = faces.random
local spend = guard.spend
local by_number, ids = faces.by_number, faces.ids
local slot_cell = ffi.new "uint32_t[1]"
local probe, probed = criteria.new(), {} -- what is_empty() asks for
local MOST_CHILDREN = 64
local STEPS = 4 -- of guarded code, that a look at a proxy is worth
local MAX_SAMPLE, UNLISTED, OVER = faces.MAX_SAMPLE, faces.UNLISTED, faces.OVER

--- The eligible proxies for a request: `#view` of them, `view[1]` to `view[#view]`, in the order of their slots.
---@class gyre.View: ffi.cdata*
---@field [integer] gyre.Proxy
---@field pool gyre.Pool
local View = {}

local function check_ties(random_ties)
  if random_ties ~= nil and type(random_ties) ~= "boolean" then
    error("ties at random: true or false", 3)
  end
end

-- The same with ties broken at random, where the request says nothing.
local function least_by(picker)
  return function(self, random_ties)
    check_ties(random_ties)
    local face, handle = enter(self)
    local cell = face.asked.cell
    local before = cell.random_ties
    if random_ties then
      cell.random_ties = 1
    end
    local found = pick(face, handle, picker)
    cell.random_ties = before
    return found
  end
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

--- One with the fewest leases since it joined, of several the first, or any; nil when the view is empty. O(1) on the
--- average.
---@type fun(self: gyre.View, random_ties?: boolean): gyre.Proxy?
View.least_used = least_by(C.GYRE_PICK_LEAST_USED)

--- One with the fewest leases in flight, likewise; nil when the view is empty. O(1).
---@type fun(self: gyre.View, random_ties?: boolean): gyre.Proxy?
View.least_active = least_by(C.GYRE_PICK_LEAST_ACTIVE)

local function in_range(value, low, high)
  return type(value) == "number" and value >= low and value <= high
end

--- The best of a few random ones by latency, load, success and weight; nil when the view is empty. O(choices).
---@param choices? integer 1 to 64, where the request says none [3]
---@param min_success? number 0 to 1: passes over whose success_rate is lower
---@param max_ms? number passes over whose ema_ms is higher
---@return gyre.Proxy?
function View.best(self, choices, min_success, max_ms)
  if choices ~= nil and not (in_range(choices, 1, MAX_SAMPLE) and choices % 1 == 0) then
    error("choices is a whole number from 1 to 64", 2)
  elseif not in_range(min_success or 0, 0, 1) then
    error("min_success is a number from 0 to 1", 2)
  elseif not in_range(max_ms or 0, 0, math.huge) then
    error("max_ms is a number of milliseconds", 2)
  end
  local face, handle = enter(self)
  local cell = face.asked.cell
  local choices_before, success_before, ms_before = cell.choices, cell.min_success, cell.max_ms
  cell.choices = choices_before ~= 0 and choices_before or choices or 0
  cell.min_success = success_before ~= 0 and success_before or min_success or 0
  cell.max_ms = ms_before ~= 0 and ms_before or max_ms or 0
  local found = pick(face, handle, C.GYRE_PICK_BEST)
  cell.choices, cell.min_success, cell.max_ms = choices_before, success_before, ms_before
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
  elseif weight ~= nil and type(weight) ~= "number" then
    error("a weight is a number, not a " .. type(weight), 0)
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
  spend(STEPS * count(face, handle))
  for i = 0, count(face, handle) - 1 do
    local candidate = listed(state, face.slots, i)
    local weight = weight_by(by, candidate)
    sum = sum + weight
    if weight > 0 and random_of(face):unit() * sum < weight then
      picked = candidate
    end
  end
  return picked
end

-- R. Floyd's algorithm (Bentley, "A sample of brilliance", 1987): k draws, whatever the size of the view.
local function sample_listed(face, handle, k)
  local n, sample, taken = count(face, handle), {}, {}
  for top = (k < n and n - k or 0) + 1, n do
    local i = random_of(face):upto(top)
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
  local found = k <= MAX_SAMPLE and filter.sample(handle, face.asked.cell, face.asked.country, ids, k) or 0
  spend(STEPS * (found < k and count(face, handle) or k))
  if found < k then -- not so many, or the core did not hit them all
    return sample_listed(face, handle, k)
  end
  local sample = {}
  for i = 1, k do
    sample[i] = chosen(face, i - 1)
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
  spend(STEPS * n)
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

-- Whether nobody of a view passes a filter too; second, what is wrong with that.
local function lacks(face, handle, wanted)
  local fault
  probed.country, probed.region, probed.tags, probed.state, fault = filter.read(wanted)
  if fault then
    return nil, fault
  end
  return filter.narrow(probe, face.asked, probed) or face.none
    or filter.list(handle, probe.cell, probe.country, slot_cell, 1) == 0
end

--- Whether nobody is in it, or nobody who passes a filter too. O(1), unlike `#view`, and no view is made.
---@param wanted? gyre.Filter
---@return boolean
function View.is_empty(self, wanted)
  local face, handle = enter(self)
  if wanted ~= nil then
    local empty, fault = lacks(face, handle, wanted)
    if fault then
      error(fault, 2)
    end
    return empty
  elseif self.n >= 0 then
    return self.n == 0
  end
  return face.none or filter.list(handle, face.asked.cell, face.asked.country, slot_cell, 1) == 0
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

--- Those of the view that pass a filter too: another view, valid as long as this one. The same filter gives the same
--- view.
---@param wanted gyre.Filter
---@return gyre.View
function View.where(self, wanted)
  local face = enter(self)
  local country, region, tags, state, fault = filter.read(wanted)
  if fault then
    error(fault, 2)
  end
  local children, child, free = face.children, nil, nil
  for i = 1, #children do
    local has = children[i].wanted
    if has.country == country and has.region == region and has.tags == tags and has.state == state then
      child = children[i]
      break
    elseif children[i].own.n == OVER then
      free = children[i]
    end
  end
  if not child then
    child = #children < MOST_CHILDREN and new_face(face.state, face.type, face.root) or free
    if not child then
      error(("a view is narrowed in %d ways at most in one choice"):format(MOST_CHILDREN), 2)
    elseif child ~= free then
      children[#children + 1] = child
    end
    child.wanted = { country = country, region = region, tags = tags, state = state }
  end
  if child.own.n == OVER then
    child.own.n = UNLISTED
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
      local face = by_number[self.number]
      return listed(face.state, face.slots, key - 1)
    end
    return nil
  end
  local method = View[key]
  if method then
    return method
  elseif key == "pool" then
    local face = enter(self)
    return facade.of(face.state, face.root.confined)
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

local function refuse(_, key)
  error(("a view is not changed: '%s'"):format(tostring(key)), 2)
end

local Handle = ffi.metatype(
  ffi.typeof "struct { const int32_t n; const uint32_t number; }",
  { __index = index, __newindex = refuse, __len = length }
)

---@class gyre.view
local view = {
  open = faces.open, close = faces.close, has = faces.has, lists = faces.lists, candidates = faces.candidates,
}

--- What the view of one strategy in one pool needs. Its `asked` is filled by whoever opens it.
---@param state gyre.State
---@return gyre.view.Face
function view.new(state)
  return new_face(state, Handle)
end

return view
