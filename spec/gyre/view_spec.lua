local gyre = require "gyre"
local pools = require "pools"

-- What `look` makes of the view that a strategy gets for a request.
local function with_view(pool, request, look)
  local result
  local strategy = { name = "looking", select = function(_, view)
    result = { look(view) }
    return nil, "only looking"
  end }
  request.strategy = strategy
  local _, err = pool:acquire(request)
  assert.equal("strategy 'looking' picked none: only looking", err.message)
  return unpack(result)
end

local function ids_of(view)
  local ids = {}
  for proxy in view:each() do
    ids[#ids + 1] = proxy.id
  end
  return ids
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
    with_view(pool, {}, function(view)
      assert.equal(6, #view)
      for i = 1, 6 do
        assert.equal(ids[i], view[i].id)
      end
      assert.is_nil(view[0])
      assert.is_nil(view[7])
      assert.same(ids, ids_of(view))
      assert.equal(pool, view.pool)
    end)
  end)

  it("leaves out who is disabled, draining, benched, busy, excluded or banned", function()
    pool:disable(ids[1])
    pool:drain(ids[2])
    pool:update(ids[3], { max_active = 1 })
    assert.equal(ids[3], pool:acquire({ exclude = { ids[4], ids[5], ids[6] } }).id)
    assert(pool:acquire({ exclude = { ids[3], ids[4], ids[5] } }):fail "proxy_bad")
    assert.same({ ids[4], ids[5] }, with_view(pool, {}, ids_of))
    assert.same({ ids[5] }, with_view(pool, { exclude = { ids[4] } }, ids_of))
    pool:ban(ids[5], "shop.example", 60)
    assert.same({ ids[4] }, with_view(pool, { host = "shop.example" }, ids_of))
  end)

  it("lists more than it had room for", function()
    local large = pools.open(700)
    assert.same(pools.ids(large), with_view(large, {}, ids_of))
    large:close()
  end)

  it("picks by every rule of the core, from those that the request lets through", function()
    for i = 1, 6 do
      pool:update(ids[i], { country = i % 2 == 0 and "de" or "us", tags = i > 2 and "late" or "" })
    end
    local request = { country = { "fr", "de" }, tags = "late", exclude = { ids[6] } }
    for _, method in ipairs { "round_robin", "random", "least_used", "least_active", "best", "weighted" } do
      assert.equal(ids[4], with_view(pool, request, function(view) return view[method](view).id end), method)
    end
    assert.equal(ids[4], with_view(pool, request, function(view) return view:hash("x").id end))
    assert.equal(ids[4], with_view(pool, request, function(view) return view:sample(5)[1].id end))
    assert.same({ ids[4] }, with_view(pool, request, ids_of))
  end)

  it("round_robin visits every other proxy once between two picks of one", function()
    local last = {}
    for turn = 1, 60 do
      local id = with_view(pool, {}, function(view) return view:round_robin().id end)
      if last[id] then
        assert.equal(6, turn - last[id])
      end
      last[id] = turn
    end
  end)

  it("random is uniform", function()
    local counts, n = {}, 6000
    with_view(pool, {}, function(view)
      for _ = 1, n do
        local id = view:random().id
        counts[id] = (counts[id] or 0) + 1
      end
    end)
    -- Each count is binomial(6000, 1/6): mean 1000, sigma 28.9; 5 sigma.
    for i = 1, 6 do
      assert.is_true(math.abs(counts[ids[i]] - 1000) < 145, counts[ids[i]])
    end
  end)

  it("weighted follows weights, fields and functions", function()
    for i = 1, 6 do
      pool:update(ids[i], { weight = i <= 3 and 0 or 1 })
    end
    pool:update(ids[6], { weight = 2 })
    local function by_port(proxy)
      return proxy.weight
    end
    for _, by in ipairs { false, "weight", by_port } do
      local counts = {}
      with_view(pool, {}, function(view)
        for _ = 1, 4000 do
          local id = view:weighted(by or nil).id
          counts[id] = (counts[id] or 0) + 1
        end
      end)
      -- binomial(4000, 1/2) for the last, mean 2000, sigma 31.6; binomial(4000, 1/4) else, sigma 27.4; 5 sigma.
      assert.is_nil(counts[ids[1]])
      assert.is_true(math.abs(counts[ids[6]] - 2000) < 158, counts[ids[6]])
      assert.is_true(math.abs(counts[ids[4]] - 1000) < 137, counts[ids[4]])
    end
    assert.is_nil(with_view(pool, {}, function(view) return view:weighted(function() return 0 / 0 end) end))
    for kind, wrong in pairs { string = "heavy", table = {} } do
      local ran, why = with_view(pool, {}, function(view)
        return pcall(view.weighted, view, function() return wrong end)
      end)
      assert.is_false(ran)
      assert.equal("a weight is a number, not a " .. kind, why)
    end
  end)

  it("hash gives a key its proxy, and other keys others", function()
    with_view(pool, {}, function(view)
      local seen, different = {}, 0
      for i = 1, 60 do
        local id = view:hash("key " .. i).id
        assert.equal(id, view:hash("key " .. i).id)
        different = different + (seen[id] and 0 or 1)
        seen[id] = true
      end
      assert.equal(6, different)
      assert.has_error(function() view:hash(17) end)
    end)
  end)

  it("sample stays in the view: of several countries in the first that has anyone", function()
    for i = 1, 6 do
      pool:update(ids[i], { country = i > 2 and "de" or "us" })
    end
    for k = 1, 7 do
      with_view(pool, { country = { "fr", "us", "de" } }, function(view)
        local sample = view:sample(k)
        assert.equal(math.min(k, 2), #sample)
        for _, proxy in ipairs(sample) do
          assert.equal("US", proxy.country)
        end
      end)
    end
  end)

  it("sample gives distinct proxies, each as often", function()
    local counts = {}
    with_view(pool, {}, function(view)
      for _ = 1, 2000 do
        local sample, seen = view:sample(3), {}
        assert.equal(3, #sample)
        for _, proxy in ipairs(sample) do
          assert.is_nil(seen[proxy.id])
          seen[proxy.id] = true
          counts[proxy.id] = (counts[proxy.id] or 0) + 1
        end
      end
      for _ = 1, 500 do
        assert.equal(6, #view:sample(6))
      end
      assert.equal(6, #view:sample(100))
      assert.same({}, view:sample(0))
      assert.has_error(function() view:sample(-1) end)
      assert.has_error(function() view:sample(1.5) end)
    end)
    -- binomial(2000, 1/2): mean 1000, sigma 22.4; 5 sigma.
    for i = 1, 6 do
      assert.is_true(math.abs(counts[ids[i]] - 1000) < 112, counts[ids[i]])
    end
  end)

  it("min takes the lowest score and passes over nil and NaN", function()
    local scores = { [ids[1]] = 0 / 0, [ids[3]] = 5, [ids[4]] = -2, [ids[5]] = -2 }
    with_view(pool, {}, function(view)
      assert.equal(ids[4], view:min(function(proxy) return scores[proxy.id] end).id)
      assert.is_nil(view:min(function() return nil end))
      assert.is_nil(view:min(function() return 0 / 0 end))
      assert.equal(ids[1], view:min(function() return 1 / 0 end).id)
      local _, message = pcall(function() view:min(function() return "x" end) end)
      assert.matches("view_spec%.lua:%d+: a score is a number", message)
    end)
  end)

  it("closed and half-open ones can be asked for", function()
    local list = { "http://192.0.2.1", "http://192.0.2.2", "http://192.0.2.3" }
    local tested = assert(gyre.open { proxies = list, seed = 3, breaker = { failures = 1 }, clock = "manual" })
    local function take(request)
      local lease, err = tested:acquire(request)
      if not lease then
        return nil, err
      end
      local id = lease.id
      lease:fail "aborted"
      return id
    end
    local first = assert(tested:acquire())
    local benched = first.id
    first:fail "proxy_bad"
    tested:set_time(1000)
    assert.equal("half_open", tested:get(benched).state)
    for _ = 1, 20 do
      assert.not_equal(benched, take { state = "closed" })
    end
    with_view(tested, {}, function(view)
      assert.equal(3, #view)
      assert.equal(2, #view:where { state = "closed" })
      assert.equal(1, #view:where { state = "half_open" })
      assert.equal(benched, view:where({ state = "half_open" })[1].id)
      assert.is_true(view:where({ state = "half_open" }):where({ state = "closed" }):is_empty())
      assert.has_error(function() view:where { state = "open" } end,
        "state cannot be 'open': such a proxy is never eligible; it is 'closed' or 'half_open'")
    end)
    with_view(tested, { state = "half_open" }, function(view)
      assert.equal(1, #view)
      assert.is_nil(view:where({ state = "closed" }):random())
    end)
    assert.equal(benched, take { state = "half_open" })
    assert.has_error(function() tested:acquire { state = "draining" } end,
      "state cannot be 'draining': such a proxy is never eligible; it is 'closed' or 'half_open'")
    assert(tested:use(gyre.compose { where = { state = "closed" }, "random" }))
    for _ = 1, 20 do
      assert.not_equal(benched, take())
    end
    local _, err = take { state = "half_open" }
    assert.equal("no_proxy", err.kind)
    tested:close()
  end)

  it("where narrows the view, and the request's filter stays", function()
    for i = 1, 6 do
      pool:update(ids[i], { country = i % 2 == 0 and "de" or "us", tags = i > 2 and "late,b" or "b",
        region = i == 6 and "Bayern" or "" })
    end
    local function where(request, filter)
      return with_view(pool, request, function(view)
        local is_empty = view:is_empty(filter)
        local narrow = view:where(filter)
        assert.equal(narrow, view:where(filter))
        assert.equal(#narrow == 0, is_empty)
        local found = ids_of(narrow)
        local any = narrow:random()
        assert.equal(#found == 0, any == nil)
        return found
      end)
    end
    assert.same({ ids[2], ids[4], ids[6] }, where({}, { country = "DE" }))
    assert.same({ ids[4], ids[6] }, where({ tags = "late" }, { country = { "fr", "de" } }))
    assert.same({ ids[4], ids[6] }, where({ tags = "late" }, { country = "fr, de" }))
    assert.same({ ids[4], ids[6] }, where({ tags = { "late" }, country = { "us", "de" } }, { country = "de" }))
    assert.same({}, where({ country = "us" }, { country = "de" }))
    assert.same({ ids[6] }, where({ country = "de" }, { region = "Bayern" }))
    assert.same({}, where({ region = "Bayern" }, { region = "Hessen" }))
    assert.same({ ids[3], ids[5] }, where({ tags = "b", country = "us" }, { tags = { "late", "b" } }))
    with_view(pool, {}, function(view)
      assert.equal(ids[6], view:where({ country = "de" }):where({ region = "Bayern" })[1].id)
      assert.has_error(function() view:where { colour = "red" } end)
      assert.has_error(function() view:where "de" end)
      assert.has_error(function() view:is_empty { colour = "red" } end, "a view cannot be filtered by 'colour'")
    end)
  end)

  it("where narrows to a state, with labels or without", function()
    pools.half_open(pool, ids[2])
    pools.half_open(pool, ids[5])
    pool:update(ids[5], { country = "de" })
    pool:update(ids[6], { country = "de" })
    local function where(request, ...)
      local filters = { ... }
      return with_view(pool, request, function(view)
        for i = 1, #filters do
          local is_empty = view:is_empty(filters[i])
          assert.equal(view:where(filters[i]), view:where(filters[i]))
          view = view:where(filters[i])
          assert.equal(#view == 0, is_empty)
        end
        local found, is_found = ids_of(view), {}
        for _, id in ipairs(found) do
          is_found[id] = true
        end
        for _, method in ipairs { "round_robin", "random", "least_used", "least_active", "best", "weighted" } do
          local picked = view[method](view)
          assert.equal(#found == 0, picked == nil)
          assert.is_true(picked == nil or is_found[picked.id], method)
        end
        assert.equal(#found, #view:sample(6))
        assert.equal(#found == 0, view:is_empty())
        return found
      end)
    end
    assert.same({ ids[2], ids[5] }, where({}, { state = "half_open" }))
    assert.same({ ids[2], ids[5] }, where({ state = "half_open" }, { state = { "half_open", "closed" } }))
    assert.same({ ids[5] }, where({}, { state = "half_open", country = { "fr", "de" } }))
    assert.same({ ids[6] }, where({ country = "de" }, { state = { "closed" } }))
    assert.same({ ids[6] }, where({ state = "closed" }, { country = "de" }))
    assert.same({ ids[5] }, where({}, { country = "de" }, { state = "half_open" }))
    assert.same({}, where({ state = "closed" }, { state = "half_open" }))
    assert.same({}, where({}, { state = "closed" }, { state = "half_open" }))
    with_view(pool, {}, function(view)
      assert.equal(4, #view:where { state = "closed" })
      assert.equal(2, #view:where { state = "half_open" })
      local _, message = pcall(function() assert(view:where { state = "open" }) end)
      assert.matches("view_spec%.lua:%d+: state cannot be 'open': such a proxy is never eligible", message)
    end)
  end)

  it("takes a pick of a narrowed view, and of none it did not offer", function()
    pool:update(ids[5], { country = "de" })
    local strategy = { name = "narrow", select = function(_, view) return view:where({ country = "de" })[1] end }
    assert.equal(ids[5], assert(pool:acquire { strategy = strategy }).id)
    local stubborn = { name = "stubborn" }
    local told
    local listening = pools.open(2, { logger = function(message) told = message end })
    local ours = pools.ids(listening)
    listening:update(ours[2], { country = "de" })
    stubborn.select = function(_, view) return view.pool:get(ours[1]) end
    assert.equal(ours[2], listening:acquire({ strategy = stubborn, country = "de" }).id) -- by the fallback
    assert.matches("not in its view", told)
    listening:close()
  end)

  it("is over after select, also when the pool is closed", function()
    local kept, narrow
    with_view(pool, {}, function(view)
      kept, narrow = view, view:where { country = "" }
      assert.equal(6, #narrow)
    end)
    for _ = 1, 2 do
      for _, view in ipairs { kept, narrow } do
        assert.has_error(function() return view[1] end)
        assert.has_error(function() return #view end)
        assert.has_error(function() return view:random() end)
        assert.has_error(function() return view.pool end)
      end
      pool:close()
    end
  end)

  it("survives a strategy that closes its pool", function()
    local closing = { name = "closing", select = function(_, view)
      local first = view[1]
      view.pool:close()
      return first
    end }
    assert.equal("closed", select(2, pool:acquire { strategy = closing }).kind)
  end)

  it("costs little, compiled: no garbage but the lease's", function()
    if not jit.status() then
      return
    end
    local garbage = require("traces").garbage
    local into = require("gyre").lease()
    local function round(n)
      for _ = 1, n do
        assert(pool:acquire_into(into))
        into:ok(5)
      end
    end
    assert(pool:use { name = "two", select = function(_, view)
      local a, b = view:random(), view:random()
      return (a.ema_ms or 0) * (a.active + 1) <= (b.ema_ms or 0) * (b.active + 1) and a or b
    end })
    local bytes = garbage(round, 20000)
    assert.is_true(bytes < 200, ("%.1f bytes a pick"):format(bytes))
  end)
end)
