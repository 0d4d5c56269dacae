local ffi = require "ffi"
local heap = require "gyre.sim.heap"
local service = require "gyre.sim.service"

-- Runs one server; arrivals are { at, work }. Returns when each request ended.
local function serve(capacity, arrivals)
  local events = heap.new()
  local made = service.new({ capacity }, events, 0)
  local ends, n = {}, 1
  made.requests = ffi.new "struct { int32_t serial; }[100]"
  while arrivals[n] or events.count > 0 do
    local at = events.count > 0 and events.items[1].at or math.huge
    if arrivals[n] and arrivals[n][1] < at then
      made:enter(1, arrivals[n][1], arrivals[n][2], n, 0)
      n = n + 1
    else
      local version = events.items[1].version
      events:pop()
      local r = made:ended(1, at, version)
      if r then
        ends[r] = at
        made.requests[r].serial = 1
        made:go_on(1, at)
      end
    end
  end
  return ends, made
end

local function near(want, got)
  assert.is_true(math.abs(want - got) < 1e-6, ("want %g, got %g"):format(want, got))
end

describe("A server that is shared", function()
  it("goes at full speed up to its capacity", function()
    local ends = serve(2, { { 0, 3 }, { 1, 3 } })
    near(3, ends[1])
    near(4, ends[2])
  end)

  it("shares its capacity beyond that", function()
    -- Two at speed 1 until 1, then three at 2/3: the first has 2 left, 3 s more; then the second 1, ...
    local ends = serve(2, { { 0, 3 }, { 0.5, 3 }, { 1, 3 } })
    near(4, ends[1]) -- 1 + 2 / (2/3)
    near(4.5, ends[2]) -- 0.5 + 2 until 4; the rest at speed 1
    near(5, ends[3]) -- 2 until 4, then 1 more
  end)

  it("does all work of one that never rests at its capacity", function()
    local arrivals = {}
    for i = 1, 50 do
      arrivals[i] = { i / 1000, 2 }
    end
    local ends, last = serve(4, arrivals), 0
    for i = 1, 50 do
      last = math.max(last, ends[i])
    end
    -- 100 s of work, 4 at a time; the first three milliseconds it was not full.
    assert.is_true(last >= 25 and last < 25.1, last)
  end)

  it("goes faster when one is given up", function()
    local events = heap.new()
    local made = service.new({ 1 }, events, 0)
    made.requests = ffi.new "struct { int32_t serial; }[3]"
    made:enter(1, 0, 4, 1, 0)
    made:enter(1, 0, 4, 2, 0)
    made.requests[1].serial = 1
    made:leave(1, 2) -- each has had 1
    local last
    while events.count > 0 do
      local event = events.items[1]
      local at, version = event.at, event.version
      events:pop()
      last = made:ended(1, at, version) and at or last
    end
    near(5, last)
  end)
end)
