-- random with bag = true: each proxy once a round, in an order that nobody can foresee.
local pools = require "pools"
local rules = require "rules"

for kind, strategy in rules.both("random", { bag = true }) do
  describe("random, bag = true, " .. kind, function()
    it("gives each proxy one pick a round, in another order every round", function()
      local pool, orders, different = pools.open(12, { strategy = strategy }), {}, 0
      for _ = 1, 40 do
        local seen, order = {}, {}
        for i = 1, 12 do
          local lease = assert(pool:acquire())
          assert.is_nil(seen[lease.id])
          seen[lease.id], order[i] = true, lease.id
          lease:ok()
        end
        local text = table.concat(order, " ")
        different, orders[text] = different + (orders[text] and 0 or 1), true
      end
      assert.equal(40, different) -- of 12! = 479,001,600 orders, two alike with 2e-6
      pool:close()
    end)

    it("is within 10 % of the mean for every proxy, over a thousand", function()
      local pool = pools.open(37, { strategy = strategy })
      for _ = 1, 1000 do
        pool:acquire():ok()
      end
      for proxy in pool:each() do -- 1000 / 37 = 27.03: 27 or 28
        assert.is_true(math.abs(proxy.started - 1000 / 37) < 0.1 * 1000 / 37)
      end
      pool:close()
    end)
  end)
end

it("plain random is within 4 sigma, and no nearer", function()
  local pool, n, most = pools.open(50, { strategy = "random" }), 5000, 0
  for _ = 1, n do
    pool:acquire():ok()
  end
  -- binomial(5000, 1/50): mean 100, sigma 9.9.
  for proxy in pool:each() do
    local off = math.abs(proxy.started - 100)
    most = math.max(most, off)
    assert.is_true(off < 4 * 9.9, proxy.started)
  end
  assert.is_true(most > 5)
  pool:close()
end)
