-- What every file in strategies/ must do, whatever its rule: natively, and by its `select`.
local gyre = require "gyre"
local loader = require "gyre.strategy"
local pools = require "pools"

local function files()
  local found = {}
  local pipe = assert(io.popen "ls strategies/*.lua")
  for path in pipe:lines() do
    found[#found + 1] = path
  end
  pipe:close()
  return found
end

for _, path in ipairs(files()) do
  describe(path, function()
    local strategy = assert(loader.load(path))

    -- The same rule without the core's picker: what `select` does.
    local function in_lua()
      local made = assert(loader.load(strategy.name))
      return {
        name = made.name, takes = made.takes, requires = made.requires,
        select = function(_, view, request) return made:select(view, request) end,
        refresh = function(_, pool) return made.refresh and made:refresh(pool) end,
      }
    end

    -- n proxies with all that a strategy may require.
    local function open(n, source)
      local list = {}
      for i, url in ipairs(pools.urls(n)) do
        list[i] = { url = url, country = "de", region = "Hessen", cost = 1 }
      end
      return assert(gyre.open { proxies = list, clock = "manual", seed = 7, strategy = source })
    end

    it("is named as its file and loads by that name", function()
      assert.equal(path, "strategies/" .. strategy.name .. ".lua")
      local pool = open(2, strategy.name)
      assert.equal(strategy.name, pool.strategy)
      pool:close()
    end)

    for kind, source in pairs { native = path, ["in Lua"] = in_lua() } do
      it("picks eligible proxies only: " .. kind, function()
        local pool = open(7, source)
        local ids = pools.ids(pool)
        local random = require("gyre.random").new(9)
        local out = {}
        for _ = 1, 400 do
          local id = ids[random:upto(7)]
          out[id] = not out[id]
          assert(pool[out[id] and "disable" or "enable"](pool, id))
          local lease, err = pool:acquire { key = "k" .. random:upto(50) }
          if lease then
            assert.is_falsy(out[lease.id])
            assert(lease:ok(random:upto(100)))
          else
            assert.equal("no_proxy", err.kind)
            assert.equal(0, pool:stats().eligible)
          end
        end
        assert.equal(0, pool:stats().active)
        pool:close()
      end)

      it("reaches every proxy: " .. kind, function()
        local pool = open(5, source)
        local leases = {}
        for i = 1, 500 do
          leases[i] = assert(pool:acquire { key = "k" .. i })
          assert(i <= 5 or leases[i - 5]:ok(10)) -- five in flight at a time
        end
        for proxy in pool:each() do
          assert.is_true(proxy.started > 0)
        end
        pool:close()
      end)

      it("says no_proxy of an empty pool and one with none eligible: " .. kind, function()
        local pool = open(1, source)
        pool:disable(pools.ids(pool)[1])
        assert.equal("no_proxy", select(2, pool:acquire { key = "k" }).kind)
        pool:remove(pools.ids(pool)[1])
        assert.equal("no_proxy", select(2, pool:acquire { key = "k" }).kind)
        pool:close()
      end)

      it("passes over who is excluded: " .. kind, function()
        local pool = open(4, source)
        local ids = pools.ids(pool)
        for i = 1, 40 do
          local lease = assert(pool:acquire { exclude = { ids[1], ids[3] }, key = "k" .. i })
          assert.is_true(lease.id == ids[2] or lease.id == ids[4])
          lease:ok()
        end
        pool:close()
      end)

      it("goes on with the one that is left, and counts what it hands out: " .. kind, function()
        local pool = open(1, source)
        local id = pools.ids(pool)[1]
        for i = 1, 20 do
          local lease = assert(pool:acquire { key = "k" .. i })
          assert.equal(id, lease.id)
          assert.same({ i, 1 }, { lease.proxy.started, lease.proxy.active })
          if i % 4 == 0 then
            assert(lease:fail("target_bad", 5))
          else
            assert(lease:ok(5))
          end
        end
        local stats = pool:stats()
        assert.same({ 20, 20, 20, 0 }, { stats.started, stats.completed, stats.succeeded, stats.active })
        pool:close()
      end)

      it("keeps to limits in flight and rates, and says busy at them: " .. kind, function()
        local pool = open(4, source)
        for i, id in ipairs(pools.ids(pool)) do
          assert(pool:update(id, i <= 2 and { max_active = 3 } or { rate = "3/10s" }))
        end
        local held = {}
        for i = 1, 12 do
          held[i] = assert(pool:acquire { key = "k" .. i })
        end
        for _, id in ipairs(pools.ids(pool)) do
          assert.equal(3, pool:get(id).started)
        end
        assert.equal("busy", select(2, pool:acquire { key = "k" }).kind)
        for _, lease in ipairs(held) do
          assert(lease:ok(5))
        end
        for i = 1, 6 do
          held[i] = assert(pool:acquire { key = "k" .. i })
          assert.equal(3, held[i].proxy.max_active)
        end
        assert.equal("busy", select(2, pool:acquire { key = "k" }).kind)
        pool:close()
      end)

      it("goes on while proxies are benched, join and leave: " .. kind, function()
        local pool = open(6, source)
        local random, added = require("gyre.random").new(17), 0
        for i = 1, 600 do
          local lease, err = pool:acquire { key = "k" .. i }
          local what = random:upto(10)
          if not lease then
            assert.equal("no_proxy", err.kind)
          elseif what <= 3 then
            assert(lease:fail("proxy_bad", 5))
          else
            assert(lease:ok(random:upto(300)))
          end
          local ids = pools.ids(pool)
          if what == 1 and #ids > 3 then
            assert(pool:remove(ids[random:upto(#ids)]))
          elseif what == 2 and #ids < 9 then
            added = added + 1
            local url = "http://192.0.2.200:" .. 3000 + added
            assert(pool:add { url = url, country = "de", region = "Hessen", cost = 1 })
          end
          pool:set_time(pool:time() + 1)
        end
        assert.equal(0, pool:stats().active)
        assert(pool:check())
        pool:close()
      end)

      it("finds nobody too slow or failing too often for a request: " .. kind, function()
        local pool = open(3, source)
        local ids = pools.ids(pool)
        for i, id in ipairs(ids) do
          local others = { ids[i % 3 + 1], ids[(i + 1) % 3 + 1] }
          assert(pool:acquire({ exclude = others, key = "k" }):ok(100 * i))
          assert.equal(100 * i, pool:get(id).ema_ms)
        end
        for i = 1, 30 do
          local lease = assert(pool:acquire { key = "k" .. i, max_ms = 250, min_success = 0.9 })
          assert.is_true(lease.id ~= ids[3])
          assert(lease:complete { verdict = "target_bad" })
        end
        assert.equal("no_proxy", select(2, pool:acquire { key = "k", max_ms = 50 }).kind)
        pool:close()
      end)

      it("holds ten thousand leases at once, to the end of each: " .. kind, function()
        local pool = open(100, source)
        local leases = {}
        for i = 1, 10000 do
          leases[i] = assert(pool:acquire { key = "k" .. i, session = i % 3 == 0 and "s" .. i or nil })
        end
        assert.equal(10000, pool:stats().active)
        for i = 1, 10000 do
          assert(leases[i]:ok(5))
        end
        local stats = pool:stats()
        assert.same({ 10000, 10000, 0 }, { stats.started, stats.succeeded, stats.active })
        pool:close()
      end)

      it("works on any view: " .. kind, function()
        local pool = assert(gyre.open { strategy = source, seed = 3, proxies = { "h:1#country=de&tags=a,b&cost=1",
          "h:2#country=de&cost=1", "h:3#country=us&tags=a,b&cost=1", "h:4#country=us&cost=1",
          "h:5#country=br&cost=1" } })
        local function port(request)
          local lease = assert(pool:acquire(request))
          lease:ok(5)
          return lease.proxy.port
        end
        for i = 1, 20 do
          local key = "k" .. i
          assert.equal(1, port { key = key, country = "de", tags = { "b", "a" } })
          assert.is_true(port { key = key, country = { "fr", "us", "de" } } % 5 >= 3)
          assert.is_true(port { key = key, tags = "a" } % 2 == 1)
          local first = port { key = key, session = "s" .. i }
          assert.equal(first, port { key = "other", session = "s" .. i })
          assert(pool:ban(pool:find("h:1").id, "shop.example", 60))
          assert.equal(2, port { key = key, country = "de", host = "SHOP.example" })
        end
        assert.equal("no_proxy", select(2, pool:acquire { key = "k", country = "fr" }).kind)
        pool:close()
      end)
    end
  end)
end
