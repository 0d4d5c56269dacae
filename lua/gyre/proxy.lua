-- Proxy objects: the fields of one proxy, read when asked for.
--
-- What strategies score by comes straight from the slot's record in the segment, without a call and without garbage;
-- the rest from gyre_pool_get(), which takes the segment's lock. LuaJIT may keep a record's field in a register over a
-- loop that calls nothing: to wait for a field to change, something must be called in between.
local ffi = require "ffi"
local C = require "gyre.clib"
local registry = require "gyre.registry"

local error, tonumber, tostring = error, tonumber, tostring
local band, rshift, shl = require("bit").band, require("bit").rshift, require("bit").lshift
local cast, ffi_string, is_type = ffi.cast, ffi.string, ffi.istype
local min = math.min
local pools = registry.pools

local ID_SLOTS = 2 ^ 20 -- id == generation * ID_SLOTS + slot
local ACTIVE_MASK = 0xffffff -- gyre_slot.use: started << 24 | active
local LOW_WORD = ffi.abi "le" and 0 or 1
local URL_SIZE = 8192 -- longest URL, every byte of it percent-encoded

local words = ffi.typeof "const uint32_t *"
local slot_pointer = ffi.typeof "const struct gyre_slot *"
local u64 = ffi.typeof "uint64_t"
local info = ffi.new("struct gyre_proxy", { size = ffi.sizeof "struct gyre_proxy" })
local buffer = ffi.new("char[?]", URL_SIZE)
-- What the objects of a closed pool read: no generation is 0.
local empty_slot = ffi.new "struct gyre_slot"
local nowhere = cast(slot_pointer, empty_slot)

--- A proxy of a pool. The fields are nil once it has been removed, except `id` and `state`.
---@class gyre.Proxy: ffi.cdata*
---@field id number never used again for another proxy
---@field started number leases given out, over its lifetime
---@field active integer leases in flight
---@field completed number leases ended: succeeded + failed + aborted
---@field succeeded number
---@field failed number
---@field aborted number
---@field ema_ms? number moving average of the latency of successes, milliseconds; nil before the first
---@field success_rate number moving average of 1 and 0 over ok and proxy_bad; starts at 1; single precision
---@field consecutive_failures integer
---@field last_used? number pool time in seconds, to a tenth; nil: never
---@field weight number single precision
---@field state "closed"|"open"|"half_open"|"draining"|"disabled"|"removed" closed: in use; open: benched
---@field scheme "http"|"https"|"socks4"|"socks4a"|"socks5"|"socks5h"
---@field host string IPv6 addresses without brackets
---@field port integer
---@field url string without credentials
---@field country? string
---@field region? string
---@field tags string[]
---@field cost? number in the user's unit, per request
---@field max_active integer leases in flight at once; 0: no limit
---@field rate? string never more leases than so many in any period so long, e.g. "40/10s"
---@field expires? number pool time in seconds when its TTL passes and it is removed; nil: never
---@field bytes number
---@field window { started: number, succeeded: number, failed: number } counts in the pool's sliding window
---@field benched_until? number pool time in seconds; nil unless state is "open"

local SCHEMES = {
  [C.GYRE_HTTP] = "http", [C.GYRE_HTTPS] = "https", [C.GYRE_SOCKS4] = "socks4",
  [C.GYRE_SOCKS4A] = "socks4a", [C.GYRE_SOCKS5] = "socks5", [C.GYRE_SOCKS5H] = "socks5h",
}
local STATES = {
  [C.GYRE_CLOSED] = "closed", [C.GYRE_OPEN] = "open", [C.GYRE_HALF_OPEN] = "half_open",
  [C.GYRE_DRAINING] = "draining", [C.GYRE_DISABLED] = "disabled",
}

-- Fields of the hot record.
local hot = {}

function hot.active(record)
  return band(cast(words, record)[LOW_WORD], ACTIVE_MASK)
end

function hot.started(record)
  return tonumber(rshift(record.use, 24))
end

