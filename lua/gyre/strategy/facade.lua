-- The pool as a strategy sees it that is not trusted: it can look, and count, and change nothing else.
local registry = require "gyre.registry"

local error, setmetatable, tostring = error, setmetatable, tostring

local facade = {}

local SHOWN = { "bans", "counter", "counters", "each", "get", "host_delay", "session", "stats", "time" }

local Facade = {}

for _, name in ipairs(SHOWN) do
  Facade[name] = function(self, ...)
    local pool = registry.pools[self.number]
    if not pool then
      error("the pool is closed", 2)
    end
    return pool[name](pool, ...)
  end
end

local metatable = { __metatable = "gyre.Pool" }

function metatable.__index(_, name)
  return Facade[name] or error(("a strategy that is not trusted has no pool:%s()"):format(tostring(name)), 2)
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
    state.facade = setmetatable({ number = state.number }, metatable)
  end
  return state.facade
end

return facade
