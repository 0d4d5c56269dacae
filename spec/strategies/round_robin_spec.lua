local pools = require "pools"
local rules = require "rules"

-- The promise, natively and by select: between two picks of a proxy that stays eligible, every other proxy that stays
-- eligible is picked exactly once.
for kind, strategy in rules.both "round-robin" do
  describe("round-robin, " .. kind, function()
    it("takes turns", function()
      local pool = pools.open(9, { strategy = strategy })
      local last = {}
      for turn = 1, 90 do
        local lease = assert(pool:acquire())
        if last[lease.id] then
          assert.equal(9, turn - last[lease.id])
        end
        last[lease.id] = turn
        lease:ok()
      end
      pool:close()
    end)

    it("keeps turns exact while others come and go", function()
      local pool = pools.open(12, { strategy = strategy })
      local ids = pools.ids(pool)
      local random = require("gyre.random").new(21)
      local steady = { [ids[2]] = true, [ids[3]] = true, [ids[11]] = true }
      local since = {} -- steady id -> which steady ones were picked since its last pick
      local added = 0
      for _ = 1, 1500 do
        local at = random:upto(12)
        if ids[at] and not steady[ids[at]] then
          local what = random:upto(4)
          if what <= 2 then
            assert(pool[what == 1 and "disable" or "enable"](pool, ids[at]))
          elseif what == 3 then
            assert(pool:remove(ids[at]))
            added = added + 1
            ids[at] = assert(pool:add("http://192.0.2.77:" .. 2000 + added))
          end
        end
        local lease = assert(pool:acquire())
        local id = lease.id
        lease:ok()
        if steady[id] then
          if since[id] then
            local others = 0
            for other, times in pairs(since[id]) do
              assert.equal(1, times, "picked twice between two picks of another")
              assert.is_true(other ~= id)
              others = others + 1
            end
            assert.equal(2, others, "a steady proxy was passed over")
          end
          for other in pairs(since) do
            if other ~= id then
              since[other][id] = (since[other][id] or 0) + 1
            end
          end
          since[id] = {}
        end
      end
      pool:close()
    end)
  end)
end
