-- Acquire for everything but the plain case, which is in pool.lua: requests with fields, and strategies written in Lua.
local ffi = require "ffi"
local C = require "gyre.clib"
local active = require "gyre.active"
local errors = require "gyre.error"
local status = require "gyre.status"

local unknown_field = require("gyre.fields").unknown

local error, pcall, tostring, type = error, pcall, tostring, type

--- What the caller knows of the request to come.
---@class gyre.Request
---@field exclude? number[] ids of proxies not to choose
---@field strategy? string|gyre.Strategy for this request, instead of the pool's
---@field metadata? any for the strategy; gyre does not read it

local FIELDS = { exclude = true, strategy = true, metadata = true }

local request_cell = ffi.new("struct gyre_request", { size = ffi.sizeof "struct gyre_request" })
local excluded, excluded_room = ffi.new("uint64_t[?]", 16), 16

---@class gyre.acquire
local acquire = {}

-- Misuse raises where pool:acquire() was called: everything up to here is a tail call, this one is not.
local function check(request)
  if type(request) ~= "table" then
    error("a request is a table, not a " .. type(request), 3)
  end
  local unknown = unknown_field(request, FIELDS)
  if unknown ~= nil then
    error(("unknown request field '%s'"):format(tostring(unknown)), 3)
  end
  local exclude = request.exclude
  if exclude == nil then
    return
  end
  if type(exclude) ~= "table" then
    error("exclude must be a list of ids", 3)
  end
  for i = 1, #exclude do
    local id = exclude[i]
    if type(id) ~= "number" or not (id >= 0 and id < 2 ^ 53) then
      error("exclude must be a list of ids", 3)
    end
  end
end

local function set_exclude(exclude)
  local count = exclude and #exclude or 0
  if count > excluded_room then
    excluded_room = count * 2
    excluded = ffi.new("uint64_t[?]", excluded_room)
  end
  for i = 1, count do
    excluded[i - 1] = exclude[i]
  end
  request_cell.exclude = excluded
  request_cell.exclude_count = count
end

local function by_core(handle, at_work, lease, exclude)
  request_cell.picker = at_work.picker
  set_exclude(exclude)
  local code = C.gyre_acquire(handle, request_cell, lease.raw)
  if code ~= 0 then
    return nil, status.error(code)
  end
  lease.tag = at_work.tag
  return lease
end

local function nothing_left(view)
  local kind = view.busy > 0 and "busy" or "no_proxy"
  local text = kind == "busy" and "every eligible proxy is at its limit" or "no eligible proxy"
  local message = "%s: %d at their limit, %d benched, %d draining, %d disabled, %d excluded"
  message = message:format(text, view.busy, view.benched, view.draining, view.disabled, view.excluded)
  return nil, errors.new(kind, message)
end

local function strategy_error(at_work, message)
  return nil, errors.new("strategy", ("strategy '%s': %s"):format(at_work.name, message))
end

-- Results of gyre_acquire_id() that mean: not this one, but perhaps another.
local RACED = { [C.GYRE_ENO_PROXY] = true, [C.GYRE_EBUSY] = true, [C.GYRE_ENOT_FOUND] = true }

local function by_lua(handle, state, at_work, lease, request)
  local view, made = at_work.view, at_work.strategy
  view:fill(handle, state, request.exclude)
  while view.n > 0 do
    local ran, picked, why = pcall(made.select, made, view, request)
    if not ran then
      return strategy_error(at_work, tostring(picked))
    end
    if picked == nil then
      return nil, errors.new("no_proxy", ("strategy '%s' picked none: %s"):format(at_work.name, tostring(why)))
    end
    if not view:has(picked) then
      return strategy_error(at_work, "select returned what is not in its view")
    end
    local code = C.gyre_acquire_id(handle, picked.id, lease.raw)
    if code == 0 then
      lease.tag = at_work.tag
      return lease
    end
    if not RACED[code] then
      return nil, status.error(code)
    end
    if code == C.GYRE_EBUSY then
      view.busy = view.busy + 1
    else
      view.benched = view.benched + 1
    end
    view:drop(picked)
  end
  return nothing_left(view)
end

--- Acquires by the strategy and the fields of a request.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param state gyre.State
---@param lease gyre.Lease
---@param request? gyre.Request
---@return gyre.Lease? lease
---@return gyre.Error? err
function acquire.by_request(handle, state, lease, request)
  local at_work = state.strategy
  if request ~= nil then
    check(request)
    if request.strategy ~= nil then
      local err
      at_work, err = active.named(handle, state, request.strategy)
      if not at_work then
        return nil, err
      end
    end
  else
    request = {}
  end
  if at_work.picker then
    return by_core(handle, at_work, lease, request.exclude)
  end
  if at_work.picking then
    return strategy_error(at_work, "select acquires from its own pool, or yielded and never came back")
  end
  at_work.picking = true
  local leased, err = by_lua(handle, state, at_work, lease, request)
  at_work.picking = false
  return leased, err
end

return acquire
