-- Pools: a process's handle on a segment, with everything one does to it. The hot path is acquire(): one call of the
-- core, no garbage but the lease. gyre.open() makes them: see open.lua.
local ffi = require "ffi"
local C = require "gyre.clib"
local acquire = require "gyre.acquire"
local criteria = require "gyre.criteria"
local field_names = require "gyre.fields"
local lease = require "gyre.lease"
local member = require "gyre.member"
local proxy = require "gyre.proxy"
local registry = require "gyre.registry"
local runtime = require "gyre.runtime"
local status = require "gyre.status"
local swap = require "gyre.swap"
local base = require "gyre.pool.base"

local error, ipairs, pairs, tonumber, tostring, type = error, ipairs, pairs, tonumber, tostring, type
local new_lease, is_lease, by_request = lease.new, lease.is, acquire.by_request
local due, names_fault, is_empty, notice = field_names.due, criteria.names_fault, criteria.is_empty, swap.notice
local SHARE = field_names.SHARE
local pools, states = registry.pools, registry.states
local closed, result, check_id = base.closed, base.result, base.check_id

-- All that an acquire by a strategy in Lua does becomes one trace, whose constants are some 500: that is LuaJIT's usual
-- limit, and beyond it nothing is compiled.
jit.opt.start "maxirconst=1000"

local buffer = ffi.new("char[?]", proxy.URL_SIZE)
local id_cell = ffi.new "uint64_t[1]"
local DEFAULT_BUDGET = 10 -- milliseconds
local DEFAULT_TRIP_AFTER, DEFAULT_TRIP_REST = 10, 30 -- failures in a row, seconds

--- A pool of proxies. `#pool` is their number. Not to be shared between Lua states.
---@class gyre.Pool: ffi.cdata*
---@field loaded? gyre.list.Report what became of the list it was opened with
---@field strategy string name of the strategy in use
local Pool = {}

-- The methods by subject; what stands below is the hot path, the proxies and the strategy.
local PARTS = {
  require "gyre.pool.counter",
  require "gyre.pool.host",
  require("gyre.pool.log").methods,
  require "gyre.pool.probe",
  require "gyre.pool.reload",
  require "gyre.pool.session",
  require "gyre.pool.state",
  require "gyre.pool.strategy",
  require "gyre.pool.upkeep",
}
for _, part in ipairs(PARTS) do
  for name, method in pairs(part) do
    Pool[name] = method
  end
end

--- Leases a proxy. It counts as started until the lease ends.
---@param request? gyre.Request
---@return gyre.Lease? lease
---@return gyre.Error? err kinds: no_proxy, busy, full, strategy, closed
function Pool.acquire(self, request)
  return Pool.acquire_into(self, new_lease(), request)
end

--- The same without garbage: into a lease of the caller's, from gyre.lease(), whose last use has ended.
---@param into gyre.Lease
---@param request? gyre.Request
---@return gyre.Lease? lease `into`
---@return gyre.Error? err
function Pool.acquire_into(self, into, request)
  local handle = self.handle
  if handle == nil then
    return closed(self)
  end
  if not is_lease(into) then
    error("acquire_into takes a lease made by gyre.lease()", 2)
  end
  into.pool, into.memo = self.number, 0
  if self.generation[0] ~= self.seen then
    notice(self)
  end
  local plain = self.plain ~= 0
  if request ~= nil then
    if type(request) ~= "table" then
      error("a request is a table, not a " .. type(request), 2)
    end
    local fault = due(self) and names_fault(request)
    if fault then
      error(fault, 2)
    end
    plain = plain and is_empty(request)
  end
  if plain then
    local code = C.gyre_acquire(handle, self.asked, into.raw)
    if code == 0 then
      into.tag = self.tag
      return into
    end
    return nil, status.error(code)
  end
  local state = states[self.number]
  if state.watch then
    swap.look(self)
  end
  return by_request(state, into, request)
end

