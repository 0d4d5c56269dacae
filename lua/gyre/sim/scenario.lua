-- Situations by name, so that strategies are compared in what others have seen. What a scenario does not say is as in
-- DEFAULTS; times of changes are shares of the duration.
local error, pairs, tostring, type = error, pairs, tostring, type

--- What is simulated. Times are seconds unless the name says ms.
---@class gyre.sim.Options
---@field proxies? integer how many [100]
---@field median? number ms: the middle of the proxies' median latencies [400]
---@field sigma? number how the proxies differ: standard deviation of the logarithm of their medians [0.5]
---@field spread? number how the requests of one proxy differ, likewise [0.35]
---@field capacity? integer[]|false least and most requests at once at full speed; false: any number [{ 2, 8 }]
---@field refusing? integer so many proxies refuse every request within 75 ms [0]
---@field stalling? integer so many never answer [0]
---@field flaky? integer so many others fail now and then, every other one at once, the rest by not answering [0]
---@field flaky_rate? number how often they do [0.3]
---@field slowed? integer so many of the faster half of the healthy ones become slow [0]
---@field slow_factor? number by so much [6]
---@field slow_at? number when [half of the duration]
---@field recovering? integer so many of those recover [0]
---@field recover_at? number when [three quarters of the duration]
---@field ban? { requests: integer, seconds: number, length: number }|false over so many requests in so many seconds
--- a proxy is answered 403 for so long [false]
---@field cap? string rate limit of each proxy, such as "32/10s" [none]
---@field rate? number requests a second, a Poisson process (open loop) [180, unless there are clients]
---@field clients? integer so many ask, one request after the other (closed loop)
---@field think? number pause of a client between two requests [0.02]
---@field duration? number for which requests arrive [400]
---@field warmup? number what begins before this is not counted [10]
---@field requests? integer no more arrive than so many
---@field timeout? number of an attempt [10]
---@field tries? integer attempts of a request, each through another proxy [3]
---@field host? string|false name of the target; false: the pool is not told, and bans act on no one [false]
---@field breaker? boolean whether failing proxies are benched [true]
---@field sessions? integer requests belong to so many sessions, drawn evenly; 0: to none [0]
---@field trace? string file of recorded requests: its proxies, and its arrivals unless rate or clients say otherwise.
--- Its length is the duration; warmup is then 0 and timeout none, unless given

local DEFAULTS = {
  proxies = 100, median = 400, sigma = 0.5, spread = 0.35, capacity = { 2, 8 }, refusing = 0, stalling = 0, flaky = 0,
  flaky_rate = 0.3, slowed = 0, slow_factor = 6, recovering = 0, ban = false, think = 0.02, duration = 400, warmup = 10,
  timeout = 10, tries = 3, host = false, breaker = true, sessions = 0,
}
local NUMBERS = {
  proxies = 1, median = 1e-3, sigma = 0, spread = 0, refusing = 0, stalling = 0, flaky = 0, flaky_rate = 0, slowed = 0,
  slow_factor = 1e-3, slow_at = 0, recovering = 0, recover_at = 0, rate = 1e-6, clients = 1, think = 0, duration = 1e-3,
  warmup = 0, requests = 1, timeout = 1e-3, tries = 1, sessions = 0,
}
local WHOLE = {
  proxies = true, refusing = true, stalling = true, flaky = true, slowed = true, recovering = true, clients = true,
  requests = true, tries = true, sessions = true,
}
local OTHERS = {
  capacity = "table", ban = "table", cap = "string", host = "string", breaker = "boolean", trace = "string",
}
local LIMIT = { requests = 40, seconds = 10, length = 60 }
local MOST = { proxies = 1000000, flaky_rate = 1, sessions = 1e6, tries = 64 }

local FAILING = { flaky = 20, slowed = 15, recovering = 7 }

local function with(base, more)
  local made = {}
  for _, part in pairs { base, more } do
    for name, value in pairs(part) do
      made[name] = value
    end
  end
  return made
end

