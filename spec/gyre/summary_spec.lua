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

  it("has lines for the busiest of a large pool, and one for the others", function()
    local list = {}
    for i = 1, 1000 do
      list[i] = ("http://192.0.2.7:%d"):format(i)
    end
    local pool = assert(gyre.open { proxies = list })
    for _ = 1, 50 do
      pool:acquire():fail("proxy_bad", 10)
    end
    assert(pool:use { name = "the-last", select = function(_, view)
      return view[#view]
    end })
    for _ = 1, 4 do
      assert(pool:acquire()):ok(5)
    end
    local text = summary.of(pool)
    local lines = {}
    for line in text:gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    assert.equal(1 + 40 + 1, #lines)
    assert.is_truthy(lines[2]:find "^http://192.0.2.7:1000 +[45] ")
    assert.is_truthy(lines[42]:find "^and 960 more proxies: 1[01] requests, 1[01] failed$")
    pool:close()
  end)
end)
