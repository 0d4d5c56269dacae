-- lua/gyre/meta.lua is for language servers and never runs: that it speaks of what exists is checked here.
local gyre = require "gyre"
local pools = require "pools"

describe("gyre.meta", function()
  it("declares methods that exist", function()
    local pool = pools.open(1)
    local objects = { Pool = pool, Lease = assert(pool:acquire()) }
    local declared = 0
    for line in io.lines "lua/gyre/meta.lua" do
      local class, method = line:match "^function (%a+):([%w_]+)"
      if class then
        assert.equal("function", type(objects[class][method]), line)
        declared = declared + 1
      end
    end
    assert.is_true(declared >= 25)
    objects.Lease:ok()
    pool:close()
    assert.equal("function", type(gyre.open))
  end)
end)
