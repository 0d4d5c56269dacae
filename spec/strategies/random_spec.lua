local pools = require "pools"

local function in_lua()
  return { name = "in-lua", select = function(_, view) return view:random() end }
end

for kind, strategy in pairs { native = "random", lua = in_lua() } do
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
  end)
end
