local gyre = require "gyre"

describe("host-cooldown", function()
  local pool

  before_each(function()
    pool = assert(gyre.open {
      proxies = { "http://192.0.2.1:80", "http://192.0.2.2:80", "http://192.0.2.3:80" }, clock = "manual", seed = 1,
      strategy = "examples/strategies/host-cooldown.lua", strategy_options = { seconds = 10 },
    })
  end)

  after_each(function()
    pool:close()
  end)

  it("sends nobody to a host twice within the time", function()
    local seen = {}
    for _ = 1, 3 do
      seen[assert(pool:acquire { host = "a.example" }).id] = true
    end
    local count = 0
    for _ in pairs(seen) do
      count = count + 1
    end
    assert.equal(3, count)
    local lease, err = pool:acquire { host = "a.example" }
    assert.is_nil(lease)
    assert.equal("no_proxy", err.kind)
    assert.truthy(err.message:find("everybody has been at a.example within 10 seconds", 1, true))
    assert(pool:acquire { host = "b.example" }) -- another host does not mind
    pool:set_time(pool:time() + 10)
    assert(pool:acquire { host = "a.example" })
  end)

  it("begins with who was there the longest time ago", function()
    local ids = {}
    for i = 1, 3 do
      ids[i] = assert(pool:acquire { host = "a.example" }).id
      pool:set_time(pool:time() + 1)
    end
    pool:set_time(pool:time() + 20)
    for i = 1, 3 do
      assert.equal(ids[i], assert(pool:acquire { host = "a.example" }).id)
    end
  end)

  it("refuses a time that is none", function()
    local used, err = pool:use("examples/strategies/host-cooldown.lua", { seconds = 0 })
    assert.is_nil(used)
    assert.truthy(tostring(err):find "seconds is above 0")
  end)
end)
