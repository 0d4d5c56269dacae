-- A strategy at work in one pool: the strategy, its view, and the tag that leads leases back to it.
local ffi = require "ffi"
local C = require "gyre.clib"
local errors = require "gyre.error"
local registry = require "gyre.registry"
local strategy = require "gyre.strategy"
local view = require "gyre.view"

local ipairs, tonumber = ipairs, tonumber
local states = registry.states

local id_cell = ffi.new "uint64_t[1]"
local info = ffi.new("struct gyre_proxy", { size = ffi.sizeof "struct gyre_proxy" })

---@class gyre.strategy.Active
---@field strategy gyre.Strategy
---@field name string
---@field picker? integer the core's, when the strategy is native
---@field face? gyre.view.Face of its view, when it is not
---@field choices integer what it says where a request is silent; 0: nothing
---@field random_ties boolean likewise
---@field tag integer index in recorders; 0: it has no `record`
---@field picking boolean select is running

---@class gyre.active
local active = {}

-- What a proxy lacks. Latency grows with use and weight has a default: nobody lacks these.
local LACKS = {
  country = function()
    return info.country[0] == 0
  end,
  region = function()
    return info.region[0] == 0
  end,
  cost = function()
    return info.cost ~= info.cost
  end,
}

local function count_lacking(handle, lacks)
  local lacking = 0
  id_cell[0] = 0
  while C.gyre_pool_next(handle, id_cell) == 1 do
    if C.gyre_pool_get(handle, tonumber(id_cell[0]), info) == 0 and lacks() then
      lacking = lacking + 1
    end
  end
  return lacking
end

local function check_metadata(handle, made)
  for _, field in ipairs(made.requires or {}) do
    local lacks = LACKS[field]
    local lacking = lacks and count_lacking(handle, lacks) or 0
    if lacking > 0 then
      local message = "strategy '%s' requires '%s', and %d of %d proxies have none"
      message = message:format(made.name, field, lacking, C.gyre_pool_count(handle))
      return errors.new("missing_metadata", message, { field = field, lacking = lacking })
    end
  end
end

--- Puts a loaded strategy to work.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param state gyre.State
---@param made gyre.Strategy
---@return gyre.strategy.Active? active
---@return gyre.Error? err
function active.new(handle, state, made)
  local err = check_metadata(handle, made)
  if err then
    return nil, err
  end
  local picker, tag = strategy.picker(made), 0
  local at_work = {
    strategy = made, name = made.name, picker = picker, picking = false,
    choices = made.choices or 0, random_ties = made.random_ties or false,
  }
  if not picker then
    at_work.face = view.new(state)
  end
  if made.record then
    tag = #state.recorders + 1
    state.recorders[tag] = at_work
  end
  at_work.tag = tag
  return at_work
end

--- The strategy that a request names, loaded on its first use and kept.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param state gyre.State
---@param source string|gyre.Strategy
---@return gyre.strategy.Active? active
---@return gyre.Error? err
function active.named(handle, state, source)
  local at_work = state.named[source]
  if at_work then
    return at_work
  end
  local made, err = strategy.load(source)
  if not made then
    return nil, err
  end
  at_work, err = active.new(handle, state, made)
  state.named[source] = at_work
  return at_work, err
end

--- The judge of the strategy that picks for a request, as gyre.judge takes it; nil: it has none.
---@param pool gyre.Pool
---@param source? string|gyre.Strategy what the request names
---@return function?
function active.judge(pool, source)
  local state = states[pool.number]
  local at_work = state and (source ~= nil and state.named[source] or state.strategy)
  local made = at_work and at_work.strategy
  return made and made.judge and function(...)
    return made:judge(...)
  end
end

return active
