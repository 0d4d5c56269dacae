-- One segment, several handles: each Lua state and each process has its own, and all follow the same strategy.
local files = require "strategy_file"
local gyre = require "gyre"

local function path_of_segment()
  local path = os.tmpname()
  os.remove(path)
  return path
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local LIST = { "http://192.0.2.1:80", "http://192.0.2.2:80", "http://192.0.2.3:80" }

local function text_of(n)
  return ("return { name = 'nth', options = { n = %d }, configure = function(self, options) self.n = options.n end, "
    .. "select = function(self, view) return view[self.n] end }"):format(n)
end

describe("gyre.swap", function()
  local segment, strategy_file, told

  before_each(function()
    segment, strategy_file, told = path_of_segment(), files.name(), {}
  end)

  after_each(function()
    os.remove(segment)
    os.remove(strategy_file)
  end)

  local function open(more)
    local options = { shared = segment, max_proxies = 64, max_sessions = 64, max_leases = 1024, max_bans = 64,
      clock = "manual", logger = function(message) told[#told + 1] = message end }
    for name, value in pairs(more or {}) do
      options[name] = value
    end
    return assert(gyre.open(options))
  end

  local function ports(pool, n)
    local seen = {}
    for i = 1, n do
      local lease = assert(pool:acquire())
      seen[i] = lease.proxy.host:match "%d+$"
      lease:ok()
    end
    return table.concat(seen)
  end

  it("reaches every handle with its next acquire, by name, path, options and composition", function()
    local one = open { proxies = LIST }
    local two = open()
    assert.equal("round-robin", two.strategy)
    assert(one:use("least-active", { ties = "first" }))
    assert.equal("1111", ports(two, 4))
    assert.equal("least-active", two.strategy)
    write(strategy_file, text_of(2))
    assert(two:use(strategy_file))
    assert.equal("222", ports(one, 3))
    assert(one:use(strategy_file, { n = 3 }))
    assert.equal("333", ports(two, 3))
    assert.equal("nth", two.strategy)
    assert(two:update(two:find(LIST[2]).id, { tags = "cheap" }))
    assert(two:use(gyre.compose { where = { tags = { "cheap" } }, "random" }))
    assert.equal("222", ports(one, 3))
    assert(two:use("session", { over = { "tiered", tiers = { "cheap", "dear" }, rest = false } }))
    assert.equal("222", ports(one, 3))
    assert.equal("session over tiered cheap,dear over round-robin", one:strategies()[1].title)
    assert.equal(0, one:strategies()[1].failed_swaps)
    one:close()
    two:close()
  end)

  it("is kept with the segment, unless open says otherwise", function()
    local one = open { proxies = LIST }
    write(strategy_file, text_of(1))
    assert(one:use(strategy_file, { n = 2 }))
    one:close()
    one = open()
    assert.equal("22", ports(one, 2))
    local generation = one:strategies()[1].generation
    local same = open { strategy = strategy_file, strategy_options = { n = 2 } }
    assert.equal(generation, same:strategies()[1].generation) -- what is there is not written again
    same:close()
    one:close()
    one = open { strategy = "random" }
    assert.equal("random", one.strategy)
    local two = open()
    assert.equal("random", two.strategy)
    one:close()
    two:close()
    os.remove(strategy_file)
  end)

  it("picks as the old one where the new one does not load", function()
    local one = open { strategy = "least-active", proxies = LIST }
    assert(one:acquire()):ok()
    local two = open()
    write(strategy_file, text_of(1))
    assert(two:use(strategy_file))
    os.remove(strategy_file)
    local held = assert(one:acquire())
    for _ = 1, 6 do
      local lease = assert(one:acquire())
      assert.not_equal(held.id, lease.id)
      lease:ok(1)
    end
    assert.equal("least-active", one.strategy)
    one:close()
    two:close()
  end)

  it("leaves the old one in use where the new one does not load, and tells it once", function()
    local one, two = open { proxies = LIST }, open()
    write(strategy_file, text_of(2))
    assert(one:use(strategy_file))
    assert.equal("22", ports(two, 2))
    os.remove(strategy_file)
    assert.equal("strategy", select(2, one:use(strategy_file)).kind)
    assert.equal("22", ports(one, 2)) -- nothing was said to anybody
    local generation = one:strategies()[1].generation
    write(strategy_file, text_of(3))
    assert(one:use(strategy_file))
    os.remove(strategy_file)
    assert.equal("22", ports(two, 2)) -- it was gone when two looked
    assert.equal("33", ports(one, 2))
    assert.equal(1, #told)
    assert.matches("not used: .*No such file", told[1])
    local state = two:strategies()[1]
    assert.same({ 1, generation }, { state.failed_swaps, state.generation })
    local _, err = gyre.open { shared = segment }
    assert.matches("No such file", tostring(err))
    one:close()
    two:close()
  end)

  it("keeps tables to their handle, and only when that is said", function()
    local one, two = open { proxies = LIST }, open()
    local table_strategy = { name = "third", select = function(_, view) return view[3] end }
    local _, err = one:use(table_strategy)
    assert.equal("strategy", err.kind)
    assert.matches("cannot be loaded by other processes: use a name or a path, or say local_only = true", err.message)
    assert.matches("local_only", tostring(select(2, gyre.open { shared = segment, strategy = table_strategy })))
    assert(one:use(table_strategy, nil, { local_only = true }))
    assert.equal("33", ports(one, 2))
    assert.equal("round-robin", two.strategy)
    assert.is_nil(ports(two, 3):find "333")
    assert(two:use("least-active", { ties = "first" }, { local_only = true }))
    assert.equal("11", ports(two, 2))
    assert.equal("33", ports(one, 2))
    assert(two:use("least-active", { ties = "first" })) -- a swap for all ends what is local
    assert.equal("11", ports(one, 2))
    assert.has_error(function() one:use("random", nil, { locally = true }) end)
    local deep = { "random" }
    for _ = 1, 20 do
      deep = { deep, where = { region = ("x"):rep(200) } }
    end
    assert.equal("strategy", select(2, one:use(deep)).kind) -- too deep; and too long for the segment
    one:close()
    two:close()
  end)

  it("records a lease by the strategy that issued it, whatever is in use since", function()
    local one, two = open { proxies = LIST }, open()
    write(strategy_file, "local n = 0 return { name = 'counting', select = function(_, view) return view[1] end, "
      .. "record = function(_, proxy, outcome) error('recorded ' .. outcome.verdict, 0) end }")
    assert(one:use(strategy_file))
    local lease = assert(two:acquire())
    assert(one:use "random")
    assert(two:acquire():ok())
    assert.equal("random", two.strategy)
    local ended, err = lease:ok()
    assert.is_true(ended)
    assert.matches("recorded ok", err.message)
    one:close()
    two:close()
  end)

  it("reads a changed file again, for all, and goes back when it is broken", function()
    local one, two = open { proxies = LIST }, open()
    write(strategy_file, text_of(1))
    assert(one:use(strategy_file))
    assert.equal("1", ports(two, 1))
    write(strategy_file, text_of(2))
    assert.equal("1", ports(two, 1)) -- nobody looks by itself
    assert(one:reload_strategy())
    assert.equal("22", ports(one, 1) .. ports(two, 1))
    write(strategy_file, "return {")
    assert.equal("strategy", select(2, one:reload_strategy()).kind)
    assert.equal("22", ports(one, 1) .. ports(two, 1))
    write(strategy_file, text_of(3))
    assert(one:use({ name = "t", select = function(_, view) return view[1] end }, nil, { local_only = true }))
    assert.matches("cannot be read again", select(2, one:reload_strategy()).message)
    one:close()
    two:close()
  end)

  it("watches the file", function()
    write(strategy_file, text_of(1))
    local one = open { proxies = LIST, strategy = strategy_file, watch = true }
    local two = open()
    assert.equal("1", ports(one, 1))
    write(strategy_file, text_of(2))
    one:set_time(one:time() + 1.5)
    assert.equal("22", ports(one, 1) .. ports(two, 1))
    write(strategy_file, "return { name = 'broken' }")
    for _ = 1, 3 do
      one:set_time(one:time() + 1.5)
      assert.equal("2", ports(one, 1))
    end
    assert.equal(1, one:strategies()[1].failed_swaps)
    assert.matches("changed, and not used: ", told[1])
    write(strategy_file, text_of(3))
    one:set_time(one:time() + 1.5)
    assert.equal("33", ports(one, 1) .. ports(two, 1))
    one:close()
    two:close()
  end)

  it("watches the files of strategies that requests name", function()
    write(strategy_file, text_of(1))
    local one = open { proxies = LIST, watch = true }
    local other = open()
    local function port(handle)
      local lease = assert(handle:acquire { strategy = strategy_file })
      lease:ok()
      return lease.proxy.host:sub(-1)
    end
    assert.equal("11", port(one) .. port(other))
    write(strategy_file, text_of(2))
    one:set_time(one:time() + 1.5)
    assert.equal("21", port(one) .. port(other)) -- which does not watch
    write(strategy_file, "return { name = 'broken' }")
    for _ = 1, 3 do
      one:set_time(one:time() + 1.5)
      assert.equal("2", port(one))
    end
    assert.equal(1, #told)
    assert.matches("strategy 'nth': changed, and not used: ", told[1])
    write(strategy_file, text_of(3))
    one:set_time(one:time() + 1.5)
    assert.equal("3", port(one))
    one:close()
    other:close()
  end)

  it("says whose strategy it is that open cannot follow", function()
    write(strategy_file, text_of(1))
    open({ proxies = LIST, strategy = strategy_file }):close()
    os.remove(strategy_file)
    local _, err = gyre.open { shared = segment }
    assert.equal("strategy", err.kind)
    assert.matches("^the segment's strategy: .*No such file", err.message)
    local one = open { strategy = "random" }
    assert.equal("random", one.strategy)
    one:close()
  end)

  it("says in tostring what a strategy is made of", function()
    local one = open { proxies = LIST }
    local sticky = { "session", over = "least-used" }
    assert(one:use(gyre.compose { where = { country = "us" }, sticky, fallback = "random" }))
    assert.matches("pool of 3, session over least%-used where country=us, else random", tostring(one))
    one:close()
  end)
end)
