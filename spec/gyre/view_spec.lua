local pools = require "pools"
local registry = require "gyre.registry"
local view = require "gyre.view"

-- A view filled from a pool, as acquire does it.
local function fill(pool, made, exclude)
  made = made or view.new(5)
  made:fill(pool.handle, registry.states[pool.number], exclude)
  return made
end

describe("gyre.view", function()
  local pool, ids

  before_each(function()
    pool = pools.open(6, { breaker = { failures = 1, max_benched = 1 } })
    ids = pools.ids(pool)
  end)

  after_each(function()
    pool:close()
  end)

  it("holds the eligible proxies, by slot", function()
    local made = fill(pool)
    assert.equal(6, #made)
    for i = 1, 6 do
      assert.equal(ids[i], made[i].id)
    end
    local seen = 0
    for proxy in made:each() do
      seen = seen + 1
      assert.equal(made[seen], proxy)
    end
    assert.equal(6, seen)
  end)

  it("leaves out who is disabled, draining, benched, busy or excluded", function()
    pool:disable(ids[1])
    pool:drain(ids[2])
    pool:update(ids[3], { max_active = 1 })
    assert.equal(ids[3], pool:acquire({ exclude = { ids[4], ids[5], ids[6] } }).id)
    assert(pool:acquire({ exclude = { ids[3], ids[4], ids[5] } }):fail "proxy_bad")
    assert.equal("open", pool:get(ids[6]).state)
    local made = fill(pool, nil, { ids[4] })
    assert.equal(1, #made)
    assert.equal(ids[5], made[1].id)
    assert.same({ 1, 1, 1, 1, 1 }, { made.disabled, made.draining, made.busy, made.benched, made.excluded })
  end)

  it("shrinks and grows without leftovers", function()
    local made = fill(pool)
    pool:remove(ids[2])
    pool:disable(ids[6])
    fill(pool, made)
    assert.equal(4, #made)
    assert.is_nil(made[5])
    pool:enable(ids[6])
    assert.equal(5, #fill(pool, made))
  end)

  it("round_robin visits every other proxy once between two picks of one", function()
    local made = fill(pool)
    local last = {}
    for turn = 1, 60 do
      local id = made:round_robin().id
      if last[id] then
        assert.equal(6, turn - last[id])
      end
      last[id] = turn
    end
  end)

  it("round_robin keeps that promise while others flap", function()
    local random = require("gyre.random").new(3)
    local made = fill(pool)
    local steady = { [ids[1]] = true, [ids[4]] = true }
    local previous
    for _ = 1, 500 do
      for i = 1, 6 do
        if not steady[ids[i]] then
          pool[random:upto(2) == 1 and "enable" or "disable"](pool, ids[i])
        end
      end
      fill(pool, made)
      local id = made:round_robin().id
      if steady[id] then
        assert.is_true(id ~= previous, "one steady proxy twice, the other not between")
        previous = id
      end
    end
  end)

  it("round_robin starts at random, by seed", function()
    local starts = {}
    for seed = 1, 60 do
      starts[fill(pool, view.new(seed)):round_robin().id] = true
    end
    for i = 1, 6 do
      assert.is_true(starts[ids[i]])
    end
  end)

  it("random is uniform, and repeats with its seed", function()
    local made, again = fill(pool), fill(pool)
    local counts, n = {}, 6000
    for _ = 1, n do
      local id = made:random().id
      assert.equal(id, again:random().id)
      counts[id] = (counts[id] or 0) + 1
    end
    -- Each count is binomial(6000, 1/6): mean 1000, sigma 28.9; 5 sigma.
    for i = 1, 6 do
      assert.is_true(math.abs(counts[ids[i]] - 1000) < 145, counts[ids[i]])
    end
  end)

  it("sample gives distinct proxies, each as often", function()
    local made, counts = fill(pool), {}
    for _ = 1, 2000 do
      local sample, seen = made:sample(3), {}
      assert.equal(3, #sample)
      for _, proxy in ipairs(sample) do
        assert.is_nil(seen[proxy.id])
        seen[proxy.id] = true
        counts[proxy.id] = (counts[proxy.id] or 0) + 1
      end
    end
    -- binomial(2000, 1/2): mean 1000, sigma 22.4; 5 sigma.
    for i = 1, 6 do
      assert.is_true(math.abs(counts[ids[i]] - 1000) < 112, counts[ids[i]])
    end
    assert.equal(6, #made:sample(10))
    assert.equal(6, #made:sample(6))
    assert.same({}, made:sample(0))
    assert.has_error(function() made:sample(-1) end)
    assert.has_error(function() made:sample(1.5) end)
  end)

  it("min takes the lowest score and passes over nil and NaN", function()
    local made = fill(pool)
    local scores = { [ids[1]] = 0 / 0, [ids[3]] = 5, [ids[4]] = -2, [ids[5]] = -2 }
    assert.equal(ids[4], made:min(function(proxy) return scores[proxy.id] end).id)
    assert.is_nil(made:min(function() return nil end))
    assert.is_nil(made:min(function() return 0 / 0 end))
    assert.equal(ids[1], made:min(function() return 1 / 0 end).id)
    local _, message = pcall(function() made:min(function() return "x" end) end)
    assert.matches("view_spec%.lua:%d+: a score is a number", message)
  end)

  it("is empty without harm", function()
    local empty = view.new(1)
    assert.equal(0, #empty)
    assert.is_nil(empty:random())
    assert.is_nil(empty:round_robin())
    assert.is_nil(empty:min(function() return 1 end))
    assert.same({}, empty:sample(2))
  end)

  it("random and min make no garbage, compiled", function()
    if not jit.status() then
      return
    end
    local traces = require "traces"
    local made = fill(pool)
    local function score(proxy)
      return (proxy.ema_ms or 0) * (proxy.active + 1)
    end
    local random = traces.garbage(function(n)
      for _ = 1, n do
        made:random()
      end
    end, 20000)
    assert.is_true(random < 0.5, ("%.2f bytes a pick"):format(random))
    local min = traces.garbage(function(n)
      for _ = 1, n do
        made:min(score)
      end
    end, 20000)
    assert.is_true(min < 0.5, ("%.2f bytes a pick"):format(min))
  end)
end)
