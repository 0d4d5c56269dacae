local gyre = require "gyre"
local sim = require "gyre.sim"

local DURATION = jit.status() and 120 or 60 -- seconds of virtual time
local PATH = "examples/strategies/bandit.lua"

describe("bandit", function()
  it("finds the fast and reliable ones", function()
    local rows = assert(sim.run({ "round-robin", PATH }, { scenario = "steady", model = { duration = DURATION } }))
    assert.is_true(rows[2].change.mean_ms < -0.3, rows[2].change.mean_ms)
    assert.is_true(rows[2].figures.attempt_success > rows[1].figures.attempt_success)
  end)

  it("does not send all that comes at once to the same proxy", function()
    local urls = {}
    for i = 1, 20 do
      urls[i] = "http://192.0.2." .. i .. ":80"
    end
    local pool = assert(gyre.open { proxies = urls, strategy = PATH, seed = 3 })
    for _ = 1, 400 do
      assert(pool:acquire()) -- in flight, none has answered
    end
    for proxy in pool:each() do -- 20 each if all are alike; the draws make them differ
      assert.is_true(proxy.active > 5 and proxy.active < 60, proxy.active)
    end
    pool:close()
  end)

  it("refuses to choose among fewer than two", function()
    local pool, err = gyre.open { strategy = PATH, strategy_options = { k = 1 } }
    assert.is_nil(pool)
    assert.truthy(tostring(err):find "k is at least 2")
  end)
end)
