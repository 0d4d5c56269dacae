-- The promise of helper.lua.
describe("globals", function()
  it("cannot be written by what the specs load", function()
    local write = setfenv(function()
      stray = 1 -- luacheck: ignore
    end, _G)
    assert.has_error(write)
  end)
end)
