-- What the Lua side costs: acquire + complete from compiled Lua against the same calls from C, in the same seconds.
--
--   LUA_PATH="lua/?.lua;lua/?/init.lua;;" GYRE_LIB=build/release/libgyre.so \
--     luajit tests/bench/bench.lua build/release/gyre-bench-native.so [--quick] [--strict]
--
-- Lines as bench.c prints them. Exit code 0; with --strict 1 when a promise was missed.
package.path = "tests/bench/?.lua;" .. package.path
local gyre = require "gyre"
local windows = require "windows"

local quick, strict, path = false, false, nil
for _, word in ipairs(arg) do
  if word == "--quick" then
    quick = true
  elseif word == "--strict" then
    strict = true
  else
    path = word
  end
end
local native, measure = windows.open(assert(path, "usage: bench.lua gyre-bench-native.so [--quick] [--strict]"), quick)

local promises = {}

local function row(what, variant, n, work, c_cycle)
  local best, ratio, to_c = measure(work, c_cycle)
  print(("%-18s %-14s %8d %8.1f ns %8.2f x floor %8.2f x C round-robin"):format(what, variant, n, best, ratio, to_c))
  local line = "bench\t%s\t%s\tn=%d\tthreads=1\tns=%.2f\tratio=%.3f\tc_ratio=%.3f"
  print(line:format(what, variant, n, best, ratio, to_c))
  return to_c
end

local function promise(text, value, limit)
  promises[#promises + 1] = { text = text, value = value, limit = limit }
end

local function urls(n)
  local list, form = {}, "http://u%d:p@10.%d.%d.%d:3128#country=%s"
  for i = 1, n do
    local a, b = math.floor(i / 65536), math.floor(i / 256) % 256
    list[i] = form:format(i, a, b, i % 256, i % 2 == 0 and "DE" or "US")
  end
  return list
end

local function open(n, strategy)
  return assert(gyre.open { proxies = urls(n), strategy = strategy, max_proxies = math.max(n, 1024), seed = 7 })
end

-- Each row has a function of its own, made for one pool, as a program's is: a second closure of one function would run
-- through the traces of the first.
local function of_its_own(make, pool)
  return loadstring(string.dump(make))(pool)
end

local function plain(pool)
  return function(count)
    for _ = 1, count do
      pool:acquire():ok(100)
    end
  end
end

local function with_table(pool)
  return function(count)
    for _ = 1, count do
      pool:acquire({}):complete { verdict = "ok", ms = 100 }
    end
  end
end

local function by_country(pool)
  local request = { country = "DE" }
  return function(count)
    for _ = 1, count do
      pool:acquire(request):ok(100)
    end
  end
end

local function into(pool)
  local lease = pool:acquire()
  lease:ok(100)
  return function(count)
    for _ = 1, count do
      pool:acquire_into(lease)
      lease:ok(100)
    end
  end
end

-- Built in, as strategies/performance.lua is when it stands in a composition, and as one would write it.
local best_of_view = {
  name = "best-of-view",
  select = function(_, view)
    return view:best(3)
  end,
}
local best_of_two = {
  name = "best-of-two",
  select = function(_, view)
    local a, b = view:random(), view:random()
    return (a.ema_ms or 0) * (a.active + 1) <= (b.ema_ms or 0) * (b.active + 1) and a or b
  end,
}

for _, n in ipairs(quick and { 100, 1000 } or { 10, 100, 1000, 10000 }) do
  local pool = open(n, "round-robin")
  local handle = pool.handle
  local function c_cycle(count)
    assert(native.bench_cycle(handle, count) == 0, "a cycle failed")
  end
  local function measured(what, variant, make, of)
    return row(what, variant, n, of_its_own(make, of or pool), c_cycle)
  end

  measured("lua acquire+ok", "round-robin", plain)
  promise(("pool:acquire{} + lease:complete{}, %d proxies, against C"):format(n),
    measured("lua tables", "round-robin", with_table), 5)
  local owned = measured("lua acquire_into", "round-robin", into)
  promise(("pool:acquire_into(lease), %d proxies, against C"):format(n), owned, 1.5)
  measured("lua country", "round-robin", by_country)
  for _, strategy in ipairs { "performance", best_of_view, best_of_two } do
    local other = open(n, strategy)
    local name = strategy.name or strategy
    local ratio = measured("lua strategy", name, into, other)
    if strategy == "performance" then
      promise(("strategies/%s.lua, %d proxies, against acquire_into"):format(name, n), ratio / owned, 3)
    end
    other:close()
  end
  pool:close()
end

print "\nPromises:"
local missed = 0
for _, kept in ipairs(promises) do
  local word = kept.value <= kept.limit and "OK" or "MISSED"
  missed = missed + (word == "OK" and 0 or 1)
  print(("%-6s  %-66s %8.2f, at most %g"):format(word, kept.text, kept.value, kept.limit))
  print(("promise\t%s\t%s\tvalue=%.3f\tlimit=%g"):format(word, kept.text, kept.value, kept.limit))
end
os.exit(strict and missed > 0 and 1 or 0)
