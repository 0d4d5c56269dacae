-- gyre.open(): a pool from options, a strategy and a list.
local active = require "gyre.active"
local lend = require "gyre.lend"
local list = require "gyre.list"
local options = require "gyre.options"
local pool = require "gyre.pool"
local registry = require "gyre.registry"
local strategy = require "gyre.strategy"
local swap = require "gyre.swap"

local error, type = error, type

-- What can be read and checked without a pool.
local function prepare(given)
  local how = { trusted = given.trusted, seed = given.seed, budget = given.budget_ms }
  local made, loaded, parsed, err
  if given.strategy ~= nil then
    made, loaded = strategy.load(given.strategy, given.strategy_options, how)
    if not made then
      return loaded
    end
  end
  if given.fallback ~= nil then -- it is loaded again when it is needed
    local serves, why = strategy.load(given.fallback, nil, how)
    if not serves then
      why.message = "option 'fallback': " .. why.message
      return why
    end
  end
  if given.proxies ~= nil then
    parsed, err = list.read(given.proxies)
  end
  return err, made, loaded, parsed
end

local function use(opened, given, made, loaded)
  if not made then
    return swap.follow(opened)
  end
  local at_work, err = active.new(opened.handle, registry.states[opened.number], made, loaded)
  if not at_work then
    return nil, err
  end
  return swap.put(opened, at_work, { adopt = true, local_only = given.local_only })
end

local function fill(opened, given, made, loaded, parsed)
  if parsed then
    local report, err = list.load(opened.handle, parsed)
    if not report then
      return nil, err
    end
    registry.states[opened.number].loaded = report
  end
  return use(opened, given, made, loaded)
end

local function settings_of(given, borrowed)
  return {
    borrowed = borrowed,
    seed = given.seed, shared = given.shared ~= nil, fallback = given.fallback, trusted = given.trusted,
    watch = given.watch, logger = given.logger, budget_ms = given.budget_ms, trip_after = given.trip_after,
    trip_rest = given.trip_rest,
  }
end

--- Opens a pool. Nothing is made when list or strategy cannot be read.
---@param given? gyre.Options
---@return gyre.Pool? pool
---@return gyre.Error? err kinds: invalid, system, strategy, missing_metadata, full, abi, corrupt
local function open(given)
  given = given or {}
  if type(given) ~= "table" then
    error("gyre.open takes a table of options, not a " .. type(given), 2)
  end
  local settings, err = options.read(given)
  if not settings then
    return nil, err
  end
  local why, made, loaded, parsed = prepare(given)
  if why then
    return nil, why
  end
  if parsed and given.max_proxies == nil then
    settings.max_proxies = list.room(parsed) or 0
  end
  local handle, borrowed
  handle, err, borrowed = lend.open(settings, given.shared == nil)
  if not handle then
    return nil, err
  end
  local opened = pool.wrap(handle, settings_of(given, borrowed))
  local filled
  filled, err = fill(opened, given, made, loaded, parsed)
  if not filled then
    opened:close()
    return nil, err
  end
  return opened
end

return open
