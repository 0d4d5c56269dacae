local scenario = require "gyre.sim.scenario"

describe("Scenarios", function()
  it("stand between the defaults and what is given", function()
    local options = scenario.options("wide", { duration = 80, flaky = 3 })
    assert.same({ 1, 80, 3, 15, 100, 40, 60, 180 }, { options.sigma, options.duration, options.flaky, options.slowed,
      options.proxies, options.slow_at, options.recover_at, options.rate })
  end)

  it("come with clients or with a rate, and what is given decides", function()
    assert.is_nil(scenario.options("sinkhole").rate)
    assert.equal(200, scenario.options("sinkhole").clients)
    local options = scenario.options("sinkhole", { rate = 10 })
    assert.same({ 10 }, { options.rate, options.clients })
    assert.is_nil(scenario.options("steady", { clients = 5 }).rate)
  end)

  it("exist with and without what the pool does against failures", function()
    for name, each in pairs(scenario.list) do
      assert.is_string(each.about)
      local bare = scenario.list[name .. "-bare"]
      if bare then
        local options = scenario.options(name .. "-bare")
        assert.is_false(options.breaker)
        assert.is_nil(options.host)
        assert.is_true(scenario.options(name).breaker)
      end
    end
  end)

  for what, bad in pairs {
    ["unknown option 'speed'"] = { speed = 1 },
    ["proxies must be a number from 1 to 1e+06"] = { proxies = 0 },
    ["tries must be a whole number"] = { tries = 1.5 },
    ["sigma must be a number from 0 to 1e+09"] = { sigma = "big" },
    ["cap must be a string"] = { cap = 4 },
    ["option 'refusing', option 'stalling' and option 'flaky' together are above option 'proxies'"] =
      { proxies = 10, refusing = 6, stalling = 5 },
    ["option 'rate' and option 'clients' exclude each other"] = { rate = 1, clients = 1 },
    ["option 'warmup', 10, must be below option 'duration', 10"] = { duration = 10 },
    ["option 'requests', 500, is no more than come within option 'warmup', 10 s, of which nothing is counted"] =
      { requests = 500 },
    ["option 'slowed' is above what is healthy of option 'proxies'"] = { proxies = 10, refusing = 3, slowed = 8 },
    ["option 'recovering' is above option 'slowed': those recover that became slow"] = { recovering = 5 },
    ["option 'recover_at' must be after option 'slow_at'"] =
      { slowed = 5, recovering = 5, slow_at = 10, recover_at = 5 },
    ["option 'capacity' is the least and the most, whole numbers from 1 on"] = { capacity = { 3, 2 } },
    ["option 'ban' has requests, a whole number from 1 to 10000, seconds and length"] = { ban = { requests = 3 } },
  } do
    it("refuse: " .. what, function()
      assert.has_error(function() scenario.options(nil, bad) end, what)
    end)
  end

  it("have names", function()
    assert.has_error(function() scenario.options "storm" end, "there is no scenario 'storm'")
  end)
end)
