local fields = require "gyre.fields"

describe("gyre.fields", function()
  local known = { a = true, b = true, c = true, d = true, e = true }

  it("finds the unknown field among any number of known ones", function()
    local given = {}
    assert.is_nil(fields.unknown(given, known))
    for name in pairs(known) do
      given[name] = 1
      assert.is_nil(fields.unknown(given, known))
      given.x = false
      assert.equal("x", fields.unknown(given, known))
      given.x = nil
      given[1] = "x"
      assert.equal(1, fields.unknown(given, known))
      given[1] = nil
    end
  end)
end)
