local gyre = require "gyre"

describe("gyre.member", function()
  it("sets what it is given, and 0 and empty texts count as given", function()
    local pool = assert(gyre.open())
    local id = assert(pool:add { url = "http://h:80", weight = 0, cost = 0, max_active = 2, country = "de",
      region = "Bayern", tags = "a,b" })
    local proxy = pool:get(id)
    assert.same({ 0, 0, 2 }, { proxy.weight, proxy.cost, proxy.max_active })
    assert(pool:update(id, { max_active = 0, tags = { "c" }, region = "" }))
    assert.same({ 0, 0, 0 }, { proxy.weight, proxy.cost, proxy.max_active })
    assert.same({ "c" }, proxy.tags)
    assert.is_nil(proxy.region)
    assert.equal("DE", proxy.country:upper())
    pool:close()
  end)

  it("refuses weights and costs that are none", function()
    local pool = assert(gyre.open())
    for _, value in ipairs { -1, 0 / 0, 1 / 0 } do
      assert.equal("invalid", select(2, pool:add { url = "http://h:80", weight = value }).kind)
      assert.equal("invalid", select(2, pool:add { url = "http://h:80", cost = value }).kind)
    end
    local id = assert(pool:add "http://h:80")
    assert.equal("invalid", select(2, pool:update(id, { weight = -1 })).kind)
    assert.equal("invalid", select(2, pool:update(id, { region = "a\0b" })).kind)
    assert.equal("not_found", select(2, pool:update(1, { weight = 1 })).kind)
    assert.equal(1, #pool)
    pool:close()
  end)

  it("sets rates and times to live, which come and go", function()
    local pool = assert(gyre.open { proxies = { "h:1#rate=2/10s&ttl=50" }, clock = "manual" })
    local proxy = pool:find "h:1"
    assert.same({ "2/10s", pool:time() + 50 }, { proxy.rate, proxy.expires })
    assert(pool:acquire())
    assert(pool:acquire())
    assert.equal("busy", select(2, pool:acquire()).kind)
    for _, rate in ipairs { "1/500ms", "40/2m", "3/1500ms" } do
      assert(pool:update(proxy.id, { rate = rate }))
      local shown = proxy.rate
      assert(pool:update(proxy.id, { rate = shown }), shown)
      assert.equal(shown, proxy.rate)
    end
    assert.equal("invalid", select(2, pool:update(proxy.id, { rate = "often" })).kind)
    assert(pool:update(proxy.id, { rate = "", ttl = 0 }))
    assert.is_nil(proxy.rate)
    assert.is_nil(proxy.expires)
    assert(pool:update(proxy.id, { ttl = 5 }))
    pool:set_time(pool:time() + 10)
    assert.equal("no_proxy", select(2, pool:acquire()).kind)
    assert.equal("removed", proxy.state)
    pool:close()
  end)
end)
