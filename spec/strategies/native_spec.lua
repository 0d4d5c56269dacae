-- The promises of the strategies that the core carries out, each natively and by its `select`.
local gyre = require "gyre"
local pools = require "pools"

local function both(name)
  local made = dofile("strategies/" .. name .. ".lua")
  local copy = { name = name, select = made.select }
  return pairs { native = name, lua = copy }
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
    for _, id in ipairs(ids) do
      assert.is_true(math.abs(pool:get(id).started - before[id] - 10) <= 1)
    end
    pool:close()
  end)
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
    pool:close()
  end)
end

it("weighted by success_rate prefers who succeeds", function()
  local pool = pools.open(2, { seed = 5, breaker = { failures = 1000 } })
  local ids = pools.ids(pool)
  for _ = 1, 60 do
    pool:acquire({ exclude = { ids[2] } }):fail "proxy_bad" -- 0.95 ^ 60 = 0.046
  end
  assert(pool:use("weighted", { by = "success_rate" }))
  local before = pool:get(ids[1]).started
  for _ = 1, 1000 do
    pool:acquire():complete { verdict = "target_bad" }
  end
  -- binomial(1000, 0.046 / 1.046): mean 44, sigma 6.5; 5 sigma.
  assert.is_true(math.abs(pool:get(ids[1]).started - before - 44) < 33)
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

it("options are checked, and heard", function()
  local pool = pools.open(64, { max_proxies = 64 })
  for _, wrong in ipairs { { "least-used", { ties = "last" } }, { "least-active", { ties = 1 } },
    { "performance", { choices = 0 } }, { "performance", { min_success = 2 } }, { "performance", { max_ms = -1 } },
    { "weighted", { by = 5 } }, { "consistent-hash", { by = "cookie" } } } do
    assert.equal("strategy", select(2, pool:use(wrong[1], wrong[2])).kind)
  end
  local function different(strategy, options)
    pool:reset_counters()
    assert(pool:use(strategy, options))
    local seen, n = {}, 0
    for _ = 1, 40 do
      local lease = pool:acquire()
      n, seen[lease.id] = n + (seen[lease.id] and 0 or 1), true
      lease:ok()
    end
    return n
  end
  assert.equal(1, different("least-active", { ties = "first" }))
  assert.is_true(different("least-active", { ties = "random" }) > 15)
  assert(pool:use("performance", { choices = 64 }))
  pool:close()
end)

-- Natively, and by select under a composition whose other part is Lua's.
local function performance_with(options)
  local asks = { name = "asks", options = { over = "performance" }, select = function(self, view, request)
    return self.inner:select(view, request)
  end }
  asks.configure = function(self)
    self.inner = assert(require("gyre.strategy").load("performance", options))
  end
  return pairs { native = { "performance", options = options }, lua = asks }
end

for kind, strategy in performance_with { min_success = 0.9 } do
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

for kind, strategy in performance_with { max_ms = 100 } do
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

it("consistent-hash hashes the field that it is told", function()
  local pool = pools.open(30)
  local function id(request)
    local lease = assert(pool:acquire(request))
    lease:ok()
    return lease.id
  end
  local by_host = id { strategy = "consistent-hash", host = "a.example" }
  for i = 1, 10 do
    local request = { host = "a.example", session = "s" .. i, key = "k" .. i }
    request.strategy = { "consistent-hash", by = "host" }
    request.session = nil
    assert.equal(by_host, id(request))
  end
  assert(pool:use("consistent-hash", { by = "key" }))
  assert.equal("invalid", select(2, pool:acquire {}).kind)
  assert.matches("no key", select(2, pool:acquire { host = "b.example" }).message)
  assert.equal(id { key = "x" }, id { key = "x", host = "b.example" })
end)
