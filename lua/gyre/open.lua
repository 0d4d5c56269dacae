-- gyre.open(): a pool from options, a strategy and a list.
local ffi = require "ffi"
local C = require "gyre.clib"
local list = require "gyre.list"
local options = require "gyre.options"
local pool = require "gyre.pool"
local registry = require "gyre.registry"
local status = require "gyre.status"
local strategy = require "gyre.strategy"

local error, type = error, type

local DEFAULT_STRATEGY = "round-robin"

-- What can be read and checked without a pool.
local function prepare(given)
  local made, err = strategy.load(given.strategy or DEFAULT_STRATEGY)
  if not made then
    return nil, err
  end
  local parsed
  if given.proxies ~= nil then
    parsed, err = list.read(given.proxies)
    if not parsed then
      return nil, err
    end
  end
  return made, nil, parsed
end

local function fill(opened, made, parsed)
  if parsed then
    local report, err = list.load(opened.handle, parsed)
    if not report then
      return nil, err
    end
    registry.states[opened.number].loaded = report
  end
  return pool.put_to_work(opened, made)
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
  local made, why, parsed = prepare(given)
  if not made then
    return nil, why
  end
  local cell = ffi.new "struct gyre_pool *[1]"
  local code = C.gyre_pool_open(settings, cell)
  if code ~= 0 then
    return nil, status.error(code)
  end
  local opened = pool.wrap(cell[0], given.seed)
  local filled
  filled, err = fill(opened, made, parsed)
  if not filled then
    opened:close()
    return nil, err
  end
  return opened
end

return open
