local statistics = require "gyre.sim.statistics"

describe("The statistics of a run", function()
  it("leave the warm-up out", function()
    local made = statistics.new(2, 100, 10)
    made:begin(1, 9)
    made:attempt(9, 9.5, true)
    made:request(9, 9.5, true)
    assert.same({ 0, 0 }, { made.attempts, made.requests })
    made:begin(2, 10)
    made:attempt(10, 10.1, true)
    made:attempt(11, 11.3, false)
    made:request(10, 11.3, true)
    local figures = made:figures()
    assert.same({ 2, 1, 0.5, 1 }, { figures.attempts, figures.requests, figures.attempt_success, figures.success })
    assert.is_true(math.abs(figures.mean_ms - 100) < 1e-6 and math.abs(figures.end_to_end_ms - 1300) < 1e-6)
  end)

  it("measure how the load is spread", function()
    local even, uneven, one = statistics.new(4, 10, 0), statistics.new(4, 10, 0), statistics.new(4, 10, 0)
    for i = 1, 80 do
      even:begin(i % 4 + 1, 1)
      uneven:begin(i % 2 + 1, 1)
      one:begin(1, 1)
    end
    assert.same({ 0.25, 1 }, { even:concentration() })
    assert.same({ 0.5, 0.5 }, { uneven:concentration() })
    assert.same({ 1, 0 }, { one:concentration() })
  end)

  it("know the share of some at some time", function()
    local made = statistics.new(4, 80, 0) -- slices of 1 s
    for second = 0, 79 do
      for p = 1, 4 do
        made:begin(p, second + 0.5)
      end
      if second < 40 then
        made:begin(1, second + 0.5)
      end
    end
    assert.equal(1, made:fairness({ 1 }, 50, 60))
    assert.equal(1.6, made:fairness({ 1 }, 10, 20)) -- 2 of 5, times 4
    assert.is_nil(made:fairness({}, 10, 20))
  end)

  it("are averaged over seeds", function()
    local mean = statistics.average { { mean_ms = 100, success = 1 }, { mean_ms = 140, success = 0.5 } }
    assert.same({ 120, 0.75 }, { mean.mean_ms, mean.success })
    assert.is_true(math.abs(mean.mean_sd_ms - 800 ^ 0.5) < 1e-9)
    assert.is_nil(statistics.average({ { mean_ms = 1 } }).mean_sd_ms)
  end)
end)
