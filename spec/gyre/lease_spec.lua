local gyre = require "gyre"
local pools = require "pools"

describe("gyre.lease", function()
  local pool

  before_each(function()
    pool = assert(gyre.open { proxies = { "http://bob:p%40ss@192.0.2.1:80" }, clock = "manual" })
  end)

  after_each(function()
    pool:close()
  end)

  it("shows the proxy, and the credentials only in url", function()
    local lease = assert(pool:acquire())
    assert.equal(pools.ids(pool)[1], lease.id)
    assert.equal("http://bob:p%40ss@192.0.2.1:80", lease.url)
    assert.equal(lease.id, lease.proxy.id)
    assert.equal("lease of http://192.0.2.1:80", tostring(lease))
    lease:ok()
  end)

  it("averages the latency of successes only", function()
    local proxy = pool:get(pools.ids(pool)[1])
    assert.is_nil(proxy.ema_ms)
    pool:acquire():ok(100)
    assert.equal(100, proxy.ema_ms)
    pool:acquire():fail("proxy_bad", 900)
    pool:acquire():complete { verdict = "target_bad", ms = 900 }
    assert.equal(100, proxy.ema_ms)
    pool:acquire():complete { verdict = "ok", ms = 200 }
    assert.equal(120, proxy.ema_ms)
    pool:acquire():ok()
    assert.equal(120, proxy.ema_ms)
    pool:acquire():ok(0)
    assert.equal(96, proxy.ema_ms)
  end)

  it("counts each verdict where it belongs", function()
    local proxy = pool:get(pools.ids(pool)[1])
    local where = { ok = "succeeded", target_bad = "succeeded", throttled = "succeeded", banned = "failed",
      proxy_bad = "failed", aborted = "aborted" }
    for verdict, counter in pairs(where) do
      local before = proxy[counter]
      assert(pool:acquire():complete { verdict = verdict })
      assert.equal(before + 1, proxy[counter], verdict)
    end
    assert.equal(6, proxy.completed)
  end)

  it("ends once, also through a copy", function()
    local lease = assert(pool:acquire())
    local copy = gyre.lease()
    require("ffi").copy(copy, lease, require("ffi").sizeof(lease))
    assert.is_true(lease:ok(5))
    for _, again in ipairs { lease, copy } do
      local ended, err = again:fail "proxy_bad"
      assert.is_nil(ended)
      assert.equal("closed", err.kind)
    end
    assert.same({ 1, 0 }, { pool:stats().completed, pool:stats().failed })
  end)

  it("refuses latencies that are none, and stays open", function()
    local lease = assert(pool:acquire())
    for _, ms in ipairs { -1, 0 / 0, 1 / 0, -1 / 0, 1e12 } do
      assert.equal("invalid", select(2, lease:ok(ms)).kind)
      assert.equal("invalid", select(2, lease:fail("proxy_bad", ms)).kind)
      assert.equal("invalid", select(2, lease:complete { verdict = "ok", ms = ms }).kind)
    end
    assert.equal(1, pool:stats().active)
    assert.is_true(lease:ok(1))
  end)

  it("counts bytes", function()
    pool:acquire():complete { verdict = "ok", bytes = 2 ^ 40 }
    pool:acquire():complete { verdict = "ok", ms = 1, bytes = 24 }
    pool:acquire():complete { verdict = "ok", ms = 1 }
    assert.equal(2 ^ 40 + 24, pool:get(pools.ids(pool)[1]).bytes)
  end)

  it("completes harmlessly after its proxy was removed", function()
    local lease = assert(pool:acquire())
    assert(pool:remove(lease.id))
    assert.is_nil(lease.url)
    assert.equal("removed", lease.proxy.state)
    assert(pool:add "http://192.0.2.2:80")
    assert.is_nil(lease.proxy.started)
    assert.is_true(lease:ok(1))
    assert.equal(0, pool:stats().started)
  end)

  it("is harmless after its pool was closed, or never used", function()
    local lease = assert(pool:acquire())
    pool:close()
    assert.equal("closed", select(2, lease:ok(1)).kind)
    assert.equal("closed", select(2, lease:complete { verdict = "ok" }).kind)
    assert.is_nil(lease.url)
    assert.is_nil(lease.proxy)
    assert.equal("lease of a proxy of a closed pool", tostring(lease))
    assert.equal("closed", select(2, gyre.lease():ok()).kind)
  end)

  it("raises on misuse, at the caller", function()
    local lease = assert(pool:acquire())
    local misuses = {
      function() lease:ok "5" end,
      function() lease:fail "ok" end,
      function() lease:fail "guilty" end,
      function() lease:fail() end,
      function() lease:complete "ok" end,
      function() lease:complete { ms = 5 } end,
      function() lease:complete { verdict = "ok", ms = "5" } end,
      function() lease:complete { verdict = "ok", bytes = -1 } end,
      function() lease:complete { verdict = "banned", retry_after = "5" } end,
      function() lease:complete { verdict = "ok", latency = 5 } end,
      function() lease:complete { verdict = "ok", ms = 5, bytes = 5, colour = "red" } end,
      function() return lease.colour end,
    }
    for i, misuse in ipairs(misuses) do
      local ran, message = pcall(misuse)
      assert.is_false(ran, "misuse " .. i)
      assert.matches("lease_spec%.lua:%d+:", message)
    end
    assert.is_true(lease:ok())
  end)

  it("is compiled, with acquire, in a hot loop", function()
    if not jit.status() then
      return
    end
    local traces = require "traces"
    local into = gyre.lease()
    pool:update(pools.ids(pool)[1], { country = "de" })
    local reused, filtered = { session = "s", host = "h.example", key = "k" }, { country = "de", choices = 2 }
    local loops = {
      function() for _ = 1, 300 do pool:acquire():ok(5) end end,
      function() for _ = 1, 300 do pool:acquire_into(into) into:ok(5) end end,
      function() for _ = 1, 300 do pool:acquire():fail("aborted", 5) end end,
      function() for _ = 1, 300 do pool:acquire():complete { verdict = "ok", ms = 5 } end end,
      function() for _ = 1, 300 do pool:acquire {}:ok(5) end end,
      function() for _ = 1, 300 do pool:acquire {}:complete { verdict = "ok", ms = 5 } end end,
      function() for _ = 1, 300 do pool:acquire(reused):ok(5) end end,
      function() for _ = 1, 300 do pool:acquire(filtered):ok(5) end end,
      function() for _ = 1, 300 do pool:acquire { session = "s", host = "h.example" }:ok(5) end end,
    }
    for i, hot in ipairs(loops) do
      assert.is_true(traces.is_compiled(hot), "loop " .. i)
    end
    assert.equal(0, pool:stats().active)
  end)

  it("is the only garbage of a compiled acquire, and acquire_into makes none", function()
    if not jit.status() then
      return
    end
    local garbage = require("traces").garbage
    local into = gyre.lease()
    local none = garbage(function(n)
      for _ = 1, n do
        pool:acquire_into(into)
        into:ok(5)
      end
    end, 50000)
    assert.is_true(none < 0.5, ("%.2f bytes a lease"):format(none))
    local lease = garbage(function(n)
      for _ = 1, n do
        pool:acquire():ok(5)
      end
    end, 50000)
    local size = require("ffi").sizeof(into) + 16 -- and the header of a collectable object
    assert.is_true(lease < size + 0.5, ("%.2f bytes a lease"):format(lease))
  end)
end)
