-- Measuring in windows of the processor's time: work, the cycle in C and the floor in turn, so that what disturbs one
-- disturbs the others. For bench.lua and strategies.lua.
local ffi = require "ffi"
require "gyre" -- declares struct gyre_pool

ffi.cdef [[
void bench_floor(uint64_t count);
int bench_cycle(struct gyre_pool *pool, uint64_t count);
double bench_cpu_ns(void);
]]

local windows = {}

local function median(values)
  table.sort(values)
  return values[math.ceil(#values / 2)]
end

--- Loads gyre-bench-native.so.
---@param path string
---@param quick boolean shorter and fewer windows
---@return ffi.namespace* native
---@return fun(work: fun(count: integer), c_cycle: fun(count: integer)): number, number, number measure best ns, median
--- ratio to the floor, median ratio to the cycle in C
function windows.open(path, quick)
  local native = ffi.load(path)
  local rounds, window_ns = quick and 9 or 25, quick and 2e6 or 5e6

  local function time(work, count)
    local from = native.bench_cpu_ns()
    work(count)
    return (native.bench_cpu_ns() - from) / count
  end

  -- So many operations fill a window. All branches are compiled by then, and a pool's first 1,000 requests are over.
  local function calibrate(work)
    local count = 1000
    for _ = 1, 10 do
      work(count)
    end
    while true do
      local ns = time(work, count) * count
      if ns > window_ns / 4 then
        return math.max(1, math.floor(count * window_ns / ns))
      end
      count = count * 2
    end
  end

  local function floor(count)
    native.bench_floor(count)
  end

  return native, function(work, c_cycle)
    local counts = { calibrate(work), calibrate(c_cycle), calibrate(floor) }
    local best, to_floor, to_c = math.huge, {}, {}
    for round = 1, rounds do
      local ns, c, base = time(work, counts[1]), time(c_cycle, counts[2]), time(floor, counts[3])
      best = math.min(best, ns)
      to_floor[round], to_c[round] = ns / base, ns / c
    end
    return best, median(to_floor), median(to_c)
  end
end

return windows
