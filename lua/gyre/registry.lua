-- The open pools of this Lua state, by number. Leases and proxies hold the number of their pool: a number of a pool
-- that is closed or collected finds nothing, where a pointer would read unmapped memory.

---@class gyre.strategy.Recorder
---@field at_work gyre.strategy.Active
---@field parts gyre.Strategy[] of it, whose `record` is called

---@class gyre.State what Lua keeps for a pool beside the handle
---@field number integer
---@field handle? ffi.cdata* `struct gyre_pool *`; nil once it is closed
---@field slots ffi.cdata* `const struct gyre_slot *`: the hot records
---@field proxies table<integer, gyre.Proxy> proxy objects made so far, by slot
---@field strategy gyre.strategy.Active of requests that name none
---@field named table<any, gyre.strategy.Active> strategies that requests named
---@field named_count integer
---@field recorders table<integer, gyre.strategy.Recorder> by the tag in the leases they issued
---@field last_tag integer
---@field seed? number
---@field epoch ffi.cdata* `const uint32_t *`: where the number of changes of the pool stands
---@field shared boolean others may have the segment too
---@field borrowed boolean the handle is not to be closed from here
---@field fallback_given? string|gyre.Strategy|gyre.Composition
---@field fallback? gyre.strategy.Active once it was needed
---@field last_resort? gyre.strategy.Active likewise
---@field how gyre.strategy.How
---@field budget number milliseconds that a call of a strategy may take beyond its grant
---@field trip_after integer failures in a row after which a strategy rests
---@field trip_rest number seconds
---@field watch boolean
---@field look_at number pool time of the next look at the strategy's files
---@field logger? fun(message: string)
---@field failed_swaps integer
---@field loaded? gyre.list.Report

---@class gyre.registry
local registry = {
  ---@type table<integer, gyre.Pool> weak: an open pool that nobody holds is collected, and closed by that
  pools = setmetatable({}, { __mode = "v" }),
  ---@type table<integer, gyre.State>
  states = {},
}

local last = 0

--- A number never used before.
---@return integer
function registry.next_number()
  last = last + 1
  return last
end

return registry
