-- Leases: a proxy handed out for one request. Plain data without a finaliser, since one costs 180 ns; a forgotten lease
-- is ended by its deadline. Copies are the same lease: whichever completes first ends it.
local ffi = require "ffi"
local C = require "gyre.clib"
local errors = require "gyre.error"
local fields = require "gyre.fields"
local memo = require "gyre.memo"
local proxy = require "gyre.proxy"
local registry = require "gyre.registry"
local status = require "gyre.status"
local trouble = require "gyre.trouble"
local template = require "gyre.template"

local error, pcall, tostring, type = error, pcall, tostring, type
local find = string.find
local due, unknown_field, SHARE = fields.due, fields.unknown, fields.SHARE
local pools, states = registry.pools, registry.states

local buffer = ffi.new("char[?]", proxy.URL_SIZE)
local outcome = ffi.new("struct gyre_outcome", { size = ffi.sizeof "struct gyre_outcome" })

--- A proxy for one request. Ends once, by `ok`, `fail` or `complete`, in the process that acquired it.
---@class gyre.Lease: ffi.cdata*
---@field id number the proxy
---@field url? string the proxy's URL with its credentials, for whoever makes the request; nil once it was removed
---@field proxy gyre.Proxy

---@alias gyre.Verdict
---| "ok" success; the only one whose latency is averaged
---| "banned" the target refuses this proxy
---| "throttled" the target asks to slow down (429, 503); the proxy did its work
---| "proxy_bad" the proxy failed; feeds the breaker
---| "target_bad" the target failed; nobody's fault here
---| "aborted" given up; says nothing

--- How a request ended. A field of another name is a misuse, noticed as in a request.
---@class gyre.Outcome
---@field verdict gyre.Verdict
---@field ms? number latency, milliseconds
---@field bytes? number in both directions
---@field retry_after? number with banned and throttled: seconds the target asked for
---@field host? string the host that answered, when that is another than the request's: bans and throttles are its own

local VERDICTS = {
  ok = C.GYRE_OK,
  banned = C.GYRE_BANNED,
  throttled = C.GYRE_THROTTLED,
  proxy_bad = C.GYRE_PROXY_BAD,
  target_bad = C.GYRE_TARGET_BAD,
  aborted = C.GYRE_ABORTED,
}
local OUTCOME_FIELDS = { verdict = true, ms = true, bytes = true, retry_after = true, host = true }
local EVERYWHERE = "*" -- country of a gateway that has them all
local NO_LATENCY = -1 -- what gyre_complete_ms() takes for "not known"

local methods = {}

-- What has been counted stays counted: an error of `record` comes back beside the success.
local function record(self, ended)
  local state = states[self.pool]
  local recorder, err = state.recorders[self.tag], nil
  if not recorder then -- of very many strategies ago
    return true
  end
  local active, parts = recorder.at_work, recorder.parts
  for i = 1, #parts do
    local made = parts[i]
    local recorded, message = pcall(trouble.call, state, active, made.record, made, self.proxy, ended)
    if not recorded then
      active.counts.record = active.counts.record + 1
      err = errors.new("strategy", ("strategy '%s': record: %s"):format(active.name, tostring(message)))
    end
  end
  return true, err
end

local function closed()
  return nil, status.closed "the pool of this lease is closed"
end

-- The methods below call this in tail position, so that level 2 is their caller.
local function finish(self, verdict, number, ms)
  if ms == nil then
    ms = NO_LATENCY
  elseif type(ms) ~= "number" then
    error("ms must be a number of milliseconds, not a " .. type(ms), 2)
  elseif ms < 0 or ms ~= ms then
    return nil, errors.new("invalid", "a latency is a number of milliseconds from 0 on")
  end
  local pool = pools[self.pool]
  if not pool then
    return closed()
  end
  local code = C.gyre_complete_ms(pool.handle, self.raw, number, ms)
  if code ~= 0 then
    return nil, status.error(code)
  end
  if self.tag ~= 0 then
    return record(self, { verdict = verdict, ms = ms >= 0 and ms or nil })
  end
  return true
end

--- The request succeeded.
---@param ms? number latency, milliseconds
---@return true? ended
---@return gyre.Error? err
function methods.ok(self, ms)
  return finish(self, "ok", C.GYRE_OK, ms)
end

--- The request did not succeed.
---@param verdict gyre.Verdict whose fault it was
---@param ms? number how long it took, milliseconds
---@return true? ended
---@return gyre.Error? err
function methods.fail(self, verdict, ms)
  local number = VERDICTS[verdict]
  if not number or number == C.GYRE_OK then
    error(("'%s' is no verdict of a failure"):format(tostring(verdict)), 2)
  end
  return finish(self, verdict, number, ms)
end

