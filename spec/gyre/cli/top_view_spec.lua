local view = require "gyre.cli.top.view"

local function row(name)
  return { id = 1048577, state = "closed", rate = 12.34, share = 0.5, active = 3, ema = 104.2, success = 1,
    started = 123456, failed = 0, name = name }
end

describe("gyre.cli.top.view", function()
  it("leaves columns out where the name of the proxy would be cut", function()
    local rows = { row "socks5h://192.0.2.107:10800", row "http://192.0.2.1:1" }
    local all = view.table(rows)
    assert.matches("^     ID  STATE ", all[1])
    assert.same(all, view.table(rows, #all[2]))
    for columns = 60, #all[2] - 1 do
      local lines = view.table(rows, columns)
      assert.matches("socks5h://192%.0%.2%.107:10800$", lines[2])
      assert.is_true(#lines[2] <= columns)
      assert.matches("STATE .*REQ/S", lines[1])
    end
    assert.matches("^STATE   REQ/S  ACTIVE  SUCCESS  PROXY$", view.table(rows, 1)[1]) -- no fewer; the screen cuts them
    assert.matches("STARTED", view.table({}, 200)[1])
  end)
end)
