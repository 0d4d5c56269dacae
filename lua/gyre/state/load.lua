-- Loading what save.lua wrote. The file is read and looked at whole before anything is changed.
local ffi = require "ffi"
local C = require "gyre.clib"
local books = require "gyre.state.books"
local errors = require "gyre.error"
local member = require "gyre.member"
local status = require "gyre.status"

local error, ipairs, max, pairs, pcall = error, ipairs, math.max, pairs, pcall
local tonumber, tostring, type = tonumber, tostring, type
local number = books.number

local VERSION = 1

local function new(name)
  return ffi.new("struct gyre_" .. name, { size = ffi.sizeof("struct gyre_" .. name) })
end

local strategy, ban, throttle, info = new "strategy", new "ban", new "throttle", new "proxy"
local value_cell = ffi.new "double[1]"

local load = {}

local function decode(text)
  local found, cjson = pcall(require, "cjson")
  if not found then
    return nil, "reading it needs the Lua module cjson (Debian: lua-cjson)"
  end
  local decoder = cjson.new()
  decoder.decode_invalid_numbers(false)
  local decoded, value = pcall(decoder.decode, text)
  return decoded and value or nil, not decoded and "no JSON: " .. tostring(value) or nil
end

-- nil, or what is wrong with the file as a whole.
local function fault(state)
  if type(state) ~= "table" or state.gyre ~= "pool state" then
    return "no saved state of a pool"
  elseif type(state.version) ~= "number" or state.version > VERSION then
    return ("its version is %s, this program knows up to %d"):format(tostring(state.version), VERSION)
  elseif type(state.saved) ~= "number" or type(state.time) ~= "number" or type(state.settings) ~= "table" then
    return "its head is damaged"
  end
  for _, part in ipairs { "proxies", "sessions", "bans", "throttles", "counters" } do
    if type(state[part]) ~= "table" then
      return ("'%s' is missing"):format(part)
    end
  end
  return nil
end

--- Reads a file.
---@param path string
---@return table? state
---@return gyre.Error? err
function load.read(path)
  local file, why = io.open(path, "rb")
  if not file then
    return nil, errors.new("system", why)
  end
  local text, reason = file:read "*a"
  file:close()
  if not text then
    return nil, errors.new("system", path .. ": " .. tostring(reason))
  end
  local state
  state, why = decode(text)
  why = why or fault(state)
  if why then
    return nil, errors.new("invalid", path .. ": " .. why)
  end
  return state
end

-- Seconds since it was saved; virtual time stands still meanwhile.
local function elapsed_since(state)
  if state.clock == "manual" then
    return 0
  end
  return max(os.time() - state.saved, 0)
end

--- What gyre.open() takes to make a pool like the one that was saved.
---@param state table
---@return gyre.Options
function load.options(state)
  local settings, given = state.settings, {}
  for _, name in ipairs { "max_proxies", "max_leases", "max_sessions", "max_bans", "alpha", "window", "lease_timeout",
    "session_ttl", "session_lifetime" } do
    local value = settings[name]
    given[name] = type(value) == "number" and value > 0 and value or nil
  end
  given.breaker = {}
  for field, name in pairs { failures = "breaker_failures", base = "breaker_base", max = "breaker_max",
    max_benched = "max_benched" } do
    local value = settings[name]
    given.breaker[field] = type(value) == "number" and value > 0 and value or nil
  end
  given.clock = state.clock == "manual" and "manual" or nil
  given.start = max(state.time + elapsed_since(state), 0.1)
  return given
end

-- Raises a text when something in the record is of a wrong type.
local function entry_of(record)
  if type(record) ~= "table" or type(record.url) ~= "string" then
    error("it has no url", 0)
  end
  local found = { url = record.url, weight = number(record, "weight", 1), max_active = number(record, "max_active", 0) }
  for _, name in ipairs { "country", "region", "rate" } do
    found[name] = type(record[name]) == "string" and record[name] or ""
  end
  found.tags = type(record.tags) == "table" and table.concat(record.tags, ",") or ""
  found.cost = record.cost and number(record, "cost")
  return found
end

-- Who had which address before anything was loaded, for proxies saved without their credentials: the id, or false where
-- several have it.
local function addresses(pool)
  local known = {}
  for proxy in pool:each() do
    local url = proxy.url
    if url then
      known[url] = known[url] == nil and proxy.id
    end
  end
  return known
end

local function find_hidden(known, url)
  local id = known[url]
  if not id then
    local why = id == nil and "and not in the pool" or "and several proxies of the pool have this address"
    error(("%s: saved without credentials, %s"):format(url, why), 0)
  end
  return id
end

local function place_proxy(pool, record, known)
  local entry = entry_of(record)
  if record.hidden then
    return find_hidden(known, record.url), entry
  end
  local id, err = member.add(pool.handle, entry)
  if id or err.kind ~= "exists" then
    return id or error(err, 0), entry
  end
  return err.id, entry
end

