-- Acquiring by a strategy written in Lua: it picks from its view, the core leases the pick, and when that was taken
-- meanwhile it picks again without it.
local ffi = require "ffi"
local C = require "gyre.clib"
local confine = require "gyre.strategy.confine"
local criteria = require "gyre.criteria"
local errors = require "gyre.error"
local status = require "gyre.status"
local steps = require "gyre.strategy.steps"
local trouble = require "gyre.trouble"
local view = require "gyre.view"

local open_view, close_view, view_has, select_in = view.open, view.close, view.has, confine.select
local tostring = tostring

local id_cell = ffi.new "uint64_t[1]"
local slot_cell = ffi.new "uint32_t[1]"

-- Results of leasing a pick that mean: not this one, but perhaps another.
local RACED = { [C.GYRE_ENO_PROXY] = true, [C.GYRE_EBUSY] = true, [C.GYRE_ENOT_FOUND] = true }

---@class gyre.choose
local choose = {}

--- An error of a strategy.
---@param at_work gyre.strategy.Active
---@param message string
---@return nil
---@return gyre.Error err
function choose.strategy_error(at_work, message)
  return nil, errors.new("strategy", ("strategy '%s': %s"):format(at_work.name, message))
end

--- It failed: counted and told; whoever asked for a proxy gets one of its fallback.
---@param state gyre.State
---@param at_work gyre.strategy.Active
---@param kind "raised"|"wrong"|"overran"
---@param message string
---@return nil
---@return gyre.Error err
function choose.failed(state, at_work, kind, message)
  trouble.failed(state, state.handle, at_work, kind, message)
  return choose.strategy_error(at_work, message)
end
local failed = choose.failed

-- Whether nobody is in the view; then also the core's account of why.
local function is_empty(handle, face)
  local cell = face.asked.cell
  if C.gyre_list(handle, cell, slot_cell, 1) > 0 then
    return false
  end
  cell.picker = C.GYRE_PICK_RANDOM
  local code = C.gyre_pick(handle, cell, id_cell)
  if code == 0 then
    return false
  end
  return true, status.error(code)
end

-- Why select gave no proxy of its view.
local function not_picked(state, at_work, ran, picked, why)
  if state.slots == nil then
    return nil, status.closed "the pool was closed by its strategy"
  elseif not ran then
    return failed(state, at_work, why and "overran" or "raised", tostring(picked))
  elseif picked == nil then
    local reason = at_work.loaded.guarded and confine.text(why) or tostring(why)
    reason = why == nil and "it did not say why" or reason
    return nil, errors.new("no_proxy", ("strategy '%s' picked none: %s"):format(at_work.name, reason))
  end
  return failed(state, at_work, "wrong", "select returned what is not in its view")
end

-- The proxy that the strategy picks.
local function pick(state, at_work, request)
  local face = at_work.face
  local empty, err = is_empty(state.handle, face)
  if empty then
    return nil, err
  end
  open_view(face)
  steps.picker = nil
  local ran, picked, why = select_in(at_work.loaded.guarded and state.budget, at_work.strategy, face.view, request)
  local lives = state.slots ~= nil
  local good = ran and lives and picked ~= nil and view_has(face, state.handle, picked)
  close_view(face)
  if not good then
    return not_picked(state, at_work, ran, picked, why)
  end
  if at_work.row > 0 then
    at_work.row = 0
  end
  return picked
end

-- Leases a pick. Where the strategy looks at fields of the request itself its view is wider than the request, and a
-- session's own proxy must not come in by that.
local function take(state, at_work, lease, picked)
  local handle, id, code = state.handle, picked.core_id, nil
  if at_work.takes then
    code = C.gyre_acquire_chosen(handle, at_work.tight.cell, id, lease.raw)
  end
  if code == nil or code == C.GYRE_ENO_PROXY then
    code = C.gyre_acquire_chosen(handle, at_work.face.asked.cell, id, lease.raw)
  end
  if code == 0 then
    lease.tag = at_work.tags and at_work.tags[steps.picker] or at_work.tag
  end
  return code
end

-- After a pick that could not be leased.
local function again(state, at_work, lease, request, code, picked)
  local busy, err
  while code ~= 0 do
    if not RACED[code] then
      return nil, status.error(code)
    elseif code == C.GYRE_EBUSY then
      busy = status.error(code)
    end
    criteria.exclude(at_work.face.asked, picked.core_id)
    picked, err = pick(state, at_work, request)
    if not picked then
      return nil, err.kind == "no_proxy" and busy or err
    end
    code = take(state, at_work, lease, picked)
  end
  return lease
end

-- Without a loop, which would end every compiled trace that runs into it.
local function by_pick(state, at_work, lease, request)
  local picked, err = pick(state, at_work, request)
  if not picked then
    return nil, err
  end
  local code = take(state, at_work, lease, picked)
  if code == 0 then
    return lease
  end
  return again(state, at_work, lease, request, code, picked)
end

-- The session keeps its proxy as long as that is eligible; else the strategy picks, and the first to say so wins.
local function for_session(state, at_work, lease, request)
  local cell = at_work.takes and at_work.tight.cell or at_work.face.asked.cell
  local code = C.gyre_acquire_chosen(state.handle, cell, 0, lease.raw)
  if code == 0 then
    lease.tag = at_work.tag
    return lease
  elseif code ~= C.GYRE_ENOT_FOUND and code ~= C.GYRE_ENO_PROXY then
    return nil, status.error(code)
  end
  return by_pick(state, at_work, lease, request)
end

--- Acquires by a strategy in Lua, whose view holds the request already.
---@param state gyre.State
---@param at_work gyre.strategy.Active
---@param lease gyre.Lease
---@param request gyre.Request
---@return gyre.Lease? lease
---@return gyre.Error? err kind "strategy": it failed, and its fallback may serve
function choose.acquire(state, at_work, lease, request)
  local host = request.host
  if host ~= nil and host ~= "" then
    local wait = C.gyre_host_delay(state.handle, host)
    if wait > 0 then
      return nil, errors.new("busy", ("%s is throttled for another %.1f seconds"):format(host, wait))
    end
  end
  if request.session ~= nil then
    return for_session(state, at_work, lease, request)
  end
  return by_pick(state, at_work, lease, request)
end

return choose
