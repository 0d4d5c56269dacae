local gyre = require "gyre"

describe("cheap-first", function()
  local pool

  before_each(function()
    pool = assert(gyre.open {
      proxies = { "192.0.2.1:80#tags=cheap", "192.0.2.2:80#tags=cheap", "192.0.2.3:80#tags=premium" },
      strategy = "examples/strategies/cheap-first.lua", clock = "manual", seed = 1,
    })
  end)

  after_each(function()
    pool:close()
  end)

  local function tag(request)
    local lease = assert(pool:acquire(request))
    lease:ok(1)
    return lease.proxy.tags[1]
  end

  it("takes cheap ones while they will do", function()
    for _ = 1, 50 do
      assert.equal("cheap", tag { host = "shop.example" })
    end
  end)

  it("takes a premium one for a second attempt", function()
    assert.equal("premium", tag { attempt = 2 })
  end)

  it("takes premium ones for a host that bans a cheap one, as long as it does, and cheap ones for others", function()
    local lease = assert(pool:acquire { host = "shop.example" })
    lease:complete { verdict = "banned", retry_after = 60 }
    pool:set_time(pool:time() + 1)
    assert.equal("premium", tag { host = "shop.example" })
    pool:set_time(pool:time() + 1)
    assert.equal("cheap", tag { host = "other.example" })
    assert.equal("premium", tag { host = "shop.example" })
    pool:set_time(pool:time() + 61)
    assert.equal("cheap", tag { host = "shop.example" })
  end)

  it("takes what is left", function()
    for proxy in pool:each() do
      if proxy.tags[1] == "cheap" then
        pool:disable(proxy.id)
      end
    end
    assert.equal("premium", tag {})
  end)
end)
