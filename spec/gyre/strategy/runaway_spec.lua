-- Strategies that would keep the host: each did so for seconds or for good, in C, by an error's __tostring, or in what
-- the host itself does with what they left behind.
local pools = require "pools"
local files = require "strategy_file"

local MOST = 2 -- seconds of the processor; with a budget of 5 ms most take 0.05

local function open(text, options)
  local path, told = files.write(text), {}
  local given = { strategy = path, budget_ms = 5, trip_after = 1000,
    logger = function(message) told[#told + 1] = message end }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  local pool = pools.open(4, given)
  os.remove(path)
  return pool, told
end

local function selecting(body, before)
  return (before or "") .. " return { name = 'spec', select = function(self, view, request) " .. body .. " end }"
end

local function timed(call)
  local began = os.clock()
  local results = { call() }
  return os.clock() - began, unpack(results)
end

-- A pick by a strategy with this body, which must be served, soon. What was told of it.
local function pick(body, before)
  local pool, told = open(selecting(body, before))
  local took, lease = timed(function() return pool:acquire() end)
  assert.is_true(lease ~= nil and took < MOST, ("%s: %.1f s"):format(body:sub(1, 100), took))
  pool:close()
  return told[1] or ""
end

-- Why a text is refused as a strategy, soon.
local function refused(text)
  local path, pool = files.write(text), pools.open(1, { budget_ms = 5 })
  local took, used, err = timed(function() return pool:use(path) end)
  os.remove(path)
  pool:close()
  assert.is_true(not used and took < MOST, ("%s: %.1f s"):format(text:sub(1, 100), took))
  return err.message
end

local ENDLESS = "local function endless() while true do end end "

describe("a strategy is stopped in", function()
  it("a loop of calls each of which is allowed", function()
    for _, body in ipairs {
      "local s = ('a'):rep(2000) while true do s:find('.-b') end",
      "local s = ('a'):rep(2000) while true do s:match('.-b') end",
      "local s = ('a'):rep(2000) local step = s:gmatch('.-b') while true do step() end",
      "local s = ('a'):rep(2000) while true do s:gsub('.-b', '') end",
      "local s = ('a'):rep(1e6) while true do s:find(('a'):rep(200) .. 'b', 1, true) end",
      "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.sort(t) table.insert(t, 1, 0) end",
      "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end",
      "local t, n = { 0, ('x'):rep(1e6) }, 0 while true do n = n + 1 t[1] = tostring(n) table.concat(t) end",
      "local s, n = ('x'):rep(2 ^ 20 - 20), 0 while true do n = n + 1 local _ = s:sub(2) .. n end",
      "local s, n = ('x'):rep(2 ^ 20 - 20), 0 while true do n = n + 1 s = s:sub(20) .. n; s:upper() end",
      "local s, n = ('x'):rep(2 ^ 20 - 20), 0 while true do n = n + 1; (s:sub(20) .. n):lower():reverse():byte() end",
      "local n = 0 while true do n = n + 1; ('x'):rep(2 ^ 20 - n % 9) end",
      "local s, n = ('x'):rep(2e5), 0 while true do n = n + 1; ('%s%d'):format(s, n) end",
      "local s, n = ('x'):rep(2 ^ 20), 0 local t = ('x'):rep(2 ^ 20 - 1) .. 'y' while s < t do n = n + 1 end",
      "local s, n = ('1'):rep(2 ^ 20), 0 while true do n = n + s end",
    } do
      assert.matches("ran past its time budget of 5 ms", pick(body), 1, body)
    end
  end)

  it("what follows itself, without a loop", function()
    local long = ("n = n + s; "):rep(10000)
    assert.matches("time budget", pick("local s, n = ('1'):rep(2 ^ 20), 0 " .. long))
    assert.matches("at most 2000 operators", refused("local n = 0" .. (" + n"):rep(3000) .. " return {}"))
    assert.matches("at most 262144 bytes", refused(("--"):rep(2 ^ 17) .. "\nreturn {}"))
  end)

  it("no single call of C", function()
    for _, body in ipairs {
      "return ('('):rep(1e6):find('%b()')", "return ('1'):rep(9998):find('[' .. ('%d'):rep(120) .. ']-b')",
      "return ('a'):rep(9998):find('.-b')", "return ('a'):rep(1e5):find('(a)%1%1%1*b')",
      "return ('a'):rep(40):find(('a?'):rep(40) .. ('a'):rep(40))", "return ('a'):rep(1e5):find('^(a*)b*%1c')",
      "return ('a'):rep(1e6):find(('a'):rep(5e5) .. 'b', 1, true)", "return ('^'):rep(1e4):gmatch('^.-b')()",
      "return string.find(('1'):rep(1e6), 1e-7)",
    } do
      assert.matches("may take too long on a text of", pick(body), 1, body)
    end
    -- What C's quicksort needs n^2 / 4 comparisons for (M. D. McIlroy, "A killer adversary for quicksort", 1999).
    local killer = "local n = 60000 local k, t = n / 2, {} for i = 1, k - 1 do t[i] = i % 2 == 1 and i or k + i - 1 "
      .. "t[k + i - 1] = 2 * i end t[n - 1], t[n] = n - 1, n + 1 table.sort(t) return view[1]"
    pick(killer)
    for _, place in ipairs { "-2e9", "'-2e9'", "0 / 0", "3e9" } do
      assert.matches("position out of bounds", pick("table.insert({}, " .. place .. ", 1)"))
    end
    assert.matches("at most 256 bytes", pick("return os.date(('%c'):rep(5e5))"))
  end)

  it("C that calls it, as deep as that goes", function()
    for _, body in ipairs {
      "local function f() return (('x'):gsub('x', f)) end return f()",
      "local function f() table.sort({ 1, 2 }, f) end return f()",
      "local function f() return coroutine.wrap(f)() end return f()",
      "local function f() return coroutine.resume(coroutine.create(f)) end error(select(-1, f()))",
      "local function f() return ('x'):gsub('x', function() coroutine.wrap(f)() end) end return f()",
      "local t t = setmetatable({}, { __tostring = function() return ('%s'):format(t) end }) return tostring(t)",
    } do
      assert.is_true(#pick(body) > 0, body)
    end
  end)

  it("the making of a text without bounds", function()
    for _, body in ipairs {
      "return ('x'):rep('1e9')", "return ('x'):rep(1 / 0)", "local s = 'x' while true do s = s .. s end",
      "local s = ('x'):rep(1e6) return s .. 1 .. s .. 2 .. s .. 3 .. s",
      "local s = ('x'):rep(2e5) return ('abc'):rep(3):gsub('.', { a = s, b = s, c = s })",
      "local s = ('x'):rep(2e5) return ('abc'):rep(3):gsub('.', function() return s end)",
      "return ('x'):rep(1e3):gsub('x*', ('%0'):rep(1e3))",
      "return ('x'):rep(4e5):gsub('()', '%1')",
      "local s = ('x'):rep(9e5) local t = setmetatable({}, { __tostring = function() return s end }) "
        .. "return ('%s%s%s'):format(t, t, t)",
      "local s = ('\\0'):rep(9e5) return ('%q'):format(s)",
      "local s = ('x'):rep(1e5) return table.concat({ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, s)",
      "return table.concat({}, '', 1, '1e9')",
    } do
      assert.matches("more than a megabyte", pick(body), 1, body)
    end
  end)

  it("the text of what it raises or returns", function()
    local thrown = "setmetatable({}, { __tostring = endless })"
    local before = ENDLESS
    assert.matches("time budget", pick("error(" .. thrown .. ")", before))
    local pool = open(selecting("return nil, " .. thrown, before))
    local took, _, err = timed(function() return pool:acquire() end)
    pool:close()
    assert.is_true(took < MOST and err.message:find("picked none: a table", 1, true) ~= nil, err.message)
    assert.matches("time budget", refused(before .. "error(" .. thrown .. ")"))
    for _, hook in ipairs { "configure", "refresh" } do
      local text = before .. "return { name = 'x', select = endless, " .. hook .. " = function() error("
      assert.matches("time budget", refused(text .. thrown .. ") end }"))
    end
    pool = open(before .. "return { name = 'x', select = function(_, view) return view[1] end, "
      .. "record = function() error(" .. thrown .. ") end, judge = function() return " .. thrown .. " end }")
    local lease = pool:acquire()
    took, _, err = timed(function() return lease:ok() end)
    assert.is_true(took < MOST and err.message:find("time budget", 1, true) ~= nil)
    assert.equal("a table", require("gyre.active").judge(pool)({}))
    pool:close()
    -- Credentials are looked for in what is told, in a time that grows with the square of it.
    assert.is_true(#pick("error(('a'):rep(1e6))") < 5000)
    assert.equal("x", pick("error(setmetatable({}, { __tostring = function() return 'x' end }))"):match ": (%S+)")
  end)

  it("what the host reads of it", function()
    local meta = "setmetatable({}, { __index = endless, __tostring = endless, __eq = endless })"
    assert.matches("with a metatable", refused(ENDLESS .. "return " .. meta))
    for _, field in ipairs { "name", "title", "requires", "native", "steps", "select" } do
      local text = ENDLESS .. "local made = { name = 'x', select = function(_, view) return view[1] end } made."
      refused(text .. field .. " = { " .. meta .. " } return made")
      if field ~= "requires" then -- read without its metatable, it is empty
        refused(text .. field .. " = " .. meta .. " return made")
      end
    end
    for _, change in ipairs {
      "setmetatable(self, { __index = endless })", "setmetatable(request, { __index = endless })",
      "self.takes = " .. meta, "self.title = " .. meta, "self.fallback = " .. meta, "self.name = " .. meta,
      "self.record = " .. meta,
    } do
      local pool = open(selecting(change .. " if not self.later then self.later = true return view[1] end error 'x'",
        ENDLESS))
      local took = timed(function()
        for _ = 1, 3 do
          assert(pool:acquire()):ok()
        end
        assert.is_string(tostring(pool) .. pool:strategies()[1].title)
      end)
      pool:close()
      assert.is_true(took < MOST, change)
    end
  end)

  it("what the library does for it", function()
    for _, call in ipairs { "view:min(tonumber)", "view:weighted('cost')", "view:sample(19000)" } do
      local path = files.write(selecting("while true do " .. call .. " end"))
      local pool = pools.open(20000, { strategy = path, budget_ms = 5, logger = function() end })
      local took, lease = timed(function() return pool:acquire() end)
      os.remove(path)
      pool:close()
      assert.is_true(lease ~= nil and took < MOST, ("%s: %.1f s"):format(call, took))
    end
  end)

  it("asking for others", function()
    local path = files.name()
    local file = assert(io.open(path, "wb"))
    file:write(("return { name = 'x', select = function() end, configure = function() while true do "
      .. "pcall(strategy, %q) end end }"):format(path))
    file:close()
    local pool = pools.open(1, { budget_ms = 1 })
    local took, used = timed(function() return pool:use(path) end)
    os.remove(path)
    pool:close()
    assert.is_true(not used and took < MOST, took)
  end)
end)

describe("what is bounded does", function()
  local function value(body)
    return (pick("error(tostring((function() " .. body .. " end)()), 0)"):match "^strategy 'spec': ([^\n]*)")
  end

  it("what Lua's own does", function()
    local random = require("gyre.random").new(11)
    local patterns = { ".", "%w*", "%w+", "^a", "a?", "(a)(.)", "()", "%f[%w]%w+", "b-c", "[^ab]", "%b()", "(a*(.)b?)" }
    local strings = require("gyre.strategy.bounded").strings
    local function shout(...)
      return select("#", ...) > 1 and table.concat({ ... }, "/") or nil
    end
    for _ = 1, 500 do
      local letters = {}
      for i = 1, random:upto(12) do
        letters[i] = ("abc() "):sub(random:upto(6)):sub(1, 1)
      end
      local text, wanted = table.concat(letters), patterns[random:upto(#patterns)]
      for _, replacement in ipairs { shout, { a = "<a>", b = 5, [1] = "one" }, "<%0>" } do
        local most = random:upto(4) > 1 and random:upto(5) - 1 or nil
        assert.same({ text:gsub(wanted, replacement, most) }, { strings.gsub(text, wanted, replacement, most) })
      end
      assert.same({ text:find(wanted, 2) }, { strings.find(text, wanted, 2) })
      assert.same({ text:match(wanted) }, { strings.match(text, wanted) })
      local expected, got = {}, {}
      for one, two in text:gmatch(wanted) do
        expected[#expected + 1] = { one, two }
      end
      for one, two in strings.gmatch(text, wanted) do
        got[#got + 1] = { one, two }
      end
      assert.same(expected, got)
    end
  end)

  it("sort, and leave a table alone whose order fails", function()
    local random = require("gyre.random").new(12)
    local sort = require("gyre.strategy.bounded").tables.sort
    for _ = 1, 300 do
      local list, other = {}, {}
      for i = 1, random:upto(40) - 1 do
        list[i] = random:upto(20)
        other[i] = list[i]
      end
      local function falling(a, b)
        return a > b
      end
      local order = random:upto(2) == 1 and falling or nil
      sort(list, order)
      table.sort(other, order)
      assert.same(other, list)
    end
    local list = { 3, 1, {}, 2 }
    local before = { unpack(list) }
    assert.is_false((pcall(sort, list)))
    assert.same(before, list)
    assert.has_error(function() sort(5) end, "bad argument #1 to 'sort' (table expected, got number)")
  end)

  it("join as `..` does", function()
    assert.equal("1x2 3", value "local n = 1 return n .. 'x' .. n + 1 .. ' ' .. (function() return 3, 4 end)()")
    assert.equal("abcdefghi", value "return 'a' .. 'b' .. 'c' .. 'd' .. 'e' .. 'f' .. 'g' .. 'h' .. 'i'")
    assert.equal("(1(2t))", value [[local t = setmetatable({}, { __concat = function(a, b)
      return type(b) == 'table' and '(' .. a .. 't)' or 0 end }) return '(1' .. (2 .. t) .. ')' ]])
    assert.matches("lua:2: attempt to concatenate a nil value", value "\nlocal n return 'a' .. n")
    assert.matches("lua:1: attempt to concatenate a table value", value "return {} .. 'a' .. 'b' .. 'c' .. 'd'")
    assert.equal("truefalse", value "return tostring(not nil) .. tostring(1 .. '' == 'x' and 'a' .. 'b' < 'c' .. 'd')")
  end)

  it("compile what Lua compiles, also at its limits", function()
    local locals = {}
    for i = 1, 199 do
      locals[i] = ("local v%d = %d"):format(i, i)
    end
    local text = table.concat(locals, "\n") .. "\nlocal last = 200 " .. selecting "return view[1]"
    local pool, told = open(text)
    assert(pool:acquire():ok())
    assert.same({}, told)
    pool:close()
    local named = {}
    for i = 1, 120 do
      named[i] = "v" .. i
    end
    text = "local " .. table.concat(named, ", ") .. selecting("return " .. table.concat(named, " or "))
    assert.matches("upvalues.*, two of which are for the checks against endless loops", refused(text))
  end)
end)
