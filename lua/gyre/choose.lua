-- Acquiring by a strategy written in Lua: it picks from its view, the core leases the pick, and when that was taken
-- meanwhile it picks again without it.
local ffi = require "ffi"
local C = require "gyre.clib"
local criteria = require "gyre.criteria"
local errors = require "gyre.error"
local log = require "gyre.pool.log"
local registry = require "gyre.registry"
local status = require "gyre.status"
local view = require "gyre.view"

local pcall, tonumber, tostring = pcall, tonumber, tostring

-- What one acquire passes around.
---@class gyre.Choice
---@field handle ffi.cdata* `struct gyre_pool *`
---@field state gyre.State
---@field at_work gyre.strategy.Active
---@field lease gyre.Lease
---@field request gyre.Request

local id_cell = ffi.new "uint64_t[1]"
local slot_cell = ffi.new "uint32_t[1]"
local info = ffi.new("struct gyre_proxy", { size = ffi.sizeof "struct gyre_proxy" })

-- Results of gyre_acquire_id() that mean: not this one, but perhaps another.
local RACED = { [C.GYRE_ENO_PROXY] = true, [C.GYRE_EBUSY] = true, [C.GYRE_ENOT_FOUND] = true }
local MOST_MOVES = 16 -- of a session whose proxies go out while it is being given one

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

-- The id of the proxy that the strategy picks.
local function pick(handle, state, at_work, request)
  local face, made = at_work.face, at_work.strategy
  local empty, err = is_empty(handle, face)
  if empty then
    return nil, err
  end
  view.open(face)
  local ran, picked, why = pcall(made.select, made, face.view, request)
  local lives = registry.states[state.number] == state
  local good = ran and lives and picked ~= nil and view.has(face, handle, picked)
  view.close(face)
  if good then
    return picked.id
  elseif not lives then
    return nil, status.closed "the pool was closed by its strategy"
  elseif not ran then
    return choose.strategy_error(at_work, tostring(picked))
  elseif picked == nil then
    return nil, errors.new("no_proxy", ("strategy '%s' picked none: %s"):format(at_work.name, tostring(why)))
  end
  return choose.strategy_error(at_work, "select returned what is not in its view")
end

-- Leases a proxy, and tells the lease what host it is for.
local function take(handle, at_work, lease, id)
  local code = C.gyre_acquire_id(handle, id, lease.raw)
  if code == 0 then
    lease.tag = at_work.tag
    local host = at_work.face.asked.cell.host
    if host ~= nil and host[0] ~= 0 then
      C.gyre_lease_host(lease.raw, host)
    end
  end
  return code
end

-- After a pick that could not be leased.
local function again(handle, state, at_work, lease, request, code, id)
  local busy, err
  while code ~= 0 do
    if not RACED[code] then
      return nil, status.error(code)
    elseif code == C.GYRE_EBUSY then
      busy = status.error(code)
    end
    criteria.exclude(at_work.face.asked, id)
    id, err = pick(handle, state, at_work, request)
    if not id then
      return nil, err.kind == "no_proxy" and busy or err
    end
    code = take(handle, at_work, lease, id)
  end
  return lease, nil, "picked"
end

-- Without a loop, which would end every compiled trace that runs into it.
local function plainly(handle, state, at_work, lease, request)
  local id, err = pick(handle, state, at_work, request)
  if not id then
    return nil, err
  end
  local code = take(handle, at_work, lease, id)
  if code == 0 then
    return lease, nil, "picked"
  end
  return again(handle, state, at_work, lease, request, code, id)
end

-- Not in the list, but perhaps only because it is at its limit just now; that is no reason to move a session. Then
-- leasing it says so. Returns the code; 0 is never one of them.
local function try_unlisted(handle, at_work, lease, id)
  local limited = C.gyre_pool_get(handle, id, info) == 0 and (info.max_active > 0 or info.rate_count > 0)
  if not limited then
    return C.GYRE_ENO_PROXY
  end
  local code = take(handle, at_work, lease, id)
  if code == 0 then -- the request does not let it through, then
    C.gyre_complete_ms(handle, lease.raw, C.GYRE_ABORTED, -1)
    return C.GYRE_ENO_PROXY
  end
  return code
