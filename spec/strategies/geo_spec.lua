-- geo: only from where the request says, or else from home; the first country of a list that has anyone.
local gyre = require "gyre"
local rules = require "rules"

local COUNTRIES = { "de", "us", "fr", "de", "br", "us", "de" }

-- Natively, and by select over a strategy of Lua.
local OVER = {
  native = "round-robin",
  lua = { name = "any", select = function(_, view) return view:random() end },
}

for kind, over in pairs(OVER) do
  describe("geo, " .. kind, function()
    local pool

    before_each(function()
      local list = {}
      for i, country in ipairs(COUNTRIES) do
        list[i] = { url = "http://192.0.2." .. i, country = country, region = i <= 2 and "North" or "South" }
      end
      pool = assert(gyre.open { proxies = list, clock = "manual", seed = 11 })
    end)

    after_each(function()
      pool:close()
    end)

    local function use(options)
      options = options or {}
      options.over = over
      assert(pool:use("geo", options))
    end

    local function countries(request, n)
      local seen = {}
      for _ = 1, n or 60 do
        local lease, err = pool:acquire(request)
        if not lease then
          return err.kind
        end
        seen[lease.proxy.country:lower()] = true
        lease:ok(5)
      end
      local list = {}
      for country in pairs(seen) do
        list[#list + 1] = country
      end
      table.sort(list)
      return table.concat(list, " ")
    end

    local function disable(country)
      for proxy in pool:each() do
        if proxy.country:lower() == country then
          pool:disable(proxy.id)
        end
      end
    end

    it("is right every time", function()
      use()
      local random = require("gyre.random").new(5)
      for _ = 1, 500 do
        local wanted = COUNTRIES[random:upto(#COUNTRIES)]
        local lease = assert(pool:acquire { country = wanted })
        assert.equal(wanted, lease.proxy.country:lower())
        lease:ok(random:upto(500))
      end
      assert.equal("br de fr us", countries {})
      assert.equal("us", countries { country = { "xx", "us", "de" } })
      assert.equal("de", countries { country = "de", region = "South" })
      assert.equal("no_proxy", countries { country = "fr", region = "North" })
    end)

    it("takes home where the request says nothing, and nobody from elsewhere", function()
      use { country = { "fr", "de" } }
      assert.equal("fr", countries {})
      assert.equal("us", countries { country = "us" })
      disable "fr"
      assert.equal("de", countries {})
      disable "de"
      assert.equal("no_proxy", countries {})
      assert.equal("no_proxy", countries { country = "de" })
    end)

    it("takes the region from home too, where the request says nothing of it", function()
      use { region = "North" }
      assert.equal("de us", countries {})
      assert.equal("de", countries { country = "de" })
      assert.equal("no_proxy", countries { country = "fr" })
      assert.equal("br de fr us", countries { region = "South" })
      use { country = "de", region = "North" }
      assert.equal(pool:acquire().id, pool:acquire().id) -- there is one
    end)

    it("falls back to any as an option, and comes back", function()
      use { any = true, country = "de" }
      disable "us"
      assert.equal("br de fr", countries { country = "us" })
      local sticky = assert(pool:acquire { country = "us", session = "s" })
      sticky:ok()
      assert.equal(sticky.id, pool:acquire({ country = "us", session = "s" }).id) -- nobody there: it stays
      for proxy in pool:each() do
        pool:enable(proxy.id)
      end
      assert.equal("us", countries { country = "us" })
      assert.equal("us", countries { country = "us", session = "s" }) -- somebody there: right again
      assert.equal("de", countries {})
    end)

    it("is refused where countries are unknown, with how many", function()
      assert(pool:add "http://192.0.2.99")
      local _, err = pool:use("geo", { over = over })
      assert.equal("missing_metadata", err.kind)
      assert.equal("strategy 'geo' needs country: 1 of 8 proxies have none", err.message)
    end)
  end)
end

for kind, over in rules.both("least-active", { ties = "first" }) do
  it("geo picks by what it is over: " .. kind, function()
    local pool = assert(gyre.open { proxies = { "h1:1#country=us", "h2:1#country=de", "h3:1#country=de" }, seed = 3 })
    assert(pool:use("geo", { over = over, country = "de" }))
    for _ = 1, 20 do -- always the first when nobody is busy
      local lease = assert(pool:acquire())
      assert.equal("h2", lease.proxy.host)
      lease:ok(5)
    end
    pool:close()
  end)
end

it("geo over a native strategy is one call of the library", function()
  local steps, loader = require "gyre.strategy.steps", require "gyre.strategy"
  for _, over in ipairs { "round-robin", "random", "least-used", "least-active", "performance", "weighted" } do
    local plan = assert(steps.plan((assert(loader.load("geo", { over = over })))))
    assert.equal(1, #plan)
  end
end)
