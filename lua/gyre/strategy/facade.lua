-- The pool as a strategy sees it that is not trusted: it can look, and count, and change nothing else.
local guard = require "gyre.strategy.guard"
local registry = require "gyre.registry"

local error, setmetatable, tostring, type = error, setmetatable, tostring, type

local facade = {}

local ASKED = { "host_delay", "stats", "time" }
local WALKED = { "bans", "counters", "each" }
local OF_A_SESSION = { id = true, proxy = true, created = true, last_used = true, expires = true }
local STEPS = 50 -- that a call is worth, most of which take a lock
local MOST_COUNTERS = 256 -- of the segment's 1,024, some of which the host needs

local function refuse(_, name)
  error(("a strategy that is not trusted must not write '%s'"):format(tostring(name)), 2)
end

-- An object with these fields, or this function for them, that shows nothing else and cannot be changed.
local function sealed(fields, what)
  return setmetatable({}, { __index = fields, __newindex = refuse, __metatable = what })
end

local function seal_session(session)
  return sealed(function(_, name)
    if not OF_A_SESSION[name] then
      error(("a strategy that is not trusted has no '%s' of a session"):format(tostring(name)), 2)
    end
    return session[name]
  end, "gyre.Session")
end

local function seal_counter(counter)
  return sealed({
    name = counter.name,
    add = function(_, delta)
      return counter:add(delta)
    end,
    get = function()
      return counter:get()
    end,
  }, "gyre.Counter")
end

-- What an iterator walks by, the pool among it, is nobody else's.
local function seal_walk(step, walk)
  local last
  return function()
    local first, second = step(walk, last)
    last = first
    return first, second
  end
end

local function new_facade(number)
  local methods, counters, count = {}, {}, 0
  local function pool_of(level)
    guard.spend(STEPS, level + 1)
    return registry.pools[number] or error("the pool is closed", level + 1)
  end
  for i = 1, #ASKED do
    local name = ASKED[i]
    methods[name] = function(_, ...)
      local pool = pool_of(2)
      return pool[name](pool, ...)
    end
  end
  for i = 1, #WALKED do
    local name = WALKED[i]
    methods[name] = function()
      local pool = pool_of(2)
      return seal_walk(pool[name](pool))
    end
  end
  function methods.get(_, id)
    if type(id) ~= "number" then -- with a URL it would be a request
      error("pool:get takes the id of a proxy", 2)
    end
    return pool_of(2):get(id)
  end
  function methods.session(_, id)
    local session, err = pool_of(2):session(id)
    return session and seal_session(session), err
  end
  function methods.counter(_, name)
    local counter = pool_of(2):counter(name)
    if not counters[name] then
      if count == MOST_COUNTERS then
        error(("the strategies of a pool that are not trusted use %d counters at most"):format(count), 2)
      end
      counters[name], count = seal_counter(counter), count + 1
    end
    return counters[name]
  end
  return sealed(function(_, name)
    return methods[name] or error(("a strategy that is not trusted has no pool:%s()"):format(tostring(name)), 2)
  end, "gyre.Pool")
end

--- What `view.pool` is.
---@param state gyre.State
---@param confined boolean
---@return gyre.Pool|table
function facade.of(state, confined)
  if not confined then
    return registry.pools[state.number]
  end
  if not state.facade then
    state.facade = new_facade(state.number)
  end
  return state.facade
end

return facade
