-- Every built-in's pick is compiled, with all that acquire and complete do around it, and leaves no garbage. In
-- processes of plain luajit: see spec/support/compiled.lua.

-- Those whose select has a loop over the pool or over steps: it is a trace of its own, which the other one enters.
local HAS_LOOP = { composite = true, ["cost-aware"] = true, geo = true, proportional = true, tiered = true }
local GUARDED = "return { name = 'two', select = function(_, view) local a, b = view:random(), view:random() return "
  .. "(a.ema_ms or 0) * (a.active + 1) <= (b.ema_ms or 0) * (b.active + 1) and a or b end }"

local function names()
  local list = {}
  local pipe = assert(io.popen "ls strategies/*.lua")
  for path in pipe:lines() do
    list[#list + 1] = path:match "([%w-]+)%.lua$"
  end
  pipe:close()
  return list
end

local function ask(name, by)
  local command = "LUA_PATH='%s;spec/support/?.lua' luajit spec/support/compiled.lua '%s' %s 2>&1"
  command = command:format(package.path, name, by)
  local pipe = assert(io.popen(command))
  local output = pipe:read "*a"
  pipe:close()
  local compiled, missing, bytes = output:match "^(%a+)\t(%S+)\t(%S+)\n$"
  assert.is_string(compiled, output)
  return compiled == "true", missing, tonumber(bytes)
end

local function check(name, by)
  if not jit.status() or require("gyre.runtime").available() or rawget(_G, "ngx") then
    return -- it is the same in each of these
  end
  local loop_inside = HAS_LOOP[name] and (by == "select" or name == "proportional") or false
  local compiled, missing, bytes
  for _ = 1, 3 do -- the compiler draws lots too: what it fails at in one process it may do in the next
    compiled, missing, bytes = ask(name, by)
    if compiled or loop_inside then
      break
    end
  end
  assert.is_true(compiled or loop_inside)
  assert.equal("-", missing)
  assert.is_true(bytes <= (loop_inside and 300 or 8), ("%.1f bytes a pick"):format(bytes))
end

for _, name in ipairs(names()) do
  for _, by in ipairs { "library", "select" } do
    it(("%s is compiled, and leaves no garbage: by %s"):format(name, by), function()
      check(name, by)
    end)
  end
end

it("a file with checks against endless loops is compiled, and leaves no garbage", function()
  local path = os.tmpname() .. ".lua"
  local file = io.open(path, "wb")
  file:write(GUARDED)
  file:close()
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
