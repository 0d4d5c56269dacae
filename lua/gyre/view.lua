-- Views: the candidates for one request, as a strategy sees them. A view is a sequence of proxies, by slot; it belongs
-- to one strategy of one pool and is filled anew for each request.
--
-- Filling costs one lock and one copy a proxy. What changes between filling and leasing is noticed by the core when the
-- pick is leased, and then the strategy picks again without it: see acquire.lua.
local ffi = require "ffi"
local C = require "gyre.clib"
local proxy = require "gyre.proxy"
local random = require "gyre.random"

local error, setmetatable, tonumber, type = error, setmetatable, tonumber, type

local id_cell = ffi.new "uint64_t[1]"
local info = ffi.new("struct gyre_proxy", { size = ffi.sizeof "struct gyre_proxy" })

--- The eligible proxies for a request: `#view` of them, `view[1]` to `view[#view]`, in the order of their slots.
---@class gyre.View
---@field [integer] gyre.Proxy
local View = {}
View.__index = View

local function excluded(exclude, id)
  for i = 1, #exclude do
    if exclude[i] == id then
      return true
    end
  end
  return false
end

-- Eligible as far as can be seen from outside; an open breaker whose time has passed is about to be half open.
local function judge(self, now)
  local state = info.state
  if state == C.GYRE_DISABLED then
    self.disabled = self.disabled + 1
  elseif state == C.GYRE_DRAINING then
    self.draining = self.draining + 1
  elseif state == C.GYRE_OPEN and info.benched_until > now then
    self.benched = self.benched + 1
  elseif info.max_active > 0 and info.active >= info.max_active then
    self.busy = self.busy + 1
  else
    return true
  end
  return false
end

local NONE = {}

--- Fills the view.
---@param self gyre.View
---@param handle ffi.cdata* `struct gyre_pool *`
---@param state gyre.State
---@param exclude? number[] ids
function View.fill(self, handle, state, exclude)
  exclude = exclude or NONE
  self.busy, self.benched, self.draining, self.disabled, self.excluded = 0, 0, 0, 0, 0
  local now, n, before = C.gyre_pool_time(handle), 0, self.n
  id_cell[0] = 0
  while C.gyre_pool_next(handle, id_cell) == 1 do
    local id = tonumber(id_cell[0])
    if C.gyre_pool_get(handle, id, info) == 0 and judge(self, now) then
      if excluded(exclude, id) then
        self.excluded = self.excluded + 1
      else
        n = n + 1
        self[n] = proxy.by_id(state, id)
      end
    end
  end
  for i = n + 1, before do
    self[i] = nil
  end
  self.n = n
end

--- Whether a value is a proxy of the view.
---@param self gyre.View
---@param value any
---@return boolean
function View.has(self, value)
  for i = 1, self.n do
    if self[i] == value then
      return true
    end
  end
  return false
end

--- Takes a proxy out of the view, for this request.
---@param self gyre.View
---@param gone gyre.Proxy
function View.drop(self, gone)
  for i = 1, self.n do
    if self[i] == gone then
      table.remove(self, i)
      self.n = self.n - 1
      return
    end
  end
end

--- The next proxy after the one this method returned last, by slot, around: between two picks of a proxy that stays
--- eligible every other one that stays eligible is picked once, however the view changes meanwhile. The first pick is
--- random. nil when the view is empty.
---@return gyre.Proxy?
function View.round_robin(self)
  local n = self.n
  if n == 0 then
    return nil
  end
  local last, at = self.last_slot, self.last_index
  if not last then
    at = self.random_source:upto(n)
  else
    -- Mostly the proxy stands where it stood; otherwise a binary search for the first slot above it.
    local here = self[at]
    if here and here.slot == last then
      at = at + 1
    else
      local low, high = 1, n + 1
      while low < high do
        local middle = (low + high - (low + high) % 2) / 2
        if self[middle].slot > last then
          high = middle
        else
          low = middle + 1
        end
      end
      at = low
    end
    if at > n then
      at = 1
    end
  end
  local picked = self[at]
  self.last_slot, self.last_index = picked.slot, at
  return picked
end

--- A proxy, each with the same chance; nil when the view is empty.
---@return gyre.Proxy?
function View.random(self)
  local n = self.n
  if n == 0 then
    return nil
  end
  return self[self.random_source:upto(n)]
end

--- `k` distinct proxies, or all when there are fewer, in no particular order. Makes a table.
---@param k integer
---@return gyre.Proxy[]
function View.sample(self, k)
  if type(k) ~= "number" or k < 0 or k % 1 ~= 0 then
    error("sample takes a whole number from 0 on", 2)
  end
  -- R. Floyd's algorithm (Bentley, "A sample of brilliance", 1987): k draws, whatever the size of the view.
  local n, sample, taken = self.n, {}, {}
  for top = (k < n and n - k or 0) + 1, n do
    local i = self.random_source:upto(top)
    if taken[i] then
      i = top
    end
    taken[i] = true
    sample[#sample + 1] = self[i]
  end
  return sample
end

--- The proxy with the lowest score, the first of several; those without a score (nil, NaN) are passed over. O(n).
---@param score fun(proxy: gyre.Proxy): number?
---@return gyre.Proxy?
function View.min(self, score)
  local best, lowest = nil, nil
  for i = 1, self.n do
    local candidate = self[i]
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
  local at = position.at + 1
  position.at = at
  return position.view[at]
end

--- `for proxy in view:each() do`. `for i = 1, #view do` makes no table and is faster.
---@return fun(position: table): gyre.Proxy?
---@return table position
function View.each(self)
  return advance, { view = self, at = 0 }
end

---@class gyre.view
local view = {}

--- An empty view.
---@param seed? number
---@return gyre.View
function view.new(seed)
  return setmetatable({ n = 0, random_source = random.new(seed) }, View)
end

return view
