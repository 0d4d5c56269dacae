local gyre = require "gyre"
local pools = require "pools"

describe("gyre.pool", function()
  local pool

  before_each(function()
    pool = pools.open(4)
  end)

  after_each(function()
    pool:close()
  end)

  it("counts proxies and prints without credentials", function()
    assert.equal(4, #pool)
    assert.equal("pool of 4, round-robin", tostring(pool))
    assert.equal("round-robin", pool.strategy)
  end)

  it("hands out every proxy in turn", function()
    local counts = {}
    for _ = 1, 12 do
      local lease = assert(pool:acquire())
      counts[lease.id] = (counts[lease.id] or 0) + 1
      assert.is_true(lease:ok(1))
    end
    for _, id in ipairs(pools.ids(pool)) do
      assert.equal(3, counts[id])
    end
  end)

  it("keeps the sums of design section 4 through every verdict", function()
    local verdicts = { "ok", "banned", "throttled", "proxy_bad", "target_bad", "aborted" }
    local open = {}
    for i = 1, 60 do
      local lease = assert(pool:acquire())
      if i % 7 == 0 then
        open[#open + 1] = lease
      else
        assert(lease:complete { verdict = verdicts[i % 6 + 1], ms = i, bytes = 10 })
      end
    end
    local sums = pool:stats()
    assert.equal(60, sums.started)
    assert.equal(#open, sums.active)
    assert.equal(sums.started, sums.completed + sums.active)
    assert.equal(sums.completed, sums.succeeded + sums.failed + sums.aborted)
    for proxy in pool:each() do
      assert.equal(proxy.started, proxy.completed + proxy.active)
      assert.equal(proxy.completed, proxy.succeeded + proxy.failed + proxy.aborted)
    end
    for _, lease in ipairs(open) do
      assert(lease:ok())
    end
    assert.equal(0, pool:stats().active)
  end)

  it("adds from a URL, a line and a table", function()
    local id = assert(pool:add "http://bob:p%40ss@192.0.2.9:80")
    assert.equal("http://bob:p%40ss@192.0.2.9:80", pool:url(id, true))
    assert.equal("http://192.0.2.9:80", pool:url(id))
    id = assert(pool:add "192.0.2.10:80:bob:p@ss#country=de")
    assert.equal("DE", pool:get(id).country:upper())
    id = assert(pool:add { host = "2001:db8::1", port = 80, user = "bob", password = "p@:", tags = { "a", "b" },
      weight = 2.5, cost = 0.25, max_active = 1 })
    local proxy = pool:get(id)
    assert.same({ "2001:db8::1", 80, 2.5, 0.25, 1 }, { proxy.host, proxy.port, proxy.weight, proxy.cost,
      proxy.max_active })
    assert.same({ "a", "b" }, proxy.tags)
    assert.equal(7, #pool)
  end)

  it("says which proxy is there already", function()
    local id = assert(pool:add "http://bob:x@192.0.2.9:80")
    local again, err = pool:add "192.0.2.9:80:bob:x"
    assert.is_nil(again)
    assert.equal("exists", err.kind)
    assert.equal(id, err.id)
  end)

  it("never puts a password into an error", function()
    for _, url in ipairs { "http://bob:hunter2@h:99999", "ftp://bob:hunter2@h", "http://bob:hunter2@h/path",
      "http://bob:hunter2%zz@h", "http://bob:hunter2@", "http://bob:hunter2@h h" } do
      local id, err = pool:add(url)
      assert.is_nil(id)
      assert.equal("invalid", err.kind)
      assert.is_nil(err.message:find "hunter2", err.message)
    end
    local id, err = pool:add { url = "http://h\0.example", country = "de" }
    assert.is_nil(id)
    assert.equal("invalid", err.kind)
  end)

  it("finds, updates and removes", function()
    local proxy = assert(pool:find "http://192.0.2.1:1001")
    assert.equal(pools.ids(pool)[1], proxy.id)
    assert.is_nil(pool:find "http://192.0.2.1:1")
    assert.equal("invalid", select(2, pool:find "nonsense").kind)
    assert.is_true(pool:update(proxy.id, { country = "fr", weight = 3 }))
    assert.same({ "FR", 3 }, { proxy.country:upper(), proxy.weight })
    assert.is_true(pool:update(proxy.id, { country = "" }))
    assert.is_nil(proxy.country)
    assert.equal(3, proxy.weight)
    local id = proxy.id
    assert.is_true(pool:remove(id))
    assert.equal("not_found", select(2, pool:remove(id)).kind)
    assert.is_nil(pool:get(id))
    assert.equal("not_found", select(2, pool:url(id)).kind)
    assert.equal(3, #pool)
  end)

  it("takes proxies out and back", function()
    local ids = pools.ids(pool)
    assert.is_true(pool:disable(ids[1]))
    assert.is_true(pool:drain(ids[2]))
    for _ = 1, 8 do
      local lease = assert(pool:acquire())
      assert.is_true(lease.id ~= ids[1] and lease.id ~= ids[2])
      lease:ok()
    end
    assert.equal("disabled", pool:get(ids[1]).state)
    assert.equal("draining", pool:get(ids[2]).state)
    assert.is_true(pool:enable(ids[1]) and pool:enable(ids[2]))
    assert.equal("closed", pool:get(ids[1]).state)
    assert.equal(4, pool:stats().eligible)
  end)

  it("tells busy from no_proxy", function()
    local one = pools.open(1)
    local id = pools.ids(one)[1]
    assert(one:update(id, { max_active = 1 }))
    local lease = assert(one:acquire())
    assert.equal("busy", select(2, one:acquire()).kind)
    lease:ok()
    assert(one:disable(id))
    assert.equal("no_proxy", select(2, one:acquire()).kind)
    one:close()
  end)

  it("resets counters", function()
    assert(assert(pool:acquire()):ok(5))
    assert.is_true(pool:reset_counters())
    assert.equal(0, pool:stats().started)
    for proxy in pool:each() do
      assert.is_nil(proxy.ema_ms)
    end
  end)

  it("moves a manual clock, and only that", function()
    local before = pool:time()
    assert.is_true(pool:set_time(before + 10))
    assert.equal(before + 10, pool:time())
    assert.equal("invalid", select(2, pool:set_time(before)).kind)
    local system = assert(gyre.open { proxies = pools.urls(1) })
    assert.equal("invalid", select(2, system:set_time(1e9)).kind)
    system:close()
  end)

  it("ends a forgotten lease as aborted at its deadline", function()
    local short = pools.open(1, { lease_timeout = 5 })
    local lease = assert(short:acquire())
    assert(short:set_time(short:time() + 6))
    assert(assert(short:acquire()):ok())
    assert.equal("closed", select(2, lease:ok(1)).kind)
    assert.same({ 2, 1, 1, 0 }, { short:stats().started, short:stats().succeeded, short:stats().aborted,
      short:stats().active })
    short:close()
  end)

  it("is closed for everything after close(), without harm", function()
    local id = pools.ids(pool)[1]
    pool:close()
    pool:close()
    assert.equal(0, #pool)
    assert.equal("pool (closed)", tostring(pool))
    assert.is_nil(pool.strategy)
    assert.is_nil(pool:each()(pool))
    local calls = {
      { "acquire" }, { "acquire_into", gyre.lease() }, { "add", "h:80" }, { "remove", id }, { "get", id },
      { "update", id, {} }, { "find", "h:80" }, { "url", id }, { "disable", id }, { "enable", id }, { "drain", id },
      { "use", "random" }, { "stats" }, { "reset_counters" }, { "time" }, { "set_time", 1 },
    }
    for _, call in ipairs(calls) do
      local value, err = pool[call[1]](pool, unpack(call, 2))
      assert.is_nil(value, call[1])
      assert.equal("closed", err.kind, call[1])
    end
  end)

  -- In a process of its own: what it is about never ends.
  it("is collected unused after others were closed", function()
    local library = os.getenv "GYRE_LIB" or "build/release/libgyre.so"
    local script = [[
      local gyre = require "gyre"
      for _ = 1, 4 do -- the loop that makes the objects of proxies harmless is compiled
        local pool = assert(gyre.open { proxies = { "h1:1", "h2:1" }, max_proxies = 64, max_sessions = 64 })
        assert(pool:acquire().proxy.host)
        pool:close()
      end
      gyre.open { max_proxies = 64, max_sessions = 64 }
      collectgarbage()
      io.write "collected"]]
    local command = "LUA_PATH='lua/?.lua;lua/?/init.lua;;' GYRE_LIB='%s' timeout 60 luajit -e '%s' 2>&1"
    local pipe = assert(io.popen(command:format(library, script)))
    assert.equal("collected", pipe:read "*a")
    pipe:close()
  end)

  it("closes when nobody holds it", function()
    local registry = require "gyre.registry"
    local number
    do
      local lost = pools.open(1)
      number = lost.number
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(registry.pools[number])
    assert.is_nil(registry.states[number])
  end)

  it("sees a misspelt field of a call that comes late, too", function()
    local seen = {}
    local function misspelt_request()
      local lease = pool:acquire { contry = "DE" }
      lease:ok()
    end
    local function misspelt_outcome()
      local lease = pool:acquire {}
      lease:complete { verdict = "ok", mss = 1 }
    end
    for _ = 1, 2000 do
      pool:acquire({}):complete { verdict = "ok", ms = 1 }
    end
    for _, call in ipairs { misspelt_request, misspelt_outcome } do
      for _ = 1, 80 do
        local ran, message = pcall(call)
        seen[call] = not ran and message or seen[call]
      end
    end
    assert.matches("pool_spec.lua:%d+: unknown request field 'contry'", seen[misspelt_request])
    assert.matches("pool_spec.lua:%d+: unknown outcome field 'mss'", seen[misspelt_outcome])
  end)

  it("says so when it is called with a dot", function()
    for _, method in ipairs { "acquire", "add", "stats", "strategies" } do
      local ran, why = pcall(function() return pool[method] { country = "de" } end)
      assert.is_false(ran, method)
      assert.matches("pool_spec.lua:%d+: a method of pools wants its pool: pool:method%(...%), with a colon", why)
    end
  end)

  it("does not show the password of what was taken for an id", function()
    for _, method in ipairs { "remove", "disable", "enable", "drain", "update", "probe", "url" } do
      local ran, why = pcall(pool[method], pool, "http://anna:sekret@192.0.2.1:1", {})
      assert.is_false(ran)
      assert.matches("a proxy id is a whole number, not a string", why, nil, true)
    end
  end)

  it("raises on misuse, at the caller", function()
    local misuses = {
      function() pool:remove "x" end,
      function() pool:get(-1) end,
      function() pool:url(0.5) end,
      function() pool:add(17) end,
      function() pool:add { url = "http://h", colour = "red" } end,
      function() pool:update(1, { url = "http://h" }) end,
      function() pool:update(1, { weight = "heavy" }) end,
      function() pool:acquire(17) end,
      function() pool:acquire { colour = "red" } end,
      function() pool:acquire { exclude = 17 } end,
      function() pool:acquire { exclude = { "x" } } end,
      function() pool:acquire { exclude = { 1.5 } } end,
      function() pool:acquire { country = 17 } end,
      function() pool:acquire { country = { 17 } } end,
      function() pool:acquire { tags = "a\0b" } end,
      function() pool:acquire { region = {} } end,
      function() pool:acquire { key = 17, host = "h" } end,
      function() pool:acquire { choices = 65 } end,
      function() pool:acquire { choices = "3" } end,
      function() pool:acquire { random_ties = 1 } end,
      function() pool:acquire { host = "h", session = "s", country = "de", tags = "a", colour = "red" } end,
      function() pool:acquire_into(17) end,
      function() pool:use(17) end,
      function() pool:set_time "now" end,
      function() return pool.colour end,
      function() pool.colour = "red" end,
    }
    for i, misuse in ipairs(misuses) do
      local ran, message = pcall(misuse)
      assert.is_false(ran, "misuse " .. i)
      assert.matches("pool_spec%.lua:%d+:", message)
    end
  end)

  it("says that requests need the gyre program", function()
    if require("gyre.runtime").available() then
      return
    end
    assert.error_matches(function() pool:get "http://example.org/" end, "needs the gyre program")
    assert.error_matches(function() pool:map {} end, "needs the gyre program")
    assert.error_matches(function() gyre.sleep(1) end, "gyre.sleep needs the gyre program")
  end)
end)
