local ffi = require "ffi"
local C = require "gyre.clib"
local pools = require "pools"

-- The core's own snapshot, to compare with.
local function snapshot(pool, id)
  local info = ffi.new("struct gyre_proxy", { size = ffi.sizeof "struct gyre_proxy" })
  assert(C.gyre_pool_get(pool.handle, id, info) == 0)
  return info
end

local function id_of(pool)
  return pools.ids(pool)[1]
end

describe("gyre.proxy", function()
  local pool

  before_each(function()
    pool = pools.open(3, { breaker = { failures = 2, base = 10, max_benched = 1 } })
  end)

  after_each(function()
    pool:close()
  end)

  it("starts as the contract says", function()
    local proxy = pool:get(id_of(pool))
    assert.equal("number", type(proxy.id))
    for _, counter in ipairs { "started", "completed", "succeeded", "failed", "aborted", "active", "bytes",
      "consecutive_failures" } do
      assert.equal(0, proxy[counter], counter)
    end
    assert.is_nil(proxy.ema_ms)
    assert.is_nil(proxy.last_used)
    assert.is_nil(proxy.benched_until)
    assert.is_nil(proxy.cost)
    assert.is_nil(proxy.country)
    assert.is_nil(proxy.region)
    assert.same({}, proxy.tags)
    assert.same({ started = 0, succeeded = 0, failed = 0 }, proxy.window)
    assert.same({ 1, 1, 0, "closed", "http", "192.0.2.1", 1001 }, { proxy.success_rate, proxy.weight,
      proxy.max_active, proxy.state, proxy.scheme, proxy.host, proxy.port })
  end)

  it("agrees with the core's snapshot after any history", function()
    local verdicts = { "ok", "ok", "ok", "banned", "throttled", "target_bad", "aborted", "proxy_bad", "ok" }
    local open = {}
    for i = 1, 500 do
      pool:set_time(i * 0.37)
      local lease = pool:acquire()
      if i % 50 == 0 then
        open[#open + 1] = lease
      else
        lease:complete { verdict = verdicts[i % #verdicts + 1], ms = i % 13, bytes = i }
      end
    end
    for proxy in pool:each() do
      local info = snapshot(pool, proxy.id)
      for _, counter in ipairs { "started", "completed", "succeeded", "failed", "aborted", "active", "bytes",
        "consecutive_failures" } do
        assert.equal(tonumber(info[counter]), proxy[counter], counter)
      end
      assert.equal(info.ema_ms, proxy.ema_ms)
      assert.equal(info.last_used, proxy.last_used)
      assert.is_true(math.abs(info.success_rate - proxy.success_rate) < 1e-6)
      assert.same({ tonumber(info.window_started), tonumber(info.window_succeeded), tonumber(info.window_failed) },
        { proxy.window.started, proxy.window.succeeded, proxy.window.failed })
    end
    assert.equal(10, #open)
  end)

  it("shows a bench and its end", function()
    local proxy = pool:get(id_of(pool))
    for id = 2, 3 do
      pool:disable(pools.ids(pool)[id])
    end
    pool:acquire():fail "proxy_bad"
    assert.same({ "closed", 1 }, { proxy.state, proxy.consecutive_failures })
    pool:acquire():fail "proxy_bad"
    assert.equal("open", proxy.state)
    local till = proxy.benched_until
    assert.is_true(till > pool:time() and till <= pool:time() + 10.2)
    assert.equal("no_proxy", select(2, pool:acquire()).kind)
    pool:set_time(till + 1)
    pool:acquire():ok(1)
    assert.same({ "closed", 0 }, { proxy.state, proxy.consecutive_failures })
    assert.is_nil(proxy.benched_until)
  end)

  it("is one object as long as it lives", function()
    local id = id_of(pool)
    local proxy = pool:get(id)
    assert.equal(proxy, pool:get(id))
    assert.equal(proxy, pool:each()(pool))
    assert.equal(proxy, pool:find "http://192.0.2.1:1001")
  end)

  it("prints without credentials", function()
    local secret = assert(pool:add "socks5://bob:hunter2@[::1]:1080")
    local proxy = pool:get(secret)
    assert.equal("socks5://[::1]:1080", tostring(proxy))
    assert.equal("socks5://[::1]:1080", proxy.url)
    assert.same({ "socks5", "::1", 1080 }, { proxy.scheme, proxy.host, proxy.port })
  end)

  it("reads nothing once removed, also when its slot has another proxy", function()
    local id = id_of(pool)
    local proxy = pool:get(id)
    pool:acquire():ok(5)
    pool:remove(id)
    for _ = 1, 2 do
      assert.equal("removed", proxy.state)
      assert.equal(id, proxy.id)
      assert.is_nil(proxy.host)
      assert.is_nil(proxy.url)
      assert.equal(("proxy %.0f (removed)"):format(id), tostring(proxy))
      pool:add "http://192.0.2.99:80"
    end
    assert.is_nil(proxy.started)
    local successor = pool:find "http://192.0.2.99:80"
    assert.equal(0, successor.started)
    assert.is_true(successor.id ~= id)
    -- The old object must not read the segment once that is unmapped.
    pool:close()
    assert.is_nil(proxy.started)
    assert.is_nil(successor.started)
  end)

  it("reads nothing once its pool is closed", function()
    local proxy = pool:get(id_of(pool))
    pool:close()
    assert.is_nil(proxy.started)
    assert.is_nil(proxy.ema_ms)
    assert.is_nil(proxy.host)
    assert.equal("removed", proxy.state)
  end)

  it("has no other fields, and takes none", function()
    local proxy = pool:get(id_of(pool))
    local _, message = pcall(function() return proxy.colour end)
    assert.matches("proxy_spec%.lua:%d+: a proxy has no field 'colour'", message)
    message = select(2, pcall(function() proxy.weight = 2 end))
    assert.matches("proxy_spec%.lua:%d+: a proxy's 'weight' is not assigned: see pool:update%(id, fields%)", message)
  end)

  it("is read without garbage in a compiled loop", function()
    if not jit.status() then
      return
    end
    local traces = require "traces"
    local proxy = pool:get(id_of(pool))
    pool:acquire():ok(5)
    local function run(n)
      local sum = 0
      for _ = 1, n do
        sum = sum + (proxy.ema_ms or 0) * (proxy.active + 1) + proxy.started + proxy.success_rate
      end
      return sum
    end
    local bytes = traces.garbage(run, 50000)
    assert.is_true(bytes < 0.5, ("%.2f bytes a round"):format(bytes))
  end)
end)