--- Adds a proxy.
---@param value string|table a URL or another line of a list, or a table: url, or scheme host port user password; and
--- country region tags weight cost max_active
---@return number? id
---@return gyre.Error? err kinds: exists (err.id is the one that exists), full, invalid, closed
function Pool.add(self, value)
  if self.handle == nil then
    return closed(self)
  end
  local found, err = member.entry(value, 2)
  if not found then
    return nil, err
  end
  return member.add(self.handle, found)
end

--- Changes labels (where "" clears), weight, cost or max_active.
---@param id number
---@param fields table
---@return true? changed
---@return gyre.Error? err kinds: invalid, not_found, closed
function Pool.update(self, id, fields)
  check_id(id)
  local changes = member.changes(fields, 2)
  if self.handle == nil then
    return closed(self)
  end
  return member.update(self.handle, id, changes)
end

-- The methods that do one thing to the proxy with this id.
local function by_id(call)
  return function(self, id)
    check_id(id)
    if self.handle == nil then
      return closed(self)
    end
    return result(C[call](self.handle, id))
  end
end

--- Removes a proxy and wipes its credentials; leases in flight complete harmlessly.
---@type fun(self: gyre.Pool, id: number): true?, gyre.Error?
Pool.remove = by_id "gyre_pool_remove"

--- Takes a proxy out until it is enabled.
---@type fun(self: gyre.Pool, id: number): true?, gyre.Error?
Pool.disable = by_id "gyre_pool_disable"

--- No new lease for a proxy; those in flight finish.
---@type fun(self: gyre.Pool, id: number): true?, gyre.Error?
Pool.drain = by_id "gyre_pool_drain"

--- Ends disable, drain and any bench.
---@type fun(self: gyre.Pool, id: number): true?, gyre.Error?
Pool.enable = by_id "gyre_pool_enable"

local function object(self, id)
  local code = C.gyre_pool_url(self.handle, id, buffer, proxy.URL_SIZE)
  if code >= 0 then
    return proxy.by_id(states[self.number], id)
  end
  return nil
end

--- The proxy with an id, or nil. With a URL: a request through the pool, see gyre/http.lua; only in the gyre program.
---@param id number|string
---@return gyre.Proxy?
function Pool.get(self, id, ...)
  if type(id) ~= "number" then
    return runtime.find("get", "pool:get(url)", 2)(self, id, ...)
  end
  check_id(id)
  if self.handle == nil then
    return closed(self)
  end
  return object(self, id)
end

--- Requests through the pool, several at once: see gyre/http.lua; only in the gyre program.
function Pool.map(self, ...)
  return runtime.find("map", "pool:map()", 2)(self, ...)
end

--- The proxy with this URL, credentials included; nil when there is none.
---@param url string
---@return gyre.Proxy? proxy
---@return gyre.Error? err when the URL is none
function Pool.find(self, url)
  local found, err = member.entry(url, 2)
  if not found then
    return nil, err
  end
  if self.handle == nil then
    return closed(self)
  end
  local code = C.gyre_pool_find(self.handle, found.url, id_cell)
  if code == 0 then
    return object(self, tonumber(id_cell[0]))
  elseif code == C.GYRE_ENOT_FOUND then
    return nil
  end
  return nil, status.error(code)
end

--- The URL of a proxy: with its credentials only when asked for them.
---@param id number
---@param with_credentials? boolean
---@return string? url
---@return gyre.Error? err
function Pool.url(self, id, with_credentials)
  check_id(id)
  if self.handle == nil then
    return closed(self)
  end
  local write = with_credentials and C.gyre_pool_url_with_credentials or C.gyre_pool_url
  local size = write(self.handle, id, buffer, proxy.URL_SIZE)
  if size < 0 then
    return nil, status.error(size)
  end
  return ffi.string(buffer, size)
end

local function next_proxy(self, previous)
  if self.handle == nil then
    return nil
  end
  id_cell[0] = previous and previous.id or 0
  if C.gyre_pool_next(self.handle, id_cell) == 1 then
    return proxy.by_id(states[self.number], tonumber(id_cell[0]))
  end
  return nil
