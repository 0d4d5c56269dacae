-- Which strategy a handle uses, and what the segment says of it: a change by anybody is written there once and noticed
-- by each Lua state on its next acquire. The new one is built and checked beside the old; one that fails leaves the old
-- in use.
local ffi = require "ffi"
local C = require "gyre.clib"
local active = require "gyre.active"
local criteria = require "gyre.criteria"
local errors = require "gyre.error"
local options_text = require "gyre.strategy.text"
local registry = require "gyre.registry"
local status = require "gyre.status"
local steps = require "gyre.strategy.steps"
local strategy = require "gyre.strategy"
local trouble = require "gyre.trouble"

local next, pcall, tostring, type = next, pcall, tostring, type
local states = registry.states

local SIZE = ffi.sizeof "struct gyre_strategy"
local record = ffi.new("struct gyre_strategy", { size = SIZE })
local written = ffi.new "struct gyre_strategy"
local generation_cell = ffi.new "uint32_t[1]"
local NAME_ROOM = ffi.sizeof(record.name) - 1
local OPTIONS_ROOM = ffi.sizeof(record.options) - 1
local FALLBACK_ROOM = ffi.sizeof(record.fallback) - 1

-- The built-in that a picker of the core carries out.
local BUILTIN = {
  [C.GYRE_PICK_ROUND_ROBIN] = "round-robin", [C.GYRE_PICK_RANDOM] = "random", [C.GYRE_PICK_LEAST_USED] = "least-used",
  [C.GYRE_PICK_LEAST_ACTIVE] = "least-active", [C.GYRE_PICK_BEST] = "performance", [C.GYRE_PICK_WEIGHTED] = "weighted",
  [C.GYRE_PICK_HASH] = "consistent-hash",
}

---@class gyre.swap
local swap = {}

-- Can one call with a request that never changes carry it out?
local function is_fixed(at_work)
  local plan = at_work.plan
  return plan and steps.is_fixed(plan) and not at_work.strategy.first and not at_work.wary
end

-- Does the word of the segment say all that this leaf does?
local function is_native(handle, leaf)
  record.size = SIZE
  return C.gyre_strategy_get(handle, record) == 0 and record.scripted == 0 and record.picker == leaf.picker
    and record.choices == leaf.choices and record.random_ties == leaf.random_ties
    and leaf.min_success == 0 and leaf.max_ms == 0 and next(leaf.where) == nil
end

--- Makes a strategy the one of a handle. What a plain acquire() asks of the core is laid down in the handle.
---@param self gyre.Pool
---@param at_work gyre.strategy.Active
function swap.install(self, at_work)
  local state, request = states[self.number], self.request
  state.strategy = at_work
  self.plain = 0
  ffi.fill(request, ffi.sizeof(request))
  request.size = ffi.sizeof(request)
  if not is_fixed(at_work) or (state.watch and at_work.source) then
    return
  end
  local leaf = at_work.plan[1]
  self.plain, self.tag, self.asked = 1, leaf.tag, nil
  if is_native(self.handle, leaf) then
    return
  end
  self.asked = request
  request.min_success, request.max_ms = leaf.min_success, leaf.max_ms
  request.picker, request.choices, request.random_ties = leaf.picker, leaf.choices, leaf.random_ties
  request.country, request.region, request.tags = leaf.where.country, leaf.where.region, leaf.where.tags
  request.state = criteria.STATES[leaf.where.state] or 0
end

-- Does the word of the segment say all that this strategy does?
local function is_scripted(at_work)
  local leaf = at_work.simple and not at_work.wary and at_work.plan[1]
  return not leaf or leaf.min_success ~= 0 or leaf.max_ms ~= 0 or at_work.strategy.first ~= nil
end

local function fill_record(state, at_work, found)
  local leaf = at_work.plan and at_work.plan[1]
  local fallback = state.fallback_given
  ffi.fill(written, SIZE)
  written.size = SIZE
  written.picker = leaf and leaf.picker or C.GYRE_PICK_ROUND_ROBIN
  written.choices = leaf and leaf.choices or 0
  written.random_ties = leaf and leaf.random_ties or 0
  written.scripted = is_scripted(at_work) and 1 or 0
  ffi.copy(written.name, found.name)
  ffi.copy(written.options, found.options)
  if type(fallback) == "string" and #fallback <= FALLBACK_ROOM then
    ffi.copy(written.fallback, fallback)
  end
end

-- Why others cannot load a strategy, or nil.
local function not_shareable(found)
  if not found.name then
    return found.local_why
  elseif #found.name > NAME_ROOM then
    return ("its path has more than %d bytes"):format(NAME_ROOM)
  elseif #found.options > OPTIONS_ROOM then
    return ("its options have more than %d bytes as JSON"):format(OPTIONS_ROOM)
  end
end

-- What the segment has is this already.
local function is_there(handle, found)
  record.size = SIZE
  return C.gyre_strategy_get(handle, record) == 0 and record.generation > 0 and ffi.string(record.name) == found.name
    and ffi.string(record.options) == found.options
