local ffi = require "ffi"
local deadline = require "gyre.sim.deadline"

describe("The ring of deadlines", function()
  it("passes over those whose request has ended, and grows", function()
    local requests = ffi.new "struct { int32_t serial; }[3000]"
    local ring = deadline.new(requests)
    assert.equal(math.huge, ring:next())
    for r = 0, 2999 do
      ring:add(r / 10, r, 0)
    end
    for r = 0, 2998 do
      requests[r].serial = r % 3 -- only every third goes on
    end
    for r = 0, 2997, 3 do
      assert.equal(r / 10, ring:next())
      assert.equal(r, ring:request())
      requests[r].serial = 9
    end
    assert.equal(299.9, ring:next())
    assert.equal(2999, ring:request())
  end)
end)
