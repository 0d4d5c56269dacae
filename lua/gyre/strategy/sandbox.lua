-- What a strategy that is not trusted can reach: pure Lua, and nothing that reaches files, processes, other modules, or
-- the globals of the program. What works in C is bounded: texts and tables in bounded.lua; here dates, and coroutines,
-- which one in another use up the processor's stack.
local bounded = require "gyre.strategy.bounded"
local random = require "gyre.random"

local error, getmetatable, ipairs, pairs, rawequal, setmetatable, tostring, type = error, getmetatable, ipairs, pairs,
  rawequal, setmetatable, tostring, type
local running, yield = coroutine.running, coroutine.yield

local MOST_NESTED = 100 -- coroutines, one running the next
local MOST_DATE = 256

local BASIC = {
  "assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "select", "tonumber", "tostring", "type",
  "unpack", "xpcall", "_VERSION",
}
local COROUTINE = { "running", "status" }
local OS = { "clock", "difftime", "time" }

---@class gyre.strategy.sandbox
local sandbox = {}

local function pick(from, names)
  local picked = {}
  for _, name in ipairs(names) do
    picked[name] = from[name]
  end
  return picked
end

local function copy(from)
  local made = {}
  for name, value in pairs(from) do
    made[name] = value
  end
  return made
end

-- Texts share one metatable with the whole program.
local function metatable_of(value)
  return type(value) == "table" and getmetatable(value) or nil
end

--- The tables that the program gives to the call under way, up to four: it reads them again when that is over, and a
--- metatable would then run without a budget.
local lent = { false, false, false, false }
sandbox.lent = lent

local function set_metatable(value, metatable)
  if rawequal(value, lent[1]) or rawequal(value, lent[2]) or rawequal(value, lent[3]) or rawequal(value, lent[4]) then
    error("a strategy must not set the metatable of what it was given", 2)
  end
  return setmetatable(value, metatable)
end

local function refuse_global(_, name)
  error(("a strategy must not assign the global '%s'"):format(tostring(name)), 2)
end

-- A strategy's own coroutines may yield; the one that select runs in is the program's.
local nested = 0

local function leave(...)
  nested = nested - 1
  return ...
end

local function resume(thread, ...)
  if nested >= MOST_NESTED then
    return false, "a strategy's coroutines run 100 deep at most"
  end
  nested = nested + 1
  return leave(coroutine.resume(thread, ...))
end

local function raise_or_pass(ran, ...)
  if not ran then
    error((...), 2)
  end
  return ...
end

local function coroutines()
  local own = pick(coroutine, COROUTINE)
  local made = setmetatable({}, { __mode = "k" })
  own.resume = resume
  function own.create(body)
    local thread = coroutine.create(body)
    made[thread] = true
    return thread
  end
  function own.wrap(body)
    local thread = own.create(body)
    return function(...)
      return raise_or_pass(resume(thread, ...))
    end
  end
  function own.yield(...)
    if not made[running() or false] then
      error("a strategy must not yield", 2)
    end
    return yield(...)
  end
  return own
end

local function date(form, time)
  if type(form) == "string" and #form > MOST_DATE then
    error("a strategy's form of a date has at most 256 bytes", 2)
  end
  return os.date(form, time)
end

-- A generator of its own: math.random() and its seed are the program's.
local function mathematics(seed)
  local own, generator = copy(math), nil
  function own.random(low, high)
    generator = generator or random.new(seed)
    if low == nil then
      return generator:unit()
    elseif high == nil then
      low, high = 1, low
    end
    if low > high then
      error("bad interval", 2)
    end
    return low + generator:upto(high - low + 1) - 1
  end
  function own.randomseed(value)
    generator = random.new(value)
  end
  return own
end

--- What texts of a strategy have as methods while it runs: `("x"):rep(1e9)` reaches string.rep without its name.
sandbox.strings = bounded.strings

--- The globals of a strategy: read-only. One that is trusted has all of the program's.
---@param trusted boolean
---@param additions table further names
---@param seed? number of math.random
---@return table
function sandbox.environment(trusted, additions, seed)
  local names
  if trusted then
    names = setmetatable(copy(additions), { __index = _G })
  else
    names = pick(_G, BASIC)
    names.bit, names.math, names.os = copy(require "bit"), mathematics(seed), pick(os, OS)
    names.string, names.table, names.coroutine = copy(bounded.strings), copy(bounded.tables), coroutines()
    names.os.date = date
    names.getmetatable, names.setmetatable = metatable_of, set_metatable
    for name, value in pairs(additions) do
      names[name] = value
    end
  end
  local environment = setmetatable({}, {
    __index = names, __newindex = refuse_global, __metatable = "read-only",
  })
  if not trusted then
    names._G = environment
  end
  return environment
end

return sandbox
