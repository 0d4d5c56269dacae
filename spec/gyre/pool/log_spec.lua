local pools = require "pools"

describe("gyre.pool.log", function()
  local pool

  before_each(function()
    pool = pools.open(5)
  end)

  after_each(function()
    pool:close()
  end)

  local function all()
    local found = {}
    for decision in pool:decisions() do
      found[#found + 1] = decision
    end
    return found
  end

  it("is off until it is switched on", function()
    pool:acquire()
    assert.same({}, all())
  end)

  it("says who was picked, by whom, from how many, why", function()
    local lua = { name = "in-lua", select = function(_, view) return view:random() end }
    assert.is_true(pool:log(1))
    pool:set_time(7)
    local one = pool:acquire()
    local two = pool:acquire { strategy = lua, exclude = { one.id } }
    local three = pool:acquire { strategy = lua, session = "secret" }
    pool:acquire { strategy = lua, exclude = pools.ids(pool) }
    local log = all()
    assert.equal(4, #log)
    assert.same({ one.id, "round-robin", 5, "picked" },
      { log[1].proxy, log[1].strategy, log[1].candidates, log[1].reason })
    assert.same({ two.id, "in-lua", "picked", 7 }, { log[2].proxy, log[2].strategy, log[2].reason, log[2].time })
    assert.same({ three.id, "session new" }, { log[3].proxy, log[3].reason })
    assert.same({ "no_proxy" }, { log[4].reason, log[4].proxy })
    assert.same({ 0, 0 }, { log[1].generation, log[2].generation })
    assert.is_true(log[1].process > 0)
    assert(pool:use "random")
    pool:acquire()
    log = all()
    assert.same({ "random", 1 }, { log[5].strategy, log[5].generation })
    pool:acquire { strategy = "least-used" } -- not the segment's
    pool:acquire { strategy = lua }
    log = all()
    assert.same({ "least-used", 0 }, { log[6].strategy, log[6].generation })
    assert.same({ "in-lua", 0 }, { log[7].strategy, log[7].generation })
    pool:log(0)
    pool:acquire()
    assert.equal(7, #all())
  end)

  it("knows the share that is logged", function()
    assert.equal(0, pool:log_share())
    pool:log(0.25)
    assert.is_true(math.abs(pool:log_share() - 0.25) < 1e-9)
  end)

  it("shows a session as a hash: the same for the same, whoever picks", function()
    local lua = { name = "in-lua", select = function(_, view) return view:random() end }
    pool:log(1)
    pool:acquire { session = "cart-17" }
    pool:acquire { session = "cart-17", strategy = lua }
    pool:acquire { session = "cart-18", strategy = lua }
    pool:acquire()
    local log = all()
    assert.truthy(log[1].session:find "^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$")
    assert.equal(log[1].session, log[2].session)
    assert.not_equal(log[1].session, log[3].session)
    assert.is_nil(log[4].session)
  end)

  it("has one entry a request, by the name of the strategy in use, for each built-in", function()
    local options = {
      composite = { where = { country = "de" }, fallback = "random" }, geo = { any = true },
      tiered = { tiers = { "cheap", "premium" } },
    }
    local list = {}
    for i = 1, 4 do
      list[i] = { url = "http://192.0.2." .. i, country = "us", tags = "premium", cost = i }
    end
    local many = assert(require("gyre").open { proxies = list })
    many:log(1)
    for _, name in ipairs { "composite", "consistent-hash", "cost-aware", "geo", "least-active", "least-used",
      "performance", "proportional", "random", "round-robin", "session", "tiered", "weighted" } do
      assert(many:use(name, options[name]))
      local following, walk = many:decisions "now"
      assert.is_nil(following(walk))
      for _, request in ipairs { { key = "k" }, { country = "US", key = "k" }, { session = name, key = "k" } } do
        local lease = assert(many:acquire(request))
        local entry = following(walk)
        assert.same({ name, lease.id, request.session and "session new" or "picked" },
          { entry.strategy, entry.proxy, entry.reason })
        assert.equal(4, entry.candidates, name)
        assert.is_true(entry.generation > 0)
        assert.is_nil(following(walk), name)
      end
    end
    assert.equal("no_proxy", select(2, many:acquire { exclude = pools.ids(many) }).kind)
    local last
    for decision in many:decisions() do
      last = decision
    end
    assert.same({ "weighted", "no_proxy" }, { last.strategy, last.reason })
    assert.is_nil(last.proxy)
    assert.equal(3 * 13 + 1, last.sequence + 1)
    many:close()
  end)

  it("says whose request a fallback served, and why", function()
    local mute = pools.open(3, { logger = function() end, fallback = "random", trip_after = 2 })
    local broken = { name = "broken", select = function() error "x" end }
    mute:log(1)
    mute:acquire { strategy = broken }
    mute:acquire { strategy = broken }
    mute:acquire { strategy = broken }
    mute:acquire { strategy = "cost-aware" }
    local reasons = {}
    for decision in mute:decisions() do
      if decision.reason:find "^fallback" then
        reasons[#reasons + 1] = decision.strategy .. " " .. decision.reason
        assert.is_number(decision.proxy)
      end
    end
    assert.same({ "broken fallback: raised", "broken fallback: raised", "broken fallback: resting",
      "cost-aware fallback: cost missing on 3 of 3" }, reasons)
    mute:close()
  end)

  it("says so while latency is missing: the strategy serves when all in use have one", function()
    local needy = { name = "needy", requires = { "latency" }, select = function(_, view) return view[1] end }
    pool:close()
    pool = pools.open(5, { strategy = needy, logger = function() end })
    pool:log(1)
    pool:set_time(1)
    pool:disable(pools.ids(pool)[1])
    for i = 1, 4 do
      pool:acquire():ok(10 * i)
    end
    pool:acquire():ok(5) -- looked at again a second later
    local before = all()
    assert.equal("fallback: latency missing on 4 of 5", before[2].reason)
    assert.equal("needy", before[10].strategy)
    assert.same({ "round-robin", "picked" }, { before[9].strategy, before[9].reason })
    assert.equal(10, #before)
    pool:set_time(2)
    pool:acquire():ok(5)
    local after = all()
    assert.same({ "needy", "picked" }, { after[11].strategy, after[11].reason })
    assert.equal(11, #after)
    pool:add "http://192.0.2.77"
    pool:acquire():ok(5)
    assert.equal("fallback: latency missing on 1 of 6", all()[13].reason)
  end)

  it("is followed from now on", function()
    pool:log(1)
    pool:acquire()
    local next_decision, walk = pool:decisions "now"
    assert.is_nil(next_decision(walk))
    local lease = pool:acquire()
    assert.equal(lease.id, next_decision(walk).proxy)
    assert.is_nil(next_decision(walk))
  end)

  it("refuses shares and places that are none", function()
    assert.equal("invalid", select(2, pool:log(2)).kind)
    assert.has_error(function() pool:log "all" end)
    assert.has_error(function() pool:decisions "yesterday" end)
  end)
end)
