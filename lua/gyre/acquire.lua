-- Acquire for everything but the plain case, which is in pool.lua: requests with fields, and strategies written in Lua.
local C = require "gyre.clib"
local active = require "gyre.active"
local choose = require "gyre.choose"
local criteria = require "gyre.criteria"
local memo = require "gyre.memo"
local status = require "gyre.status"

local error, type = error, type

---@class gyre.acquire
local acquire = {}

local asked = criteria.new()

local function by_core(handle, at_work, lease)
  local cell = asked.cell
  cell.picker = at_work.picker
  -- A consistent hash without a key sticks to the host: each target always sees the same few proxies.
  if at_work.picker == C.GYRE_PICK_HASH and cell.key == nil then
    cell.key = cell.host ~= nil and cell.host or cell.session
  end
  local code = C.gyre_acquire(handle, cell, lease.raw)
  if code ~= 0 then
    return nil, status.error(code)
  end
  lease.tag = at_work.tag
  return lease
end

-- What the strategy says where the request is silent.
local function add_defaults(cell, at_work)
  if cell.choices == 0 then
    cell.choices = at_work.choices
  end
  if at_work.random_ties then
    cell.random_ties = 1
  end
end

local function by_lua(handle, state, at_work, lease, request)
  at_work.picking = true
  local leased, err = choose.acquire(handle, state, at_work, lease, request)
  at_work.picking = false
  return leased, err
end

--- Acquires by the strategy and the fields of a request. Misuse raises where pool:acquire() was called: everything up
--- to here is a tail call, this one is not.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param state gyre.State
---@param lease gyre.Lease
---@param request? gyre.Request
---@return gyre.Lease? lease
---@return gyre.Error? err
function acquire.by_request(handle, state, lease, request)
  local at_work = state.strategy
  if request == nil then
    request = {}
  elseif type(request) ~= "table" then
    error("a request is a table, not a " .. type(request), 2)
  elseif request.strategy ~= nil then
    local err
    at_work, err = active.named(handle, state, request.strategy)
    if not at_work then
      return nil, err
    end
  end
  if at_work.picking then
    return choose.strategy_error(at_work, "select acquires from its own pool, or yielded and never came back")
  end
  local into = at_work.picker and asked or at_work.face.asked
  local fault = criteria.fill(into, request)
  if fault then
    error(fault, 2)
  end
  local session, country = request.session, request.country
  if session ~= nil or country ~= nil then
    lease.memo = memo.keep(session, country)
  end
  add_defaults(into.cell, at_work)
  if at_work.picker then
    return by_core(handle, at_work, lease)
  end
  return by_lua(handle, state, at_work, lease, request)
end

return acquire
