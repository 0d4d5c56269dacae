-- What each built-in strategy costs from compiled Lua (acquire_into + ok), against round-robin in C, and what the
-- checks against endless loops cost a strategy in a file. Each figure from a process of its own, since LuaJIT remembers
-- for good what it failed to compile in other company.
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" GYRE_LIB=build/release/libgyre.so \
--     luajit tests/bench/strategies.lua build/release/gyre-bench-native.so [--quick] [STRATEGY...]
--
-- Lines as bench.c prints them.
package.path = "tests/bench/?.lua;" .. package.path
local gyre = require "gyre"
local windows = require "windows"

local BEST_OF_TWO = "return { name = 'two', select = function(_, view) "
  .. "local a, b = view:random(), view:random() return (a.ema_ms or 0) * (a.active + 1) "
  .. "<= (b.ema_ms or 0) * (b.active + 1) and a or b end }"

-- Name, strategy or a function that makes it, options, request.
local ROWS = {
  { "round-robin", "round-robin" }, { "random", "random" }, { "random bag", "random", { bag = true } },
  { "least-used", "least-used" }, { "least-active", "least-active" }, { "weighted", "weighted" },
  { "performance", "performance" }, { "consistent-hash", "consistent-hash", nil, { key = "cart-17" } },
  { "session", "session", nil, { session = "cart-17" } }, { "geo", "geo", nil, { country = "DE" } },
  { "geo performance", "geo", { over = "performance" }, { country = "DE" } }, { "cost-aware", "cost-aware" },
  { "tiered", "tiered", { tiers = { "cheap", "premium" } } },
  { "composite", "composite", { where = { country = "US" }, strategy = "performance", fallback = "random" } },
  { "proportional", "proportional" }, { "weighted success", "weighted", { by = "success" } },
  { "two, a table", function() return loadstring(BEST_OF_TWO)() end },
  { "two, a file", function(path) return path end },
  { "two, trusted", function(path) return path end, nil, nil, true },
}
-- In Lua they look at every proxy.
local IS_LINEAR = { proportional = true, ["weighted success"] = true }

local function find(name)
  for _, row in ipairs(ROWS) do
    if row[1] == name then
      return row
    end
  end
  error("no row " .. name)
end

local function open(row, n)
  local list, path = {}, os.tmpname() .. ".lua"
  for i = 1, n do
    list[i] = { url = ("http://10.%d.%d.%d:3128"):format(i / 65536, i / 256 % 256, i % 256), cost = i % 3,
      country = i % 2 == 0 and "DE" or "US", tags = i % 2 == 0 and "cheap" or "premium" }
  end
  local file = assert(io.open(path, "wb"))
  file:write(BEST_OF_TWO)
  file:close()
  local source = row[2]
  local pool = assert(gyre.open { proxies = list, max_proxies = math.max(n, 1024), seed = 7, trusted = row[5],
    strategy = type(source) == "function" and source(path) or source, strategy_options = row[3] })
  os.remove(path)
  return pool
end

-- In the child: one row at one size.
local function measure_one(path, quick, name, n)
  local row = find(name)
  local native, measure = windows.open(path, quick)
  local pool = open(row, n)
  local other = open(ROWS[1], n)
  local lease, request = gyre.lease(), row[4]
  local function work(count)
    for _ = 1, count do
      assert(pool:acquire_into(lease, request)):ok(100)
    end
  end
  local best, to_floor, to_c = measure(work, function(count)
    assert(native.bench_cycle(other.handle, count) == 0, "a cycle failed")
  end)
  print(("%-18s %8d %9.1f ns %8.2f x floor %8.2f x C round-robin"):format(name, n, best, to_floor, to_c))
  local line = "bench\tstrategy\t%s\tn=%d\tthreads=1\tns=%.2f\tratio=%.3f\tc_ratio=%.3f"
  print(line:format(name, n, best, to_floor, to_c))
end

local function run_children(path, quick, wanted)
  local command = "luajit tests/bench/strategies.lua '%s' %s --one '%s' %d"
  for _, row in ipairs(ROWS) do
    for _, n in ipairs(quick and { 100, 10000 } or { 10, 100, 1000, 10000, 100000 }) do
      local name = row[1]
      if (not wanted[1] or wanted[name]) and not (IS_LINEAR[name] and n > 1000) then
        io.stdout:flush()
        assert(os.execute(command:format(path, quick and "--quick" or "", name, n)) == 0)
      end
    end
  end
end

local quick, path, wanted, i = false, nil, {}, 1
while arg[i] do
  if arg[i] == "--one" then
    return measure_one(path, quick, arg[i + 1], tonumber(arg[i + 2]))
  elseif arg[i] == "--quick" then
    quick = true
  elseif not path then
    path = arg[i]
  else
    wanted[arg[i]], wanted[1] = true, true
  end
  i = i + 1
end
run_children(assert(path, "usage: strategies.lua gyre-bench-native.so [--quick] [STRATEGY...]"), quick, wanted)
