-- The promises of least-used, least-active, weighted, performance and consistent-hash, natively and by `select`.
-- round-robin and random have specs of their own.
local gyre = require "gyre"
local pools = require "pools"
local rules = require "rules"
local both = rules.both

-- How many different proxies n picks one after the other are of, and in which order.
local function picked(pool, n, request)
  local seen, order, different = {}, {}, 0
  for i = 1, n do
    local lease = assert(pool:acquire(request))
    different = different + (seen[lease.id] and 0 or 1)
    seen[lease.id], order[i] = true, ("%.0f"):format(lease.id)
    lease:ok(5)
  end
  return different, table.concat(order, " ")
end

for kind, strategy in both "least-used" do
  it("least-used keeps counts within one, whoever comes back: " .. kind, function()
    local pool = pools.open(7, { strategy = strategy })
    local ids = pools.ids(pool)
    pool:disable(ids[3])
    for _ = 1, 600 do
      pool:acquire():ok()
    end
    pool:enable(ids[3])
    local before = {}
    for _, id in ipairs(ids) do
      before[id] = pool:get(id).started
    end
    for _ = 1, 70 do
      pool:acquire():ok()
    end
    local least, most = math.huge, 0
    for _, id in ipairs(ids) do
      local since = pool:get(id).started - before[id]
      least, most = math.min(least, since), math.max(most, since)
    end
    assert.is_true(most - least <= 1)
    pool:close()
  end)
end

for _, ties in ipairs { "first", "random" } do
  for kind, strategy in both("least-used", { ties = ties }) do
    it(("least-used breaks ties %s: %s"):format(ties, kind), function()
      local pool = pools.open(12, { strategy = strategy })
      local _, first = picked(pool, 12)
      local _, second = picked(pool, 12)
      assert.equal(ties == "first", first == second) -- at random the same again with 1 / 12!
      pool:close()
    end)
  end

  for kind, strategy in both("least-active", { ties = ties }) do
    it(("least-active breaks ties %s: %s"):format(ties, kind), function()
      local pool = pools.open(64, { strategy = strategy })
      local different = picked(pool, 40)
      if ties == "first" then
        assert.equal(1, different)
      else
        assert.is_true(different > 15, different) -- 30 are to be expected, sigma 2
      end
      pool:close()
    end)
  end
end

