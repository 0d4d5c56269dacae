-- composite and session: nesting, filters, fallbacks; natively where all of it is, and by select.
local gyre = require "gyre"
local loader = require "gyre.strategy"
local pools = require "pools"
local steps = require "gyre.strategy.steps"
local traces = require "traces"

local SLOW = { name = "slow", select = function(_, view) return view:random() end }

describe("gyre.compose", function()
  local pool

  before_each(function()
    pool = assert(gyre.open { clock = "manual", seed = 3, proxies = { "h1:1#country=us&tags=home,fast",
      "h2:1#country=us&tags=home", "h3:1#country=us", "h4:1#country=de&tags=home", "h5:1#country=de" } })
  end)

  after_each(function()
    pool:close()
  end)

  local function hosts(request, n)
    local seen, list = {}, {}
    for _ = 1, n or 40 do
      local lease, err = pool:acquire(request)
      if not lease then
        return err.kind
      end
      seen[lease.proxy.host] = true
      lease:ok(5)
    end
    for host in pairs(seen) do
      list[#list + 1] = host
    end
    table.sort(list)
    return table.concat(list, " ")
  end

  local function disable(host)
    pool:disable(pool:find(("http://%s:1"):format(host)).id)
  end

  for kind, name in pairs { native = "random", lua = SLOW } do
    it("picks from where it is told, and falls back to all: " .. kind, function()
      assert(pool:use(gyre.compose { where = { country = "US", tags = { "home" } }, name, fallback = "round-robin" }))
      assert.equal("h1 h2", hosts {})
      assert.equal("h1", hosts { tags = "fast" })
      assert.equal("h1 h2", hosts { country = { "fr", "us" } })
      assert.equal("h4 h5", hosts { country = "de" }) -- nobody there is in the US
      disable "h1"
      assert.equal("h2", hosts {})
      disable "h2"
      assert.equal("h3 h4 h5", hosts {})
      assert.equal("h4", hosts { tags = "home" })
      assert.equal("no_proxy", hosts { tags = "fast" })
    end)

    it("picks from those in a state, and falls back to all: " .. kind, function()
      local one = pool:find "http://h2:1".id
      pools.half_open(pool, one)
      local function used(request)
        local lease, err = pool:acquire(request)
        if not lease then
          return err.kind
        end
        lease:complete { verdict = "aborted" }
        return lease.proxy.host
      end
      assert(pool:use(gyre.compose { where = { state = "half_open" }, name }))
      assert.equal("h2", used())
      assert.equal("h2", used { country = "us" })
      assert.equal("no_proxy", used { country = "de" })
      assert.equal("no_proxy", used { state = "closed" })
      assert.matches("where state=half_open", tostring(pool))
      assert(pool:use(gyre.compose { where = { state = { "closed" }, country = "us", tags = "home" }, name }))
      assert.equal("h1", hosts {})
      assert(pool:use(gyre.compose { where = { state = "half_open" }, name, fallback = { where = { state = "closed",
        country = "de" }, name } }))
      assert.equal("h2", used())
      pool:disable(one)
      assert.equal("h4 h5", hosts {})
      assert(pool:use(gyre.compose { where = { state = "closed" }, { where = { state = "half_open" }, name } }))
      assert.equal("no_proxy", hosts {})
      assert(pool:use(gyre.compose { where = { state = { "closed", "half_open" } }, name }))
      assert.equal("h1 h3 h4 h5", hosts(nil))
      assert(pool:use "random")
      pool:enable(one)
      assert.equal("h1 h2 h3 h4 h5", hosts(nil))
    end)

    it("nests: " .. kind, function()
      assert(pool:use { "session", over = { "composite", where = { tags = "home" },
        strategy = nil, options = { strategy = { where = { country = "us" }, name } } } })
      local lease = assert(pool:acquire { session = "a" })
      assert.is_true(lease.proxy.host <= "h2")
      assert.equal(lease.id, assert(pool:acquire { session = "a" }).id)
      assert.equal("h1 h2", hosts {})
    end)
  end

  it("lets geo inside see the request's country", function()
    assert(pool:use { where = { tags = "home" }, { "geo", any = true }, fallback = "random" })
    assert.equal("h4", hosts { country = "de" })
    assert.equal("h1 h2 h4", hosts { country = "fr" })
    for _, host in ipairs { "h1", "h2", "h4" } do
      disable(host)
    end
    assert.equal("h5", hosts { country = "de" })
    assert.equal("no_proxy", hosts { country = "fr" }) -- the fallback honours it as ever
  end)

  it("is one call of the library where all in it is native", function()
    local spec = gyre.compose { where = { country = "us" }, { "session", over = "least-used" } }
    local plan = assert(steps.plan((assert(loader.load(spec)))))
    assert.equal(1, #plan)
    assert.is_true(steps.is_fixed(plan))
    assert.is_nil(steps.plan((assert(loader.load(gyre.compose { SLOW })))))
  end)

  for kind, native in pairs { native = "random", lua = false } do
    local function recorder(name, log)
      return { name = name, native = native or nil, select = SLOW.select,
        record = function(self, proxy, outcome) log[#log + 1] = self.name .. proxy.host .. outcome.verdict end }
    end

    it("calls record of whoever picked: " .. kind, function()
      local log = {}
      assert(pool:use { where = { country = "us", tags = "fast" }, recorder("a", log), fallback = recorder("b", log) })
      assert(pool:acquire { session = "s" }):ok()
      disable "h1"
      assert(pool:acquire { country = "de", tags = "home" }):fail "proxy_bad"
      assert.same({ "ah1ok", "bh4proxy_bad" }, log)
      assert(pool:use("geo", { over = { "session", over = recorder("c", log) } }))
      for _ = 1, 2 do -- the second has the session's proxy already
        assert(pool:acquire { country = "de", session = "t", tags = "home" }):ok()
      end
      local lease = assert(pool:acquire())
      assert(pool:use { "random", fallback = recorder("d", log) })
      assert(pool:acquire()):ok() -- random has none
      assert.same({ "ch4ok", "ch4ok" }, { log[3], log[4] })
      assert.equal(4, #log)
      lease:ok()
      assert.matches("^ch%dok$", log[5])
      assert(pool:use { where = { country = "us" }, { where = { country = "de" }, recorder("x", log) }, -- nobody
        fallback = recorder("f", log) })
      assert(pool:acquire()):ok()
      assert.matches("^fh%dok$", log[6])
      for proxy in pool:each() do
        pool:update(proxy.id, { cost = 1 })
      end
      for _, budget in ipairs { false, 100 } do
        assert(pool:use("cost-aware", { over = recorder("e", log), budget = budget }))
        assert(pool:acquire()):ok()
        assert.matches("^eh%dok$", table.remove(log))
      end
    end)
  end

  it("judges as the first of its parts that has a judge", function()
    local judge = require("gyre.active").judge
    local function part(verdict)
      return { name = "part", select = SLOW.select, word = verdict, judge = function(self) return self.word end }
    end
    assert(pool:use { "session", over = { part "banned", fallback = part "ok" } })
    assert.equal("banned", judge(pool)())
    assert(pool:use { "random", fallback = part "ok" })
    assert.equal("ok", judge(pool)())
    assert(pool:use { { name = "part", select = SLOW.select, judge = { [404] = "banned" } } })
    assert.equal("banned", judge(pool)({}, { status = 404, headers = {} }))
    assert(pool:use { "session", over = "random" })
    assert.is_nil(judge(pool))
  end)

  it("requires of it what its parts require", function()
    pool:add "h6:1"
    local _, err = pool:use { "session", over = { where = { tags = "home" }, "geo" } }
    assert.equal("missing_metadata", err.kind)
    assert.matches("needs country: 1 of 6 proxies have none", err.message)
  end)

  it("leaves lists that are options as they are", function()
    assert(pool:use { "tiered", tiers = { "fast", "home" }, rest = false })
    assert.equal("h1", hosts {})
    assert(pool:use { "tiered", tiers = { "fast" }, rest = false })
    assert.equal("h1", hosts {})
    assert(pool:use(gyre.compose { "geo", country = { "fr", "de" } }))
    assert.equal("h4 h5", hosts {})
    assert(pool:use { "session", over = { "geo", country = { "de" }, over = { "random" } } })
    assert.equal("h4 h5", hosts {})
  end)

  it("that contains itself is an error", function()
    local spec = { "session" }
    spec.over = spec
    for _, given in ipairs { spec, gyre.compose(spec), { "random", fallback = spec } } do
      assert.matches("nested more than 8 deep", select(2, pool:use(given)).message)
    end
    assert.matches("nested more than 8 deep", select(2, pool:use("session", { over = spec })).message)
  end)

  it("says what is wrong with a composition", function()
    assert.has_error(function() gyre.compose "random" end)
    assert.has_error(function() gyre.compose {} end)
    assert.has_error(function() gyre.compose { "random", "random" } end)
    assert.has_error(function() gyre.compose { "random", [3] = 1 } end)
    for spec, message in pairs {
      [{ "random", colour = "red" }] = "has no option 'colour'",
      [{ "nobody" }] = "no strategy 'nobody'",
      [{ "random", "session" }] = "^a composition names one strategy",
      [{ "session", over = { "random", "session" } }] = "strategy 'session': a composition names one strategy",
      [{ "random", fallback = { "random", [3] = 1 } }] = "^a composition has no field 3",
      [{ "random", where = { colour = "red" } }] = "cannot be filtered by 'colour'",
      [{ "random", where = "us" }] = "where is a table",
      [{ "random", where = { state = "disabled" } }] = "state cannot be 'disabled': such a proxy is never eligible",
      [{ "random", fallback = "nobody" }] = "no strategy 'nobody'",
    } do
      assert.matches(message, select(2, pool:use(spec)).message)
    end
  end)

  -- What a pick does in Lua, counted in instructions and bytes of garbage; what the library does is one call, or two.
  local function work(n, spec)
    local list = {}
    for i, url in ipairs(pools.urls(n)) do
      list[i] = { url = url, country = i % 2 == 0 and "de" or "us" }
    end
    local large, lease = assert(gyre.open { proxies = list, seed = 3, strategy = spec }), gyre.lease()
    local function round(times)
      for _ = 1, times do
        assert(large:acquire_into(lease)):ok(5)
      end
    end
    local was_on = jit.status()
    jit.off()
    jit.flush()
    local instructions, garbage = traces.interpreted(round, 2000), traces.garbage(round, 2000)
    if was_on then
      jit.on()
    end
    large:close()
    return instructions, garbage
  end

  for kind, name in pairs { native = "performance", lua = SLOW } do
    it("costs a pick no more at a thousand proxies than at a hundred (failures, line 8): " .. kind, function()
      local spec = { where = { country = "de" }, name, fallback = "random" }
      local few, few_bytes = work(101, spec)
      local many, many_bytes = work(1500, spec)
      assert.is_true(few > 50) -- something was counted
      assert.is_true(many <= few * 1.05, ("%g instructions, and %g"):format(few, many))
      assert.is_true(many_bytes <= few_bytes * 1.05 + 8, ("%g bytes, and %g"):format(few_bytes, many_bytes))
    end)
  end
end)

describe("session", function()
  it("keeps every session where it is while its proxy is eligible, with any strategy under it", function()
    for _, over in ipairs { "round-robin", "random", "least-used", "performance", SLOW } do
      local pool = pools.open(9, { strategy = { "session", over = over } })
      local home = {}
      for i = 1, 300 do
        local name = "s" .. i % 30
        local lease = assert(pool:acquire { session = name })
        assert.equal(home[name] or lease.id, lease.id)
        home[name] = lease.id
        if i % 7 == 0 then
          lease:fail("target_bad", 5) -- one failed request is no reason
        else
          lease:ok(5)
        end
      end
      pool:close()
    end
  end)

  it("demands one, or its fallback serves", function()
    local pool = pools.open(3, { strategy = { "session", required = true }, logger = function() end })
    local _, err = pool:acquire()
    assert.equal("missing_metadata", err.kind)
    assert.equal("strategy 'composite' needs session: the request has none", err.message)
    assert(pool:acquire { session = "a" })
    pool:close()
    local told
    pool = pools.open(3, { strategy = { "session", required = true }, fallback = "random",
      logger = function(message) told = message end })
    assert(pool:acquire())
    assert.equal("strategy 'composite': needs session: a request has none", told)
    assert.equal(1, pool:strategies()[1].missed)
    pool:close()
  end)
end)
