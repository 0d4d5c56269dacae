-- proportional: shares by success^2 / latency.
local pools = require "pools"

describe("proportional", function()
  local pool, ids

  before_each(function()
    pool = pools.open(4, { breaker = { failures = 1000 } })
    ids = pools.ids(pool)
    assert(pool:use "proportional")
  end)

  after_each(function()
    pool:close()
  end)

  local function teach(i, ms, verdict)
    for _ = 1, 60 do
      local lease = assert(pool:acquire { strategy = { name = "nth", select = function(_, view) return view[i] end } })
      lease:complete { verdict = verdict or "ok", ms = ms }
    end
  end

  local function shares(n)
    local counts = {}
    for _ = 1, n do
      local lease = assert(pool:acquire())
      counts[lease.id] = (counts[lease.id] or 0) + 1
      lease:complete { verdict = "target_bad" } -- no sample: what it weighs by stays
    end
    local list = {}
    for i, id in ipairs(ids) do
      list[i] = counts[id] or 0
    end
    return list
  end

  local function expect(n, weights)
    local sum, got = 0, shares(n)
    for _, weight in ipairs(weights) do
      sum = sum + weight
    end
    for i, weight in ipairs(weights) do
      local p = weight / sum
      -- binomial(n, p); 5 sigma.
      local off = math.abs(got[i] - n * p)
      assert.is_true(off <= 5 * math.sqrt(n * p * (1 - p)), ("%d: %d of %g"):format(i, got[i], n * p))
    end
  end

  it("gives a proxy half as fast half as much", function()
    teach(1, 50)
    teach(2, 100)
    teach(3, 200)
    teach(4, 400)
    expect(6000, { 8, 4, 2, 1 })
  end)

  it("takes one that it does not know for one of the mean", function()
    teach(1, 100)
    teach(2, 200)
    teach(3, 300)
    shares(1)
    expect(6000, { 1 / 100, 1 / 200, 1 / 300, 1 / 200 })
  end)

  it("does not take failing at once for speed (failures, lines 4 and 5)", function()
    for i = 1, 3 do
      teach(i, 100)
    end
    teach(4, 1)
    teach(4, nil, "proxy_bad")
    local rate = pool:get(ids[4]).success_rate
    assert.is_true(rate < 0.06)
    expect(6000, { 1 / 100, 1 / 100, 1 / 100, rate * rate })
  end)

  it("knows 0 ms as very fast, not as unknown (failures, line 5)", function()
    teach(1, 0)
    for i = 2, 4 do
      teach(i, 10)
    end
    expect(6000, { 1, 1 / 10, 1 / 10, 1 / 10 })
    assert(pool:use("proportional", { floor = 5 }))
    expect(6000, { 1 / 5, 1 / 10, 1 / 10, 1 / 10 })
    assert.equal("strategy", select(2, pool:use("proportional", { floor = 0 })).kind)
  end)
end)
