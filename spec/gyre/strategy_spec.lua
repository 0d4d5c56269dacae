local ffi = require "ffi"
local gyre = require "gyre"
local pools = require "pools"
local strategy = require "gyre.strategy"
local write = require("strategy_file").write

-- Under a name of our own: others may have declared it their way.
ffi.cdef [[int gyre_setenv(const char *name, const char *value, int overwrite) asm("setenv");]]

local function with_file(text, run)
  local path = write(text)
  local ran, value, err = pcall(run, path)
  os.remove(path)
  assert(ran, value)
  return value, err
end

local function load_text(text)
  return with_file(text, strategy.load)
end

local SELECT = "select = function(_, view) return view[1] end"

-- Runs with directories in GYRE_STRATEGY_PATH that hold files, e.g. { { "a.lua" }, { "a.lua", "b.lua" } } joined by a
-- mark; the strategy in a file is named by directory and file: "1/a.lua".
local function with_path(directories, mark, run)
  local made, before = {}, os.getenv "GYRE_STRATEGY_PATH"
  for i, files in ipairs(directories) do
    made[i] = os.tmpname()
    os.remove(made[i])
    assert(os.execute("mkdir " .. made[i]) == 0)
    for _, name in ipairs(files) do
      local file = assert(io.open(made[i] .. "/" .. name, "wb"))
      file:write(("return { name = '%d/%s', %s }"):format(i, name, SELECT))
      file:close()
    end
  end
  ffi.C.gyre_setenv("GYRE_STRATEGY_PATH", table.concat(made, mark), 1)
  local ran, message = pcall(run, made)
  ffi.C.gyre_setenv("GYRE_STRATEGY_PATH", before or "", 1)
  os.execute("rm -r " .. table.concat(made, " "))
  assert(ran, message)
end

local function name_of(name)
  local made, loaded = assert(strategy.load(name))
  return made.name, loaded.name
end

