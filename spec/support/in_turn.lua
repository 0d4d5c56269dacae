-- luajit in_turn.lua: do picks stay compiled when many strategies come one after the other? One process each, see
-- compiled.lua. Prints how many times as fast the slowest strategy's picks are as in the interpreter alone.
local gyre = require "gyre"
local pools = require "pools"

local RULES = {
  function(_, view) return view:random() end,
  function(_, view)
    local a, b = view:random(), view:random()
    return (a.ema_ms or 0) * (a.active + 1) <= (b.ema_ms or 0) * (b.active + 1) and a or b
  end,
  function(_, view) return view:round_robin() end,
  function(_, view)
    local best = view:best()
    return best.active > 50 and view:least_active() or best
  end,
}
local SIZES = { 100, 10000 }

local function open(n, rule)
  return pools.open(n, { max_proxies = n, strategy = { name = "rule", select = rule } })
end

-- Seconds of the processor, of the quickest of a few tries.
local function time(run)
  local least = math.huge
  for _ = 1, 5 do
    local began = os.clock()
    run()
    least = math.min(least, os.clock() - began)
  end
  return least
end

local rounds, times = {}, {}
for i = 1, 8 do
  -- A function of its own each, as of another file.
  local rule = loadstring(string.dump(RULES[(i - 1) % #RULES + 1]))
  local pool, lease = open(SIZES[i % #SIZES + 1], rule), gyre.lease()
  local function round()
    for _ = 1, 10000 do
      assert(pool:acquire_into(lease)):ok(5)
    end
  end
  round()
  rounds[i], times[i] = round, time(round)
end

jit.off()
jit.flush()
local least = math.huge
for i = 1, #rounds do
  least = math.min(least, time(rounds[i]) / times[i])
end
print(("%.1f"):format(least))