function hot.completed(record)
  local use = record.use -- once: both halves from one moment
  return tonumber(rshift(use, 24)) - tonumber(band(use, 0xffffffULL))
end

function hot.succeeded(record)
  local lost = tonumber(record.failed) + tonumber(record.aborted)
  return hot.completed(record) - lost
end

function hot.failed(record)
  return tonumber(record.failed)
end

function hot.aborted(record)
  return tonumber(record.aborted)
end

function hot.ema_ms(record)
  local ema = record.ema_ms
  if ema == ema then
    return ema
  end
  return nil
end

function hot.success_rate(record)
  return record.success_rate
end

function hot.consecutive_failures(record)
  return record.consecutive_failures
end

function hot.last_used(record)
  local stamp = record.last_used
  if stamp ~= 0 then
    return (stamp - 1) / 10
  end
  return nil
end

function hot.weight(record)
  return record.weight
end

-- Fields of the snapshot in `info`.
local cold = {}

local function text_or_nil(chars)
  local text = ffi_string(chars)
  if text ~= "" then
    return text
  end
  return nil
end

function cold.state()
  return STATES[info.state]
end

function cold.scheme()
  return SCHEMES[info.scheme]
end

function cold.host()
  return ffi_string(info.host)
end

function cold.port()
  return info.port
end

function cold.country()
  return text_or_nil(info.country)
end

function cold.region()
  return text_or_nil(info.region)
end