describe("gyre.strategy", function()
  it("loads by name, with - and _ alike", function()
    assert.equal("round-robin", assert(strategy.load "round-robin").name)
    assert.equal("round-robin", assert(strategy.load "round_robin").name)
    assert.equal("round-robin", select(2, strategy.load "round_robin").name)
  end)

  it("knows older names of some", function()
    for old, new in pairs { performance_based = "proportional", ["session-persistence"] = "session",
      ["geo-targeted"] = "geo" } do
      assert.same({ new, new }, { name_of(old) })
    end
  end)

  it("looks through the directories of GYRE_STRATEGY_PATH in turn, then among ours", function()
    for _, mark in ipairs { ":", ";" } do
      with_path({ { "mine.lua", "random.lua" }, { "mine.lua", "other.lua", "session.lua" } }, mark, function()
        assert.equal("1/mine.lua", name_of "mine")
        assert.equal("2/other.lua", name_of "other")
        assert.equal("1/random.lua", name_of "random") -- instead of ours
        assert.equal("2/session.lua", name_of "session")
        assert.equal("weighted", name_of "weighted")
      end)
    end
  end)

  it("looks for a name as it is written, then with - and _ exchanged, then for what it is an older name of", function()
    with_path({ { "my_under.lua", "my-dash.lua", "one-two.lua" }, { "one_two.lua", "performance-based.lua",
      "geo.lua" } }, ":", function(directories)
      assert.same({ "1/my_under.lua", "my_under" }, { name_of "my_under" })
      assert.same({ "1/my_under.lua", "my_under" }, { name_of "my-under" })
      assert.same({ "1/my-dash.lua", "my-dash" }, { name_of "my_dash" })
      assert.equal("1/one-two.lua", name_of "one-two")
      assert.equal("2/one_two.lua", name_of "one_two") -- though the first directory has the other
      assert.equal("2/performance-based.lua", name_of "performance-based")
      assert.equal("2/performance-based.lua", name_of "performance_based")
      assert.same({ "2/geo.lua", "geo" }, { name_of "geo-targeted" })
      assert.equal("session", name_of "session-persistence")
      local message = select(2, strategy.load "no_one").message
      local at = 1
      for _, name in ipairs { "no_one", "no-one" } do
        for _, directory in ipairs(directories) do
          at = assert(message:find(("\n\tno file %s/%s.lua"):format(directory, name), at, true), message)
        end
      end
    end)
  end)

  it("takes names, paths and tables, and says so", function()
    local says = "a strategy is a name, a path or a table, not "
    for _, wrong in ipairs { 5, true } do
      local told = says .. tostring(wrong)
      assert.matches(told, select(2, strategy.load(wrong)).message)
      assert.matches(told, select(2, strategy.load { wrong }).message)
      assert.matches(told, select(2, strategy.load { strategy = wrong }).message)
      assert.matches(told, select(2, strategy.load { "random", fallback = wrong }).message)
      assert.matches("strategy 'session': " .. told, select(2, strategy.load("session", { over = wrong })).message)
      assert.matches(told, select(2, gyre.open { strategy = { "session", over = wrong } }).message)
      assert.matches("options are a table, not " .. tostring(wrong), select(2, strategy.load("random", wrong)).message)
    end
    assert.has_error(function() gyre.compose { "random", options = 5 } end,
      "options of a composition are a table, not a number")
  end)

  it("says where it looked for a name", function()
    local made, err = strategy.load "no-such-thing"
    assert.is_nil(made)
    assert.equal("strategy", err.kind)
    assert.matches("^no strategy 'no%-such%-thing'; .*%.lua\n\tno file .*strategies/no%-such%-thing%.lua", err.message)
    local names = err.message:match "; built in are ([%w, -]+); a file of yours is named by its path, %./[%w-]+%.lua\n"
    local known, there = {}, io.popen "cd strategies && ls *.lua"
    for name in names:gmatch "[%w-]+" do
      known[name] = true
    end
    for name in there:read("*a"):gmatch "([%w-]+)%.lua" do
      assert.equal(name ~= "composite", known[name] or false, name)
      known[name] = nil
    end
    there:close()
    assert.is_nil(next(known))
    assert.equal("strategy", select(2, strategy.load "a b").kind)
    assert.equal("strategy", select(2, strategy.load "").kind)
    assert.equal("strategy", select(2, strategy.load "./no-such.lua").kind)
  end)

  it("loads by path, each time anew", function()
    with_file("return { name = 'x', " .. SELECT .. " }", function(path)
      local one, two = assert(strategy.load(path)), assert(strategy.load(path))
      assert.equal("x", one.name)
      assert.is_true(one ~= two)
    end)
  end)

  it("takes the program's embedded ones when there is no file", function()
    local before = package.loaded["gyre.embedded"]
    package.loaded["gyre.embedded"] = { ["spec-embedded"] = "return { name = 'e', " .. SELECT .. " }" }
    local made = strategy.load "spec_embedded"
    package.loaded["gyre.embedded"] = before
    assert.equal("e", made.name)
  end)

  it("rejects what is no strategy, naming the place", function()
    for text, message in pairs {
      ["return {"] = ":1: ",
      ["error 'broken'"] = ":1: broken",
      ["return 17"] = "returns a number",
      [""] = "returns a nil",
      ["return { " .. SELECT .. " }"] = "needs a name",
      ["return { name = 'x' }"] = "'x' has no function select",
      ["return { name = 'x', select = 5 }"] = "'x' has no function select",
      ["return { name = 'x', record = 5, " .. SELECT .. " }"] = "record must be a function",
      ["return { name = 'x', configure = {}, " .. SELECT .. " }"] = "configure must be a function",
      ["return { name = 'x', native = 'fastest', " .. SELECT .. " }"] = "no native picker 'fastest'",
      ["return { name = 'x', requires = 'cost', " .. SELECT .. " }"] = "requires must be a list",
      ["return { name = 'x', requires = { 'colour' }, " .. SELECT .. " }"] = "requires 'colour'",
      ["return { name = 'x', judge = 'strct', " .. SELECT .. " }"] = "'x': judge: there is no judge 'strct'",
      ["return { name = 'x', judge = 5, " .. SELECT .. " }"] = "'x': judge: a judge is a word, a table or a function",
      ["return { name = 'x', judge = { [404] = 'bad' }, " .. SELECT .. " }"] = "'x': judge: a table of verdicts has",
      ["return { name = 'x', configure = function(self) self.judge = 'no' end, " .. SELECT .. " }"] = "no judge 'no'",
      ["return { name = 'x', options = 5, " .. SELECT .. " }"] = "options must be a table",
      ["return { name = 'x', steps = {} }"] = "steps must be a list",
      ["return { name = 'x', steps = { { 'random' } } }"] = "a step begins with a strategy",
      ["return { name = 'x', takes = { 'host' }, " .. SELECT .. " }"] = "it can take country and region, not host",
      ["count = 0 return { name = 'x', " .. SELECT .. " }"] = ":1: a strategy must not assign the global 'count'",
    } do
      local made, err = load_text(text)
      assert.is_nil(made, text)
      assert.equal("strategy", err.kind)
      assert.matches(message, err.message)
    end
  end)

  it("refuses globals also later, in select", function()
    local made = assert(load_text "return { name = 'x', select = function(_, view) last = view[1] return last end }")
    local told
    local pool = pools.open(2, { logger = function(message) told = message end })
    assert(pool:acquire { strategy = made }) -- by the fallback
    assert.matches("must not assign the global 'last'", told)
    pool:close()
  end)

  it("tells the way to an error, as far as it is the strategy's own", function()
    local text = "local function fail() error 'boom' end return { name = 'x', select = function() fail() end }"
    with_file(text, function(path)
      local told
      local pool = pools.open(2, { logger = function(message) told = message end })
      assert(pool:acquire { strategy = path })
      assert.matches("^strategy 'x': %S+:1: boom\nstack traceback:\n", told)
      assert.matches(":1: in function 'fail'\n[^\n]*:1: in %C*$", told)
      pool:close()
    end)
  end)

  it("lets it read globals", function()
    assert.equal(4, assert(load_text("return { name = 'x', n = math.max(3, 4), " .. SELECT .. " }")).n)
  end)

  it("configures with defaults and options, and knows no others", function()
    local text = "return { name = 'x', options = { k = 2, deep = false }, configure = function(self, o) "
      .. "self.k, self.deep = o.k, o.deep if o.k < 0 then error('k is negative', 0) end end, " .. SELECT .. " }"
    with_file(text, function(path)
      assert.equal(2, assert(strategy.load(path)).k)
      local made = assert(strategy.load(path, { k = 5, deep = true }))
      assert.same({ 5, true }, { made.k, made.deep })
      assert.matches("has no option 'kk'", select(2, strategy.load(path, { kk = 5 })).message)
      assert.equal("strategy 'x': k is negative", select(2, strategy.load(path, { k = -1 })).message)
    end)
    assert.matches("has no option 'k'", select(2, strategy.load("random", { k = 1 })).message)
  end)

  it("leaves the old one in use when the new one does not load", function()
    local pool = pools.open(3)
    assert(pool:use "random")
    for _, bad in ipairs { "no-such", "./no-such.lua", { name = "x" } } do
      assert.equal("strategy", select(2, pool:use(bad)).kind)
      assert.equal("random", pool.strategy)
    end
    assert(assert(pool:acquire()):ok())
    pool:close()
  end)

  it("is rejected with how many proxies lack what it requires", function()
    local pool = assert(gyre.open { proxies = { "h:80#country=de", "h:81#country=de&cost=1", "h:82" } })
    local function requires(...)
      return { name = "needy", requires = { ... }, select = function(_, view) return view[1] end }
    end
    local _, err = pool:use(requires "country")
    assert.equal("missing_metadata", err.kind)
    assert.equal("strategy 'needy' needs country: 1 of 3 proxies have none", err.message)
    _, err = pool:use(requires "cost")
    assert.same({ "cost", 2 }, { err.field, err.lacking })
    assert.equal("missing_metadata", select(2, pool:acquire { strategy = requires "region" }).kind)
    assert.is_true(pool:use(requires("latency", "weight"))) -- weight has a default, latency comes with use
    assert(pool:update(pool:find("http://h:82").id, { country = "fr" }))
    assert.is_true(pool:use(requires "country"))
    pool:close()
  end)
end)