end

--- `for proxy in pool:each() do`. Proxies may be added and removed meanwhile.
---@return fun(self: gyre.Pool, previous?: gyre.Proxy): gyre.Proxy?
---@return gyre.Pool
function Pool.each(self)
  return next_proxy, self
end

--- Closes the handle; a shared segment stays. Leases and proxies of it are harmless afterwards. Again is harmless.
function Pool.close(self)
  local handle = self.handle
  if handle == nil then
    return
  end
  self.handle = nil
  local state = states[self.number]
  pools[self.number] = nil
  proxy.retire(state)
  states[self.number] = nil
  if not state.borrowed then
    C.gyre_pool_close(handle)
  end
end

local readers = {}

function readers.loaded(state)
  return state and state.loaded
end

function readers.strategy(state)
  return state and state.strategy.name
end

local function index(self, key)
  local method = Pool[key]
  if method then
    -- Here compiled code parts, before the caller writes a table that only a look at its names would need in memory.
    if key == "acquire" and self.phase < SHARE then
      return method
    end
    return method
  end
  local read = readers[key]
  if read then
    return read(states[self.number])
  end
  error(("a pool has no field '%s'"):format(tostring(key)), 2)
end

local function length(self)
  return self.handle ~= nil and C.gyre_pool_count(self.handle) or 0
end

local function to_text(self)
  if self.handle == nil then
    return "pool (closed)"
  end
  local at_work = states[self.number].strategy
  return ("pool of %d, %s"):format(length(self), at_work.title)
end

local Handle = ffi.metatype(
  -- What a plain acquire() asks of the core, where `plain` says that it can, is `asked`: `request`, or nothing where
  -- the segment's strategy is the handle's. `generation` is where that stands, `seen` what this handle has seen of it;
  -- `phase`: see fields.lua. Signed, since LuaJIT makes floating-point numbers of the others before it compares them.
  ffi.typeof [[struct {
    struct gyre_pool *handle; const int32_t *generation; int32_t seen, plain; const struct gyre_request *asked;
    struct gyre_request request; int32_t number, tag; double phase;
  }]],
  { __index = index, __len = length, __tostring = to_text, __gc = Pool.close }
)

---@class gyre.pool
local pool = {}

--- What of gyre.open's options is Lua's.
---@class gyre.pool.Settings
---@field seed? number
---@field shared? boolean
---@field fallback? string|gyre.Strategy|gyre.Composition
---@field trusted? boolean
---@field watch? boolean
---@field logger? fun(message: string)
---@field budget_ms? number
---@field trip_after? integer
---@field trip_rest? number
---@field borrowed? boolean the handle is somebody else's, who closes it

--- Wraps a handle of the core, which is the pool's from now on unless it is borrowed. It still needs a strategy: see
--- swap.lua.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param settings gyre.pool.Settings
---@return gyre.Pool
function pool.wrap(handle, settings)
  local number = registry.next_number()
  local self = Handle()
  self.handle, self.number, self.phase = handle, number, field_names.START
  self.generation = ffi.cast("const int32_t *", C.gyre_strategy_generation(handle))
  pools[number] = self
  states[number] = {
    number = number,
    handle = handle,
    slots = C.gyre_pool_slots(handle),
    proxies = {},
    named = {}, named_count = 0,
    recorders = {}, last_tag = 0,
    seed = settings.seed,
    epoch = C.gyre_pool_epoch(handle),
    shared = settings.shared or false,
    borrowed = settings.borrowed or false,
    fallback_given = settings.fallback,
    how = { trusted = settings.trusted, seed = settings.seed, budget = settings.budget_ms },
    budget = settings.budget_ms or DEFAULT_BUDGET,
    trip_after = settings.trip_after or DEFAULT_TRIP_AFTER,
    trip_rest = settings.trip_rest or DEFAULT_TRIP_REST,
    watch = settings.watch or false, look_at = 0,
    logger = settings.logger,
    failed_swaps = 0,
  }
  return self
end

return pool
