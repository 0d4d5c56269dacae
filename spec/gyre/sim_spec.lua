-- What the performance strategy promises, in the simulator. GYRE_LONG=1 runs as many seeds as the promises were made
-- for; by default, and more so without the JIT compiler, a few must do, with a bound that allows for that.
local sim = require "gyre.sim"

local LONG = os.getenv "GYRE_LONG" ~= nil
local SEEDS = LONG and 16 or jit.status() and 4 or 1
local CHOICES = 3

local function run(entries, scenario, model, seeds)
  return assert(sim.run(entries, { scenario = scenario, model = model, seeds = seeds or SEEDS }))
end

describe("performance against round-robin", function()
  local rows

  setup(function()
    rows = run({ "round-robin", "performance" }, "steady")
  end)

  it("has a mean latency at least 35 % lower at equal load, with sigma 0.5", function()
    -- The change differs between seeds by 2.5 points (standard deviation, 16 seeds). With few seeds: 2 standard errors.
    local bound = 0.35 - (LONG and 0 or 2 * 0.025 / SEEDS ^ 0.5)
    assert.is_true(rows[2].change.mean_ms <= -bound, rows[2].change.mean_ms)
    assert.equal(rows[1].figures.requests, rows[2].figures.requests)
  end)

  it("gives nobody more than choices/n of the load, and a tenth", function()
    for _, each in ipairs(rows[2].runs) do
      assert.is_true(each:concentration() <= CHOICES / 100 * 1.1, each:concentration())
    end
  end)

  it("uses a proxy that recovered as before within 60 s", function()
    assert.is_true(rows[2].recovery >= 0.8, rows[2].recovery)
  end)

  it("fails less", function()
    assert.is_true(rows[2].figures.attempt_success > rows[1].figures.attempt_success + 0.02)
    assert.is_true(rows[2].figures.success >= 0.999)
  end)
end)

describe("performance", function()
  it("succeeds in 98 % of all attempts where some refuse at once and some never answer", function()
    for _, name in ipairs { "sinkhole", "sinkhole-bare" } do
      local row = run({ "performance" }, name, { duration = 120 }, 1)[1]
      assert.is_true(row.figures.attempt_success >= 0.98, name .. row.figures.attempt_success)
    end
  end)

  it("succeeds in 95 % of all attempts with a rate limit where heavy use is banned, and does not without", function()
    for _, name in ipairs { "bans", "bans-bare" } do
      local rows = run({ { source = "performance", cap = "32/10s" } }, name, { duration = 200 },
        LONG and 6 or 1)
      assert.is_true(rows[1].figures.attempt_success >= 0.95, name .. rows[1].figures.attempt_success)
    end
    local row = run({ "performance" }, "bans-bare", { duration = 60 }, 1)[1]
    assert.is_true(row.figures.attempt_success < 0.7, row.figures.attempt_success)
  end)
end)

describe("The simulator", function()
  local SHORT = { duration = 60, warmup = 5, rate = 60 }

  local function with(model)
    for name, value in pairs(SHORT) do
      if model[name] == nil and not (name == "rate" and model.clients) then
        model[name] = value
      end
    end
    return run({ "round-robin" }, nil, model, 1)[1].figures
  end

  it("gives the same figures for the same seed, and others for another", function()
    local a, b = with {}, with {}
    assert.same(a, b)
    local other = assert(sim.run({ "round-robin" }, { model = SHORT, seed = 2 }))[1].figures
    assert.not_equal(a.mean_ms, other.mean_ms)
  end)

  it("lets as many requests arrive as the rate says", function()
    -- A Poisson process: 55 s at 60/s are 3300 +- 57; 4 sigma
    assert.is_true(math.abs(with({}).requests - 3300) < 230)
    assert.equal(500, with({ requests = 500, warmup = 0 }).requests)
  end)

  it("has a closed loop: requests in flight are at most the clients", function()
    local figures = with { clients = 10, think = 0.5, capacity = false }
    -- Little's law: 10 clients, one request each per latency + thinking, over the 55 s that count.
    local want = 10 / (figures.end_to_end_ms / 1000 + 0.5) * 55
    assert.is_true(math.abs(figures.requests / want - 1) < 0.05, figures.requests / want)
  end)

  it("heeds every option", function()
    local base = with {}
    local function change(model)
      return with(model).mean_ms / base.mean_ms
    end
    assert.is_true(change { median = 800 } > 1.5)
    assert.is_true(change { sigma = 0 } < 0.95)
    assert.is_true(change { spread = 1 } > 1.2)
    local narrow, wide = with { capacity = { 1, 1 }, rate = 150 }, with { capacity = false, rate = 150 }
    assert.is_true(narrow.mean_ms > 1.3 * wide.mean_ms)
    assert.is_true(change { slowed = 50, slow_at = 6 } > 1.3)
    assert.is_true(change { slowed = 50, slow_at = 6, recovering = 50, recover_at = 8 } < 1.1)
    assert.is_true(with({ refusing = 50, breaker = false }).attempt_success < 0.7)
    assert.is_true(with({ refusing = 50 }).attempt_success > 0.7) -- by the breaker
    assert.is_true(with({ flaky = 100, flaky_rate = 0.5, breaker = false }).attempt_success < 0.6)
    assert.is_true(with({ stalling = 20, timeout = 1, breaker = false }).end_to_end_ms
      < with({ stalling = 20, timeout = 5, breaker = false }).end_to_end_ms)
    assert.is_true(with({ refusing = 30, tries = 1, breaker = false }).success < 0.8)
    assert.is_true(with({ ban = { requests = 3, seconds = 10, length = 20 } }).attempt_success < 0.6)
    assert.is_true(with({ cap = "3/10s" }).waits > 0) -- 100 proxies carry 30/s, half of what comes
    assert.is_true(with({ proxies = 10 }).max_share > 0.09)
  end)

  it("names the target to the pool, so that bans take proxies out", function()
    local ban, success = { requests = 12, seconds = 10, length = 20 }, {}
    for i, host in ipairs { false, "shop.example" } do
      local model = { duration = 60, warmup = 5, rate = 60, ban = ban, host = host }
      success[i] = run({ "random" }, nil, model, 1)[1].figures.attempt_success
    end
    assert.is_true(success[1] < success[2] - 0.02, success[1] .. " " .. success[2])
  end)

  it("has sessions, which stay with their proxy", function()
    local rows = run({ "random" }, nil, { duration = 60, warmup = 5, sessions = 2, capacity = false },
      1)
    assert.is_true(rows[1].figures.max_share >= 0.45)
  end)

  it("takes strategies as names, paths and tables, with options", function()
    local mine = { name = "first", select = function(_, view) return view[1] end }
    local model = { duration = 60, warmup = 5, rate = 60, capacity = false }
    local rows = run({ { source = mine }, { source = "performance", options = { choices = 1 } } }, nil, model, 1)
    assert.equal(1, rows[1].figures.max_share)
    assert.is_true(rows[2].figures.max_share < 0.02)
  end)

  it("says which strategy cannot be used", function()
    local rows, err = sim.run({ "round-robin", "nonsense" }, { model = SHORT })
    assert.is_nil(rows)
    assert.equal("strategy", err.kind)
    rows, err = sim.run({ { source = "performance", options = { speed = 1 } } }, { model = SHORT })
    assert.is_nil(rows)
    assert.truthy(tostring(err):find "speed")
  end)
end)
