local pools = require "pools"

describe("gyre.pool.host", function()
  local pool, ids

  before_each(function()
    pool = pools.open(4, { breaker = { max_benched = 1 } })
    ids = pools.ids(pool)
  end)

  after_each(function()
    pool:close()
  end)

  local function in_lua()
    return { name = "in-lua", select = function(_, view) return view:round_robin() end }
  end

  it("learns bans from verdicts, with native strategies and others", function()
    for _, strategy in ipairs { "round-robin", in_lua() } do
      local lease = assert(pool:acquire { host = "shop.example", strategy = strategy })
      assert(lease:complete { verdict = "banned", retry_after = 30 })
      local bans = {}
      for ban in pool:bans() do
        bans[#bans + 1] = ban
      end
      assert.equal(1, #bans)
      assert.same({ lease.id, 1, true }, { bans[1].proxy.id, bans[1].strikes, bans[1].judged })
      assert.is_true(math.abs(bans[1].ends - pool:time() - 30) < 0.3)
      for _ = 1, 8 do
        assert.is_true(pool:acquire({ host = "SHOP.example", strategy = strategy }).id ~= lease.id)
      end
      assert.equal(1, pool:unban(lease.id, "shop.example"))
    end
  end)

  it("bans and lifts bans by hand", function()
    assert.is_true(pool:ban(ids[1], "a.example", 10))
    assert.is_true(pool:ban(ids[1], "b.example", 10))
    assert.is_true(pool:ban(ids[2], "b.example", 10))
    assert.equal(2, pool:unban(nil, "b.example"))
    assert.equal(1, pool:unban(ids[1]))
    assert.equal(0, pool:unban(ids[1]))
    assert.equal("invalid", select(2, pool:ban(ids[1], "a.example", 0)).kind)
    assert.equal("not_found", select(2, pool:ban(12345, "a.example", 1)).kind)
    pool:ban(ids[1], "a.example", 10)
    pool:set_time(pool:time() + 11)
    assert.is_nil(pool:bans()(select(2, pool:bans())))
  end)

  it("throttles a host for every strategy", function()
    for _, strategy in ipairs { "round-robin", in_lua() } do
      local lease = assert(pool:acquire { host = "shop.example", strategy = strategy })
      assert(lease:complete { verdict = "throttled", retry_after = 5 })
      assert.is_true(math.abs(pool:host_delay "shop.example" - 5) < 0.3)
      local none, err = pool:acquire { host = "shop.example", strategy = strategy }
      assert.is_nil(none)
      assert.equal("busy", err.kind)
      assert.matches("shop.example is throttled", err.message)
      assert(pool:acquire { host = "other.example", strategy = strategy })
      assert.is_true(pool:throttle("shop.example", 0))
      assert.equal(0, pool:host_delay "shop.example")
      assert(pool:acquire { host = "shop.example", strategy = strategy })
    end
  end)

  it("raises on misuse, at the caller, and is closed with its pool", function()
    for i, misuse in ipairs {
      function() pool:ban("x", "h", 1) end,
      function() pool:ban(1, 17, 1) end,
      function() pool:ban(1, "h\0", 1) end,
      function() pool:ban(1, "h", "1") end,
      function() pool:unban() end,
      function() pool:throttle("h", "1") end,
      function() pool:host_delay(17) end,
      function() pool:acquire { host = 17 } end,
      function() pool:acquire { host = "http://shop.example/" } end,
      function() pool:ban(1, "http://shop.example", 1) end,
      function() pool:host_delay "shop.example/" end,
    } do
      local ran, message = pcall(misuse)
      assert.is_false(ran, "misuse " .. i)
      assert.matches("host_spec%.lua:%d+:", message)
    end
    pool:close()
    assert.equal("closed", select(2, pool:ban(1, "h", 1)).kind)
    assert.equal("closed", select(2, pool:unban(1)).kind)
    assert.equal("closed", select(2, pool:throttle("h", 1)).kind)
    assert.equal("closed", select(2, pool:host_delay "h").kind)
  end)

  it("blames a host that bans most of the pool at once", function()
    local guarded = pools.open(4, {})
    for i = 1, 3 do
      assert.equal(0, guarded:host_blamed "shop.example")
      assert(guarded:acquire { host = "shop.example" }):complete { verdict = "banned", retry_after = 30 }
      assert.equal(i == 3 and 1 or 0, guarded:stats().ban_blamed)
    end
    assert.is_true(guarded:host_blamed "shop.example" > 59)
    assert.is_nil(guarded:bans()(select(2, guarded:bans())))
    guarded:close()
    assert.equal("closed", select(2, guarded:host_blamed "shop.example").kind)
  end)

  it("says it of the host that answered, when that is another than the one asked", function()
    local lease = assert(pool:acquire { host = "a.example" })
    assert(lease:complete { verdict = "throttled", retry_after = 5, host = "b.example" })
    assert.equal(0, pool:host_delay "a.example")
    assert.is_true(pool:host_delay "b.example" > 4)
    lease = assert(pool:acquire { host = "a.example" })
    assert.has_error(function() lease:complete { verdict = "ok", host = 7 } end)
    assert.equal("invalid", select(2, lease:complete { verdict = "ok", host = "" }).kind)
    assert.is_true(lease:ok(1))
  end)
end)
