local pools = require "pools"

local function in_lua()
  return { name = "in-lua", select = function(_, view) return view:round_robin() end }
end

for kind, strategy in pairs { native = "round-robin", lua = in_lua() } do
  describe("sessions, " .. kind, function()
    local pool, ids

    before_each(function()
      pool = pools.open(6, { strategy = strategy, session_ttl = 100, session_lifetime = 1000, max_sessions = 64 })
      ids = pools.ids(pool)
    end)

    after_each(function()
      pool:close()
    end)

    local function use(session, more)
      local request = more or {}
      request.session = session
      local lease = assert(pool:acquire(request))
      lease:ok(1)
      return lease.id
    end

    it("keep their proxy while others take turns", function()
      local mine = use "cart"
      local other = {}
      for _ = 1, 12 do
        other[assert(pool:acquire()).id] = true
        assert.equal(mine, use "cart")
      end
      for _, id in ipairs(ids) do
        assert.is_true(other[id])
      end
    end)

    it("move once when their proxy goes out, and stay there", function()
      local first = use "cart"
      pool:disable(first)
      local second = use "cart"
      assert.is_true(second ~= first)
      pool:enable(first)
      assert.equal(second, use "cart")
      assert.equal(1, pool:session_stats().moved)
    end)

    it("move for an exclude, a filter and a ban, not for a failure", function()
      local id = use "cart"
      assert(pool:acquire({ session = "cart" }):fail "proxy_bad")
      assert.equal(id, use "cart")
      local second = use("cart", { exclude = { id } })
      assert.is_true(second ~= id)
      assert(pool:ban(second, "shop.example", 60))
      local third = use("cart", { host = "shop.example" })
      assert.is_true(third ~= second)
      assert.equal(third, use("cart", { host = "shop.example" }))
      local far = third == ids[1] and ids[2] or ids[1]
      pool:update(far, { country = "nz" })
      assert.equal(far, use("cart", { country = "nz" }))
      assert.equal(0, pool:stats().aborted)
    end)

    it("wait for a proxy that is merely at its limit", function()
      local id = use "cart"
      pool:update(id, { max_active = 1 })
      local lease = assert(pool:acquire { session = "cart" })
      assert.equal("busy", select(2, pool:acquire { session = "cart" }).kind)
      assert.equal("busy", select(2, pool:acquire { session = "cart", host = "shop.example" }).kind)
      lease:ok()
      assert.equal(id, use "cart")
    end)

    it("are over after their time", function()
      use "cart"
      assert.equal("cart", pool:session("cart").id)
      pool:set_time(pool:time() + 99)
      assert.is_truthy(pool:session "cart")
      pool:set_time(pool:time() + 2)
      assert.is_nil(pool:session "cart")
    end)

    it("refuse ids that are none", function()
      for _, id in ipairs { "", "a b", ("x"):rep(129) } do
        local lease, err = pool:acquire { session = id }
        assert.is_nil(lease)
        assert.equal("invalid", err.kind)
      end
    end)
  end)
end

describe("gyre.pool.session", function()
  local pool

  before_each(function()
    pool = pools.open(4, { session_ttl = 100 })
  end)

  after_each(function()
    pool:close()
  end)

  it("shows a session, and ends it", function()
    pool:set_time(50)
    local id = pool:acquire({ session = "user@7" }).id
    pool:set_time(60)
    pool:acquire { session = "user@7" }
    pool:acquire { session = "another" }
    local session = assert(pool:session "user@7")
    assert.equal(id, session.proxy.id)
    assert.same({ 50, 60, 160 }, { session.created, session.last_used, session.expires })
    assert.is_nil(tostring(session):find("user", 1, true))
    assert.is_true(session:close())
    assert.equal("not_found", select(2, session:close()).kind)
    assert.is_nil(pool:session "user@7")
    assert.is_truthy(pool:session "another")
    assert.equal("invalid", select(2, pool:session "a b").kind)
  end)

  it("lists, closes and counts them", function()
    for i = 1, 10 do
      pool:acquire { session = "s" .. i }
    end
    local seen, n = {}, 0
    for session in pool:sessions() do
      seen[session.id], n = session.proxy.id, n + 1
      assert.equal(100 + session.last_used, session.expires)
    end
    assert.equal(10, n)
    for i = 1, 10 do
      assert.equal(pool:session("s" .. i).proxy.id, seen["s" .. i])
    end
    assert.equal(10, pool:session_stats().assigned)
    pool:set_time(pool:time() + 101)
    assert.equal(10, pool:cleanup_sessions())
    pool:acquire { session = "late" }
    assert.equal(1, pool:session_stats().count)
    assert.equal(1, pool:close_sessions())
    assert.same({ 0, 1, 10 }, { pool:session_stats().count, pool:session_stats().closed,
      pool:session_stats().expired })
  end)

  it("is closed, or misused, like everything of a pool", function()
    pool:acquire { session = "s" }
    local session = pool:session "s"
    local _, message = pcall(function() pool:session(17) end)
    assert.matches("session_spec%.lua:%d+: a session id is text", message)
    assert.has_error(function() pool:session "a\0b" end)
    assert.has_error(function() pool:acquire { session = "a\0b" } end)
    pool:close()
    assert.equal("closed", select(2, session:close()).kind)
    for _, method in ipairs { "close_sessions", "cleanup_sessions", "session_stats" } do
      assert.equal("closed", select(2, pool[method](pool)).kind)
    end
    assert.equal("closed", select(2, pool:session "s").kind)
    for _ in pool:sessions() do
      error "a session of a closed pool"
    end
  end)
end)