end

-- Leases the proxy that the session has, if the request lets it through.
local function take_present(handle, at_work, lease, id)
  local face = at_work.face
  if criteria.excludes(face.asked, id) then
    return C.GYRE_ENO_PROXY
  end
  if face.asked.filtered then
    view.open(face)
    local listed = view.lists(face, handle, id)
    view.close(face)
    if not listed then
      return try_unlisted(handle, at_work, lease, id)
    end
  end
  return take(handle, at_work, lease, id)
end

-- Leases the proxy that the session has: code 0, and its id. GYRE_ENOT_FOUND: it has none. GYRE_ENO_PROXY: it must get
-- another.
local function use_session(handle, at_work, lease, session)
  local code = C.gyre_session_use(handle, session, id_cell)
  if code ~= 0 then
    return code, 0
  end
  local id = tonumber(id_cell[0])
  code = take_present(handle, at_work, lease, id)
  return code == C.GYRE_ENOT_FOUND and C.GYRE_ENO_PROXY or code, id
end

-- Picks one and gives it to the session, unless that has got another meanwhile. Code GYRE_ENO_PROXY: try again.
local function assign(handle, state, at_work, lease, request, refused)
  local id, err = pick(handle, state, at_work, request)
  if not id then
    return nil, err
  end
  local code = C.gyre_session_assign(handle, request.session, id, refused, id_cell)
  if code == 0 and tonumber(id_cell[0]) ~= id then
    return C.GYRE_ENO_PROXY
  elseif code == 0 then
    code = take(handle, at_work, lease, id)
  end
  if RACED[code] then -- it went out since it was picked
    criteria.exclude(at_work.face.asked, id)
    return C.GYRE_ENO_PROXY
  end
  return code
end

local function new_proxy(handle, state, at_work, lease, request, refused)
  local how = refused == 0 and "session new" or "session moved"
  for _ = 1, MOST_MOVES do
    local code, err = assign(handle, state, at_work, lease, request, refused)
    if code == 0 then
      return lease, nil, how
    elseif code ~= C.GYRE_ENO_PROXY then
      return nil, err or status.error(code)
    end
    code, refused = use_session(handle, at_work, lease, request.session)
    if code == 0 then
      return lease, nil, "session hit"
    elseif code == C.GYRE_EBUSY or not RACED[code] then
      return nil, status.error(code)
    end
  end
  return nil, errors.new("busy", "the session's proxies went out as fast as it was given them")
end

-- The session keeps its proxy as long as that is eligible; else the strategy picks, and the first to say so wins.
local function for_session(handle, state, at_work, lease, request)
  local code, refused = use_session(handle, at_work, lease, request.session)
  if code == 0 then
    return lease, nil, "session hit"
  elseif code == C.GYRE_EBUSY or not RACED[code] then
    return nil, status.error(code)
  end
  return new_proxy(handle, state, at_work, lease, request, refused)
end

local function note(handle, state, at_work, id, reason)
  log.write(handle, at_work.name, state.generation, id, view.candidates(at_work.face, handle), reason)
end

--- Acquires by a strategy in Lua, whose view holds the request already.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param state gyre.State
---@param at_work gyre.strategy.Active
---@param lease gyre.Lease
---@param request gyre.Request
---@return gyre.Lease? lease
---@return gyre.Error? err
function choose.acquire(handle, state, at_work, lease, request)
  local host = request.host
  if host ~= nil and host ~= "" then
    local wait = C.gyre_host_delay(handle, host)
    if wait > 0 then
      return nil, errors.new("busy", ("%s is throttled for another %.1f seconds"):format(host, wait))
    end
  end
  local leased, err, how
  if request.session ~= nil then
    leased, err, how = for_session(handle, state, at_work, lease, request)
  else
    leased, err, how = plainly(handle, state, at_work, lease, request)
  end
  if registry.states[state.number] == state and C.gyre_log_sample(handle) == 1 then
    note(handle, state, at_work, leased and leased.id, how or err.kind)
  end
  return leased, err
end

return choose
