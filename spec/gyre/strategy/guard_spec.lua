-- The checks against endless loops: what they do to a text, and what they stop.
local guard = require "gyre.strategy.guard"

local function run(text, budget, ...)
  local chunk = assert(guard.compile(text, "=text"))
  local returned = chunk()
  guard.begin(budget or 5)
  local ran, result = pcall(returned, ...)
  return ran, result, guard.finish()
end

-- All Lua files near: this project's, and the system's.
local function corpus()
  local files = {}
  local pipe = assert(io.popen "find lua strategies spec examples /usr/share/lua/5.1 -name '*.lua' 2>/dev/null | sort")
  for path in pipe:lines() do
    local file = assert(io.open(path, "rb"))
    local text = file:read "*a"
    file:close()
    if loadstring(text) then
      files[path] = text
    end
  end
  pipe:close()
  return files
end

describe("gyre.strategy.guard", function()
  it("keeps every Lua file a Lua file, with its lines", function()
    local n = 0
    for path, text in pairs(corpus()) do
      local guarded, why = guard.insert(text)
      assert.is_string(guarded, why)
      local chunk, fault = loadstring(guarded, "=guarded")
      assert.is_function(chunk, path .. ": " .. tostring(fault))
      assert.equal(select(2, text:gsub("\n", "")), select(2, guarded:gsub("\n", "")), path)
      n = n + 1
    end
    assert.is_true(n > 100, n)
  end)

  -- Whether two texts compile to the same. LuaJIT does not always compile one text to the same: the order of the fields
  -- of constant tables differs now and then.
  local function compile_alike(one, other)
    for _ = 1, 20 do
      if string.dump(loadstring(one, "=text"), true) == string.dump(loadstring(other, "=text"), true) then
        return true
      end
    end
    return false
  end

  -- With parentheses where a call would be, and without checks, they must compile to the same.
  it("finds the operands of every `..`", function()
    local checks = require "gyre.strategy.checks"
    local marks, n = {}, 0
    for name, mark in pairs(checks.MARKS) do
      marks[name] = mark
    end
    local plain = { check = " ", open = "((", another = ")..(", rest = ")..((", close = "))", close_rest = ")" }
    finally(function()
      for name, mark in pairs(marks) do
        checks.MARKS[name] = mark
      end
    end)
    for name, mark in pairs(plain) do
      checks.MARKS[name] = mark
    end
    for path, text in pairs(corpus()) do
      local guarded = checks.insert(text)
      n = n + select(2, guarded:gsub("%)%.%.%(", ""))
      assert.is_true(compile_alike(text, guarded), path)
    end
    assert.is_true(n > 1000, n)
  end)

  -- Files that need nothing but Lua, run as they are and guarded, must do the same.
  it("leaves what a text does as it was", function()
    local random = require("gyre.random").new(4)
    for _ = 1, 300 do
      local text = { "local out, n = {}, 0\nlocal function put(v) n = n + 1 out[n] = tostring(v) end\n" }
      local function add(piece)
        text[#text + 1] = piece
      end
      local pieces = {
        "for i = 1, 3 do put(i) end ", "for _, v in ipairs { 4, 5 } do put(v) end\n",
        "local i = 0 while i < 3 do i = i + 1 if i == 2 then goto skip end put(i) ::skip:: end ",
        "local k = 0 repeat local done = k >= 2 k = k + 1 put(k) until done\n",
        "put(('do'):rep(2)) -- while true do\n", "put [[for x = 1, 9 do]] --[==[ repeat ]==] ",
        "local t = { ['do'] = 1, f = function(a, ...) return select('#', a, ...) end } put(t.f(1, 2)) ",
        "do local goto_ = 1 put(goto_) end ", "put(\"a\\\"do\\\\\") put('it\\'s \\z\n   while') ",
        "for i = 1, 2 do for j = 1, 2 do if j == 2 then goto next end put(i * j) ::next:: end end ",
        "put((function(...) return ... end)(7)) ", "put(0x1p4 + 1e2 + .5 + 3.) ", "put(#'--' .. '::')\n",
        "local s = 0 for i = 10, 1, -3 do s = s + i end put(s) ", "if n > 2 then put 'many' else put 'few' end ",
      }
      for _ = 1, random:upto(8) do
        add("do " .. pieces[random:upto(#pieces)] .. "end\n")
      end
      add "return table.concat(out, ' ')"
      local whole = table.concat(text)
      local plain = assert(loadstring(whole))()
      assert.equal(plain, assert(guard.compile(whole, "=text"))())
    end
  end)

  it("stops every endless loop, also inside pcall and coroutines", function()
    for _, body in ipairs {
      "while true do end", "repeat until false", "for i = 1, math.huge do end", "::again:: goto again",
      "local function f() return f() end f()", "for _ in function() return 1 end do end",
      "while true do pcall(function() while true do end end) end",
      "while true do local c = coroutine.create(function() while true do end end) coroutine.resume(c) end",
      "local f f = function() pcall(f) end while true do f() end",
      "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) while true do pcall(function() "
        .. "return t[1] end) end",
      "pcall(pcall, function() while true do end end) while true do end",
      "xpcall(function() while true do end end, function() while true do end end)  while true do end",
      "table.sort({ 1, 2, 3 }, function() while true do end end)",
      "('x'):gsub('x', function() while true do end end)",
      "while true do if nil then elseif 1 then goto on end ::on:: end",
    } do
      local ran, message, over = run("return function() " .. body .. " end", 3)
      assert.is_false(ran, body)
      assert.matches("text:1: it ran past its time budget of 3 ms", tostring(message), 1, body)
      assert.is_true(over)
    end
  end)

  it("says so also when the text caught the error", function()
    local ran, result, over = run("return function() pcall(function() while true do end end) return 1 end", 3)
    assert.same({ true, 1, true }, { ran, result, over })
    ran, result, over = run("return function() for _ = 1, 50000 do end return 1 end", 3)
    assert.same({ true, 1, false }, { ran, result, over })
  end)

  it("lets the program call what it likes for as long as it likes", function()
    local work = assert(guard.compile("return function() local n = 0 for i = 1, 3000000 do n = n + 1 end return n end",
      "=text"))()
    for _ = 1, 5 do
      assert.equal(3000000, work())
    end
  end)

  it("lets long work be done within the budget", function()
    local text = "return function() local s = 0 for i = 1, 2000000 do s = s + i end return s end"
    local ran, sum = run(text, 10000)
    assert.is_true(ran)
    assert.equal(2000001 * 1000000, sum)
  end)

  it("cannot be talked out of it", function()
    for text, message in pairs {
      ["__gyre_b[0] = 1e9 return 1"] = "reserved",
      ["local __gyre_a = 1"] = "reserved",
      ["\27LJ\2"] = "attempt to load",
      ["return {"] = "text:1: unexpected symbol",
      ["x = = 1"] = "text:1: ",
      ["return 'open"] = "unfinished string",
      ["return [[open"] = "unfinished",
    } do
      local chunk, why = guard.compile(text, "=text")
      assert.is_nil(chunk, text)
      assert.matches(message, why)
    end
    for _, text in ipairs { "#!/usr/bin/lua\nreturn function() while true do end end", "\239\187\191return function() "
      .. "while true do end end" } do
      assert.is_false((run(text, 2)))
    end
  end)
end)
