local gyre = require "gyre"
local summary = require "gyre.summary"

describe("gyre.summary", function()
  it("tells two users of one gateway apart, without their names", function()
    local pool = assert(gyre.open { proxies = {
      "http://192.0.2.7:3128", "http://anna:secret@192.0.2.8:8080", "http://ben:secret@192.0.2.8:8080",
    } })
    local before = summary.baseline(pool)
    for _ = 1, 4 do
      pool:acquire():ok(10)
    end
    local names = {}
    for name, started in summary.of(pool, { baseline = before }):gmatch "\n(http%S+ ?#?%d*) +(%d+) " do
      names[#names + 1] = name
      assert.is_true(started == "1" or started == "2")
    end
    local ids = {}
    for proxy in pool:each() do
      ids[#ids + 1] = proxy.id
    end
    assert.equal(3, #names)
    assert.equal("http://192.0.2.7:3128", (names[1]:gsub(" *$", "")))
    assert.equal(("http://192.0.2.8:8080 #%.0f"):format(ids[2]), names[2])
    assert.equal(("http://192.0.2.8:8080 #%.0f"):format(ids[3]), names[3])
    pool:close()
  end)
end)
