-- Acquire for everything but the plain case, which is in pool.lua: requests with fields, strategies made of several
-- steps, strategies written in Lua, and those that cannot serve just now.
local C = require "gyre.clib"
local active = require "gyre.active"
local choose = require "gyre.choose"
local criteria = require "gyre.criteria"
local filter = require "gyre.filter"
local memo = require "gyre.memo"
local status = require "gyre.status"
local trouble = require "gyre.trouble"

local error, type = error, type

---@class gyre.acquire
local acquire = {}

local MOST_FALLBACKS = 2 -- of a fallback, before round-robin serves

local asked = criteria.new()

-- What the strategy says where the request is silent.
local function add_defaults(cell, leaf, request)
  cell.picker = leaf.picker
  if cell.choices == 0 then
    cell.choices = leaf.choices
  end
  if request.random_ties == nil then
    cell.random_ties = leaf.random_ties
  end
  if request.min_success == nil then
    cell.min_success = leaf.min_success
  end
  if request.max_ms == nil then
    cell.max_ms = leaf.max_ms
  end
  if leaf.key then
    cell.key = request[leaf.key]
  end
end

-- One call of the library.
local function take_step(handle, leaf, lease, request)
  local own = leaf.asked
  if filter.narrow(own, asked, leaf.where, leaf.drop) then
    return C.GYRE_ENO_PROXY
  end
  add_defaults(own.cell, leaf, request)
  return C.gyre_acquire(handle, own.cell, lease.raw)
end

-- A session keeps its proxy in whichever step that is.
local function keep(handle, leaf, lease)
  local own = leaf.asked
  if filter.narrow(own, asked, leaf.keep, leaf.drop) then
    return C.GYRE_ENO_PROXY
  end
  return C.gyre_acquire_chosen(handle, own.cell, 0, lease.raw)
end

local function is_final(code)
  return code ~= C.GYRE_ENO_PROXY and code ~= C.GYRE_EBUSY
end

local function by_steps(handle, at_work, lease, request, from)
  local plan = at_work.plan
  local code, kept, busy = C.GYRE_ENO_PROXY, nil, nil
  for i = from, #plan do
    local leaf = plan[i]
    if request.session ~= nil and leaf.keep and leaf.keep ~= kept then
      kept, code = leaf.keep, keep(handle, leaf, lease)
      if code == 0 or (is_final(code) and code ~= C.GYRE_ENOT_FOUND) or code == C.GYRE_EBUSY then
        break
      end
    end
    code = take_step(handle, leaf, lease, request)
    if is_final(code) then
      break
    elseif code == C.GYRE_EBUSY then
      busy = status.error(code)
    end
  end
  if code == 0 then
    lease.tag = at_work.tag
    return lease
  end
  return nil, code == C.GYRE_ENO_PROXY and busy or status.error(code)
end

local function by_plan(handle, at_work, lease, request)
  local plan, made = at_work.plan, at_work.strategy
  local code
  if at_work.simple then
    add_defaults(asked.cell, plan[1], request)
    code = C.gyre_acquire(handle, asked.cell, lease.raw)
  else
    local first = made.first and plan.starts[made:first(request)] or 1
    local leaf = plan[first]
    -- The first step is nearly always the only one taken: a loop here would end every compiled trace that runs into it.
    if not leaf or (leaf.keep and request.session ~= nil) then
      return by_steps(handle, at_work, lease, request, leaf and first or #plan)
    end
    code = take_step(handle, leaf, lease, request)
    if (code == C.GYRE_ENO_PROXY or code == C.GYRE_EBUSY) and plan[first + 1] then
      return by_steps(handle, at_work, lease, request, first)
    end
  end
  if code ~= 0 then
    return nil, status.error(code)
  end
  lease.tag = at_work.tag
  return lease
end

local function by_lua(handle, state, at_work, lease, request)
  at_work.picking = true
  local leased, err = choose.acquire(handle, state, at_work, lease, request)
  at_work.picking = false
  return leased, err
end

-- The request in the core's form, where the strategy will look for it. A misuse comes back as text.
local function fill(at_work, request)
  if at_work.plan then
    return criteria.fill(asked, request)
  end
  local face = at_work.face
  local fault = criteria.fill(face.asked, request)
  if at_work.strategy.takes and not fault then
    filter.narrow(at_work.tight, face.asked, filter.NOTHING)
    filter.drop(face.asked, at_work.strategy.takes)
  end
  return fault
end

local serve

local function serve_instead(handle, state, at_work, lease, request, depth, kind)
  if kind then
    trouble.count(state, handle, at_work, kind)
  end
  local instead = depth < MOST_FALLBACKS and active.instead(handle, state, at_work) or active.last_resort(handle, state)
  return serve(handle, state, instead, lease, request, depth + 1)
end

-- By this strategy, or its fallback. Returns lease | nil, error | nil, nil, misuse.
function serve(handle, state, at_work, lease, request, depth)
  if at_work.wary then
    local kind, err = active.is_out(handle, state, at_work, request)
    if err then
      trouble.count(state, handle, at_work, kind)
      return nil, err
    elseif kind then
      return serve_instead(handle, state, at_work, lease, request, depth, kind)
    end
  end
  local fault = fill(at_work, request)
  if fault then
    return nil, nil, fault
  elseif at_work.plan then
    return by_plan(handle, at_work, lease, request)
  end
  local leased, err = by_lua(handle, state, at_work, lease, request)
  if leased or err.kind ~= "strategy" then
    return leased, err
  end
  return serve_instead(handle, state, at_work, lease, request, depth)
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
  local leased, err, fault = serve(handle, state, at_work, lease, request, 0)
  if fault then
    error(fault, 2)
  end
  local session, country = request.session, request.country
  if leased and (session ~= nil or country ~= nil) then
    lease.memo = memo.keep(session, country)
  end
  return leased, err
end

return acquire
