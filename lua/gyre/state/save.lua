-- Saving a pool: the whole of it as JSON, a record a line, for another machine or another layout of segments.
local ffi = require "ffi"
local C = require "gyre.clib"
local books = require "gyre.state.books"
local files = require "gyre.files"
local json = require "gyre.json"

local ipairs, max, tonumber = ipairs, math.max, tonumber
local ffi_string = ffi.string

local function new(name)
  return ffi.new("struct gyre_" .. name, { size = ffi.sizeof("struct gyre_" .. name) })
end

local options, strategy, session, ban, throttle, counter =
  new "options", new "strategy", new "session", new "ban", new "throttle", new "counter"

local save = { VERSION = 1 }

local HEAD = { "gyre", "version", "saved", "time", "clock", "credentials", "settings", "strategy" }
local SETTINGS = { "max_proxies", "max_leases", "max_sessions", "max_bans", "alpha", "window", "lease_timeout",
  "session_ttl", "session_lifetime", "breaker_failures", "breaker_base", "breaker_max", "max_benched" }
local PROXY = { "url", "hidden", "country", "region", "tags", "weight", "cost", "max_active", "rate", "ttl" }
for _, name in ipairs(books.FIELDS) do
  PROXY[#PROXY + 1] = name
end
local SESSION = { "id", "proxy", "created_ago", "used_ago" }
local BAN = { "proxy", "host", "hash", "left", "strikes", "judged" }
local THROTTLE = { "host", "hash", "left", "length" }

local function settings_of(handle)
  C.gyre_pool_options(handle, options)
  local found = {}
  for _, name in ipairs(SETTINGS) do
    found[name] = tonumber(options[name])
  end
  return found
end

local function strategy_of(handle)
  if C.gyre_strategy_get(handle, strategy) ~= 0 then
    return nil
  end
  return { name = ffi_string(strategy.name), picker = strategy.picker, choices = strategy.choices,
    random_ties = strategy.random_ties, scripted = strategy.scripted, fallback = ffi_string(strategy.fallback),
    options = ffi_string(strategy.options) }
end

local function head(pool, with_credentials)
  local found = {
    gyre = "pool state",
    version = save.VERSION,
    saved = os.time(),
    time = pool:time(),
    settings = settings_of(pool.handle),
    strategy = strategy_of(pool.handle),
    credentials = with_credentials,
  }
  found.clock = options.clock == C.GYRE_CLOCK_MANUAL and "manual" or "system"
  return found
end

-- nil when it has just been removed.
local function proxy_record(pool, proxy, now, with_credentials)
  local found = books.get(pool.handle, proxy.id)
  local full = pool:url(proxy.id, true)
  if not found or not full then
    return nil
  end
  found.url = with_credentials and full or proxy.url
  found.hidden = not with_credentials and full ~= found.url or nil
  for _, name in ipairs { "country", "region", "tags", "weight", "cost", "max_active", "rate" } do
    found[name] = proxy[name]
  end
  local expires = proxy.expires
  found.ttl = expires and max(expires - now, 0.1) or nil
  return found
end

local function write_proxies(out, pool, now, with_credentials)
  local place, count = {}, 0
  for proxy in pool:each() do
    local found = proxy_record(pool, proxy, now, with_credentials)
    if found then
      out(count > 0 and ",\n" or "\n", json.object(found, PROXY, true))
      count = count + 1
      place[proxy.id] = count
    end
  end
  return place
end

local function write_sessions(out, pool, now, place)
  local cursor, first = ffi.new "uint64_t[1]", true
  while C.gyre_session_next(pool.handle, cursor, session) == 1 do
    local proxy = place[tonumber(session.proxy)]
    if proxy then
      out(first and "\n" or ",\n", json.object({ id = ffi_string(session.id), proxy = proxy,
        created_ago = max(now - session.created, 0), used_ago = max(now - session.last_used, 0) }, SESSION, true))
      first = false
    end
  end
end

local function hash_text(hash)
  return ("%08x%08x"):format(tonumber(hash / 2ULL ^ 32), tonumber(hash % 2ULL ^ 32))
end

local function write_bans(out, pool, now, place)
  local cursor, first = ffi.new "uint32_t[1]", true
  while C.gyre_host_next(pool.handle, cursor, ban) == 1 do
    local proxy = place[tonumber(ban.id)]
    if proxy then
      out(first and "\n" or ",\n", json.object({ proxy = proxy, host = ffi_string(ban.host), hash = hash_text(ban.hash),
        left = max(ban["until"] - now, 0), strikes = ban.strikes, judged = ban.judged ~= 0 }, BAN, true))
      first = false
    end
  end
end

local function write_throttles(out, pool)
  local cursor, first = ffi.new "uint32_t[1]", true
  while C.gyre_throttle_next(pool.handle, cursor, throttle) == 1 do
    out(first and "\n" or ",\n", json.object({ host = ffi_string(throttle.host), hash = hash_text(throttle.hash),
      left = throttle.left, length = throttle.length }, THROTTLE, true))
    first = false
  end
end

local function write_counters(out, pool)
  local cursor, first = ffi.new "uint64_t[1]", true
  while C.gyre_counter_next(pool.handle, cursor, counter) == 1 do
    out(first and "\n" or ",\n", json.text(ffi_string(counter.name), true), ":", json.encode(counter.value))
    first = false
  end
end

--- Writes the state of a pool by a function that takes pieces of text.
---@param pool gyre.Pool an open one
---@param with_credentials boolean
---@param out fun(...: string)
function save.write(pool, with_credentials, out)
  local now = pool:time()
  out((json.object(head(pool, with_credentials), HEAD, true):gsub("}$", "")), ',\n"proxies":[')
  local place = write_proxies(out, pool, now, with_credentials)
  out '\n],\n"sessions":['
  write_sessions(out, pool, now, place)
  out '\n],\n"bans":['
  write_bans(out, pool, now, place)
  out '\n],\n"throttles":['
  write_throttles(out, pool)
  out '\n],\n"counters":{'
  write_counters(out, pool)
  out "\n}}\n"
end

--- Writes the state to a file, which gets mode 0600 and is replaced whole or not at all.
---@param pool gyre.Pool
---@param path string
---@param with_credentials boolean
---@return true? saved
---@return gyre.Error? err
function save.to_file(pool, path, with_credentials)
  return files.write_private(path, function(out)
    save.write(pool, with_credentials, out)
  end)
end

return save
