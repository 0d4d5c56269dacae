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
      local made = assert(loader.load(path))
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
