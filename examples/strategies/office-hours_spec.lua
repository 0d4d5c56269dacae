local gyre = require "gyre"

-- "Always" and "never" whatever the time is when this runs.
local ALWAYS, NEVER = { from = 0, to = 24 }, { from = 5, to = 5 }

local function tag_by(tiers, options)
  options = options or {}
  options.tiers = tiers
  local pool = assert(gyre.open {
    proxies = { "192.0.2.1:80#tags=cheap", "192.0.2.2:80#tags=premium", "192.0.2.3:80#tags=other" },
    strategy = "examples/strategies/office-hours.lua", strategy_options = options,
  })
  local lease = assert(pool:acquire())
  lease:ok(1)
  local found = lease.proxy.tags[1]
  pool:close()
  return found
end

local function tier(tags, hours)
  return { tags = tags, from = hours.from, to = hours.to }
end

describe("office-hours", function()
  it("takes the first tier whose time it is", function()
    assert.equal("premium", tag_by { tier("cheap", NEVER), tier("premium", ALWAYS) })
    assert.equal("cheap", tag_by { tier("cheap", ALWAYS), tier("premium", ALWAYS) })
  end)

  it("passes over a tier that has nobody", function()
    assert.equal("premium", tag_by { tier("absent", ALWAYS), tier("premium", ALWAYS) })
  end)

  it("knows ranges over midnight, and hours east of UTC", function()
    local strategy = dofile "examples/strategies/office-hours.lua"
    local function at(hour, from, to)
      strategy:configure { tiers = { { tags = "night", from = from, to = to } }, offset = 0 }
      strategy.hour = function() return hour end
      local view = { least_active = function() return "any" end }
      function view.where(_, filter) return { least_active = function() return filter.tags end } end
      return strategy:select(view)
    end
    local wanted = { [17] = "any", [18] = "night", [23] = "night", [0] = "night", [7] = "night", [8] = "any" }
    for hour, want in pairs(wanted) do
      assert.equal(want, at(hour, 18, 8))
    end
    local fresh = dofile "examples/strategies/office-hours.lua"
    fresh:configure { tiers = {}, offset = 0 }
    local here = fresh:hour()
    fresh:configure { tiers = {}, offset = 5 }
    local there = fresh:hour()
    assert.is_true((there - here) % 24 == 5 or (there - here) % 24 == 6) -- the hour may have changed in between
  end)

  it("refuses a tier without hours", function()
    local pool, err = gyre.open {
      strategy = "examples/strategies/office-hours.lua", strategy_options = { tiers = { { tags = "cheap" } } },
    }
    assert.is_nil(pool)
    assert.truthy(tostring(err):find "tier 1 needs tags, from and to")
  end)
end)