-- Id of the proxy, or nil when its time to live has passed.
local function load_proxy(pool, record, elapsed, known)
  local ttl = record.ttl and number(record, "ttl") - elapsed
  if ttl and ttl <= 0 then
    return nil
  end
  local id, entry = place_proxy(pool, record, known)
  entry.ttl = ttl and max(ttl - 0.01, 0.05) or 0 -- the core rounds up
  local _, err = member.update(pool.handle, id, entry)
  if not err and C.gyre_pool_get(pool.handle, id, info) == 0 then
    err = books.set(pool.handle, id, record, elapsed, info.rate_period)
  end
  return err and error(err, 0) or id
end

local function load_session(pool, record, elapsed, ids)
  local id = ids[record.proxy]
  if not id then
    return false
  end
  local code = C.gyre_session_restore(pool.handle, record.id, id, number(record, "created_ago") + elapsed,
    number(record, "used_ago") + elapsed)
  return code == 0 or error(status.error(code), 0)
end

local function hash_of(record)
  local high, low = tostring(record.hash):match "^(%x%x%x%x%x%x%x%x)(%x%x%x%x%x%x%x%x)$"
  if not high then
    error("'hash' is none", 0)
  end
  return tonumber(high, 16) * 2ULL ^ 32 + tonumber(low, 16)
end

local function copy_host(to, record)
  local host = type(record.host) == "string" and #record.host < 256 and record.host or ""
  ffi.copy(to, host)
end

local function load_ban(pool, record, elapsed, ids)
  local id, left = ids[record.proxy], number(record, "left") - elapsed
  if not id or left <= 0 then
    return false
  end
  ban.id, ban.hash = id, hash_of(record)
  ban["until"] = pool:time() + left
  ban.strikes, ban.judged = number(record, "strikes", 0), record.judged and 1 or 0
  copy_host(ban.host, record)
  local code = C.gyre_ban_restore(pool.handle, ban)
  return code == 0 or error(status.error(code), 0)
end

local function load_throttle(pool, record, elapsed)
  throttle.hash, throttle.length = hash_of(record), number(record, "length", 0)
  throttle.left = max(number(record, "left") - elapsed, 0)
  copy_host(throttle.host, record)
  local code = C.gyre_throttle_restore(pool.handle, throttle)
  return code == 0 or error(status.error(code), 0)
end

local function load_counter(pool, name, value)
  if C.gyre_counter_get(pool.handle, name, value_cell) ~= 0 then
    value_cell[0] = 0
  end
  local code = C.gyre_counter_add(pool.handle, name, value - value_cell[0], nil)
  return code == 0 or error(status.error(code), 0)
end

local function load_strategy(pool, saved)
  if type(saved) ~= "table" or saved.name == "" then
    return
  end
  for _, name in ipairs { "picker", "choices", "random_ties", "scripted" } do
    strategy[name] = number(saved, name, 0)
  end
  for name, size in pairs { name = 255, fallback = 63, options = 3071 } do
    local text = saved[name] or ""
    if type(text) ~= "string" or #text > size then
      error(("strategy: '%s' is no text"):format(name), 0)
    end
    ffi.copy(strategy[name], text)
  end
  local code = C.gyre_strategy_set(pool.handle, strategy, nil)
  return code == 0 or error(status.error(code), 0)
end

-- Calls `one` for each record of a part; what it raises is said of that record.
local function each(state, part, report, one)
  for i, record in ipairs(state[part]) do
    local ran, result = pcall(one, record, i)
    if not ran then
      error(errors.new("invalid", ("%s %d: %s"):format(part, i, tostring(result))), 0)
    elseif result then
      report[part] = (report[part] or 0) + 1
    end
  end
end

local function apply(pool, state, report)
  local elapsed, ids, known = elapsed_since(state), {}, addresses(pool)
  each(state, "proxies", report, function(record, i)
    ids[i] = load_proxy(pool, record, elapsed, known)
    return ids[i]
  end)
  each(state, "sessions", report, function(record)
    return load_session(pool, record, elapsed, ids)
  end)
  each(state, "bans", report, function(record)
    return load_ban(pool, record, elapsed, ids)
  end)
  each(state, "throttles", report, function(record)
    return load_throttle(pool, record, elapsed)
  end)
  for name, value in pairs(state.counters) do
    load_counter(pool, name, value)
  end
  load_strategy(pool, state.strategy)
end

--- Puts a state into an open pool: its proxies are added or, where they are there, get the labels and books of the
--- state; who is in the pool and not in the state stays as it is.
---@param pool gyre.Pool
---@param state table from load.read()
---@return table<string, integer>? report proxies, sessions, bans, throttles: how many were loaded
---@return gyre.Error? err what came before the record it names has been loaded
function load.apply(pool, state)
  local report = { proxies = 0, sessions = 0, bans = 0, throttles = 0 }
  local ran, err = pcall(apply, pool, state, report)
  if ran then
    return report
  end
  return nil, errors.is(err) and err or errors.new("invalid", tostring(err))
end

return load