---@class gyre.sim.scenario
local scenario = {
  --- By name: what it differs in from the defaults, and what it is about.
  list = {
    steady = with(FAILING, { rate = 180, about = "a fifth of the proxies fails 30 %, some get slow; sigma 0.5" }),
    wide = with(FAILING, { rate = 180, sigma = 1, about = "the same with proxies that differ more; sigma 1" }),
    load = with(FAILING, { clients = 200, about = "the same as steady, as fast as 200 clients can" }),
    sinkhole = { clients = 200, refusing = 5, stalling = 5, slowed = 15, recovering = 7,
      about = "5 % of the proxies refuse at once, 5 % never answer" },
    bans = with(FAILING, { rate = 180, ban = LIMIT, host = "shop.example",
      about = "over 40 requests in 10 s the target answers 403 for 60 s" }),
  },
}
for _, name in pairs { "steady", "wide", "load", "sinkhole", "bans" } do
  local bare = with(scenario.list[name], { breaker = false, about = "the same without breaker" })
  bare.host = nil
  scenario.list[name .. "-bare"] = bare
end

--- What a number may be; nil for options that are none.
---@param name string
---@return number? least
---@return number? most
---@return boolean? whole
function scenario.range(name)
  return NUMBERS[name], MOST[name] or NUMBERS[name] and 1e9, WHOLE[name]
end

local function check(name, value)
  local least = NUMBERS[name]
  if least then
    if type(value) ~= "number" or not (value >= least and value <= (MOST[name] or 1e9)) then
      error(("%s must be a number from %g to %g"):format(name, least, MOST[name] or 1e9), 0)
    elseif WHOLE[name] and value % 1 ~= 0 then
      error(name .. " must be a whole number", 0)
    end
  elseif not OTHERS[name] then
    error(("unknown option '%s'"):format(tostring(name)), 0)
  elseif type(value) ~= OTHERS[name] and value ~= false then
    error(("%s must be a %s"):format(name, OTHERS[name]), 0)
  end
end

local function is_whole(value, most)
  return type(value) == "number" and value >= 1 and value <= most and value % 1 == 0
end

local function is_ban(ban)
  return is_whole(ban.requests, 1e4) and type(ban.seconds) == "number" and type(ban.length) == "number"
end

local function check_tables(capacity, ban)
  if capacity and not (is_whole(capacity[1], 1e6) and is_whole(capacity[2], 1e6) and capacity[1] <= capacity[2]) then
    error("option 'capacity' is the least and the most, whole numbers from 1 on", 0)
  elseif ban and not is_ban(ban) then
    error("option 'ban' has requests, a whole number from 1 to 10000, seconds and length", 0)
  end
end

local function check_together(options)
  local spoilt = options.refusing + options.stalling + options.flaky
  check_tables(options.capacity, options.ban)
  if spoilt > options.proxies then
    error("option 'refusing', option 'stalling' and option 'flaky' together are above option 'proxies'", 0)
  elseif options.rate and options.clients then
    error("option 'rate' and option 'clients' exclude each other", 0)
  elseif options.warmup >= options.duration then
    error(("option 'warmup', %g, must be below option 'duration', %g"):format(options.warmup, options.duration), 0)
  elseif options.requests and options.rate and options.requests <= options.rate * options.warmup then
    error(("option 'requests', %g, is no more than come within option 'warmup', %g s, of which nothing is counted")
      :format(options.requests, options.warmup), 0)
  elseif options.slowed > options.proxies - spoilt then
    error("option 'slowed' is above what is healthy of option 'proxies'", 0)
  elseif options.recovering > options.slowed then
    error("option 'recovering' is above option 'slowed': those recover that became slow", 0)
  elseif options.recovering > 0 and options.recover_at <= options.slow_at then
    error("option 'recover_at' must be after option 'slow_at'", 0)
  end
end

-- Of a record everything counts, and its latencies are what they are.
local TRACED = { warmup = 0, timeout = 1e9 }

--- The options of a run: those given, over those of a scenario, over the defaults. Raises on what cannot be.
---@param name? string of a scenario
---@param given? gyre.sim.Options
---@return gyre.sim.Options
function scenario.options(name, given)
  local base = name and scenario.list[name] or {}
  if name and not scenario.list[name] then
    error(("there is no scenario '%s'"):format(name), 0)
  end
  local options = with(DEFAULTS, base)
  if given and given.trace then
    options = with(DEFAULTS, TRACED)
  end
  if given and (given.rate or given.clients) then
    options.rate, options.clients = nil, nil
  end
  for key, value in pairs(given or {}) do
    check(key, value)
    options[key] = value
  end
  options.about = nil
  if not options.rate and not options.clients and not options.trace then
    options.rate = 180
  end
  options.slow_at = options.slow_at or options.duration / 2
  options.recover_at = options.recover_at or options.duration * 0.75
  options.host = options.host or nil
  check_together(options)
  return options
end

return scenario
