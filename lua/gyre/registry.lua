-- The open pools of this Lua state, by number. Leases and proxies hold the number of their pool: a number of a pool
-- that is closed or collected finds nothing, where a pointer would read unmapped memory.

---@class gyre.State what Lua keeps for a pool beside the handle
---@field number integer
---@field slots ffi.cdata* `const struct gyre_slot *`: the hot records
---@field proxies table<integer, gyre.Proxy> proxy objects made so far, by slot
---@field strategy gyre.strategy.Active of requests that name none
---@field generation integer how often pool:use() has changed it
---@field named table<any, gyre.strategy.Active> strategies that requests named
---@field recorders gyre.strategy.Active[] strategies with `record`, by the tag in the leases they issued
---@field seed? number
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
