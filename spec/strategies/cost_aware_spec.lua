-- cost-aware: the lowest price that has anyone, free before paid, nobody above max_cost, no more than the budget.
local gyre = require "gyre"
local rules = require "rules"

local COSTS = { 0.5, 0, 2, 0.1, 0, 0.1, 7 }
local OVER = {
  native = "round-robin",
  lua = { name = "any", select = function(_, view) return view:random() end },
}

for kind, over in pairs(OVER) do
  describe("cost-aware, " .. kind, function()
    local pool, ids

    before_each(function()
      local list = {}
      for i, cost in ipairs(COSTS) do
        list[i] = { url = "http://192.0.2." .. i, cost = cost }
      end
      pool = assert(gyre.open { proxies = list, clock = "manual", seed = 2, logger = function() end })
      ids = {}
      for proxy in pool:each() do
        ids[#ids + 1] = proxy.id
      end
    end)

    after_each(function()
      pool:close()
    end)

    local function use(options)
      options = options or {}
      options.over = over
      assert(pool:use("cost-aware", options))
    end

    local function cost(request)
      local lease, err = pool:acquire(request)
      if not lease then
        return err.kind
      end
      lease:ok(5)
      return lease.proxy.cost
    end

    it("takes the cheapest that is eligible, whatever comes and goes", function()
      use()
      local random, out = require("gyre.random").new(8), {}
      for _ = 1, 300 do
        local i = random:upto(#ids)
        out[i] = not out[i]
        assert(pool[out[i] and "disable" or "enable"](pool, ids[i]))
        local least = math.huge
        for k in ipairs(ids) do
          least = out[k] and least or math.min(least, COSTS[k])
        end
        assert.equal(least < math.huge and least or "no_proxy", cost {})
      end
    end)

    it("shares the lowest price among all who ask it", function()
      use()
      for _ = 1, 200 do
        assert.equal(0, cost {})
      end
      local a, b = pool:get(ids[2]).started, pool:get(ids[5]).started
      assert.equal(200, a + b)
      -- round-robin: equal; random: binomial(200, 1/2), sigma 7.1, 5 sigma.
      assert.is_true(math.abs(a - b) <= (kind == "native" and 1 or 71))
    end)

    it("never goes above max_cost", function()
      use { max_cost = 0.5 }
      for _, i in ipairs { 2, 5, 4, 6 } do
        pool:disable(ids[i])
      end
      assert.equal(0.5, cost {})
      pool:disable(ids[1])
      assert.equal("no_proxy", cost {})
      assert.equal("no_proxy", cost { session = "s" })
      pool:update(ids[3], { cost = 0.25 }) -- a new price, noticed at once
      assert.equal(0.25, cost {})
    end)

    it("keeps a session's proxy when a cheaper one comes", function()
      use()
      pool:disable(ids[2])
      pool:disable(ids[5])
      local first = pool:acquire { session = "s" }
      first:ok()
      assert.equal(0.1, first.proxy.cost)
      pool:enable(ids[2])
      assert.equal(first.id, pool:acquire({ session = "s" }).id)
      assert.equal(0, cost { session = "t" })
    end)

    it("spends no more than the budget, then only what is free", function()
      use { budget = 1.05, account = "spec" }
      pool:disable(ids[2])
      pool:disable(ids[5])
      local paid = 0
      for _ = 1, 20 do
        local price = cost {}
        paid = paid + (price == "no_proxy" and 0 or price)
      end
      assert.is_true(math.abs(paid - 1) < 1e-9, paid) -- ten times 0.1
      assert.equal("no_proxy", cost {})
      assert.is_true(math.abs(pool:counter("cost-aware/spec"):get() - 1) < 1e-9)
      pool:enable(ids[2])
      assert.equal(0, cost {})
      pool:disable(ids[2])
      pool:counter("cost-aware/spec"):add(-0.5) -- paid in
      assert.equal(0.1, cost {})
      use { budget = 0.15, account = "other" }
      assert.equal(0.1, cost {})
      assert.equal("no_proxy", cost {})
      assert.is_true(math.abs(pool:counter("cost-aware/other"):get() - 0.1) < 1e-9)
      assert.is_true(math.abs(pool:counter("cost-aware/spec"):get() - 0.6) < 1e-9) -- 1 - 0.5 + 0.1
    end)

    it("has more prices than a choice may have views", function()
      local dear = {}
      for i = 1, 150 do
        dear[i] = { url = "http://198.51.100." .. i, cost = 10 + i }
      end
      local many = assert(gyre.open { proxies = dear, seed = 2, logger = error })
      assert(many:use("cost-aware", { over = over, budget = 5 }))
      assert.matches("the budget is spent", select(2, many:acquire()).message)
      assert(many:use("cost-aware", { over = over, budget = 200 }))
      for i = 1, 140 do
        many:disable(many:find("http://198.51.100." .. i).id)
      end
      assert.equal(151, assert(many:acquire()).proxy.cost)
      assert(many:use("cost-aware", { over = over }))
      assert.equal(151, assert(many:acquire()).proxy.cost)
      local state = many:strategies()[1]
      assert.equal(0, state.raised + state.wrong + state.overran)
      many:close()
    end)

    it("needs a cost of everybody, or its fallback serves", function()
      assert(pool:use("cost-aware", { over = over }))
      local id = assert(pool:add "http://192.0.2.77")
      local _, err = pool:acquire()
      assert.equal("missing_metadata", err.kind)
      assert.equal("strategy 'cost-aware' needs cost: 1 of 8 proxies have none", err.message)
      pool:update(id, { cost = 3 })
      assert.equal(0, cost {})
    end)
  end)
end

for kind, over in rules.both("least-active", { ties = "first" }) do
  for _, budget in ipairs { false, 100 } do
    it(("cost-aware picks by what it is over, budget %s: %s"):format(budget, kind), function()
      local pool = assert(gyre.open { proxies = { "h1:1#cost=2", "h2:1#cost=1", "h3:1#cost=1" }, seed = 3 })
      assert(pool:use("cost-aware", { over = over, budget = budget }))
      for _ = 1, 20 do -- always the first when nobody is busy
        local lease = assert(pool:acquire())
        assert.equal("h2", lease.proxy.host)
        lease:ok(5)
      end
      pool:close()
    end)
  end
end

it("a free proxy wins over any paid one, however cheap (failures, line 7)", function()
  local pool = assert(gyre.open { proxies = { "h1:1#cost=0.000001", "h2:1#cost=0" }, strategy = "cost-aware" })
  for _ = 1, 20 do
    local lease = pool:acquire()
    assert.equal("h2", lease.proxy.host)
    lease:ok(60000)
  end
  pool:close()
end)
