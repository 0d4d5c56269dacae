-- What every file in strategies/ must do, whatever its rule: natively, and by its `select`.
local gyre = require "gyre"
local loader = require "gyre.strategy"
local pools = require "pools"
local rules = require "rules"

-- Options that make another rule of it, which has to keep the contract too.
local VARIANTS = { random = { bag = true }, tiered = { tiers = { "cheap", "premium" } } }

-- Which types each option takes; "a strategy" is a name or a table.
local OPTIONS = {
  composite = { strategy = "a strategy", options = "table", where = "table", fallback = "a strategy" },
  ["consistent-hash"] = { by = "string" },
  ["cost-aware"] = { max_cost = "number", budget = "number", account = "string", over = "a strategy" },
  geo = { country = "string or table", region = "string", any = "boolean", over = "a strategy" },
  ["least-active"] = { ties = "string" },
  ["least-used"] = { ties = "string" },
  performance = { choices = "number", min_success = "number", max_ms = "number" },
  proportional = { floor = "number" },
  random = { bag = "boolean" },
  ["round-robin"] = {},
  session = { over = "a strategy", required = "boolean" },
  tiered = { tiers = "table", rest = "boolean", over = "a strategy", escalate = "boolean" },
  weighted = { by = "string" },
}
local OF_TYPE = { number = 5, string = "nonsense", boolean = true, table = { "nonsense" }, ["function"] = print }
local NAN = 0 / 0

-- Values of the right type that are wrong all the same.
local WRONG = {
  composite = { strategy = { "nobody", {} }, where = { { colour = "red" }, { state = "open" } },
    fallback = { "nobody" } },
  ["consistent-hash"] = { by = { "nonsense", "" } },
  ["cost-aware"] = { max_cost = { -1, NAN }, budget = { -1, NAN }, account = { "a\nb", "a\0b", ("a"):rep(37) },
    over = { "nobody", {} } },
  geo = { country = { "", ",", {}, { "" }, { "de", 5 }, { a = "de" }, { nil, "de" },
    { nil, "de", a = "fr" } }, region = { "", " " },
    over = { "nobody" } },
  ["least-active"] = { ties = { "nonsense", "" } },
  ["least-used"] = { ties = { "nonsense", "" } },
  performance = { choices = { 0, 65, 1.5, NAN }, min_success = { -0.1, 1.1, NAN }, max_ms = { -1, math.huge, NAN } },
  proportional = { floor = { 0, -1, math.huge, NAN } },
  session = { over = { "nobody" } },
  tiered = { tiers = { { "" }, { " a" }, { "a\n" }, { "a,b" }, { "cost<=1" }, { "COST=1" }, { a = "x" }, { nil, "x" },
    { "a", [3] = "x" }, { nil, "a", [0] = "x" }, { 5 } }, over = { "nobody" } },
  weighted = { by = { "nonsense", "", "host", "state", "tags" } },
}

local function refuses(name, option, value)
  local made, err = loader.load(name, { [option] = value })
  local what = ("%s: %s = %s"):format(name, option, tostring(value))
  assert.is_nil(made, what)
  assert.equal("strategy", err.kind)
  return err.message, what
end

-- One rule, natively or by its `select`: how to open a pool with it.
local function cases_of(name)
  local cases = {}
  for _, options in ipairs { {}, VARIANTS[name] } do
    local title = next(options) and (" with %s"):format(next(options)) or ""
    cases["native" .. title] = { strategy = name, strategy_options = options }
    cases["in Lua" .. title] = { strategy = rules.in_lua(name, options) }
  end
  return pairs(cases)
end

-- n proxies with all that a strategy may require.
local function open(n, case, options)
  local list = {}
  for i, url in ipairs(pools.urls(n)) do
    list[i] = { url = url, country = "de", region = "Hessen", cost = 1, tags = i % 2 == 1 and "cheap" or "premium" }
  end
  local given = { proxies = list, clock = "manual", seed = 7 }
  for _, more in ipairs { case, options } do
    for name, value in pairs(more) do
      given[name] = value
    end
  end
  return assert(gyre.open(given))
end

