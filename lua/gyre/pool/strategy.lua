-- The strategy of a pool: changing it, reading it again, and how it is doing.
local active = require "gyre.active"
local base = require "gyre.pool.base"
local registry = require "gyre.registry"
local swap = require "gyre.swap"

local error, pairs, tostring, type = error, pairs, tostring, type
local closed, states = base.closed, registry.states

local HOW = { local_only = "boolean" }

local Pool = {}

--- Changes the strategy: of everybody on the segment, from the next acquire on. It is loaded and checked here first;
--- what cannot be loaded changes nothing. A table, which others cannot load, is for this handle alone: with a shared
--- pool that takes `local_only`. Such a one lasts until the next swap by anybody.
---@param source string|gyre.Strategy|gyre.Composition name, path, table or composition
---@param options? table<string, any>
---@param how? { local_only?: boolean } for this handle alone
---@return true? changed
---@return gyre.Error? err kinds: strategy, missing_metadata, closed
function Pool.use(self, source, options, how)
  if type(source) ~= "string" and type(source) ~= "table" then
    error("a strategy is a name, a path or a table, not a " .. type(source), 2)
  end
  for name, value in pairs(how or {}) do
    if type(value) ~= HOW[name] then
      error(("'%s' is no way to use a strategy"):format(tostring(name)), 2)
    end
  end
  if self.handle == nil then
    return closed(self)
  end
  local at_work, err = active.load(self.handle, states[self.number], source, options)
  if not at_work then
    return nil, err
  end
  return swap.put(self, at_work, how or {})
end

--- Reads the strategy in use again, for everybody on the segment: after its file was changed. Where that cannot be
--- loaded the old one stays in use. gyre.open's `watch` does it by itself.
---@return true? reloaded
---@return gyre.Error? err kinds: strategy, missing_metadata, closed
function Pool.reload_strategy(self)
  if self.handle == nil then
    return closed(self)
  end
  return swap.reload(self)
end

--- How a strategy is doing, in this handle.
---@class gyre.StrategyState
---@field name string
---@field title string what it is made of
---@field in_use boolean the pool's, not one that only requests name
---@field generation integer how often the segment's strategy had changed when it came; 0: of this handle alone
---@field resting? number pool time until which it is off, after failures in a row
---@field missing? string what it needs and the pool does not have
---@field failed_swaps? integer of the one in use: strategies that were to follow it and could not be loaded
---@field raised integer requests that it failed, and its fallback served: select raised
---@field wrong integer it returned what is not in its view
---@field overran integer it ran past its time budget
---@field missed integer metadata was missing
---@field rested integer it was resting
---@field trips integer how often it was put to rest
---@field record integer errors of its record
---@field judge integer and of its judge

local function state_of(state, at_work)
  local counts = at_work.counts
  local in_use = at_work == state.strategy
  return {
    name = at_work.name, title = at_work.title,
    in_use = in_use, generation = at_work.generation,
    resting = at_work.tripped or nil, missing = at_work.missing and at_work.missing.message or nil,
    failed_swaps = in_use and state.failed_swaps or nil,
    raised = counts.raised, wrong = counts.wrong, overran = counts.overran, missed = counts.missing,
    rested = counts.resting, trips = counts.trips, record = counts.record, judge = counts.judge,
  }
end

--- The strategies of this handle: the one in use first, then those that requests have named. Requests that a fallback
--- served are counted in the segment too, for all handles together: see pool:counters(), "fallback NAME".
---@return gyre.StrategyState[]? strategies
---@return gyre.Error? err
function Pool.strategies(self)
  if self.handle == nil then
    return closed(self)
  end
  local state = states[self.number]
  local list = { state_of(state, state.strategy) }
  for _, at_work in pairs(state.named) do
    list[#list + 1] = state_of(state, at_work)
  end
  return list
end

return Pool
