-- What gyre.open() takes, as the core takes it. Values are the core's to judge; here unknown names and wrong types
-- raise, and a 0 that the core would read as "default" is refused.
local ffi = require "ffi"
local C = require "gyre.clib"
local errors = require "gyre.error"

local error, pairs, tonumber, tostring, type = error, pairs, tonumber, tostring, type

--- How to open a pool. With `shared`, an existing file is attached, and its capacities and settings apply.
---@class gyre.Options
---@field proxies? string|table path of a list, or a list of URLs and tables of fields
---@field shared? string path of a segment file, usually on /dev/shm
---@field mode? string permission bits of a new segment file, octal as for chmod ["0600"]
---@field group? string its group, by name or number in text [the process's own]
---@field strategy? string|gyre.Strategy|gyre.Composition name, path, table or composition [what the segment says,
--- and in a new one "round-robin"]
---@field strategy_options? table<string, any> options of it
---@field local_only? boolean it is for this handle alone, though the pool is shared [false]
---@field fallback? string|gyre.Strategy|gyre.Composition serves where the strategy cannot ["round-robin", which
--- does not serve for metadata that is missing]
---@field trusted? boolean files with strategies have ffi, io, os and require, and no checks against endless loops
--- [false]
---@field watch? boolean a strategy's file that changed is loaded again, within a second or so [false]
---@field budget_ms? number what a call of a strategy may take of the processor's time; see strategies/README.md [10]
---@field trip_after? integer failures in a row after which a strategy rests [10]
---@field trip_rest? number seconds that it rests [30]
---@field logger? fun(message: string) is told of strategies that fail [the standard error]
---@field max_proxies? integer capacity [65536, or twice what `proxies` holds where that is more than these]
---@field max_leases? integer capacity for leases in flight [65536]
---@field max_sessions? integer so many sessions fit for certain [131072]
---@field max_bans? integer capacity for bans of a proxy by a host [65536]
---@field session_ttl? number a session unused for so long is over, seconds [3600]
---@field session_lifetime? number so is one that has had its proxy for so long, seconds [no limit]
---@field alpha? number weight of a new sample in ema_ms, (0, 1] [0.2]
---@field window? number length of the sliding window, seconds [3600]
---@field lease_timeout? number a lease older than this ends as aborted, seconds [300]
---@field breaker? gyre.BreakerOptions
---@field seed? integer of every random choice, 1 to 2^53
---@field start? number pool time at which a new segment begins, seconds [0]
---@field clock? "system"|"manual" manual stands still until pool:set_time() ["system"]

---@class gyre.BreakerOptions
---@field failures? integer proxy failures in a row that bench a proxy [5]
---@field base? number the first bench is random between 0 and this, seconds [30]; it doubles with each
---@field max? number its upper end, seconds [3600]
---@field max_benched? number largest share of the pool on the bench, (0, 1] [0.8]

-- Lua name -> { C name, type }.
local POOL = {
  max_proxies = { "max_proxies", "integer" },
  max_leases = { "max_leases", "integer" },
  max_sessions = { "max_sessions", "integer" },
  max_bans = { "max_bans", "integer" },
  session_ttl = { "session_ttl", "number" },
  session_lifetime = { "session_lifetime", "number" },
  alpha = { "alpha", "number" },
  window = { "window", "number" },
  lease_timeout = { "lease_timeout", "number" },
  seed = { "seed", "integer" },
  start = { "start", "number" },
}
local BREAKER = {
  failures = { "breaker_failures", "integer" },
  base = { "breaker_base", "number" },
  max = { "breaker_max", "number" },
  max_benched = { "max_benched", "number" },
}
local CLOCKS = { system = C.GYRE_CLOCK_SYSTEM, manual = C.GYRE_CLOCK_MANUAL }
local LARGEST = { seed = 2 ^ 53 }
local SOURCES = {
  proxies = "a path or a list", strategy = "a name, a path or a table", fallback = "a name, a path or a table",
}
-- What is Lua's, with its type.
local OURS = {
  strategy_options = "table", local_only = "boolean", trusted = "boolean", watch = "boolean", logger = "function",
  budget_ms = "number", trip_after = "number", trip_rest = "number",
}
local ELSEWHERE = {
  proxies = true, strategy = true, shared = true, mode = true, group = true, breaker = true, clock = true,
  fallback = true,
}
for name in pairs(OURS) do
  ELSEWHERE[name] = true
end

local options = {}

local function set(target, name, field, value)
  if type(value) ~= "number" then
    error(("option '%s' must be a number, not a %s"):format(name, type(value)), 5)
  end
  local largest = LARGEST[name] or 2 ^ 32 - 1
  local whole = field[2] == "number" or value % 1 == 0
  if not (value > 0 and whole and value <= largest) then
    local range = field[2] == "number" and "number above 0, %.0f at most" or "whole number from 1 to %.0f"
    return errors.new("invalid", ("option '%s' must be a %s"):format(name, range:format(largest)))
  end
  target[field[1]] = value
end

local function read(target, given, fields, prefix)
  for name, value in pairs(given) do
    local field = fields[name]
    if field then
      local err = set(target, prefix .. name, field, value)
      if err then
        return err
      end
    elseif prefix ~= "" or not ELSEWHERE[name] then
      error(("unknown option '%s'"):format(prefix .. tostring(name)), 4)
    end
  end
end

-- Levels of errors are counted from gyre.open()'s caller.
local function check_types(given)
  local breaker, clock, shared, group = given.breaker, given.clock, given.shared, given.group
  if breaker ~= nil and type(breaker) ~= "table" then
    error("option 'breaker' must be a table", 4)
  end
  if shared == nil and (given.mode ~= nil or group ~= nil) then
    error("options 'mode' and 'group' say who may use a 'shared' segment, and there is none", 4)
  end
  if clock ~= nil and not CLOCKS[clock] then
    error("option 'clock' must be \"system\" or \"manual\"", 4)
  end
  if shared ~= nil and type(shared) ~= "string" then
    error("option 'shared' must be a path", 4)
  end
  if group ~= nil and type(group) ~= "string" then
    error("option 'group' must be the name or the number of a group, as text", 4)
  end
  for name, wanted in pairs(OURS) do
    local value = given[name]
    if value ~= nil and type(value) ~= wanted then
      error(("option '%s' must be a %s, not a %s"):format(name, wanted, type(value)), 4)
    elseif wanted == "number" and value and not (value > 0 and value < math.huge) then
      error(("option '%s' must be above 0"):format(name), 4)
    end
  end
  if given.trip_after and given.trip_after % 1 ~= 0 then
    error("option 'trip_after' must be a whole number", 4)
  end
  if given.strategy == nil and (given.strategy_options ~= nil or given.local_only ~= nil) then
    error("options 'strategy_options' and 'local_only' say something of a 'strategy', and there is none", 4)
  end
  for name, meaning in pairs(SOURCES) do
    local source = given[name]
    if source ~= nil and type(source) ~= "string" and type(source) ~= "table" then
      error(("option '%s' must be %s"):format(name, meaning), 4)
    end
  end
end

local function nul_byte(name)
  return errors.new("invalid", ("option '%s' holds a NUL byte"):format(name))
end

-- Where the segment is, and who else may use it.
local function set_file(made, given)
  local shared, mode, group = given.shared, given.mode, given.group
  if mode ~= nil then
    if type(mode) ~= "string" or not mode:find "^0?[0-7][0-7][0-7]$" then
      error("option 'mode' must be octal digits in text, like \"0660\"", 4)
    end
    made.mode = tonumber(mode, 8)
  end
  if shared and shared:find("%z") then
    return nul_byte "shared"
  elseif group and group:find("%z") then
    return nul_byte "group"
  end
  made.path, made.group = shared, group
  return nil
end

--- The core's options. The result holds pointers into strings of `given`: it must not outlive it.
---@param given gyre.Options
---@return ffi.cdata*? made `struct gyre_options`
---@return gyre.Error? err
function options.read(given)
  check_types(given)
  local made = ffi.new("struct gyre_options", { size = ffi.sizeof "struct gyre_options" })
  local err = read(made, given, POOL, "") or (given.breaker and read(made, given.breaker, BREAKER, "breaker."))
  if err then
    return nil, err
  end
  made.clock = CLOCKS[given.clock or "system"]
  err = set_file(made, given)
  if err then
    return nil, err
  end
  return made
end

return options
