local heap = require "gyre.sim.heap"

describe("The event heap", function()
  it("gives back in the order of time what came in any", function()
    local events, state = heap.new(), 1
    for i = 1, 1000 do -- more than fit at first
      state = state * 16807 % 2147483647
      events:push(state, i, i * 2)
    end
    local last = 0
    for left = 1000, 1, -1 do
      assert.equal(left, events.count)
      local event = events.items[1]
      assert.is_true(event.at >= last)
      assert.equal(event.what * 2, event.version)
      last = event.at
      events:pop()
    end
    assert.equal(0, events.count)
  end)
end)
