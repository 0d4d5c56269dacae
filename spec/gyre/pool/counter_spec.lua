local gyre = require "gyre"

describe("gyre.pool.counter", function()
  it("is one number for everybody on the segment", function()
    local path = os.tmpname()
    os.remove(path)
    local one, two = assert(gyre.open { shared = path }), assert(gyre.open { shared = path })
    local count = one:counter "spent"
    assert.equal(0, count:get())
    assert.equal(1, count:add())
    assert.equal(3.5, two:counter("spent"):add(2.5))
    assert.equal(3.5, count:get())
    assert.equal(1.5, count:add(-2))
    local all = {}
    two:counter("other"):add(7)
    for name, value in two:counters() do
      all[name] = value
    end
    assert.same({ spent = 1.5, other = 7 }, all)
    one:close()
    assert.equal("closed", select(2, count:add()).kind)
    assert.equal("closed", select(2, count:get()).kind)
    two:close()
    os.remove(path)
  end)

  it("refuses what is no name and no number", function()
    local pool = assert(gyre.open())
    assert.equal("invalid", select(2, pool:counter(""):add()).kind)
    assert.equal("invalid", select(2, pool:counter(("x"):rep(48)):add()).kind)
    assert.equal("invalid", select(2, pool:counter("x"):add(0 / 0)).kind)
    for _, misuse in ipairs { function() pool:counter(17) end, function() pool:counter "a\0b" end,
      function() pool:counter("x"):add "1" end } do
      assert.has_error(misuse)
    end
    pool:close()
  end)
end)
