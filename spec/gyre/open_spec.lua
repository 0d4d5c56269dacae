local gyre = require "gyre"
local pools = require "pools"

local function fails(options)
  local pool, err = gyre.open(options)
  assert.is_nil(pool)
  return err
end

describe("gyre.open", function()
  it("opens an empty private pool without options", function()
    local pool = assert(gyre.open())
    assert.equal(0, #pool)
    assert.is_nil(pool.loaded)
    assert.equal("no_proxy", select(2, pool:acquire()).kind)
    assert(pool:add "http://192.0.2.1:80")
    assert(assert(pool:acquire()):ok())
    pool:close()
  end)

  it("takes URLs, lines and tables", function()
    local pool = assert(gyre.open { proxies = { "http://h1:80", "h2:80:bob:x", { host = "h3", port = 80 } } })
    assert.equal(3, #pool)
    assert.equal("loaded 3", pool.loaded.message)
    pool:close()
  end)

  it("has room for a list that is larger than a pool is by default", function()
    local proxies = {}
    for i = 1, 65537 do
      proxies[i] = ("10.%d.%d.1:3128"):format(i / 256, i % 256)
    end
    local pool = assert(gyre.open { proxies = proxies })
    assert.equal(65537, #pool)
    assert(pool:add "http://192.0.2.1:80")
    pool:close()
    assert.equal("full", fails({ proxies = proxies, max_proxies = 65536 }).kind)
  end)

  it("names the file that cannot be made as it was named", function()
    local err = fails { shared = "/nowhere/at/all" }
    assert.equal("system", err.kind)
    assert.is_truthy(err.message:find("/nowhere/at/all: ", 1, true), err.message)
  end)

  it("shares a file, and knows its proxies again", function()
    local path = os.tmpname()
    os.remove(path)
    local list = { "http://192.0.2.1:80", { url = "http://192.0.2.2:80", weight = 2 } }
    local first = assert(gyre.open { shared = path, proxies = list })
    assert(assert(first:acquire()):ok(50))
    list[2].weight, list[3] = 4, "http://192.0.2.3:80"
    local second = assert(gyre.open { shared = path, proxies = list })
    assert.equal("loaded 1, 2 known already", second.loaded.message)
    assert.equal(3, #first)
    assert.equal(1, second:stats().started)
    assert.equal(4, first:find("http://192.0.2.2:80").weight)
    first:close()
    local third = assert(gyre.open { shared = path })
    assert.equal(3, #third)
    assert.equal(1, third:stats().succeeded)
    second:close()
    third:close()
    os.remove(path)
  end)

  it("gives a new file a mode and a group", function()
    local path = os.tmpname()
    os.remove(path)
    local own = io.popen "id -g":read "*l"
    assert(gyre.open { shared = path, max_proxies = 64, max_sessions = 64, mode = "0640", group = own }):close()
    assert.equal("640 " .. own, io.popen("stat -c '%a %g' " .. path):read "*l")
    os.remove(path)
    local err = fails { shared = path, group = "no-such-group" }
    assert.equal("invalid", err.kind)
    assert.truthy(err.message:find("no-such-group", 1, true))
    assert.equal("invalid", fails({ shared = path, group = "a\0b" }).kind)
    assert.equal("invalid", fails({ shared = path, mode = "0700" }).kind)
  end)

  it("says what is wrong with a segment file", function()
    local path = os.tmpname()
    local file = io.open(path, "wb")
    file:write(("no segment\n"):rep(1000))
    file:close()
    local err = fails { shared = path }
    assert.equal("corrupt", err.kind)
    os.remove(path)
    assert.equal("system", fails({ shared = "/nonexistent/segment" }).kind)
    assert.equal("invalid", fails({ shared = "/tmp/a\0b" }).kind)
  end)

  it("lets every option change something", function()
    local pool = pools.open(10, { alpha = 0.5, max_proxies = 64, max_leases = 64, lease_timeout = 2, window = 60,
      breaker = { failures = 1, base = 1, max = 1, max_benched = 0.1 }, strategy = "random" })
    assert.equal("random", pool.strategy)
    pool:acquire():fail "proxy_bad"
    pool:acquire():fail "proxy_bad"
    assert.equal(1, pool:stats().benched)
    pool:set_time(3)
    local one = pools.open(1, { alpha = 0.5 })
    one:acquire():ok(100)
    one:acquire():ok(200)
    assert.equal(150, one:get(pools.ids(one)[1]).ema_ms)
    for i = 11, 64 do
      assert(pool:add("http://192.0.2.200:" .. 2000 + i))
    end
    assert.equal("full", select(2, pool:add "http://192.0.2.201:80").kind)
    local leases = {}
    for i = 1, 64 do
      leases[i] = assert(pool:acquire())
    end
    assert.equal("full", select(2, pool:acquire()).kind)
    pool:set_time(6)
    for _ = 1, 20 do
      if pool:acquire() then
        break
      end
    end
    assert.equal("closed", select(2, leases[1]:ok()).kind)
    pool:close()
    one:close()
  end)

  it("benches for as long as it is told, and looks back as far", function()
    -- The longest bench of a proxy that fails so many times in a row.
    local function longest(failures, breaker)
      breaker.failures, breaker.max_benched = 1, 1
      local pool, most = pools.open(1, { breaker = breaker }), 0
      local proxy = pool:get(pools.ids(pool)[1])
      for _ = 1, failures do
        assert(assert(pool:probe(proxy.id)):fail "proxy_bad")
        most = math.max(most, proxy.benched_until - pool:time())
        pool:set_time(proxy.benched_until + 1)
      end
      pool:close()
      return most
    end
    -- Drawn from 0 to base, to twice that and so on, up to max: above half of max in one of twenty but for 2^-20.
    local least = longest(20, { base = 4, max = 4 })
    assert.is_true(least > 2 and least <= 4.1, least) -- a tenth for the grain of time
    local most = longest(20, { base = 4, max = 64 })
    assert.is_true(most > 32 and most <= 64.1, most)
    assert.is_true(longest(1, { base = 4 }) <= 4.1)
    assert.is_true(longest(1, { base = 4000, max = 4000 }) > 4.1)

    for _, window in ipairs { 10, 1000 } do
      local pool = pools.open(1, { window = window })
      assert(pool:acquire()):ok(5)
      pool:set_time(100)
      assert(pool:acquire()):ok(5)
      assert.equal(window == 10 and 1 or 2, pool:get(pools.ids(pool)[1]).window.succeeded)
      pool:close()
    end
  end)

  it("bounds sessions and bans, and ends sessions", function()
    local pool = pools.open(64, { max_sessions = 64, max_bans = 64, session_ttl = 5, session_lifetime = 8 })
    for i = 1, 500 do
      pool:acquire({ session = "s" .. i }):ok()
    end
    assert.is_true(pool:session_stats().evicted > 0)
    for i = 1, 200 do
      assert(pool:ban(pools.ids(pool)[i % 64 + 1], ("h%d.example"):format(i % 5), 10 + i))
    end
    local bans = 0
    for _ in pool:bans() do
      bans = bans + 1
    end
    assert.is_true(bans <= 64, bans)
    assert.equal(5, pool:session("s500").expires - pool:session("s500").last_used)
    pool:set_time(pool:time() + 4)
    pool:acquire { session = "s500" }
    pool:set_time(pool:time() + 4.2)
    assert.is_nil(pool:session "s500")
    pool:close()
  end)

  it("repeats random choices with a seed", function()
    local function picks(seed, strategy)
      local pool = pools.open(8, { strategy = strategy, seed = seed })
      local ids = {}
      for i = 1, 20 do
        local lease = assert(pool:acquire())
        ids[i] = ("%.0f"):format(lease.id)
        lease:ok()
      end
      pool:close()
      return table.concat(ids, " ")
    end
    local lua_random = { name = "lua-random", select = function(_, view) return view:random() end }
    for _, strategy in ipairs { "random", lua_random } do
      assert.equal(picks(3, strategy), picks(3, strategy))
      assert.is_true(picks(3, strategy) ~= picks(4, strategy))
    end
  end)

  it("refuses values the core refuses, and 0 where that would mean the default", function()
    for _, options in ipairs {
      { alpha = 0 }, { alpha = 1.5 }, { alpha = 0 / 0 }, { window = -1 }, { window = 0 }, { lease_timeout = 0 },
      { max_proxies = 0 }, { max_proxies = 0.5 }, { max_proxies = 2 ^ 21 }, { max_proxies = 2 ^ 40 }, { seed = 0 },
      { seed = 1.5 }, { seed = 2 ^ 60 }, { breaker = { failures = 0 } }, { breaker = { max_benched = 2 } },
      { breaker = { base = -5 } }, { max_sessions = 0 }, { max_bans = 1.5 }, { session_ttl = 0 },
      { session_lifetime = -1 }, { breaker = { base = 100, max = 1 } },
    } do
      assert.equal("invalid", fails(options).kind)
    end
    assert.equal("option 'max_proxies' must be a whole number from 1 to 4294967295",
      fails({ max_proxies = 2 ^ 40 }).message)
    gyre.open({ breaker = { max = 1 } }):close() -- the base is 30 else, and bounded by it
  end)

  it("leaves nothing behind when it fails", function()
    local path = os.tmpname()
    os.remove(path)
    assert.equal("system", fails({ shared = path, proxies = "/nonexistent" }).kind)
    assert.equal("strategy", fails({ shared = path, proxies = { "h:80" }, strategy = "no-such" }).kind)
    assert.is_nil(io.open(path))
    assert.equal("invalid", fails({ proxies = {} }).kind)
  end)

  it("raises on misuse, at the caller", function()
    local misuses = {
      function() gyre.open "proxies.txt" end,
      function() gyre.open { proxy = "h:80" } end,
      function() gyre.open { proxies = 17 } end,
      function() gyre.open { alpha = "0.2" } end,
      function() gyre.open { shared = 17 } end,
      function() gyre.open { mode = 600 } end,
      function() gyre.open { mode = "rw" } end,
      function() gyre.open { group = 0 } end,
      function() gyre.open { group = "staff" } end,
      function() gyre.open { mode = "0600" } end,
      function() gyre.open { trip_after = 1.5 } end,
      function() gyre.open { trip_after = "3" } end,
      function() gyre.open { clock = "sundial" } end,
      function() gyre.open { breaker = 5 } end,
      function() gyre.open { breaker = { faults = 5 } } end,
      function() gyre.open { breaker = { failures = "5" } } end,
      function() gyre.open { strategy = 17 } end,
    }
    for i, misuse in ipairs(misuses) do
      local ran, message = pcall(misuse)
      assert.is_false(ran, "misuse " .. i)
      assert.matches("open_spec%.lua:%d+:", message)
    end
  end)
end)
