local model = require "gyre.sim.model"
local scenario = require "gyre.sim.scenario"

local SERVED, REFUSED, STALLED, BANNED = 1, 2, 3, 4

local function made(options, seed)
  return model.new(scenario.options(nil, options), seed or 1)
end

local function count(of, n, ending)
  local found = 0
  for p = 1, n do
    found = found + (of:meet(p, 0) == ending and 1 or 0)
  end
  return found
end

describe("The synthetic pool", function()
  it("has medians of the spread asked for", function()
    for _, sigma in ipairs { 0, 0.5, 1 } do
      local drawn, sum, squares = made { proxies = 4000, sigma = sigma, spread = 0 }, 0, 0
      for p = 1, 4000 do
        local _, seconds = drawn:meet(p, 0)
        local value = math.log(seconds / 0.4)
        sum, squares = sum + value, squares + value ^ 2
      end
      -- Standard errors: sigma / sqrt(n), and sigma / sqrt(2 n); 4 of them.
      assert.is_true(math.abs(sum / 4000) <= 4 * sigma / 4000 ^ 0.5 + 1e-9)
      assert.is_true(math.abs((squares / 4000) ^ 0.5 - sigma) <= 4 * sigma / 8000 ^ 0.5 + 1e-9)
    end
  end)

  it("spreads the requests of one proxy", function()
    local drawn, least, most = made { proxies = 1, spread = 0.35, capacity = false }, math.huge, 0
    for _ = 1, 1000 do
      local _, seconds = drawn:meet(1, 0)
      least, most = math.min(least, seconds), math.max(most, seconds)
    end
    -- The extremes of 1,000 normal draws are 3.2 sigma out on the average: e^(0.35 * 6.4) = 9.4.
    assert.is_true(most / least > 4 and most / least < 40)
  end)

  it("is the same for the same seed, and another for another", function()
    local _, a = made({}, 3):meet(7, 0)
    local _, b = made({}, 3):meet(7, 0)
    local _, c = made({}, 4):meet(7, 0)
    assert.equal(a, b)
    assert.not_equal(a, c)
  end)

  it("has as many that refuse and that never answer as asked for", function()
    local drawn = made { proxies = 200, refusing = 30, stalling = 20 }
    assert.equal(30, count(drawn, 200, REFUSED))
    assert.equal(20, count(drawn, 200, STALLED))
    assert.equal(150, count(drawn, 200, SERVED))
  end)

  it("has flaky ones that fail as often as they should, one half at once, the other by not answering", function()
    local drawn = made { proxies = 2000, flaky = 2000, flaky_rate = 0.3 }
    local refused, stalled = count(drawn, 2000, REFUSED), count(drawn, 2000, STALLED)
    -- 1,000 each, failing with 0.3: 300 +- 14.5; 4 sigma
    assert.is_true(math.abs(refused - 300) < 58, refused)
    assert.is_true(math.abs(stalled - 300) < 58, stalled)
  end)

  it("slows some of the faster half, and lets some of them recover", function()
    local drawn = made { slowed = 15, recovering = 7, slow_factor = 6, spread = 0, duration = 100 }
    assert.same({ 50, 75 }, { drawn.changes[1].at, drawn.changes[2].at })
    local before, order = {}, {}
    for p = 1, 100 do
      before[p], order[p] = drawn.proxies[p].median, p
    end
    table.sort(order, function(a, b) return before[a] < before[b] end)
    local function slow()
      local list = {}
      for place, p in ipairs(order) do
        if drawn.proxies[p].factor == 6 then
          assert.is_true(place <= 50)
          list[#list + 1] = p
        end
      end
      return #list
    end
    drawn.changes[1].run()
    assert.equal(15, slow())
    drawn.changes[2].run()
    assert.equal(8, slow())
    assert.equal(7, #drawn.recovered)
  end)

  it("is banned from the first request over the limit on, for as long as it should be", function()
    local drawn = made { ban = { requests = 40, seconds = 10, length = 60 } }
    for i = 0, 39 do
      assert.equal(SERVED, (drawn:meet(1, i / 10)))
    end
    assert.equal(BANNED, (drawn:meet(1, 4))) -- the 41st within 10 s
    assert.equal(SERVED, (drawn:meet(2, 4))) -- others are not
    assert.equal(BANNED, (drawn:meet(1, 63.9)))
    assert.equal(SERVED, (drawn:meet(1, 64.1)))
  end)

  it("is not banned at the limit", function()
    local drawn = made { ban = { requests = 40, seconds = 10, length = 60 } }
    for i = 0, 400 do
      assert.equal(SERVED, (drawn:meet(1, i * 10.001 / 40)))
    end
  end)
end)
