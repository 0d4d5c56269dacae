local gyre = require "gyre"

local function urls(pool)
  local found = {}
  for proxy in pool:each() do
    found[#found + 1] = proxy.url
  end
  table.sort(found)
  return found
end

describe("pool:reload", function()
  local pool
  before_each(function()
    pool = assert(gyre.open { proxies = { "http://192.0.2.1:1", "http://192.0.2.2:1" }, max_proxies = 64 })
  end)

  it("adds, removes and keeps", function()
    for _ = 1, 4 do
      pool:acquire():ok(10)
    end
    local report = assert(pool:reload { "http://192.0.2.2:1#country=de", "http://192.0.2.3:1" })
    assert.same({ 1, 1, 1 }, { report.loaded, report.known, report.removed })
    assert.same({ "http://192.0.2.2:1", "http://192.0.2.3:1" }, urls(pool))
    local kept = pool:find "http://192.0.2.2:1"
    assert.equal(2, kept.started)
    assert.equal("DE", kept.country)
    assert.truthy(report.ids[kept.id])
  end)

  it("removes first where there is no room for both", function()
    local first, second = {}, { "http://198.51.100.1:1" }
    for i = 1, 64 do
      first[i] = ("http://198.51.100.%d:1"):format(i)
      second[#second + 1] = i > 1 and ("http://203.0.113.%d:1"):format(i) or nil
    end
    table.insert(second, 40, "http://198.51.100.64:1") -- who is there already, and comes after the room has run out
    table.remove(second)
    assert(pool:reload(first))
    local kept, held = pool:find "http://198.51.100.64:1", assert(pool:acquire())
    kept = kept.id
    held:ok(1)
    local report = assert(pool:reload(second))
    assert.same({ 62, 2, 62 }, { report.loaded, report.known, report.removed })
    assert.equal(kept, pool:find("http://198.51.100.64:1").id)
    assert.equal(64, #pool)
    table.insert(second, "http://203.0.113.99:1")
    local _, err = pool:reload(second)
    assert.equal("full", err.kind)
    assert.equal(64, #pool)
    local held_by_others = assert(pool:reload({ "http://203.0.113.98:1" }, {}) == nil)
    assert.is_true(held_by_others)
  end)

  it("with the ids of a former list leaves what others added", function()
    local former = assert(pool:reload { "http://192.0.2.1:1", "http://192.0.2.2:1" })
    pool:add "http://192.0.2.9:1"
    local report = assert(pool:reload({ "http://192.0.2.2:1" }, former.ids))
    assert.equal(1, report.removed)
    assert.same({ "http://192.0.2.2:1", "http://192.0.2.9:1" }, urls(pool))
  end)

  it("changes nothing when the list is of no use", function()
    for _, list in ipairs { {}, { "nonsense" }, "/nonexistent/list.txt" } do
      local report, err = pool:reload(list)
      assert.is_nil(report)
      assert.truthy(err.kind == "invalid" or err.kind == "system")
      assert.equal(2, #pool)
    end
  end)

  it("completes leases of what it removed", function()
    local lease = assert(pool:acquire())
    pool:reload { "http://192.0.2.5:1" }
    assert.is_true(lease:ok(1))
  end)

  it("is for open pools, and takes lists", function()
    assert.has_error(function()
      pool:reload(7)
    end, "a list is a path or a table, not a number")
    pool:close()
    local _, err = pool:reload { "http://192.0.2.5:1" }
    assert.equal("closed", err.kind)
  end)
end)