end

--- Tells everybody, unless the strategy is for this handle alone, and uses it.
---@param self gyre.Pool
---@param at_work gyre.strategy.Active
---@param how { local_only?: boolean, adopt?: boolean } adopt: what the segment has already is not written again
---@return true? used
---@return gyre.Error? err
function swap.put(self, at_work, how)
  local state, handle, found = states[self.number], self.handle, at_work.loaded
  local why = not_shareable(found)
  if why and state.shared and not how.local_only then
    local message = "strategy '%s': %s: use a name or a path, or say local_only = true"
    return nil, errors.new("strategy", message:format(at_work.name, why))
  end
  at_work.source, at_work.scripted = found.name, is_scripted(at_work)
  if why or how.local_only then
    self.seen = self.generation[0] -- the next swap by anybody ends it
  elseif how.adopt and is_there(handle, found) then
    at_work.generation, self.seen = record.generation, record.generation
  else
    fill_record(state, at_work, found)
    local code = C.gyre_strategy_set(handle, written, generation_cell)
    if code ~= 0 then
      return nil, status.error(code)
    end
    at_work.generation, self.seen = generation_cell[0], generation_cell[0]
  end
  swap.install(self, at_work)
  return true
end

-- The strategy that the segment names, at work.
local function load_named(self, state)
  record.size = SIZE
  local code = C.gyre_strategy_get(self.handle, record)
  if code ~= 0 then
    self.seen = self.generation[0]
    return nil, status.error(code)
  end
  self.seen = record.generation
  local name, generation, scripted = ffi.string(record.name), record.generation, record.scripted ~= 0
  local options, why = options_text.read(ffi.string(record.options))
  if not options then
    return nil, errors.new("strategy", ("strategy '%s': its options: %s"):format(name, why))
  end
  local fallback = ffi.string(record.fallback)
  if fallback ~= "" and not state.fallback_given then
    state.fallback_given, state.fallback = fallback, nil
  end
  local source = name ~= "" and name or BUILTIN[record.picker]
  local ran, at_work, err = pcall(active.load, self.handle, state, source, options)
  if not ran or not at_work then
    return nil, ran and err or errors.new("strategy", tostring(at_work))
  end
  at_work.generation, at_work.source, at_work.scripted = generation, name, scripted
  return at_work
end

--- Somebody changed the strategy: it is loaded here too. One that cannot be leaves the old in use, which is told.
---@param self gyre.Pool
function swap.notice(self)
  local state = states[self.number]
  local at_work, err = load_named(self, state)
  if at_work then
    swap.install(self, at_work)
    return
  end
  local name = ffi.string(record.name)
  swap.install(self, state.strategy) -- again: the segment does not say the same any more
  state.failed_swaps = state.failed_swaps + 1
  trouble.tell(state, { name = name }, "not used: " .. err.message)
end

--- What the segment says just now, also where this handle has not followed it: it does with its next acquire.
---@param handle ffi.cdata* `struct gyre_pool *`
---@return { name: string, generation: integer }? said
---@return gyre.Error? err
function swap.said(handle)
  record.size = SIZE
  local code = C.gyre_strategy_get(handle, record)
  if code ~= 0 then
    return nil, status.error(code)
  end
  local name = ffi.string(record.name)
  return { name = name ~= "" and name or BUILTIN[record.picker], generation = record.generation }
end

--- Uses what the segment says, at opening.
---@param self gyre.Pool
---@return true? used
---@return gyre.Error? err with `of_segment`
function swap.follow(self)
  local at_work, err = load_named(self, states[self.number])
  if not at_work then
    err.message, err.of_segment = "the segment's strategy: " .. err.message, true
    return nil, err
  end
  swap.install(self, at_work)
  return true
end

--- Loads the strategy in use anew, from what its files hold now.
---@param self gyre.Pool
---@return true? reloaded
---@return gyre.Error? err the old one stays in use
function swap.reload(self)
  local state = states[self.number]
  local old = state.strategy
  local found = old.loaded
  if not found.name then
    local message = "strategy '%s' was given as a table, which cannot be read again"
    return nil, errors.new("strategy", message:format(old.name))
  end
  local options = options_text.read(found.options)
  local ran, at_work, err = pcall(active.load, self.handle, state, found.name, options)
  if not ran or not at_work then
    return nil, ran and err or errors.new("strategy", tostring(at_work))
  end
  return swap.put(self, at_work, { local_only = old.generation == 0 })
end

--- With `watch`: once a second, have the files changed?
---@param self gyre.Pool
function swap.look(self)
  local state = states[self.number]
  local found = state.strategy.loaded
  if not active.is_due(self.handle, state) or strategy.is_current(found) then
    return
  end
  local reloaded, err = swap.reload(self)
  if not reloaded then
    strategy.accept(found) -- told once for what the files hold now
    state.failed_swaps = state.failed_swaps + 1
    trouble.tell(state, { name = state.strategy.name }, "changed, and not used: " .. err.message)
  end
end

return swap
