-- What libgyre-host runs in the Lua state of each thread, for gyre_host_use(): the pool of a C program, whose handle
-- stays the program's, and calls that come and go through one struct. See src/host/use.c.
local ffi = require "ffi"
local C = require "gyre.clib"
local active = require "gyre.active"
local errors = require "gyre.error"
local lease = require "gyre.lease"
local pools = require "gyre.pool"
local proxy = require "gyre.proxy"
local registry = require "gyre.registry"
local swap = require "gyre.swap"
local text = require "gyre.strategy.text"
local trouble = require "gyre.trouble"

local error, tonumber = error, tonumber
local copy, text_of = ffi.copy, ffi.string

ffi.cdef [[
struct gyre_host_call {
    const struct gyre_request *request;
    struct gyre_lease *lease;
    const struct gyre_outcome *outcome;
    const char *source, *options, *detail;
    int32_t code;
    uint32_t reserved;
};
]]

local LEASE_SIZE = ffi.sizeof "struct gyre_lease"
local LOCAL = 2 ^ 31 -- lease.strategy of a fallback with `record`: LOCAL + owner * 2^20 + tag; else the generation
local TAGS = 2 ^ 20
local OWNERS = 2 ^ 11
local VERDICTS = { "ok", "banned", "throttled", "proxy_bad", "target_bad", "aborted" } -- enum gyre_verdict
local CODES = {
  no_proxy = C.GYRE_ENO_PROXY, busy = C.GYRE_EBUSY, full = C.GYRE_EFULL, closed = C.GYRE_ECLOSED,
  not_found = C.GYRE_ENOT_FOUND, corrupt = C.GYRE_ECORRUPT, system = C.GYRE_ESYSTEM,
}
local UNRECORDED = "unrecorded" -- counter of ends that the strategy could not be told

-- What a pool of this thread needs.
---@class gyre.Hosted
---@field pool gyre.Pool
---@field state gyre.State
---@field call ffi.cdata* `struct gyre_host_call *`
---@field owner integer number of the attachment, modulo OWNERS
---@field lease gyre.Lease
---@field ended gyre.Lease
---@field issuers table<integer, gyre.strategy.Active> with `record`, by generation

local function exclude_of(asked)
  local list = {}
  for i = 0, asked.exclude_count - 1 do
    list[i + 1] = tonumber(asked.exclude[i])
  end
  return list
end

local function maybe(field)
  return field ~= nil and text_of(field) or nil
end

-- A request as strategies know it. What an unset field means is the same in both.
local function request_of(asked)
  return {
    session = maybe(asked.session), host = maybe(asked.host), key = maybe(asked.key), country = maybe(asked.country),
    region = maybe(asked.region), tags = maybe(asked.tags),
    exclude = asked.exclude_count > 0 and exclude_of(asked) or nil,
    choices = asked.choices > 0 and asked.choices or nil,
    random_ties = asked.random_ties ~= 0 or nil,
    min_success = asked.min_success > 0 and asked.min_success or nil,
    max_ms = asked.max_ms > 0 and asked.max_ms or nil,
    state = proxy.STATES[asked.state],
  }
end

local function fail(self, err)
  self.detail = err.message -- C reads it when this has returned
  self.call.detail = self.detail
  self.call.code = CODES[err.kind] or C.GYRE_EINVALID
end

-- By what its end finds the strategy that issued a lease, in whichever thread that is.
local function issuer(self, tag)
  local at_work = self.state.recorders[tag].at_work
  if at_work.generation > 0 and at_work.tag == tag then
    self.issuers[at_work.generation] = at_work
    return at_work.generation
  end
  return LOCAL + self.owner * TAGS + tag % TAGS
end

-- The tag in leases of that strategy here, if it is known.
local function find_tag(self, number)
  if number < LOCAL then
    local at_work = self.issuers[number]
    return at_work and at_work.tag
  elseif (number - LOCAL - number % TAGS) / TAGS == self.owner then
    return self.state.recorders[number % TAGS] and number % TAGS
  end
  return nil
end

local function acquire(self)
  local call, into = self.call, self.lease
  local request = call.request
  local leased, err = self.pool:acquire_into(into, request ~= nil and request_of(request) or nil)
  if not leased then
    return fail(self, err)
  end
  copy(call.lease, into.raw, LEASE_SIZE)
  if into.tag ~= 0 then
    call.lease.strategy = issuer(self, into.tag)
  end
  call.code = 0
end

-- A thread that never acquired: it learns of the segment's strategy now.
local function catch_up(self)
  local pool = self.pool
  if pool.generation[0] ~= pool.seen then
    swap.notice(pool)
  end
  local at_work = self.state.strategy
  if at_work.tag ~= 0 and at_work.generation > 0 then
    self.issuers[at_work.generation] = at_work
  end
end

local function complete(self)
  local call, ended = self.call, self.ended
  local number = call.lease.strategy
  if number < LOCAL and not self.issuers[number] then
    catch_up(self)
  end
  local tag = find_tag(self, number)
  if not tag then
    C.gyre_counter_add(self.pool.handle, UNRECORDED, 1, nil)
    return
  end
  copy(ended.raw, call.lease, LEASE_SIZE)
  ended.pool, ended.tag = self.pool.number, tag
  local outcome = call.outcome
  local _, err = lease.record(ended, {
    verdict = VERDICTS[outcome.verdict], ms = outcome.has_ms ~= 0 and outcome.ms or nil,
    bytes = outcome.bytes > 0 and tonumber(outcome.bytes) or nil,
    retry_after = outcome.retry_after > 0 and outcome.retry_after or nil,
  })
  if err then
    trouble.tell(self.state, self.state.recorders[tag].at_work, err.message)
  end
end

local function use(self)
  local call = self.call
  local options, why = text.read(maybe(call.options) or "")
  if not options then
    return fail(self, errors.new("invalid", "options: " .. why))
  end
  local used, err = self.pool:use(text_of(call.source), options)
  if not used then
    return fail(self, err)
  end
  call.code = 0
end

local function detach(self)
  self.pool:close()
end

--- The pool behind a handle, for this thread. Raises when it cannot be.
---@param handle userdata
---@param call userdata
---@param size integer of struct gyre_host_call, as C has it
---@param version userdata what gyre_version() is to C: the same library gives the same text at the same place
---@param owner integer
---@return fun() acquire, fun() complete, fun() use, fun() detach
local function attach(handle, call, size, version, owner)
  if size ~= ffi.sizeof "struct gyre_host_call" then
    error("libgyre-host and lua/gyre/hosted.lua are of different versions", 0)
  elseif C.gyre_version() ~= ffi.cast("const char *", version) then
    error("the Lua modules found another libgyre than the program uses: see GYRE_LIB", 0)
  end
  handle = ffi.cast("struct gyre_pool *", handle)
  local pool = pools.wrap(handle, { shared = true, borrowed = true })
  local self = {
    pool = pool, state = registry.states[pool.number], call = ffi.cast("struct gyre_host_call *", call),
    owner = owner % OWNERS, lease = lease.new(), ended = lease.new(), issuers = {},
  }
  local followed, err = swap.follow(pool)
  if not followed then -- as after a swap that fails, but here there is no old one to go on with
    swap.install(pool, active.last_resort(handle, self.state))
    trouble.tell(self.state, { name = pool.strategy }, "serves, since that of the segment does not: " .. err.message)
  end
  local function bound(method)
    return function()
      return method(self)
    end
  end
  return bound(acquire), bound(complete), bound(use), bound(detach)
end

return attach