function cold.tags()
  local tags = {}
  for tag in ffi_string(info.tags):gmatch "[^,]+" do
    tags[#tags + 1] = tag
  end
  return tags
end

function cold.cost()
  local cost = info.cost
  if cost == cost then
    return cost
  end
  return nil
end

function cold.max_active()
  return info.max_active
end

function cold.rate()
  if info.rate_period > 0 then
    local period = info.rate_period
    local unit = period % 1 == 0 and "%d/%ds" or "%d/%dms"
    return unit:format(info.rate_count, period % 1 == 0 and period or period * 1000)
  end
  return nil
end

function cold.expires()
  if info.expires > 0 then
    return info.expires
  end
  return nil
end

function cold.bytes()
  return tonumber(info.bytes)
end

function cold.window()
  return {
    started = tonumber(info.window_started),
    succeeded = tonumber(info.window_succeeded),
    failed = tonumber(info.window_failed),
  }
end

function cold.benched_until()
  if info.state == C.GYRE_OPEN then
    return info.benched_until
  end
  return nil
end

local function id_of(self)
  return self.generation * ID_SLOTS + self.slot
end

local function url_of(self)
  local pool = pools[self.pool]
  if pool and C.gyre_pool_url(pool.handle, id_of(self), buffer, URL_SIZE) >= 0 then
    return ffi_string(buffer)
  end
  return nil
end

local function read_cold(self, key)
  local pool = pools[self.pool]
  if pool and C.gyre_pool_get(pool.handle, id_of(self), info) == 0 then
    return cold[key]()
  end
  if key == "state" then
    return "removed"
  end
  return nil
end

local function index(self, key)
  local read = hot[key]
  if read then
    local record = cast(slot_pointer, self.record)
    local value = read(record)
    if record.generation == self.generation then
      return value
    end
    return nil
  end
  if key == "id" then
    return id_of(self)
  end
  if cold[key] then
    return read_cold(self, key)
  end
  if key == "url" then
    return url_of(self)
  end
  error(("a proxy has no field '%s'"):format(tostring(key)), 2)
end

local function to_text(self)
  return url_of(self) or ("proxy %.0f (removed)"):format(id_of(self))
end

local function refuse(_, name)
  error(("a proxy's '%s' is not assigned: see pool:update(id, fields)"):format(tostring(name)), 2)
end

-- `place` is where the view that showed the object last lists it: see view.lua. `core_id` is the id as the core has it,
-- which compares in one instruction. Strategies hold these objects, and so have the struct's fields too: they are
-- constant, and the pointer leads nowhere without ffi.
local Proxy = ffi.metatype(
  ffi.typeof [[struct {
    const void *const record; const uint32_t slot, generation, pool, place; const uint64_t core_id;
  }]],
  { __index = index, __newindex = refuse, __tostring = to_text }
)
local writable = ffi.typeof "struct { const void *record; uint32_t slot, generation, pool, place; } *"

---@class gyre.proxy
local proxy = { ID_SLOTS = ID_SLOTS, URL_SIZE = URL_SIZE, STATES = STATES }

local function new(state, slot, generation, record)
  return Proxy(record, slot, generation, state.number, 0, shl(u64(generation), 20) + slot)
end

local STRETCH = 64 -- slots; max_proxies is a multiple of it
local MOST_AT_ONCE = 16384

-- Makes the objects from one slot up to another that are missing.
local function fill(state, from, to)
  local proxies, slots, number = state.proxies, state.slots, state.number
  for slot = from, to - 1 do
    if not proxies[slot] then
      local generation = slots[slot].generation
      proxies[slot] = Proxy(slots + slot, slot, generation, number, 0, shl(u64(generation), 20) + slot)
    end
  end
end

-- The first time all objects are made, or as many as are no burden; then those around the missing one. Code that is
-- compiled while most are missing would reach those that are there by side exits ever after.
local function make_around(state, slot)
  if not state.proxies[0] then
    local used = C.gyre_pool_count(state.handle)
    fill(state, 0, min(used + (-used) % STRETCH, MOST_AT_ONCE))
  end
  local from = slot - slot % STRETCH
  fill(state, from, from + STRETCH)
  return state.proxies[slot]
end
-- A trace recorded in here would end in the loop of fill(), and whoever came by again would follow it.
jit.off(make_around)
jit.off(fill)

--- The object of a proxy: the same one on every call, as long as the proxy is in the pool.
---@param state gyre.State
---@param slot integer
---@param generation integer
---@return gyre.Proxy
function proxy.at(state, slot, generation)
  local object = state.proxies[slot] or make_around(state, slot)
  if object.generation == generation then
    return object
  end
  if state.slots[slot].generation ~= generation then
    return new(state, slot, generation, nowhere) -- removed meanwhile
  end
  cast(writable, object).record = nowhere -- another proxy has its slot now, and retire() will not find it any more
  object = new(state, slot, generation, state.slots + slot)
  state.proxies[slot] = object
  return object
end
local at = proxy.at

--- The object of the proxy whose id is in a cell of the core's. Arithmetic in 64 bits would cost more than the rest.
---@param state gyre.State
---@param id ffi.cdata* `uint64_t *`
---@return gyre.Proxy
function proxy.in_cell(state, id)
  local halves = cast(words, id)
  local low, high = halves[LOW_WORD], halves[1 - LOW_WORD]
  return at(state, band(low, ID_SLOTS - 1), rshift(low, 20) + high * 4096)
end

--- The object of the proxy with this id.
---@param state gyre.State
---@param id number
---@return gyre.Proxy
function proxy.by_id(state, id)
  local slot = id % ID_SLOTS
  return proxy.at(state, slot, (id - slot) / ID_SLOTS)
end

--- Where the view that shows a proxy lists it.
---@param object gyre.Proxy
---@param place integer
function proxy.put(object, place)
  cast(writable, object).place = place
end

--- Whether a value is a proxy of this pool.
---@param state gyre.State
---@param value any
---@return boolean
function proxy.belongs(state, value)
  return is_type(Proxy, value) and value.pool == state.number
end

--- Makes the objects of a pool harmless, before its segment is unmapped.
---@param state gyre.State
function proxy.retire(state)
  for slot in pairs(state.proxies) do
    cast(writable, state.proxies[slot]).record = nowhere
  end
  state.proxies = {}
  state.slots, state.handle = nil, nil -- whoever kept a view gets an error, not the unmapped records
end
-- The collector calls it, too. There LuaJIT 2.1 never gets out of a compiled loop over pairs() that ends otherwise than
-- when it was compiled: the trace leaves at the loop's head, a finaliser begins no other, and it is entered anew.
jit.off(proxy.retire)

return proxy
