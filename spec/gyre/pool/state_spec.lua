local cjson = require "cjson"
local gyre = require "gyre"

local FIELDS = { "url", "state", "completed", "succeeded", "failed", "aborted", "ema_ms", "success_rate",
  "consecutive_failures", "weight", "bytes", "country", "region", "cost", "max_active", "rate" }
local SIZES = { max_proxies = 64, max_sessions = 64, max_leases = 64, max_bans = 64 }

local function open(more)
  local options = { clock = "manual", seed = 5 }
  for name, value in pairs(SIZES) do
    options[name] = value
  end
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  return assert(gyre.open(options))
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- A pool with a past: verdicts of all kinds, sessions, bans, throttles, labels, limits, states.
local function lived(random)
  local pool = open()
  pool:set_time(5000)
  for i = 1, 12 do
    assert(pool:add { url = ("http://u%d:p%%3A%d%%40@192.0.2.%d:80"):format(i, i, i % 5 + 1), weight = random(0, 9) / 4,
      country = random(2) == 1 and "de" or nil, tags = random(2) == 1 and "a,b" or nil, region = "Süd \"1\"",
      max_active = random(0, 3) * 10, rate = random(3) == 1 and "1000/10s" or nil,
      cost = random(2) == 1 and random() or nil, ttl = random(4) == 1 and 9000 or nil })
  end
  local verdicts = { "ok", "ok", "ok", "proxy_bad", "banned", "throttled", "target_bad", "aborted" }
  for i = 1, random(50, 400) do
    local lease = pool:acquire { session = random(3) == 1 and "s" .. random(20) or nil,
      host = "h" .. random(4) .. ".example",
      strategy = "random" }
    if lease then
      lease:complete { verdict = verdicts[random(#verdicts)], ms = random() * 100, bytes = random(0, 9999) }
    end
    pool:set_time(5000 + i * 2)
  end
  pool:counter("pages"):add(random() * 1000)
  for proxy in pool:each() do
    local chance = random(10)
    if chance == 1 then
      pool:drain(proxy.id)
    elseif chance == 2 then
      pool:disable(proxy.id)
    end
  end
  return pool
end

local function picture(pool)
  local now, shown = pool:time(), { proxies = {}, sessions = {}, bans = {} }
  for proxy in pool:each() do
    local found = { tags = proxy.tags, window = proxy.window, full = pool:url(proxy.id, true),
      idle = proxy.last_used and now - proxy.last_used, left = proxy.benched_until and proxy.benched_until - now,
      ttl = proxy.expires and math.floor((proxy.expires - now) * 10 + 0.5) }
    for _, name in ipairs(FIELDS) do
      found[name] = proxy[name]
    end
    found.idle = found.idle and math.floor(found.idle * 10 + 0.5)
    found.left = found.left and math.floor(found.left * 10 + 0.5)
    shown.proxies[#shown.proxies + 1] = found
  end
  for session in pool:sessions() do
    shown.sessions[session.id] = { pool:url(session.proxy.id, true), math.floor((now - session.created) * 10 + 0.5),
      math.floor((now - session.last_used) * 10 + 0.5) }
  end
  for ban in pool:bans() do
    shown.bans[ban.host .. " " .. pool:url(ban.proxy.id, true)] = { ban.strikes, ban.judged,
      math.floor((ban.ends - now) * 10 + 0.5) }
  end
  for i = 1, 4 do
    shown[i] = math.floor(pool:host_delay(("h%d.example"):format(i)) * 10 + 0.5)
  end
  shown.pages = pool:counter("pages"):get()
  return shown
end

describe("pool:save and pool:load", function()
  local path
  before_each(function()
    path = os.tmpname()
  end)
  after_each(function()
    os.remove(path)
  end)

  it("carry the whole state over, whatever happened before", function()
    math.randomseed(23)
    for _ = 1, 12 do
      local pool = lived(math.random)
      assert(pool:save(path))
      local state = assert(require("gyre.state.load").read(path))
      local copy = open { start = state.time, max_proxies = 128 }
      local report = assert(copy:load(path))
      assert.equal(12, report.proxies)
      assert.same(picture(pool), picture(copy))
      assert.is_true(copy:check())
      assert(copy:load(path)) -- again: onto itself
      assert.same(picture(pool), picture(copy))
      copy:close()
      pool:close()
    end
  end)

  it("keep labels that are no UTF-8", function()
    local pool, copy = open(), open()
    assert(pool:add { url = "http://192.0.2.1:1", region = "caf\233" })
    assert(pool:save(path))
    assert(copy:load(path))
    assert.equal("caf\233", copy:find("http://192.0.2.1:1").region)
    copy:close()
    pool:close()
  end)

  it("write JSON, readable by its owner only", function()
    local pool = lived(math.random)
    assert(pool:save(path))
    local state = cjson.decode(read(path))
    assert.equal(12, #state.proxies)
    assert.equal(1, state.version)
    local listing = io.popen("stat -c %a " .. path)
    assert.equal("600", listing:read "*l")
    listing:close()
  end)

  it("leave the old file when the new one cannot be written", function()
    local pool = lived(math.random)
    local saved, err = pool:save "/nonexistent/state.json"
    assert.is_nil(saved)
    assert.equal("system", err.kind)
  end)

  it("without credentials say nothing of them, and load onto proxies that are there", function()
    local pool = open { proxies = { "http://anna:secret@192.0.2.1:80", "http://192.0.2.2:80" } }
    for _ = 1, 10 do
      pool:acquire():ok(20)
    end
    assert(pool:save(path, { credentials = false }))
    assert.is_nil(read(path):find("secret", 1, true))
    assert.is_nil(read(path):find("anna", 1, true))
    local copy = open { proxies = { "http://anna:other@192.0.2.1:80" } }
    assert.equal(2, assert(copy:load(path)).proxies)
    assert.equal(5, copy:find("http://anna:other@192.0.2.1:80").succeeded)
    local empty = open()
    local report, err = empty:load(path)
    assert.is_nil(report)
    assert.truthy(err.message:find("saved without credentials", 1, true))
  end)

  it("without credentials go by who had the address before", function()
    local pool = open { proxies = { "http://192.0.2.1:80", "http://anna:secret@192.0.2.1:80" } }
    assert(pool:save(path, { credentials = false }))
    local copy = open { proxies = { "http://anna:other@192.0.2.1:80" } }
    assert.equal(2, assert(copy:load(path)).proxies)
    assert.equal(2, #copy)
    local two = open { proxies = { "http://anna:other@192.0.2.1:80", "http://ben:other@192.0.2.1:80" } }
    local _, err = two:load(path)
    assert.truthy(err.message:find("several proxies of the pool have this address", 1, true))
  end)

  it("keep who is not in the file", function()
    local pool = open { proxies = { "http://192.0.2.1:80" } }
    assert(pool:save(path))
    local other = open { proxies = { "http://192.0.2.9:80" } }
    other:acquire():ok(1)
    assert(other:load(path))
    assert.equal(2, #other)
    assert.equal(1, other:find("http://192.0.2.9:80").started)
  end)

  it("let the time since then pass", function()
    local pool = assert(gyre.open { proxies = { "http://192.0.2.1:80", { url = "http://192.0.2.2:80", ttl = 50 } },
      max_proxies = 64, breaker = { base = 3600, max = 3600 }, seed = 3 })
    local id = pool:find("http://192.0.2.1:80").id
    pool:ban(id, "shop.example", 50)
    pool:ban(id, "long.example", 5000)
    assert(pool:save(path))
    local text = read(path):gsub('"saved":(%d+)', function(saved)
      return ('"saved":%d'):format(saved - 100)
    end)
    write(path, text)
    local copy = assert(gyre.open { max_proxies = 64 })
    local report = assert(copy:load(path))
    assert.same({ 1, 1 }, { report.proxies, report.bans })
    for ban in copy:bans() do
      assert.near(4900, ban.ends - copy:time(), 3)
    end
  end)

  it("name what is wrong with a file", function()
    local pool = lived(math.random)
    assert(pool:save(path))
    local text = read(path)
    local broken = {
      ["no JSON"] = text:sub(1, -20),
      ["no saved state"] = "[1]",
      ["its version is 99"] = text:gsub('"version":1', '"version":99'),
      ["'sessions' is missing"] = text:gsub('"sessions"', '"sittings"'),
      ["proxies 1: it has no url"] = text:gsub('"url"', '"uri"', 1),
      ["proxies 1: 'succeeded' is no number"] = text:gsub('"succeeded":%d+', '"succeeded":"many"', 1),
      ["proxies 1: invalid argument: books: success_rate"] = text:gsub('"success_rate":[%d.]+', '"success_rate":7', 1),
      ["proxies 1: 'failed' is no count"] = text:gsub('"failed":%d+', '"failed":-1', 1),
      ["proxies 1: 'opened' is no count"] = text:gsub('"opened":%d+', '"opened":4294967296', 1),
      ["proxies 1: 'rate_used' is no count"] = text:gsub('"rate_used":%d+', '"rate_used":1.5', 1),
      ["proxies 1: 'state' is none"] = text:gsub('"state":"%w+"', '"state":"asleep"', 1),
    }
    for why, content in pairs(broken) do
      write(path, content)
      local report, err = open():load(path)
      assert.is_nil(report, why)
      assert.truthy(err.message:find(why, 1, true), why .. " is not said by: " .. err.message)
    end
    local report, err = open():load "/nonexistent/state.json"
    assert.is_nil(report)
    assert.equal("system", err.kind)
  end)

  it("are for open pools", function()
    local pool = open()
    pool:close()
    assert.equal("closed", select(2, pool:save(path)).kind)
    assert.equal("closed", select(2, pool:load(path)).kind)
    assert.has_error(function()
      pool:save(7)
    end)
  end)
end)