local function check_names(ended)
  local unknown = unknown_field(ended, OUTCOME_FIELDS)
  if unknown ~= nil then
    error(("unknown outcome field '%s'"):format(tostring(unknown)), 3)
  end
end

local function check_values(ended)
  if not VERDICTS[ended.verdict] then
    error(("'%s' is no verdict"):format(tostring(ended.verdict)), 3)
  end
  local ms, bytes, retry_after, host = ended.ms, ended.bytes, ended.retry_after, ended.host
  if ms ~= nil and type(ms) ~= "number" then
    error("ms must be a number of milliseconds, not a " .. type(ms), 3)
  end
  if bytes ~= nil and (type(bytes) ~= "number" or not (bytes >= 0 and bytes < 2 ^ 53)) then
    error("bytes must be a number from 0 on", 3)
  end
  if retry_after ~= nil and type(retry_after) ~= "number" then
    error("retry_after must be a number of seconds, not a " .. type(retry_after), 3)
  end
  if host ~= nil and type(host) ~= "string" then
    error("host must be text, not a " .. type(host), 3)
  end
end

-- Ends the lease by what is known to be of the right types.
local function end_with(self, verdict, ms, bytes, retry_after, host)
  local pool = pools[self.pool]
  if not pool then
    return closed()
  end
  outcome.verdict = VERDICTS[verdict]
  outcome.has_ms = ms ~= nil and 1 or 0
  outcome.ms = ms or 0
  outcome.bytes = bytes or 0
  outcome.retry_after = retry_after or 0
  local code = host ~= nil and C.gyre_lease_host(self.raw, host) or 0
  if code == 0 then
    code = C.gyre_complete(pool.handle, self.raw, outcome)
  end
  if code ~= 0 then
    return nil, status.error(code)
  end
  if self.tag ~= 0 then
    return record(self, { verdict = verdict, ms = ms, bytes = bytes, retry_after = retry_after, host = host })
  end
  return true
end

--- Ends the lease.
---@param ended gyre.Outcome
---@return true? ended
---@return gyre.Error? err
function methods.complete(self, ended)
  if type(ended) ~= "table" then
    error("an outcome is a table { verdict = ..., ms = ..., bytes = ... }", 2)
  end
  check_values(ended)
  local pool = pools[self.pool]
  if pool and due(pool) then
    check_names(ended)
  end
  return end_with(self, ended.verdict, ended.ms, ended.bytes, ended.retry_after, ended.host)
end

local readers = {}

function readers.id(self)
  return self.raw.generation * proxy.ID_SLOTS + self.raw.slot
end

-- Values of the variables in a template; see template.lua.
local function lookup(self)
  local session, country = memo.recall(self.memo)
  local member = readers.proxy(self)
  return function(name)
    if name == "session" then
      return session
    elseif name == "region" then
      return member.region
    end
    local label = member.country
    return label ~= EVERYWHERE and label or country
  end
end

function readers.url(self)
  local pool = pools[self.pool]
  if pool and C.gyre_pool_url_with_credentials(pool.handle, self.raw.id, buffer, proxy.URL_SIZE) >= 0 then
    local url = ffi.string(buffer)
    return find(url, "%25", 1, true) and template.url(url, lookup(self)) or url
  end
  return nil
end

function readers.proxy(self)
  local state = states[self.pool]
  if state then
    return proxy.at(state, self.raw.slot, self.raw.generation)
  end
  return nil
end

local function index(self, key)
  local method = methods[key]
  if method then
    local pool = key == "complete" and pools[self.pool]
    if pool and pool.phase < SHARE then -- as in pool.lua
      return method
    end
    return method
  end
  local read = readers[key]
  if read then
    return read(self)
  end
  error(("a lease has no field '%s'"):format(tostring(key)), 2)
end

local function to_text(self)
  return "lease of " .. tostring(readers.proxy(self) or "a proxy of a closed pool")
end

-- `tag` is the index of the strategy in recorders; 0: it has no `record`. `memo` leads to what the request said.
local Lease = ffi.metatype(
  ffi.typeof "struct { struct gyre_lease raw; int32_t pool, tag; uint32_t memo; }",
  { __index = index, __tostring = to_text }
)

---@class gyre.lease
local lease = {
  --- Ends a lease as lease:complete() does, without a table and without checks: for callers within gyre.
  finish = end_with,
  --- What leases can do; lua/resty/gyre adds what nginx needs.
  methods = methods,
  --- Tells the strategy with the lease's tag how it ended.
  record = record,
}

--- An empty lease, for pool:acquire_into().
---@type fun(): gyre.Lease
lease.new = Lease

--- Whether a value is a lease.
---@param value any
---@return boolean
function lease.is(value)
  return ffi.istype(Lease, value)
end

return lease
