-- Acquire for everything but the plain case, which is in pool.lua: requests with fields, strategies made of several
-- steps, strategies written in Lua, and those that cannot serve just now.
local C = require "gyre.clib"
local active = require "gyre.active"
local choose = require "gyre.choose"
local confine = require "gyre.strategy.confine"
local criteria = require "gyre.criteria"
local errors = require "gyre.error"
local filter = require "gyre.filter"
local log = require "gyre.pool.log"
local memo = require "gyre.memo"
local status = require "gyre.status"
local trouble = require "gyre.trouble"
local view = require "gyre.view"

-- Functions are known to compiled code, fields of a module are looked up again in each call.
local is_out, choose_proxy, clear, fill_criteria = active.is_out, choose.acquire, criteria.clear, criteria.fill
local narrow, drop, keep_memo = filter.narrow, filter.drop, memo.keep
local error, next, pairs, tostring = error, next, pairs, tostring
local getinfo = debug.getinfo

---@class gyre.acquire
local acquire = {}

local HOW = {
  [C.GYRE_PICKED] = "picked", [C.GYRE_SESSION_HIT] = "session hit", [C.GYRE_SESSION_NEW] = "session new",
  [C.GYRE_SESSION_MOVED] = "session moved",
}
local MOST_FALLBACKS = 2 -- of a fallback, before round-robin serves

-- The request of a plain acquire(), for all of them. Strategies only look at it; what one writes into it is taken out
-- again.
local NOTHING = {}

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

local function add_place(own, default)
  local cell = own.cell
  if cell.country == nil and default.country then
    own.country, cell.country = default.country, default.country
  end
  if cell.region == nil and default.region then
    own.region, cell.region = default.region, default.region
  end
end

-- One call of the library.
local function take_step(handle, leaf, lease, request)
  local own = leaf.asked
  if narrow(own, asked, leaf.where, leaf.drop) or (leaf.key and request[leaf.key] == nil) then
    return C.GYRE_ENO_PROXY
  end
  if leaf.default then
    add_place(own, leaf.default)
  end
  add_defaults(own.cell, leaf, request)
  return C.gyre_acquire(handle, own.cell, lease.raw)
end

-- A session keeps its proxy in whichever step that is.
local function keep(handle, leaf, lease)
  local own = leaf.asked
  if narrow(own, asked, leaf.keep, leaf.drop) then
    return C.GYRE_ENO_PROXY
  end
  return C.gyre_acquire_chosen(handle, own.cell, 0, lease.raw)
end

local function is_final(code)
  return code ~= C.GYRE_ENO_PROXY and code ~= C.GYRE_EBUSY
end

local function by_steps(handle, at_work, lease, request, from, busy)
  local plan = at_work.plan
  local code, kept, leaf = C.GYRE_ENO_PROXY, nil, nil
  for i = from, #plan do
    leaf = plan[i]
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
    lease.tag = leaf.tag
    return lease
  end
  return nil, code == C.GYRE_ENO_PROXY and busy or status.error(code)
end

-- Where a strategy with `first` begins; nil and an error when that fails.
local function first_leaf(state, at_work, request)
  local made = at_work.strategy
  local ran, step = confine.call(at_work.loaded.guarded and state.budget, made.first, made, request)
  local first = ran and at_work.plan.starts[step]
  if not first then
    return choose.failed(state, at_work, ran and "wrong" or "raised",
      ran and ("first returned %s, which is no step"):format(confine.text(step)) or tostring(step))
  end
  return first
end

