local gyre = require "gyre"
local sim = require "gyre.sim"

local DURATION = jit.status() and 120 or 60 -- seconds of virtual time
local PATH = "examples/strategies/aimd-rate.lua"

describe("aimd-rate", function()
  it("uses nobody more often than it has learned", function()
    local pool = assert(gyre.open {
      proxies = { "http://192.0.2.1:80" }, strategy = PATH, strategy_options = { start = 2, patience = 0.1 },
      clock = "manual",
    })
    local served, late = 0, nil
    for _ = 1, 100 do -- 10 seconds
      local lease, err = pool:acquire()
      if lease then
        served = served + 1
        lease:fail("target_bad", 1) -- says nothing of the rate
      else
        late = err
      end
      pool:set_time(pool:time() + 0.1)
    end
    assert.is_true(served >= 19 and served <= 21, served)
    assert.truthy(late.message:find "at the rate that it has learned")
    pool:close()
  end)

  it("halves a rate after a ban, and raises it slowly after successes", function()
    local strategy = dofile(PATH)
    strategy:configure(strategy.options)
    strategy:record({ id = 1 }, { verdict = "banned" })
    assert.equal(1, strategy.rates[1])
    strategy:record({ id = 1 }, { verdict = "throttled" })
    assert.equal(0.5, strategy.rates[1])
    for _ = 1, 100 do
      strategy:record({ id = 1 }, { verdict = "ok" })
    end
    assert.is_true(math.abs(strategy.rates[1] - 2.5) < 1e-9)
    strategy:record({ id = 1 }, { verdict = "proxy_bad" })
    assert.is_true(math.abs(strategy.rates[1] - 2.5) < 1e-9)
  end)

  -- The target bans over 40 requests in 10 s for a minute, and nobody told the strategy.
  it("finds by itself how much a target allows", function()
    local rows = assert(sim.run({ "performance", PATH }, { scenario = "bans-bare", model = { duration = DURATION } }))
    local speed, careful = rows[1].figures, rows[2].figures
    assert.is_true(speed.attempt_success < 0.6, speed.attempt_success)
    assert.is_true(careful.attempt_success > 0.88, careful.attempt_success)
    assert.is_true(careful.success > 0.99, careful.success)
  end)
end)
