-- What a strategy in a file may do, and what not; what becomes of it when it fails.
local gyre = require "gyre"
local pools = require "pools"
local write = require("strategy_file").write

-- A pool whose strategy is a file with this text, and what its logger was told.
local function with(text, options)
  local path, told = write(text), {}
  local given = { strategy = path, logger = function(message) told[#told + 1] = message end }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  local pool = pools.open(4, given)
  os.remove(path)
  return pool, told
end

local function selecting(body)
  return "return { name = 'spec', select = function(self, view, request) " .. body .. " end }"
end

-- The text that select makes, by way of an error.
local function says(body, options)
  local pool, told = with(selecting("error(tostring((function() " .. body .. " end)()), 0)"), options)
  assert(pool:acquire():ok())
  pool:close()
  return (told[1]:match "^strategy 'spec': ([^\n]*)")
end

describe("gyre.strategy.sandbox", function()
  it("has pure Lua, and nothing else", function()
    for _, name in ipairs { "io", "ffi", "require", "dofile", "loadfile", "load", "loadstring", "setfenv", "getfenv",
      "debug", "package", "jit", "collectgarbage", "module", "newproxy", "print", "rawset", "arg", "ngx" } do
      assert.equal("nil", says("return " .. name), name)
    end
    for _, name in ipairs { "os.execute", "os.remove", "os.getenv", "os.exit", "os.rename", "os.tmpname",
      "string.dump" } do
      assert.equal("nil", says("return " .. name), name)
    end
    for _, name in ipairs { "bit.band", "math.floor", "string.format", "table.sort", "coroutine.wrap", "os.time",
      "pcall", "strategy", "setmetatable" } do
      assert.equal("function", says("return type(" .. name .. ")"), name)
    end
    assert.equal("userdata", says("return type(io.stdout)", { trusted = true }))
    assert.equal("table", says("return type(require 'ffi')", { trusted = true }))
  end)

  it("reaches nothing of the program", function()
    assert.equal("nil", says "return getmetatable('')")
    assert.matches("must not assign the global 'x'", says "x = 1")
    assert.matches("must not assign the global 'x'", says "_G.x = 1")
    assert.equal("nil", says "string.rep = nil math.floor = nil bit.band = nil return nil")
    assert.is_function(string.rep)
    assert.equal("false", says "return (pcall(setmetatable, _G, {}))")
    assert.matches("not trusted has no pool:remove", says "return view.pool:remove(1)")
    assert.matches("not trusted has no pool:url", says "return view.pool:url(1, true)")
    assert.equal("4", says "return view.pool:stats().proxies")
    assert.equal("1", says "return view.pool:counter('c'):add(1)")
    assert.equal("true", says "return view[1].url ~= nil and view.pool:get(view[1].id) == view[1]")
    assert.matches("must not yield", says "return coroutine.yield(1)")
    assert.equal("5", says "return coroutine.wrap(function() coroutine.yield(5) end)()")
    assert.matches("in configure, not later", says "return strategy 'random'")
  end)

  it("draws its own random numbers, which a seed repeats", function()
    local body = "return math.random() .. ' ' .. math.random(6) .. ' ' .. math.random(5, 9)"
    assert.equal(says(body, { seed = 3 }), says(body, { seed = 3 }))
    assert.is_true(says(body, { seed = 3 }) ~= says(body, { seed = 4 }))
    assert.equal("1", says "local n = math.random(3) return n >= 1 and n <= 3 and n % 1 == 0 and 1")
    assert.matches("bad interval", says "return math.random(3, 1)")
  end)

  it("bounds what C does in one call, under every name it has", function()
    for _, body in ipairs {
      "return ('x'):rep(1e8)", "return string.rep('x', 1e8)", "local s = 'x' return s['re' .. 'p'](s, 2e6)",
      "return ('x'):rep(1e5, ('y'):rep(100))", "return string.rep(5, 1e9)",
    } do
      assert.matches("more than a megabyte", says(body), 1, body)
    end
    local long = "local s = ('a'):rep(5000) "
    for _, body in ipairs { "return s:find('.-.-.-.-b')", "return s:match('(.*)(.*)(.*)b')",
      "return s:gsub('a*a*a*b', '')", "return s:gmatch('a-a-a-b')()", "return string.find(s, '.*.*.*b')" } do
      assert.matches("may take too long on a text of 5000 bytes", says(long .. body), 1, body)
    end
    assert.matches("at most 256 bytes", says "return ('x'):find(('a'):rep(300))")
    assert.matches("more than a megabyte", says "local s = ('x'):rep(9e5) return ('%s%s'):format(s, s)")
    assert.matches("more than a megabyte", says "local s = ('x'):rep(9e5) return table.concat({ s, s })")
    assert.matches("more than a megabyte", says "return ('x'):rep(5e5):gsub('x', 'yyyy')")
    assert.matches("invalid option", says "return ('%999d'):format(1)")
    assert.equal("a-b 3", says "return ('%s-%s %d'):format('a', 'b', #('a,b'):gsub(',', ';'))")
    assert.equal("a", says "return ('a.b'):match('^(.-)%.')")
    assert.equal("2 7", says "return (('a.b'):find('.', 1, true)) .. ' ' .. ('x'):rep(7):len()")
  end)

  it("gives the program its texts back, whatever happens", function()
    for _, body in ipairs { "return view[1]", "error('x')", "while true do end", "return 5" } do
      local pool = with(selecting(body), { budget_ms = 1 })
      assert(pool:acquire():ok())
      assert.equal(string, getmetatable("").__index)
      assert.equal(3000000, #("x"):rep(3000000))
      pool:close()
    end
  end)
end)

describe("gyre.trouble", function()
  it("a strategy that never returns costs a request a pick of the fallback", function()
    for _, body in ipairs { "while true do end", "while true do pcall(function() while true do end end) end",
      "local c = coroutine.wrap(function() while true do end end) pcall(c) return view[1]" } do
      local pool, told = with(selecting(body), { budget_ms = 2, trip_after = 1000 })
      for _ = 1, 3 do
        assert(pool:acquire():ok())
      end
      assert.equal(3, pool:strategies()[1].overran)
      assert.matches("ran past its time budget", told[1])
      pool:close()
    end
  end)

  it("the file itself and configure are stopped too", function()
    for _, text in ipairs { "while true do end", "return { name = 'x', select = function() end, configure = function() "
      .. "while true do end end }" } do
      local path = write(text)
      local pool = pools.open(1, { budget_ms = 2 })
      local _, err = pool:use(path)
      os.remove(path)
      assert.equal("strategy", err.kind)
      assert.matches("ran past its time budget of 2 ms", err.message)
      pool:close()
    end
  end)

  it("lets it rest after failures in a row, and tries it again", function()
    local pool, told = with(selecting "if request.metadata then return view[1] end error('no luck', 0)",
      { trip_after = 3, trip_rest = 20, fallback = "least-used" })
    local function state()
      return pool:strategies()[1]
    end
    for _ = 1, 2 do
      pool:acquire()
    end
    assert(pool:acquire { metadata = 1 }) -- a success ends the row
    for _ = 1, 3 do
      assert(pool:acquire():ok())
    end
    assert.same({ 5, 0, 1 }, { state().raised, state().rested, state().trips })
    assert.matches("failed 3 times in a row and rests for 20 seconds", told[2])
    for _ = 1, 4 do
      assert(pool:acquire():ok())
    end
    assert.same({ 5, 4 }, { state().raised, state().rested })
    assert.equal(pool:time() + 20, state().resting)
    pool:set_time(pool:time() + 21)
    assert(pool:acquire():ok()) -- once more, and it fails once more
    assert.same({ 6, 4, 2 }, { state().raised, state().rested, state().trips })
    pool:set_time(pool:time() + 21)
    assert.equal(pools.ids(pool)[1], pool:acquire({ metadata = 1 }).id)
    assert.is_nil(state().resting)
    assert(pool:acquire():ok())
    assert.equal(2, state().trips) -- it is in no row
    assert.equal(6 + 1 + 4, pool:counter("fallback spec"):get())
    pool:close()
  end)

  it("an endless record is stopped, and costs other calls nothing", function()
    local pool = with("return { name = 'spec', select = function(_, view) return view[1] end, "
      .. "record = function(_, _, o) if o.ms == 1 then while true do end end "
      .. "for _ = 1, 9000 do end end }", { budget_ms = 2 })
    for i = 1, 60 do
      local ended, err = pool:acquire():ok(i % 20 == 0 and 1 or 5)
      assert.is_true(ended)
      assert.equal(i % 20 == 0, err ~= nil and err.message:find("record: .*time budget") ~= nil)
    end
    assert.same({ 3, 0 }, { pool:strategies()[1].record, pool:strategies()[1].overran })
    pool:close()
  end)

  it("counts the errors of a judge, and hands them on", function()
    local pool = with("return { name = 'spec', select = function(_, view) return view[1] end, "
      .. "judge = function(_, asked) if asked.attempt == 1 then return 'banned', 7 end error('no idea', 0) end }")
    local judge = require("gyre.active").judge(pool)
    assert.same({ "banned", 7 }, { judge { attempt = 1 } })
    local ran, message = pcall(judge, { attempt = 2 })
    assert.same({ false, "no idea", 1 }, { ran, message, pool:strategies()[1].judge })
    pool:close()
  end)

  it("takes a judge that is a word or a table", function()
    for text, wanted in pairs {
      ["'strict'"] = { "banned", "ok" }, ["{ [404] = 'target_bad' }"] = { [2] = "target_bad" },
      ["setmetatable({ [404] = 'banned' }, { __pairs = function() while true do end end })"] = { [2] = "banned" },
    } do
      local pool = with("return { name = 'spec', select = function(_, view) return view[1] end, judge = " .. text
        .. " }")
      local judge = require("gyre.active").judge(pool)
      for i, status in ipairs { 403, 404 } do
        assert.equal(wanted[i], (judge({}, { status = status, headers = {} })))
      end
      pool:close()
    end
    local pool = with "return { name = 'spec', select = function(_, view) return view[1] end }"
    assert.is_nil(require("gyre.active").judge(pool))
    pool:close()
  end)

  it("a swap ends the rest", function()
    local pool = with(selecting "error 'x'", { trip_after = 1 })
    pool:acquire()
    assert.is_number(pool:strategies()[1].resting)
    assert(pool:use "random")
    assert.is_nil(pool:strategies()[1].resting)
    pool:close()
  end)

  it("serves by its own fallback, else the pool's, else round-robin, whatever these do", function()
    local function first_of(options, more, lost)
      local pool = pools.open(4, options)
      os.remove(lost or "") -- before it is needed
      local strategy = { name = "broken", select = function() error "x" end }
      for name, value in pairs(more or {}) do
        strategy[name] = value
      end
      local seen = {}
      for i = 1, 4 do
        local lease = assert(pool:acquire { strategy = strategy })
        seen[i] = lease.raw.slot
        lease:ok()
      end
      pool:close()
      return table.concat(seen, " ")
    end
    local function quiet(options)
      options.logger = function() end
      return options
    end
    local second = { name = "second", select = function(_, view) return view[2] end }
    local third = { name = "third", select = function(_, view) return view[3] end }
    local broken = { name = "broken too", select = function() return 1 end }
    assert.equal("1 1 1 1", first_of(quiet { fallback = second }))
    assert.equal("2 2 2 2", first_of(quiet { fallback = second }, { fallback = third }))
    local lost = write "return { name = 'lost', select = function(_, view) return view[4] end }"
    for _, fallback in ipairs { lost, broken } do
      local taken = first_of(quiet { fallback = fallback }, { fallback = broken }, lost)
      local places = {}
      for place in taken:gmatch "%d" do
        places[#places + 1] = place
      end
      table.sort(places)
      assert.same({ "0", "1", "2", "3" }, places) -- in turn
    end
  end)

  it("says at once that a fallback cannot be found", function()
    local pool, err = gyre.open { fallback = "no-such", proxies = pools.urls(1) }
    assert.is_nil(pool)
    assert.equal("strategy", err.kind)
    assert.matches("^option 'fallback': no strategy 'no%-such'", err.message)
    pool = pools.open(1)
    local place = { ["no strategy 'no-such'"] = "no-such", ["a strategy is a name, a path or a table"] = 5 }
    for told, wrong in pairs(place) do
      err = select(2, pool:use { name = "broken", fallback = wrong, select = function() end })
      assert.matches("strategy 'broken': its fallback: " .. told, err.message, 1, true)
    end
    pool:close()
  end)

  it("tells once in a while, and never credentials", function()
    local pool, told = with(selecting "error('at http://anna:secret@h:80/x', 0)")
    for _ = 1, 5 do
      pool:acquire()
    end
    assert.equal(1, #told)
    assert.matches("at http://h:80/x", told[1])
    pool:close()
  end)

  it("a logger that raises is nobody's trouble", function()
    local pool = with(selecting "error 'x'", { logger = function() error "full disk" end })
    assert(pool:acquire():ok())
    pool:close()
  end)

  it("strategies of two states share nothing but the segment (failures, line 28)", function()
    local text = "local n = 0 return { name = 'n', select = function(self, view) n = n + 1 self.n = (self.n or 0) + 1 "
      .. "view.pool:counter('picks'):add(1) error(n .. ' ' .. self.n, 0) end }"
    local path = write(text)
    local first, second = {}, {}
    local one = pools.open(2, { strategy = path, logger = function(message) first[#first + 1] = message end })
    local two = pools.open(2, { strategy = path, logger = function(message) second[#second + 1] = message end })
    one:acquire()
    two:acquire()
    assert.matches("1 1", first[1])
    assert.matches("1 1", second[1])
    one:close()
    two:close()
    os.remove(path)
  end)

  it("options of gyre.open are checked", function()
    for name, wrong in pairs { trusted = 1, watch = "yes", budget_ms = "x", trip_after = {}, logger = 5, fallback = 5,
      trip_rest = 0, strategy_options = 1, local_only = 1 } do
      assert.has_error(function() pools.open(1, { [name] = wrong }) end, nil, name)
    end
    assert.has_error(function() pools.open(1, { strategy_options = {} }) end)
    assert.has_error(function() pools.open(1, { local_only = true }) end)
  end)
end)
