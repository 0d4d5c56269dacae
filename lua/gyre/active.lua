-- A strategy at work in one pool: the strategy, how it is carried out (a plan of the library's calls, or its view), the
-- tag that leads leases back to it, and whether it can serve just now.
local ffi = require "ffi"
local C = require "gyre.clib"
local confine = require "gyre.strategy.confine"
local criteria = require "gyre.criteria"
local errors = require "gyre.error"
local facade = require "gyre.strategy.facade"
local registry = require "gyre.registry"
local steps = require "gyre.strategy.steps"
local strategy = require "gyre.strategy"
local trouble = require "gyre.trouble"
local view = require "gyre.view"

local error, ipairs, pcall, rawget, tonumber, tostring, type = error, ipairs, pcall, rawget, tonumber, tostring, type
local states = registry.states

local id_cell = ffi.new "uint64_t[1]"
local info = ffi.new("struct gyre_proxy", { size = ffi.sizeof "struct gyre_proxy" })
local MOST_NAMED = 256 -- strategies that requests name, kept by each state
local MOST_RECORDERS = 1024 -- whose leases still find them

---@class gyre.strategy.Active
---@field strategy gyre.Strategy
---@field loaded gyre.strategy.Loaded
---@field name string
---@field title string
---@field takes string[]|false fields of the request that do not narrow its view
---@field plan? gyre.strategy.Plan when the library carries it out
---@field simple boolean the plan is one call that only names a picker
---@field face? gyre.view.Face of its view, when there is no plan
---@field tags table<gyre.Strategy, integer>|false of its parts: index in recorders; 0: no `record`; false: none has one
---@field tag integer that of the first
---@field generation integer of the segment when it came; 0: this handle's own
---@field picking boolean select is running
---@field wary boolean it looks at the pool before it serves: requires, refresh, or it is out
---@field needs_session boolean
---@field epoch? integer of the pool when it was last looked at
---@field missing? gyre.Error metadata that it needs and the pool does not have
---@field look_again? number pool time when it may have it by use
---@field tripped? number pool time until which it rests
---@field look_at? number with `watch`, of one that a request names: pool time of the next look at its files
---@field row integer failures one after the other
---@field failure? string the kind of the last
---@field counts table<string, integer> see trouble.lua
---@field instead? gyre.strategy.Active its fallback, once that was needed

---@class gyre.active
local active = {}

local LOOK_EVERY = 1 -- seconds of pool time between two looks at the files, with `watch`
local LOOK_AGAIN = 1 -- seconds of pool time until what comes with use is looked for again

-- What a proxy lacks. Weight has a default: nobody lacks it. Latency comes with use: it is asked only of those in use.
local LACKS = {
  latency = function()
    return info.state == C.GYRE_CLOSED and info.ema_ms ~= info.ema_ms
  end,
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

local function missing_metadata(handle, at_work)
  for _, field in ipairs(at_work.requires) do
    local lacks = LACKS[field]
    local lacking = lacks and count_lacking(handle, lacks) or 0
    if lacking > 0 then
      local message = "strategy '%s' needs %s: %d of %d proxies have none"
      message = message:format(at_work.name, field, lacking, C.gyre_pool_count(handle))
      return errors.new("missing_metadata", message, {
        field = field, lacking = lacking, comes_with_use = field == "latency",
      })
    end
  end
end

-- A list of a strategy's, read without its metatable: that is code without a budget.
local function list_of(fields)
  local copied = {}
  while rawget(fields, #copied + 1) ~= nil do
    copied[#copied + 1] = rawget(fields, #copied + 1)
  end
  return copied
end

-- It and all it is made of, with the fields they require and the hooks they have.
local function collect(at_work, made)
  local requires, refreshers = {}, {}
  local function add(part)
    for _, field in ipairs(list_of(part.requires or {})) do
      if field == "session" then
        at_work.needs_session = true
      else
        requires[#requires + 1] = field
      end
    end
    refreshers[#refreshers + 1] = part.refresh and part
  end
  for _, part in ipairs(at_work.loaded.nested) do
    add(part)
  end
  add(made)
  at_work.requires, at_work.refreshers = requires, refreshers
  at_work.wary = #requires + #refreshers > 0 or at_work.needs_session
end

local function new_tag(at_work, state, parts)
  local tag = state.last_tag + 1
  state.last_tag = tag
  state.recorders[tag] = { at_work = at_work, parts = parts }
  state.recorders[tag - MOST_RECORDERS] = nil
  return tag
end

-- Leases are recorded by whoever of a composition picked. Those of the session that has its proxy already are the
-- first's. Parts with the same recorders have one tag: other threads know the first.
local function give_tags(at_work, state, leaves)
  local tags, of, any = at_work.tags or {}, {}, false
  for i = 1, #leaves do
    local part = leaves[i]
    local recorders = leaves[part]
    tags[part] = tags[part] or of[recorders] or (recorders[1] and new_tag(at_work, state, recorders)) or 0
    of[recorders] = tags[part]
    any = any or tags[part] ~= 0
  end
  at_work.tags = any and tags
  at_work.tag = any and tags[leaves[1]] or 0
end

local function plan_and_leaves(made)
  return steps.plan(made), steps.leaves(made)
end

local function lay_out(at_work, state)
  local made = at_work.strategy
  local budget = at_work.loaded.guarded and state.budget
  local laid_out, plan, leaves = confine.call(budget, plan_and_leaves, made)
  if not laid_out then
    error(plan, 0)
  end
  at_work.takes = made.takes and list_of(made.takes)
  at_work.plan = plan or false
  at_work.simple = plan ~= nil and steps.is_simple(plan)
  give_tags(at_work, state, leaves)
  if plan then
    for _, leaf in ipairs(plan) do
      leaf.asked, leaf.tag = criteria.new(), at_work.tags and at_work.tags[leaf.of] or 0
    end
  elseif not at_work.face then
    at_work.face, at_work.tight = view.new(state), criteria.new()
    at_work.face.confined = at_work.loaded.guarded
  end
end

local function refresh_part(part, pool)
  part:refresh(pool)
  return steps.check(part)
end

local function refresh(at_work, state)
  for _, part in ipairs(at_work.refreshers) do
    local budget = at_work.loaded.guarded and state.budget
    local ran, why = confine.call(budget, refresh_part, part, facade.of(state, at_work.loaded.guarded))
    local fault = ran and why or not ran and tostring(why)
    if fault then
      return errors.new("strategy", ("strategy '%s': refresh: %s"):format(at_work.name, fault))
    end
  end
  if at_work.refreshers[1] then
    lay_out(at_work, state)
  end
end

--- Looks at the pool again: after a change of membership or labels what a strategy needs may be missing, or there.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param state gyre.State
---@param at_work gyre.strategy.Active
function active.look(handle, state, at_work)
  at_work.epoch = state.epoch[0]
  local missing = missing_metadata(handle, at_work)
  at_work.look_again = missing and missing.comes_with_use and C.gyre_pool_time(handle) + LOOK_AGAIN or false
  at_work.missing = missing or refresh(at_work, state) or false
end

--- Puts a loaded strategy to work.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param state gyre.State
---@param made gyre.Strategy
---@param loaded gyre.strategy.Loaded
---@return gyre.strategy.Active? active
---@return gyre.Error? err
function active.new(handle, state, made, loaded)
  local at_work = {
    strategy = made, loaded = loaded, name = made.name, title = made.title or made.name, takes = false,
    picking = false, generation = 0, row = 0, needs_session = false, plan = false, tripped = false, missing = false,
    look_again = false, tags = false, tag = 0, counts = trouble.new_counts(),
  }
  collect(at_work, made)
  active.look(handle, state, at_work)
  local missing = at_work.missing
  if missing and not missing.comes_with_use
    and (missing.kind ~= "missing_metadata" or not (made.fallback or state.fallback_given)) then
    return nil, missing
  end
  lay_out(at_work, state)
  return at_work
end

--- Loads a strategy and puts it to work.
---@param handle ffi.cdata*
---@param state gyre.State
---@param source string|gyre.Strategy|gyre.Composition
---@param options? table<string, any>
---@return gyre.strategy.Active? active
---@return gyre.Error? err
function active.load(handle, state, source, options)
  local made, loaded = strategy.load(source, options, state.how)
  if not made then
    return nil, loaded
  end
  return active.new(handle, state, made, loaded)
end

--- With `watch`: shall the files be looked at? Once a second.
---@param handle ffi.cdata*
---@param whose { look_at?: number } pool time of the next look
---@return boolean
function active.is_due(handle, whose)
  local now, next_look = C.gyre_pool_time(handle), whose.look_at
  if next_look and now < next_look and now >= next_look - LOOK_EVERY then
    return false
  end
  whose.look_at = now + LOOK_EVERY
  return true
end

-- A strategy whose files may have changed since; where they cannot be used, the old one.
local function renewed(handle, state, source, known)
  if not active.is_due(handle, known) or strategy.is_current(known.loaded) then
    return known
  end
  local ran, at_work, err = pcall(active.load, handle, state, source)
  if not ran or not at_work then
    strategy.accept(known.loaded) -- told once for what the files hold now
    trouble.tell(state, { name = known.name }, "changed, and not used: " .. tostring(ran and err or at_work))
    return known
  end
  state.named[source] = at_work
  return at_work
end

--- The strategy that a request names, loaded on its first use and kept, with `watch` until its files change.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param state gyre.State
---@param source string|gyre.Strategy
---@return gyre.strategy.Active? active
---@return gyre.Error? err
function active.named(handle, state, source)
  local known = state.named[source]
  if known then
    return state.watch and renewed(handle, state, source, known) or known
  end
  local at_work, err = active.load(handle, state, source)
  if at_work then
    if state.named_count >= MOST_NAMED then
      state.named, state.named_count = {}, 0
    end
    state.named[source], state.named_count = at_work, state.named_count + 1
  end
  return at_work, err
end

--- Who serves when all else fails: round-robin.
---@param handle ffi.cdata*
---@param state gyre.State
---@return gyre.strategy.Active
function active.last_resort(handle, state)
  if not state.last_resort then
    state.last_resort = assert(active.load(handle, state, "round-robin"))
  end
  return state.last_resort
end

-- The pool's fallback.
local function of_pool(handle, state)
  if not state.fallback then
    local given = state.fallback_given
    local loaded, err = active.load(handle, state, given or "round-robin")
    if not loaded then
      trouble.tell(state, { name = tostring(given) }, "as the pool's fallback: " .. err.message)
    end
    state.fallback = loaded or active.last_resort(handle, state)
  end
  return state.fallback
end

-- A table may be of a file's making, with code in its metatable.
local function load_fallback(handle, state, at_work, own)
  local budget = at_work.loaded.guarded and type(own) == "table" and state.budget
  local ran, loaded, err = confine.call(budget, active.load, handle, state, own)
  if not ran then
    return nil, errors.new("strategy", tostring(loaded))
  end
  return loaded, err
end

--- Who serves instead of a strategy that cannot.
---@param handle ffi.cdata*
---@param state gyre.State
---@param at_work gyre.strategy.Active
---@return gyre.strategy.Active
function active.instead(handle, state, at_work)
  local own = at_work.strategy.fallback
  if own ~= nil and not at_work.instead then
    local err
    at_work.instead, err = load_fallback(handle, state, at_work, own)
    if err then
      trouble.tell(state, at_work, "its fallback: " .. err.message)
      at_work.instead = of_pool(handle, state)
    end
  end
  local instead = at_work.instead or of_pool(handle, state)
  return instead ~= at_work and instead or active.last_resort(handle, state)
end

--- Why a strategy cannot serve this request, or nil when it can. Only for one that is `wary`.
---@param handle ffi.cdata*
---@param state gyre.State
---@param at_work gyre.strategy.Active
---@param request gyre.Request
---@return string? why a key of `counts`
---@return gyre.Error? err when nobody serves instead
function active.is_out(handle, state, at_work, request)
  if at_work.tripped then
    if C.gyre_pool_time(handle) < at_work.tripped then
      return "resting"
    end
    trouble.forgive(at_work)
  end
  if at_work.epoch ~= state.epoch[0] or (at_work.look_again and C.gyre_pool_time(handle) >= at_work.look_again) then
    active.look(handle, state, at_work)
  end
  local missing = at_work.missing
  if not missing and at_work.needs_session and request.session == nil then
    missing = errors.new("missing_metadata", ("strategy '%s' needs session: the request has none"):format(at_work.name),
      { field = "session" })
  end
  if not missing then
    return nil
  elseif at_work.strategy.fallback == nil and not state.fallback_given and not missing.comes_with_use then
    return "missing", missing
  end
  return "missing"
end

-- Whoever looks at it runs no code of the strategy.
local function plain(value)
  return value ~= nil and type(value) ~= "number" and confine.text(value) or value
end

-- A function of its own: LuaJIT does not compile one that may make a closure of its locals.
local function judge_of(state, at_work, made)
  return function(...)
    local ran, verdict, wait = pcall(trouble.call, state, at_work, made.judge, made, ...)
    if not ran then
      at_work.counts.judge = at_work.counts.judge + 1
      error(verdict, 0)
    end
    if at_work.loaded.guarded then
      verdict, wait = plain(verdict), plain(wait)
    end
    return verdict, wait
  end
end

--- The judge of the strategy that picks for a request, as gyre.judge takes it; nil: it has none.
---@param pool gyre.Pool
---@param source? string|gyre.Strategy what the request names
---@return function?
function active.judge(pool, source)
  local state = states[pool.number]
  local at_work = state and (source ~= nil and state.named[source] or state.strategy)
  local made = at_work and at_work.loaded.judging
  return made and (at_work.loaded.judge or judge_of(state, at_work, made))
end

return active
