-- tiered: the first tier that has anyone; attempts, priorities and bans begin higher; sessions stay where they are.
local gyre = require "gyre"

local OVER = {
  native = "round-robin",
  lua = { name = "any", select = function(_, view) return view:round_robin() end },
}

for kind, over in pairs(OVER) do
  describe("tiered, " .. kind, function()
    local pool

    before_each(function()
      pool = assert(gyre.open { clock = "manual", seed = 3, proxies = { "h1:1#tags=cheap", "h2:1#tags=cheap",
        "h3:1#tags=premium,cheapish", "h4:1#tags=Best", "h5:1" } })
      assert(pool:use("tiered", { tiers = { "cheap", "premium", "best" }, over = over }))
    end)

    after_each(function()
      pool:close()
    end)

    local function host(request)
      local lease, err = pool:acquire(request)
      if not lease then
        return err.kind
      end
      lease:ok(5)
      return lease.proxy.host
    end

    local function out(...)
      for _, name in ipairs { ... } do
        pool:disable(pool:find(("http://%s:1"):format(name)).id)
      end
    end

    it("takes the first tier with an eligible proxy, and the rest last", function()
      for _ = 1, 10 do
        assert.is_true(host {} <= "h2")
      end
      out("h1")
      assert.equal("h2", host {})
      out("h2")
      assert.equal("h3", host {})
      out("h3")
      assert.equal("h4", host {})
      out("h4")
      assert.equal("h5", host {})
      out("h5")
      assert.equal("no_proxy", host {})
      assert(pool:use("tiered", { tiers = { "cheap" }, rest = false, over = over }))
      pool:enable(pool:find("http://h5:1").id)
      assert.equal("no_proxy", host {})
    end)

    it("spills over when a tier is full", function()
      pool:update(pool:find("http://h1:1").id, { max_active = 1 })
      pool:update(pool:find("http://h2:1").id, { max_active = 1 })
      local hosts = {}
      for i = 1, 4 do
        hosts[i] = assert(pool:acquire()).proxy.host
      end
      table.sort(hosts)
      assert.same({ "h1", "h2", "h3", "h3" }, hosts)
    end)

    it("begins higher with attempt and priority", function()
      assert.equal("h3", host { attempt = 2 })
      assert.equal("h4", host { attempt = 3 })
      for _ = 1, 5 do
        assert.equal("h4", host { attempt = 9 }) -- not the rest, who would be anyone
      end
      out("h4")
      assert.is_true(host { attempt = 9 } <= "h5")
      pool:enable(pool:find("http://h4:1").id)
      assert.equal("h3", host { priority = 1 })
      assert.equal("h4", host { priority = 1, attempt = 2 })
      assert.is_true(host { priority = -5 } <= "h2")
      assert.is_true(host { attempt = 1 } <= "h2")
      assert(pool:use("tiered", { tiers = { "cheap", "premium" }, over = over, escalate = false }))
      assert.is_true(host { attempt = 3, priority = 4 } <= "h2")
      assert.has_error(function() pool:acquire { attempt = 0 } end)
      assert.has_error(function() pool:acquire { priority = "high" } end)
    end)

    it("escalates a session whose proxy was banned, and leaves it there", function()
      local request = { session = "cart", host = "shop.example" }
      local lease = assert(pool:acquire(request))
      assert.is_true(lease.proxy.host <= "h2")
      lease:complete { verdict = "banned" }
      assert.equal("h3", host(request))
      for _ = 1, 5 do
        assert.equal("h3", host(request)) -- the first tier has somebody; the session has its proxy
      end
      lease = assert(pool:acquire(request))
      lease:complete { verdict = "banned" }
      assert.equal("h4", host(request))
      assert.is_true(host { host = "shop.example" } <= "h2") -- others are not concerned
    end)

    it("checks its options", function()
      for _, wrong in ipairs { { tiers = "cheap" }, { tiers = { 5 } }, { tiers = {}, rest = false }, { rest = 1 },
        { escalate = 0 }, { over = "nobody" }, { tier = {} } } do
        assert.equal("strategy", select(2, pool:use("tiered", wrong)).kind)
      end
    end)
  end)
end