for kind, strategy in both "least-active" do
  it("least-active takes one with the fewest in flight: " .. kind, function()
    local pool = pools.open(5, { strategy = strategy })
    local random, open = require("gyre.random").new(4), {}
    for _ = 1, 300 do
      local least = math.huge
      for proxy in pool:each() do
        least = math.min(least, proxy.active)
      end
      local lease = assert(pool:acquire())
      assert.equal(least + 1, lease.proxy.active)
      open[#open + 1] = lease
      if #open > 12 then
        table.remove(open, random:upto(#open)):ok()
      end
    end
    pool:close()
  end)
end

for kind, strategy in both "weighted" do
  it("weighted gives shares by weight: " .. kind, function()
    local pool = assert(gyre.open { strategy = strategy, seed = 5, proxies = { "h:1#weight=0", "h:2#weight=1",
      "h:3#weight=3" } })
    for _ = 1, 4000 do
      pool:acquire():ok()
    end
    -- binomial(4000, 3/4): mean 3000, sigma 27.4; 5 sigma.
    assert.equal(0, pool:find("h:1").started)
    assert.is_true(math.abs(pool:find("h:3").started - 3000) < 137, pool:find("h:3").started)
    for _, host in ipairs { "h:2", "h:3" } do
      pool:disable(pool:find("http://" .. host).id)
    end
    local _, err = pool:acquire()
    assert.equal("no_proxy", err.kind)
    assert.matches(kind == "native" and "2 disabled.* 1 of weight 0$" or "nobody has a weight above 0", err.message)
    pool:close()
  end)
end

for kind, strategy in both("weighted", { by = "success" }) do
  it("weighted by success prefers who succeeds: " .. kind, function()
    local pool = pools.open(2, { seed = 5, breaker = { failures = 1000 } })
    local ids = pools.ids(pool)
    for _ = 1, 60 do
      pool:acquire({ exclude = { ids[2] } }):fail "proxy_bad" -- 0.95 ^ 60 = 0.046
    end
    assert(pool:use(strategy))
    local before = pool:get(ids[1]).started
    for _ = 1, 1000 do
      pool:acquire():complete { verdict = "target_bad" }
    end
    -- binomial(1000, 0.046 / 1.046): mean 44, sigma 6.5; 5 sigma.
    assert.is_true(math.abs(pool:get(ids[1]).started - before - 44) < 33)
    pool:close()
  end)
end

it("weighted takes every number of proxies", function()
  local pool = pools.open(1, { proxies = { "http://192.0.2.1:80#cost=2" } })
  assert(pool:acquire()):ok(5)
  for _, by in ipairs { "weight", "success_rate", "started", "active", "completed", "succeeded", "failed", "aborted",
    "ema_ms", "consecutive_failures", "last_used", "bytes", "cost", "max_active", "benched_until", "expires" } do
    local weight = pool:get(pools.ids(pool)[1])[by] or 0
    assert.is_number(weight, by)
    assert(pool:use("weighted", { by = by }))
    local lease, err = pool:acquire()
    assert.equal(0, pool:strategies()[1].raised)
    assert.equal(weight > 0, lease ~= nil, by)
    if lease then
      lease:complete { verdict = "aborted" }
    else
      assert.equal("no_proxy", err.kind)
    end
  end
  pool:close()
end)

for kind, strategy in both "performance" do
  it("performance prefers the fast, and none above its share: " .. kind, function()
    local pool = pools.open(30, { strategy = strategy })
    local n = 6000
    for i = 1, n do
      if i % 20 == 0 then
        pool:set_time(i / 100)
      end
      local lease = assert(pool:acquire())
      lease:ok(lease.proxy.port <= 1010 and 50 or 500)
    end
    local fast = 0
    for proxy in pool:each() do
      fast = fast + (proxy.port <= 1010 and proxy.started or 0)
      -- 3 / 30 of the picks, and 10 % for chance: sigma of binomial(6000, 1/10) is 23.
      assert.is_true(proxy.started <= n * 3 / 30 * 1.1 + 115, proxy.started)
    end
    -- At least one of three is fast with 1 - (20 * 19 * 18) / (30 * 29 * 28) = 0.72 of the picks; some explore.
    assert.is_true(fast > 0.6 * n, fast)
    pool:close()
  end)
end

for kind, strategy in both "consistent-hash" do
  it("consistent-hash keeps keys where they are when others leave: " .. kind, function()
    local pool = pools.open(20, { strategy = strategy })
    local function where(i)
      local lease = assert(pool:acquire { key = "key " .. i })
      lease:ok()
      return lease.id
    end
    local before, moved = {}, 0
    for i = 1, 300 do
      before[i] = where(i)
    end
    local gone = before[1]
    pool:disable(gone)
    for i = 1, 300 do
      local now = where(i)
      assert.is_true(now ~= gone)
      moved = moved + ((now ~= before[i] and before[i] ~= gone) and 1 or 0)
    end
    assert.equal(0, moved)
    for _ = 1, 2 do -- without a key by host, and a second one in flight may pass on
      local lease = assert(pool:acquire { host = "a.example" })
      before.host = before.host or lease.id
      assert.equal(before.host, lease.id)
      lease:ok()
    end
    pool:close()
  end)
end

for _, choices in ipairs { 1, 64 } do
  for kind, strategy in both("performance", { choices = choices }) do
    it(("performance compares as many as it is told, %d of 64: %s"):format(choices, kind), function()
      local pool = pools.open(64, { max_proxies = 64 })
      local ids = pools.ids(pool)
      for i, id in ipairs(ids) do
        local others = { unpack(ids) }
        table.remove(others, i)
        assert(pool:acquire { exclude = others }):ok(i == 40 and 10 or 100)
        assert.equal(i == 40 and 10 or 100, pool:get(id).ema_ms)
      end
      assert(pool:use(strategy))
      local fastest = 0
      for _ = 1, 100 do
        local lease = assert(pool:acquire())
        fastest = fastest + (lease.id == ids[40] and 1 or 0)
        lease:complete { verdict = "target_bad" } -- no sample
      end
      if choices == 64 then
        -- The library draws 4 * 64 + 16 times, and misses it with (63 / 64) ^ 272: mean 98.6, sigma 1.2; 4 sigma.
        assert.is_true(fastest >= 93, fastest)
      else
        assert.is_true(fastest < 10, fastest) -- binomial(100, 1/64): mean 1.6, sigma 1.2
      end
      pool:close()
    end)
  end
end

for kind, strategy in both("performance", { min_success = 0.9 }) do
  it("performance leaves out who fails too often, unless a request says otherwise: " .. kind, function()
    local pool = pools.open(12, { breaker = { failures = 1000 } })
    local ids = pools.ids(pool)
    for _ = 1, 10 do
      local others = { unpack(ids, 2) }
      pool:acquire({ exclude = others }):fail "proxy_bad" -- 0.95 ^ 10 = 0.6
    end
    assert(pool:use(strategy))
    local before = pool:get(ids[1]).started
    for _ = 1, 200 do
      pool:acquire():complete { verdict = "target_bad" }
    end
    assert.equal(before, pool:get(ids[1]).started)
    local rest = { unpack(ids, 2) }
    assert.equal("no_proxy", select(2, pool:acquire { exclude = rest }).kind)
    assert.equal(ids[1], pool:acquire({ exclude = rest, min_success = 0.5 }).id)
    pool:close()
  end)
end

for kind, strategy in both("performance", { max_ms = 100 }) do
  it("performance leaves out who is too slow: " .. kind, function()
    local pool = pools.open(3)
    local ids = pools.ids(pool)
    for i = 1, 2 do
      pool:acquire({ exclude = { ids[i], ids[3] } }):ok(i == 1 and 50 or 500)
    end
    assert(pool:use(strategy))
    assert.equal(ids[2], pool:acquire({ exclude = { ids[3] } }).id)
    assert.equal("no_proxy", select(2, pool:acquire { exclude = { ids[2], ids[3] } }).kind)
    assert.equal(ids[1], pool:acquire({ exclude = { ids[2], ids[3] }, max_ms = 1000 }).id)
    pool:close()
  end)
end

for kind in both "consistent-hash" do
  it("consistent-hash hashes the field that it is told: " .. kind, function()
    local pool = pools.open(30)
    local function by(field)
      return kind == "native" and { "consistent-hash", by = field } or rules.in_lua("consistent-hash", { by = field })
    end
    local function id(request)
      local lease, err = pool:acquire(request)
      if not lease then
        return err.kind
      end
      lease:ok()
      return lease.id
    end
    for i = 1, 10 do
      local text = "text-" .. i
      assert(pool:use "consistent-hash")
      local home = id { key = text }
      local function request(field)
        local made = { key = "k" .. i, host = "h.example", session = "s" .. i }
        made[field] = text
        return made
      end
      for _, field in ipairs { "key", "host", "session" } do
        assert(pool:use(by(field)))
        assert.equal(home, id(request(field)), field)
        if field ~= "session" then -- without it nobody's proxy is kept
          assert.equal(home, id { [field] = text }, field)
        end
      end
      assert(pool:use(by "any"))
      assert.equal(home, id { key = text, host = "h.example" })
      assert.equal(home, id { host = text, session = "other" .. i })
    end
    for _, field in ipairs { "key", "host", "session" } do
      assert(pool:use(by(field)))
      local request = { key = "k", host = "h.example", session = "s" }
      request[field] = nil
      local lease, err = pool:acquire(request)
      assert.is_nil(lease)
      assert.matches("the request has no " .. field, err.message)
    end
    pool:close()
  end)
end
