-- Every built-in's pick is compiled, with all that acquire and complete do around it: as one loop that leaves no
-- garbage, or, where PIECES says so, in pieces. In processes of plain luajit: see spec/support/compiled.lua.
local rules = require "rules"

-- By select those made of steps are longer than LuaJIT's longest trace, and proportional's loop over the pool is one of
-- its own: between traces the interpreter goes on. With each the most bytes of garbage a pick: 48 are measured, of geo
-- 160.
local PIECES = {
  composite = { select = 56 }, ["cost-aware"] = { select = 56 }, geo = { select = 176 }, tiered = { select = 56 },
  proportional = { library = 56, select = 56 },
}
local MOST_INTERPRETED = 0.2 -- of the instructions; 2 to 14 % are measured, of proportional 8 %

local GUARDED = "return { name = 'two', select = function(_, view) local a, b = view:random(), view:random() return "
  .. "(a.ema_ms or 0) * (a.active + 1) <= (b.ema_ms or 0) * (b.active + 1) and a or b end }"

local function ask(name, by)
  local command = "LUA_PATH='%s;spec/support/?.lua' luajit spec/support/compiled.lua '%s' %s 2>&1"
  command = command:format(package.path, name, by)
  local pipe = assert(io.popen(command))
  local output = pipe:read "*a"
  pipe:close()
  local compiled, missing, bytes, interpreted = output:match "^(%a+)\t(%S+)\t(%S+)\t(%S+)\n$"
  assert.is_string(compiled, output)
  return compiled == "true", missing, tonumber(bytes), tonumber(interpreted)
end

local function check(name, by)
  if not jit.status() or require("gyre.runtime").available() or rawget(_G, "ngx") then
    return -- it is the same in each of these
  end
  local most = PIECES[name] and PIECES[name][by]
  local compiled, missing, bytes, interpreted
  for _ = 1, 3 do -- the compiler draws lots too: what it fails at in one process it may do in the next
    compiled, missing, bytes, interpreted = ask(name, by)
    if interpreted <= (most and MOST_INTERPRETED or 0.01) and (most or compiled) then
      break
    end
  end
  assert.is_true(most ~= nil or compiled)
  assert.equal("-", missing)
  assert.is_true(interpreted <= (most and MOST_INTERPRETED or 0.01), ("%.3f interpreted"):format(interpreted))
  assert.is_true(bytes <= (most or 8), ("%.1f bytes a pick"):format(bytes))
end

for _, name in ipairs(rules.names()) do
  for _, by in ipairs { "library", "select" } do
    it(("%s is compiled, and leaves no garbage but what is known: by %s"):format(name, by), function()
      check(name, by)
    end)
  end
end

it("a file with checks against endless loops is compiled, and leaves no garbage", function()
  local path = require("strategy_file").write(GUARDED)
  check(path, "library")
  os.remove(path)
end)

it("picks stay compiled when many strategies come one after the other", function()
  if not jit.status() or require("gyre.runtime").available() or rawget(_G, "ngx") then
    return
  end
  for _ = 1, 3 do
    local command = "LUA_PATH='%s;spec/support/?.lua' luajit spec/support/in_turn.lua 2>&1"
    local pipe = assert(io.popen(command:format(package.path)))
    local output = pipe:read "*a"
    pipe:close()
    local times = tonumber(output)
    assert.is_number(times, output)
    assert.is_true(times > 3, ("only %g times as fast as interpreted"):format(times)) -- 10 to 25; 1 when given up
  end
end)
