local pools = require "pools"
local rules = require "rules"

for kind, strategy in rules.both "random" do
  describe("random, " .. kind, function()
    it("gives each eligible proxy the same chance", function()
      local pool = pools.open(10, { strategy = strategy })
      local ids = pools.ids(pool)
      pool:disable(ids[3])
      pool:disable(ids[4])
      local n = 8000
      for _ = 1, n do
        pool:acquire():ok()
      end
      -- binomial(8000, 1/8): mean 1000, sigma 29.6; 5 sigma. A gap must not favour who follows it.
      for i, id in ipairs(ids) do
        local started = pool:get(id).started
        if i == 3 or i == 4 then
          assert.equal(0, started)
        else
          assert.is_true(math.abs(started - 1000) < 148, ("proxy %d: %d"):format(i, started))
        end
      end
      pool:close()
    end)

    it("does not take turns", function()
      local pool, last, same = pools.open(10, { strategy = strategy }), nil, 0
      for _ = 1, 1000 do
        local lease = assert(pool:acquire())
        same, last = same + (lease.id == last and 1 or 0), lease.id
        lease:ok()
      end
      -- The same twice in a row: binomial(999, 1/10), mean 100, sigma 9.5; 5 sigma.
      assert.is_true(math.abs(same - 100) < 47, same)
      pool:close()
    end)
  end)
end