local function by_plan(state, at_work, lease, request)
  local plan = at_work.plan
  local code, leaf
  if at_work.simple then
    leaf = plan[1]
    add_defaults(asked.cell, leaf, request)
    code = C.gyre_acquire(state.handle, asked.cell, lease.raw)
  else
    local first, err
    if at_work.strategy.first then
      first, err = first_leaf(state, at_work, request)
    else
      first = 1
    end
    if err then
      return nil, err
    end
    leaf = plan[first]
    if leaf and leaf.key and request[leaf.key] == nil then
      return nil, errors.new("invalid", ("the request has no %s, which would be hashed"):format(leaf.key))
    end
    -- The first step is nearly always the only one taken: a loop here would end every compiled trace that runs into it.
    if not leaf or (leaf.keep and request.session ~= nil) then
      return by_steps(state.handle, at_work, lease, request, leaf and first or #plan)
    end
    code = take_step(state.handle, leaf, lease, request)
    if not is_final(code) and plan[first + 1] then
      local busy = code == C.GYRE_EBUSY and status.error(code) or nil
      return by_steps(state.handle, at_work, lease, request, first + 1, busy)
    end
  end
  if code ~= 0 then
    return nil, status.error(code)
  end
  lease.tag = leaf.tag
  return lease
end

local function by_lua(state, at_work, lease, request)
  at_work.picking = true
  local leased, err = choose_proxy(state, at_work, lease, request)
  at_work.picking = false
  return leased, err
end

-- The request in the core's form, where the strategy will look for it. A misuse comes back as text. `empty`: it is
-- NOTHING, told by a flag, since a table that is compared with another has to be built.
local function fill(at_work, request, empty)
  local into = at_work.plan and asked or at_work.face.asked
  if empty then
    clear(into)
    asked.cell.unlogged = 1
    return nil
  elseif at_work.plan then
    asked.cell.unlogged = 1 -- it is by_request that says what came of it
    return fill_criteria(into, request)
  end
  local face = at_work.face
  local fault = fill_criteria(into, request)
  if at_work.takes and not fault then
    narrow(at_work.tight, face.asked, filter.NOTHING)
    drop(face.asked, at_work.takes)
  end
  return fault
end

-- Whether the strategy at work is further up in this coroutine. Slow, for what should not be.
local function is_within()
  local level = 2
  local caller = getinfo(level, "f")
  while caller and caller.func ~= by_lua do
    level = level + 1
    caller = getinfo(level, "f")
  end
  return caller ~= nil
end

local serve

-- Who passed a request on, and why, in the decision log: after the entry of the pick itself.
local function note_passed(state, passed, leased)
  if passed.by then
    note_passed(state, passed.by, leased)
  end
  local at_work, why = passed.at_work, passed.why
  local missing = at_work.missing
  if why == "missing" and missing and missing.lacking then
    why = ("%s missing on %d of %d"):format(missing.field, missing.lacking, C.gyre_pool_count(state.handle))
  end
  log.write(state.handle, at_work.name, at_work.generation, leased.id, 0, "fallback: " .. why)
end

-- What became of a request, in the decision log.
local function note(state, server, session, leased, err, passed)
  local handle = state.handle
  local candidates = server.plan and C.gyre_pool_eligible(handle, asked.cell) or view.candidates(server.face, handle)
  local reason = leased and HOW[leased.raw.how] or err.kind
  log.write(handle, server.name, server.generation, leased and leased.id, candidates > 0 and candidates or 0, reason,
    session)
  if leased and passed then
    note_passed(state, passed, leased)
  end
end

local function serve_instead(state, at_work, lease, request, empty, depth, kind)
  if kind then
    trouble.count(state, state.handle, at_work, kind)
  end
  local handle = state.handle
  local instead = depth < MOST_FALLBACKS and active.instead(handle, state, at_work) or active.last_resort(handle, state)
  local leased, err, fault, server, passed = serve(state, instead, lease, request, empty, depth + 1)
  return leased, err, fault, server, { at_work = at_work, why = kind or at_work.failure, by = passed }
end

-- Somebody asks while its select is not through.
local function serve_meanwhile(state, at_work, lease, request, empty, depth)
  if is_within() then
    local _, err = choose.strategy_error(at_work, "select acquires from its own pool")
    return nil, err, nil, at_work
  end
  choose.failed(state, at_work, "raised", "select yielded, and has not come back")
  return serve_instead(state, at_work, lease, request, empty, depth)
end

-- By this strategy, or its fallback. Returns lease | nil, error | nil, nil, misuse; and who served, and by whom the
-- request was passed on before.
function serve(state, at_work, lease, request, empty, depth)
  if at_work.wary then
    local kind, err = is_out(state.handle, state, at_work, request)
    if err then
      trouble.count(state, state.handle, at_work, kind)
      return nil, err, nil, at_work
    elseif kind then
      return serve_instead(state, at_work, lease, request, empty, depth, kind)
    end
  end
  if at_work.picking then
    return serve_meanwhile(state, at_work, lease, request, empty, depth)
  end
  local fault = fill(at_work, request, empty)
  if fault then
    return nil, nil, fault
  end
  local carry_out = at_work.plan and by_plan or by_lua
  local leased, err = carry_out(state, at_work, lease, request)
  if leased or err.kind ~= "strategy" then
    return leased, err, nil, at_work
  end
  return serve_instead(state, at_work, lease, request, empty, depth)
end

local function wipe(request)
  for name in pairs(request) do
    request[name] = nil
  end
end

--- Acquires by the strategy and the fields of a request. Misuse raises where pool:acquire() was called: everything up
--- to here is a tail call, this one is not.
---@param state gyre.State
---@param lease gyre.Lease
---@param request? gyre.Request
---@return gyre.Lease? lease
---@return gyre.Error? err
function acquire.by_request(state, lease, request)
  local at_work, empty = state.strategy, request == nil
  if empty then
    request = NOTHING
    if next(request) ~= nil then
      wipe(request)
    end
  elseif request.strategy ~= nil then
    local err
    at_work, err = active.named(state.handle, state, request.strategy)
    if not at_work then
      return nil, err
    end
  end
  local session, country = request.session, request.country -- before a strategy can write there
  local leased, err, fault, server, passed = serve(state, at_work, lease, request, empty, 0)
  if fault then
    error(fault, 2)
  end
  if state.slots ~= nil and C.gyre_log_sample(state.handle) == 1 then
    note(state, server, session, leased, err, passed)
  end
  if leased and (session ~= nil or country ~= nil) then
    lease.memo = keep_memo(session, country)
  end
  return leased, err
end

return acquire
