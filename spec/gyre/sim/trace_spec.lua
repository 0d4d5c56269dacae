local sim = require "gyre.sim"
local trace = require "gyre.sim.trace"

local function write(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

local function open(text)
  local path = write(text)
  local made, err = trace.new({ trace = path }, 1)
  os.remove(path)
  return made, err and err.message:gsub(".*, line", "line")
end

local CSV = [[
time,proxy,ms,verdict,attempt
100,a,50,,
100.5,b,200,ok,
101,a,60,banned,
101.2,b,210,,2
]]

describe("A record", function()
  it("is read from CSV: arrivals from 0 on, retries only tell of their proxy", function()
    local made = assert(open(CSV))
    assert.equal(2, made.n)
    assert.same({ 0, 0.5, 1 }, made.arrivals)
    assert.same({ 2, 2 }, { #made.samples[1], #made.samples[2] })
    assert.same({ 0, 0.5, 1, math.huge }, { made:arrival(), made:arrival(), made:arrival(), made:arrival() })
  end)

  it("is read from JSON lines", function()
    local made = assert(open '{"time":3,"proxy":"x","ms":12}\n\n{"time":1,"proxy":7,"ms":5,"verdict":"throttled"}\n')
    assert.same({ 0, 2 }, made.arrivals)
    assert.same({ 5, 0.005 }, { made:meet(1, 0) })
  end)

  it("answers as it did around that time", function()
    local lines = { "time,proxy,ms" }
    for i = 0, 99 do
      lines[#lines + 1] = ("%d,p,%d"):format(i, i < 50 and 10 or 1000)
    end
    local made = assert(open(table.concat(lines, "\n")))
    for _ = 1, 50 do
      assert.same({ 1, 0.01 }, { made:meet(1, 20) })
      assert.same({ 1, 1 }, { made:meet(1, 80) })
    end
  end)

  for text, why in pairs {
    [""] = "line 0: no request in it",
    ["time,proxy,ms\n1,a,b\n"] = "line 2: it needs numbers time and ms, and a proxy",
    ["time,proxy\n1,a\n"] = "line 2: it needs numbers time and ms, and a proxy",
    ["time,proxy,ms,speed\n1,a,2,3\n"] = "line 2: a field 'speed'; known are time, proxy, ms, verdict, attempt",
    ["time,proxy,ms\n1,a\n"] = "line 2: 2 cells under a header of 3",
    ['{"time":1,"proxy":"a","ms":1,"verdict":"fine"}'] = "line 1: no verdict 'fine'",
    ['{"time":1,"proxy":"a","ms":1}\n{nonsense'] = "line 2: no JSON object",
  } do
    it("is refused: " .. why, function()
      local made, err = open(text)
      assert.is_nil(made)
      assert.equal(why, err)
    end)
  end

  it("is replayed: each request as it came, by the latencies of who carries it", function()
    local lines = { "time,proxy,ms,verdict" }
    for i = 0, 1999 do
      local fast = i % 4 == 0
      lines[#lines + 1] = ("%.2f,%s,%d,ok"):format(i / 20, fast and "fast" or "slow" .. i % 4, fast and 20 or 900)
    end
    local path = write(table.concat(lines, "\n"))
    local rows = assert(sim.run({ "round-robin", "performance" }, { model = { trace = path } }))
    os.remove(path)
    assert.same({ 2000, 2000 }, { rows[1].figures.requests, rows[2].figures.requests })
    assert.is_true(math.abs(rows[1].figures.mean_ms - (20 + 3 * 900) / 4) < 1)
    assert.is_true(rows[2].figures.mean_ms < 0.5 * rows[1].figures.mean_ms)
  end)

  it("that is not there is an error", function()
    local rows, err = sim.run({ "random" }, { model = { trace = "/nowhere/record.csv" } })
    assert.is_nil(rows)
    assert.equal("system", err.kind)
  end)
end)
