-- The synthetic pool: how its proxies behave. docs/sim.md describes the model and what it leaves out.
local ffi = require "ffi"
local dice = require "gyre.sim.dice"

local huge = math.huge

ffi.cdef [[
struct gyre_sim_proxy { double median, factor, failure, banned_until; int32_t behaviour, asked; };
]]

-- How an attempt ends, as in engine.lua.
local SERVED, REFUSED, STALLED, BANNED = 1, 2, 3, 4

local HEALTHY, REFUSES, STALLS, FAILS_FAST = 0, 1, 2, 3 -- behaviour
local FAST_FROM, FAST_TO = 0.025, 0.075 -- seconds until a refusal or a 403 is there
local COUNTRIES = { "US", "DE", "FR", "GB", "JP" }
local PREMIUM = 0.2 -- share of the pool that is premium

---@class gyre.sim.Model
---@field n integer
---@field capacities? integer[]
---@field changes { at: number, run: fun() }[] in the order of time
---@field recovered integer[] proxies that were slowed and recover
local Model = {}
Model.__index = Model

-- Whether the target refuses: more than `requests` in the last `seconds` start a ban.
local function is_banned(self, p, now)
  local ban, proxy = self.ban, self.proxies[p]
  local size = ban.requests
  local place = self.asked + p * size + proxy.asked % size
  local since = now - place[0] -- the request `requests` before this one, or long ago
  place[0] = now
  proxy.asked = proxy.asked + 1
  if now < proxy.banned_until then
    return true
  elseif since <= ban.seconds then
    proxy.banned_until = now + ban.length
    return true
  end
  return false
end

--- What becomes of an attempt through proxy p that begins now.
---@param p integer from 1
---@param now number seconds
---@return integer ending
---@return number seconds of work when it is SERVED, else until it ends
function Model:meet(p, now)
  local proxy, draws = self.proxies[p], self.draws
  if proxy.behaviour == REFUSES then
    return REFUSED, draws:between(FAST_FROM, FAST_TO)
  elseif proxy.behaviour == STALLS then
    return STALLED, huge
  elseif proxy.failure > 0 and draws:chance(proxy.failure) then
    if proxy.behaviour == FAILS_FAST then
      return REFUSED, draws:between(FAST_FROM, FAST_TO)
    end
    return STALLED, huge
  elseif self.ban and is_banned(self, p, now) then
    return BANNED, draws:between(FAST_FROM, FAST_TO)
  end
  return SERVED, draws:log_normal(proxy.median, self.spread) * proxy.factor
end

--- How gyre.open() is told of the proxies: labels have nothing to do with speed.
---@return table[]
function Model:list()
  local list = {}
  for p = 1, self.n do
    local premium = p % (1 / PREMIUM) == 0
    list[p] = {
      url = ("http://10.%d.%d.%d:3128"):format(p / 65536, p / 256 % 256, p % 256),
      country = COUNTRIES[p % #COUNTRIES + 1], region = "region-" .. p % 3,
      tags = premium and "premium" or "cheap", cost = premium and 5 or 1, rate = self.cap,
    }
  end
  return list
end

local function draw_proxies(options, draws)
  local n = options.proxies
  local proxies, order, capacities = ffi.new("struct gyre_sim_proxy[?]", n + 1), {}, options.capacity and {}
  for p = 1, n do
    proxies[p].median, proxies[p].factor = draws:log_normal(options.median / 1000, options.sigma), 1
    proxies[p].behaviour = HEALTHY
    order[p] = p
    if capacities then
      capacities[p] = draws:whole(options.capacity[1], options.capacity[2])
    end
  end
  draws:shuffle(order)
  return proxies, order, capacities
end

-- The first of a random order refuse, the next stall, the next fail now and then, every other one of them at once and
-- the rest by not answering. Returns the others.
local function spoil(options, proxies, order)
  local refuse, stall = options.refusing, options.refusing + options.stalling
  local healthy = {}
  for i, p in ipairs(order) do
    if i <= refuse then
      proxies[p].behaviour = REFUSES
    elseif i <= stall then
      proxies[p].behaviour = STALLS
    elseif i <= stall + options.flaky then
      proxies[p].failure = options.flaky_rate
      proxies[p].behaviour = i % 2 == 0 and FAILS_FAST or HEALTHY
    else
      healthy[#healthy + 1] = p
    end
  end
  return healthy
end

local function change(proxies, list, factor)
  return function()
    for _, p in ipairs(list) do
      proxies[p].factor = factor
    end
  end
end

-- Some of the faster half of the healthy become slow, and some of those recover.
local function plan(options, proxies, healthy, draws)
  table.sort(healthy, function(a, b)
    return proxies[a].median < proxies[b].median
  end)
  local fast, slowed, recovered = {}, {}, {}
  for i = 1, math.max(math.ceil(#healthy / 2), math.min(options.slowed, #healthy)) do
    fast[i] = healthy[i]
  end
  draws:shuffle(fast)
  for i = 1, math.min(options.slowed, #fast) do
    slowed[i] = fast[i]
    recovered[i] = i <= options.recovering and fast[i] or nil
  end
  return {
    { at = options.slow_at, run = change(proxies, slowed, options.slow_factor) },
    { at = options.recover_at, run = change(proxies, recovered, 1) },
  }, recovered
end

---@class gyre.sim.model
local model = { list = Model.list }

--- A pool drawn by a seed.
---@param options gyre.sim.Options
---@param seed integer
---@return gyre.sim.Model
function model.new(options, seed)
  local draws = dice.new(seed, 1)
  local proxies, order, capacities = draw_proxies(options, draws)
  local changes, recovered = plan(options, proxies, spoil(options, proxies, order), draws)
  local made = {
    n = options.proxies, proxies = proxies, capacities = capacities, changes = changes, recovered = recovered,
    spread = options.spread, draws = dice.new(seed, 2), cap = options.cap,
  }
  if options.ban then
    made.ban = options.ban
    local room = (options.proxies + 1) * options.ban.requests
    made.asked = ffi.new("double[?]", room)
    for i = 0, room - 1 do
      made.asked[i] = -huge
    end
  end
  return setmetatable(made, Model)
end

return model
