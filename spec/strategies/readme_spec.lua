-- The blocks of strategies/README.md, run: the template and the compositions as strategies, their use as a script.
local gyre = require "gyre"
local pools = require "pools"

local function blocks()
  local file = assert(io.open("strategies/README.md", "rb"))
  local text, list = file:read "*a", {}
  file:close()
  for block in text:gmatch "\n```lua\n(.-)\n```" do
    list[#list + 1] = block
  end
  return list
end

local function with_file(path, text, run)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  local ran, message = pcall(run)
  os.remove(path)
  assert(ran, message)
end

describe("strategies/README.md", function()
  local found = blocks()

  it("has a template that works, as a file under the name it is used by", function()
    assert.matches("fastest%-of%-few", found[1])
    with_file("fastest-of-few.lua", found[1], function()
      with_file("proxies.txt", "http://192.0.2.1:80\nhttp://192.0.2.2:80\n", function()
        assert(loadstring("local gyre = require 'gyre' " .. found[2] .. " assert(lease:ok()) pool:close()"))()
        local pool = pools.open(5, { strategy = "./fastest-of-few.lua", strategy_options = { k = 5 } })
        for i = 1, #pool do
          local others = pools.ids(pool)
          table.remove(others, i)
          assert(pool:acquire({ exclude = others, strategy = "random" }):ok(10 * i))
        end
        for _ = 1, 10 do -- of all five it is always the fastest
          local lease = assert(pool:acquire())
          assert.equal(pools.ids(pool)[1], lease.id)
          lease:ok(10)
        end
        assert.equal("strategy", select(2, pool:use("./fastest-of-few.lua", { k = 0 })).kind)
        pool:close()
      end)
    end)
  end)

  it("has compositions that work", function()
    local pool = pools.open(3)
    for line in found[3]:gmatch "[^\n]+" do
      assert(pool:use(assert(loadstring("local gyre = ... return " .. line))(gyre)))
      assert(pool:acquire({ session = "cart-17" }):ok(5))
    end
    assert.equal(3, #found)
    pool:close()
  end)
end)
