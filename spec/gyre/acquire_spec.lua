local gyre = require "gyre"
local pools = require "pools"

-- A strategy made on the spot.
local function by(select_function, more)
  local made = { name = "spec", select = select_function }
  for name, value in pairs(more or {}) do
    made[name] = value
  end
  return made
end

describe("gyre.acquire", function()
  local pool, ids

  before_each(function()
    pool = pools.open(5)
    ids = pools.ids(pool)
  end)

  after_each(function()
    pool:close()
  end)

  local function first(_, view)
    return view[1]
  end

  it("leaves out who is excluded, with every kind of strategy", function()
    for _, strategy in ipairs { "round-robin", "random", by(first) } do
      for _ = 1, 30 do
        local lease = assert(pool:acquire { strategy = strategy, exclude = { ids[1], ids[2], ids[4], 999 } })
        assert.is_true(lease.id == ids[3] or lease.id == ids[5])
        lease:ok()
      end
      local none, err = pool:acquire { strategy = strategy, exclude = ids }
      assert.is_nil(none)
      assert.equal("no_proxy", err.kind)
    end
  end)

  it("takes any number of excludes", function()
    local many = {}
    for i = 1, 500 do
      many[i] = 12345 + i
    end
    many[501], many[502], many[503], many[504] = ids[1], ids[2], ids[3], ids[4]
    assert.equal(ids[5], pool:acquire({ exclude = many }).id)
  end)

  describe("with a state", function()
    local BUILT_IN = { "round-robin", "random", "least-used", "least-active", "weighted", "performance", "proportional",
      "consistent-hash", by(function(_, view) return view:random() end) }

    before_each(function()
      pool:update(ids[3], { country = "de" })
      pool:update(ids[4], { country = "de" })
      pools.half_open(pool, ids[2])
      pools.half_open(pool, ids[3])
    end)

    local function seen_with(request, n)
      local seen = {}
      for _ = 1, n or 40 do
        local lease = assert(pool:acquire(request))
        for i = 1, #ids do
          if ids[i] == lease.id then
            seen[i] = pool:get(lease.id).state
          end
        end
        lease:complete { verdict = "aborted" }
      end
      return seen
    end

    it("has closed proxies only, or probes only, with every strategy", function()
      for _, strategy in ipairs(BUILT_IN) do
        for state, wanted in pairs { closed = { true, false, false, true, true }, half_open = { false, true, true } } do
          local request = { strategy = strategy, state = state, key = "k" }
          for i, is in pairs(seen_with(request)) do
            assert.is_true(wanted[i])
            assert.equal(state, is)
          end
          request.country = "DE"
          assert.same({ [state == "closed" and 4 or 3] = state }, seen_with(request, 5))
        end
      end
    end)

    it("means nothing for the next request, and nothing when both are named", function()
      assert.same({ [2] = "half_open", [3] = "half_open" }, seen_with { state = "half_open" })
      local all = { "closed", "half_open", "half_open", "closed", "closed" }
      assert.same(all, seen_with {})
      assert.same(all, seen_with(nil))
      assert.same(all, seen_with { state = { "closed", "half_open" } })
      assert.same(all, seen_with { state = { "half_open", "closed", "half_open" } })
      assert.same({ [2] = "half_open", [3] = "half_open" }, seen_with { state = { "half_open" } })
    end)

    it("moves a session whose proxy is in another, as with a country", function()
      local lease = assert(pool:acquire { session = "a", state = "half_open" })
      assert(lease:ok(5)) -- which closes it
      assert.equal("closed", pool:get(lease.id).state)
      assert.equal(lease.id, assert(pool:acquire { session = "a", state = "closed" }).id)
      local moved = assert(pool:acquire { session = "a", state = "half_open" })
      assert.not_equal(lease.id, moved.id)
      assert(moved:complete { verdict = "aborted" })
      assert.equal(moved.id, assert(pool:acquire { session = "a" }).id)
    end)

    it("says how many are in another one", function()
      local _, err = pool:acquire { state = "half_open", exclude = { ids[2], ids[3] } }
      assert.equal("no_proxy", err.kind)
      assert.matches("3 not half_open, 0 benched, .* 2 excluded", err.message)
    end)

    it("refuses those that nobody eligible is in, and says which", function()
      for state, why in pairs {
        open = "state cannot be 'open': such a proxy is never eligible; it is 'closed' or 'half_open'",
        draining = "'draining': such", disabled = "'disabled': such", closd = "state cannot be 'closd': it is 'closed'",
        [7] = "not a number", [{}] = "names none", [{ "closed", "open" }] = "'open': such", [{ 1 }] = "not a number",
      } do
        for _, strategy in ipairs { "random", by(first) } do
          local ran, message = pcall(function() assert(pool:acquire { state = state, strategy = strategy }) end)
          assert.is_false(ran)
          assert.matches("acquire_spec.lua:%d+: .*" .. why:gsub("[%[%]]", "%%%0"), message)
        end
      end
      assert(pool:acquire { state = "closed" }) -- nothing of it stays
    end)
  end)

  it("hands the request to the strategy", function()
    local seen
    local strategy = by(function(_, view, request)
      seen = request
      return view[request.metadata]
    end)
    assert.equal(ids[4], pool:acquire({ strategy = strategy, metadata = 4 }).id)
    assert.equal(4, seen.metadata)
    assert(pool:use(strategy))
    assert.equal("no_proxy", select(2, pool:acquire()).kind)
    assert.same({}, seen)
  end)

  it("counts started and active before it returns", function()
    assert(pool:use(by(first)))
    local lease = assert(pool:acquire())
    assert.same({ 1, 1 }, { lease.proxy.started, lease.proxy.active })
    lease:ok(1)
    assert.same({ 1, 0, 1 }, { lease.proxy.started, lease.proxy.active, lease.proxy.succeeded })
  end)

  it("asks again when the pick was taken meanwhile", function()
    for _, id in ipairs(ids) do
      pool:update(id, { max_active = 1 })
    end
    local asked = 0
    local greedy = by(function(_, view)
      asked = asked + 1
      local picked = view[1]
      if asked == 1 then
        assert(pool:acquire { strategy = "round-robin", exclude = { ids[2], ids[3], ids[4], ids[5] } })
      end
      return picked
    end)
    local lease = assert(pool:acquire { strategy = greedy })
    assert.equal(2, asked)
    assert.equal(ids[2], lease.id)
  end)

  it("tells busy from no_proxy, with how many are out and why", function()
    assert(pool:use(by(first)))
    for i, id in ipairs(ids) do
      if i <= 2 then
        pool:disable(id)
      elseif i == 3 then
        pool:drain(id)
      else
        pool:update(id, { max_active = 1 })
      end
    end
    assert(pool:acquire())
    assert(pool:acquire())
    local _, err = pool:acquire()
    assert.equal("busy", err.kind)
    assert.matches("0 benched, 2 disabled, 1 draining, 0 excluded, 2 at their limit", err.message)
    for i = 4, 5 do
      pool:disable(ids[i])
    end
    assert.equal("no_proxy", select(2, pool:acquire()).kind)
  end)

  it("takes the reason of a strategy that picks none", function()
    local _, err = pool:acquire { strategy = by(function() return nil, "not on Sundays" end) }
    assert.equal("no_proxy", err.kind)
    assert.equal("strategy 'spec' picked none: not on Sundays", err.message)
    _, err = pool:acquire { strategy = by(function() return nil end) }
    assert.equal("strategy 'spec' picked none: it did not say why", err.message)
  end)

  it("lets no comma too many out through another country", function()
    local one = pools.open(1)
    one:update(pools.ids(one)[1], { country = "de" })
    assert.equal("no_proxy", select(2, one:acquire { country = "us" }).kind)
    for _, country in ipairs { "us,", ",us", "us,,fr", { "us", "" } } do
      local ran, why = pcall(one.acquire, one, { country = country })
      assert.is_false(ran)
      assert.matches("country has an empty text in its list", why)
    end
    assert.equal("no_proxy", select(2, one:acquire { country = " us , fr " }).kind)
    assert(one:acquire { country = "us, de" }):ok()
    one:close()
  end)

  it("says no line of ours where a strategy ends with a call that raises", function()
    local told
    local watched = pools.open(3, { logger = function(message) told = message end })
    for message, select_function in pairs {
      ["a key is text, not a nil"] = function(_, view) return view:hash() end,
      ["choices is a whole number from 1 to 64"] = function(_, view) return view:best(2.5) end,
      ["min_success is a number from 0 to 1"] = function(_, view) return view:best(2, 0 / 0) end,
      ["max_ms is a number of milliseconds"] = function(_, view) return view:best(2, 1, "5") end,
    } do
      assert(watched:acquire { strategy = by(select_function) })
      assert.equal("strategy 'spec': " .. message, told:match "[^\n]*")
    end
    watched:close()
  end)

  it("serves by the fallback when the strategy fails, and counts and tells it", function()
    local told = {}
    local watched = pools.open(5, { trip_after = 1000, logger = function(message) told[#told + 1] = message end })
    local other = pools.open(1)
    local foreign = other:get(pools.ids(other)[1])
    local broken = {
      function() error("out of luck", 0) end,
      function() error { code = 1 } end,
      function() return 17 end,
      function() return "http://192.0.2.1:80" end,
      function() return foreign end,
      function(_, view) return view end,
      function() return watched:acquire { strategy = "random" } end,
    }
    for i, select_function in ipairs(broken) do
      local strategy = by(select_function)
      assert.is_true(watched:acquire({ strategy = strategy }):ok(), i)
      local raised, wrong = 0, 0
      for _, each in ipairs(watched:strategies()) do
        raised, wrong = raised + each.raised, wrong + each.wrong
      end
      assert.same({ math.min(i, 2), math.max(i - 2, 0) }, { raised, wrong })
      assert.matches("^strategy 'spec': ", told[i])
    end
    assert.matches("out of luck\nstack traceback:\n.*acquire_spec", told[1])
    assert.is_nil(told[1]:find("gyre/choose", 1, true)) -- only its own part of the way
    local count = watched:counter("fallback spec"):get()
    assert.equal(#broken, count)
    other:close()
    watched:close()
  end)

  it("refuses a pick that the request excluded", function()
    local proxy = pool:get(ids[1])
    local stubborn = by(function() return proxy end)
    local quiet = { strategy = stubborn, exclude = { ids[1] } }
    local told
    local listening = pools.open(5, { logger = function(message) told = message end })
    proxy = listening:get(pools.ids(listening)[1])
    assert.equal(proxy.id, listening:acquire({ strategy = stubborn }).id)
    quiet.exclude[1] = proxy.id
    assert.is_true(listening:acquire(quiet).id ~= proxy.id)
    assert.matches("not in its view", told)
    listening:close()
  end)

  it("does not let select acquire through itself", function()
    local err
    local recursive
    recursive = by(function(_, view)
      err = select(2, pool:acquire { strategy = recursive })
      return view[1]
    end)
    assert(pool:acquire { strategy = recursive })
    assert.equal("strategy", err.kind)
    assert.matches("acquires from its own pool", err.message)
  end)

  it("serves others by the fallback while select has yielded, and gives it up after a rest", function()
    local told, waits = {}, true
    local watched = pools.open(4, { clock = "manual", trip_after = 3, trip_rest = 5, logger = function(message)
      told[#told + 1] = message
    end })
    assert(watched:use(by(function(_, view)
      if waits then
        coroutine.yield()
      end
      return view[2]
    end, { fallback = "least-used" })))
    local function begin()
      local waiting = coroutine.create(function() return watched:acquire { attempt = 1 } end)
      assert.is_true(coroutine.resume(waiting))
      return waiting
    end
    local waiting, second = begin(), pools.ids(watched)[2]
    assert(watched:acquire()) -- by the fallback
    assert.matches("select yielded", told[1])
    local _, lease = coroutine.resume(waiting)
    assert.equal(second, lease.id)
    waits = false
    assert.equal(second, watched:acquire().id)
    waits = true
    begin() -- and never again
    waits = false
    for _ = 1, 3 do
      assert.not_equal(second, watched:acquire({ exclude = { second } }).id)
    end
    assert.equal(1, watched:strategies()[1].trips)
    assert(watched:acquire())
    assert.equal(1, watched:strategies()[1].rested)
    watched:set_time(watched:time() + 6)
    assert.equal(second, watched:acquire().id)
    watched:close()
  end)

  it("calls record of the strategy that issued the lease", function()
    local log = {}
    local function recorder(name)
      return by(first, { name = name, record = function(self, proxy, outcome)
        log[#log + 1] = { self.name, proxy.id, outcome.verdict, outcome.ms or "-", outcome.bytes or "-" }
      end })
    end
    assert(pool:use(recorder "a"))
    local one, two, three = pool:acquire(), pool:acquire(), pool:acquire()
    assert(pool:use(recorder "b"))
    local four = pool:acquire()
    assert(pool:use "random")
    local five = pool:acquire()
    for _, lease in ipairs { four, five } do
      assert.is_true(lease:ok(4))
    end
    assert.is_true(one:ok())
    assert.is_true(two:fail("proxy_bad", 7))
    assert.is_true(three:complete { verdict = "banned", bytes = 9 })
    assert.is_nil(three:ok())
    assert.same({ { "b", ids[1], "ok", 4, "-" }, { "a", ids[1], "ok", "-", "-" }, { "a", ids[1], "proxy_bad", 7, "-" },
      { "a", ids[1], "banned", "-", 9 } }, log)
  end)

  it("keeps a completion whose record raises, and says so", function()
    assert(pool:use(by(first, { record = function() error("full disk", 0) end })))
    local ended, err = pool:acquire():ok(1)
    assert.is_true(ended)
    assert.equal("strategy", err.kind)
    assert.matches("full disk", err.message)
    assert.same({ 1, 0 }, { pool:stats().succeeded, pool:stats().active })
  end)

  it("records for native strategies that want it", function()
    local count = 0
    local native = by(function(_, view) return view:random() end, {
      native = "random", record = function() count = count + 1 end })
    assert(pool:use(native))
    pool:acquire():ok()
    pool:acquire_into(gyre.lease()):ok()
    pool:acquire({ exclude = { ids[1] } }):ok()
    assert.equal(3, count)
  end)
end)