for _, name in ipairs(rules.names()) do
  local path = "strategies/" .. name .. ".lua"
  describe(path, function()
    it("is named as its file and loads by that name", function()
      assert.equal(name, assert(loader.load(path)).name)
      local pool = open(2, { strategy = name })
      assert.equal(name, pool.strategy)
      pool:close()
    end)

    it("says on top what it costs, what it is for and what not", function()
      local file = assert(io.open(path))
      local head = " " .. file:read("*a"):match("^(.-)\n[^-]"):gsub("\n%-%- ", " ")
      file:close()
      assert.is_truthy(head:find "O%(" or head:find " Costs what " or head:find "call of the library")
      assert.is_truthy(head:find " For %l")
      assert.is_truthy(head:find " Not %l")
    end)

    it("refuses unknown options, and wrong values of each that it has", function()
      assert.matches("has no option 'colour'", (refuses(name, "colour", "red")))
      local known = assert(loader.load(name)).options or {}
      for option in pairs(known) do
        assert.is_string(OPTIONS[name][option], option .. " is not in this test")
      end
      for option, types in pairs(OPTIONS[name]) do
        assert.is_true(known[option] ~= nil, option)
        local strategies = types == "a strategy"
        for kind, value in pairs(OF_TYPE) do
          if not (strategies and "string or table" or types):find(kind, 1, true) then
            local message, what = refuses(name, option, value)
            assert.is_truthy(message:find(strategies and "a strategy is a name" or option, 1, true), what)
            assert.is_truthy(message:find(tostring(value), 1, true), what)
          end
        end
        for _, value in ipairs(WRONG[name] and WRONG[name][option] or {}) do
          local message, what = refuses(name, option, value)
          assert.is_truthy(strategies or option == "where" or message:find(option, 1, true), what .. ": " .. message)
        end
      end
    end)

    for kind, case in cases_of(name) do
      it("picks eligible proxies only: " .. kind, function()
        local pool = open(7, case)
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
        local pool = open(5, case)
        local leases, ids = {}, pools.ids(pool)
        for i = 1, 500 do
          if i == 251 then -- now the second tier
            for k = 1, 5, 2 do
              pool:disable(ids[k])
            end
          end
          leases[i] = assert(pool:acquire { key = "k" .. i })
          assert(i <= 5 or leases[i - 5]:ok(10)) -- five in flight at a time
        end
        for proxy in pool:each() do
          assert.is_true(proxy.started > 0)
        end
        pool:close()
      end)

      it("says no_proxy of an empty pool and one with none eligible: " .. kind, function()
        local pool = open(1, case)
        pool:disable(pools.ids(pool)[1])
        assert.equal("no_proxy", select(2, pool:acquire { key = "k" }).kind)
        pool:remove(pools.ids(pool)[1])
        assert.equal("no_proxy", select(2, pool:acquire { key = "k" }).kind)
        pool:close()
      end)

      it("passes over who is excluded: " .. kind, function()
        local pool = open(4, case)
        local ids = pools.ids(pool)
        for i = 1, 40 do
          local lease = assert(pool:acquire { exclude = { ids[1], ids[3] }, key = "k" .. i })
          assert.is_true(lease.id == ids[2] or lease.id == ids[4])
          lease:ok()
        end
        pool:close()
      end)

      it("goes on with the one that is left, and counts what it hands out: " .. kind, function()
        local pool = open(1, case)
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

      it("keeps what is in flight when it is put in use: " .. kind, function()
        local pool, leases, active = open(3, { strategy = "random" }), {}, {}
        for i = 1, 20 do
          leases[i] = assert(pool:acquire())
        end
        for proxy in pool:each() do
          active[proxy.id] = proxy.active
        end
        assert(pool:use(case.strategy, case.strategy_options))
        local lease = assert(pool:acquire { key = "k" })
        for proxy in pool:each() do
          assert.equal(active[proxy.id] + (proxy.id == lease.id and 1 or 0), proxy.active)
        end
        assert(lease:ok(5))
        for i = 1, 20 do
          assert(leases[i]:ok(5))
        end
        assert.equal(0, pool:stats().active)
        pool:close()
      end)

      it("keeps to limits in flight and rates, and says busy at them: " .. kind, function()
        local pool = open(4, case)
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
        local pool = open(6, case, { breaker = { failures = 2, base = 20 } })
        local random, added, held = require("gyre.random").new(17), 0, {}
        local out, probes = {}, {} -- id -> until when it is on the bench, and the lease that is its probe
        local seen = { benched = 0, probes = 0 }
        local function finish(lease)
          if random:upto(10) <= 4 then
            assert(lease:fail("proxy_bad", 5))
          else
            assert(lease:ok(random:upto(300)))
          end
          if probes[lease.id] == lease then
            probes[lease.id] = nil
          end
        end
        for i = 1, 600 do
          local now = pool:time()
          for proxy in pool:each() do
            local id, state = proxy.id, proxy.state
            if state == "closed" then
              out[id] = nil
            elseif state == "open" then
              out[id] = proxy.benched_until
              seen.benched = seen.benched + (out[id] > now and 1 or 0)
            end
          end
          local lease, err = pool:acquire { key = "k" .. i }
          if lease then
            assert.is_true((out[lease.id] or 0) <= now, "it is on the bench")
            assert.is_nil(probes[lease.id], "it has a probe out")
            if out[lease.id] then
              probes[lease.id], seen.probes = lease, seen.probes + 1
            end
            held[#held + 1] = lease
          else
            assert.equal("no_proxy", err.kind)
          end
          if #held > 2 or not lease and held[1] then
            finish(table.remove(held, random:upto(#held)))
          end
          local what, ids = random:upto(10), pools.ids(pool)
          if what == 1 and #ids > 3 then
            assert(pool:remove(ids[random:upto(#ids)]))
          elseif what == 2 and #ids < 9 then
            added = added + 1
            local url = "http://192.0.2.200:" .. 3000 + added
            assert(pool:add { url = url, country = "de", region = "Hessen", cost = 1, tags = "cheap" })
          end
          pool:set_time(pool:time() + 1)
        end
        while held[1] do
          table.remove(held):ok()
        end
        assert.is_true(seen.benched > 100 and seen.probes > 20, ("%d, %d"):format(seen.benched, seen.probes))
        assert.equal(0, pool:stats().active)
        assert(pool:check())
        pool:close()
      end)

      it("finds nobody too slow or failing too often for a request: " .. kind, function()
        local pool = open(3, case)
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
        local pool = open(100, case)
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
        local pool = open(0, case, { seed = 3, proxies = { "h:1#country=de&tags=a,b&cost=1",
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
