local gyre = require "gyre"

describe("pool:probe", function()
  local pool, id
  before_each(function()
    pool = assert(gyre.open { proxies = { "http://192.0.2.1:1", "http://192.0.2.2:1" }, max_proxies = 64 })
    id = pool:find("http://192.0.2.1:1").id
    local failed = 0
    while failed < 5 do
      local lease = assert(pool:acquire())
      if lease.id == id then
        lease:fail "proxy_bad"
        failed = failed + 1
      else
        lease:ok(1)
      end
    end
    assert.equal("open", pool:get(id).state)
  end)

  it("leases a benched proxy, and an ok ends its bench", function()
    local lease = assert(pool:probe(id))
    assert.equal(id, lease.id)
    assert.equal("http://192.0.2.1:1", lease.url:match "^(.-)/?$")
    assert.equal("half_open", pool:get(id).state)
    assert.equal("no_proxy", select(2, pool:probe(id)).kind)
    assert.is_true(lease:ok(5))
    assert.equal("closed", pool:get(id).state)
  end)

  it("puts it back when nothing is said", function()
    assert(pool:probe(id)):fail "aborted"
    assert.equal("open", pool:get(id).state)
  end)

  it("says what is wrong", function()
    assert.equal("not_found", select(2, pool:probe(77)).kind)
    assert.has_error(function()
      pool:probe "x"
    end)
    pool:close()
    assert.equal("closed", select(2, pool:probe(id)).kind)
  end)
end)
