local plot = require "gyre.sim.plot"
local report = require "gyre.sim.report"
local sim = require "gyre.sim"

local rows

setup(function()
  rows = assert(sim.run({ "round-robin", { source = "random", name = "a<b & \"c\"" } },
    { model = { duration = 40, warmup = 5, rate = 50 } }))
end)

describe("The picture", function()
  it("has a curve a strategy in both panels, names, titles and units", function()
    local svg = plot.svg(rows)
    assert.equal(4, select(2, svg:gsub("<polyline", "")))
    for _, words in ipairs { "Latency of successful attempts", "milliseconds", "Share of each proxy", ">round%-robin<",
      ">a&lt;b &amp; &quot;c&quot;<", "100%%" } do
      assert.truthy(svg:find(words), words)
    end
    assert.equal(select(2, svg:gsub("<text", "")), select(2, svg:gsub("</text>", "")))
    for number in svg:gmatch ' [xy][12]?="([^"]+)"' do
      assert.is_number(tonumber(number))
    end
  end)

  it("has rising curves that end at 100 %", function()
    local points = plot.svg(rows):match '<polyline[^>]*points="([^"]+)"'
    local last_x, last_y = 0, math.huge
    for x, y in points:gmatch "([%d.]+),([%d.]+)" do
      x, y = tonumber(x), tonumber(y)
      assert.is_true(x >= last_x and y <= last_y)
      last_x, last_y = x, y
    end
    assert.is_true(last_y < 62) -- the upper edge is at 58
  end)
end)

describe("The report", function()
  it("compares with the first row", function()
    local text = report.text(rows)
    assert.equal(2, select(2, text:gsub("\n", "")))
    local base, other = rows[1].figures.mean_ms, rows[2].figures.mean_ms
    assert.truthy(text:find(("%+.1f%%"):format((other / base - 1) * 100), 1, true))
  end)

  it("is JSON too", function()
    local object = require("cjson").decode(report.json(rows):match "^[^\n]+")
    assert.equal("round-robin", object.name)
    assert.equal(rows[1].figures.mean_ms, object.mean_ms)
    assert.equal(0, object.mean_change)
  end)
end)
