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

  it("looks at the names in each of a pool's first 1,000 tables", function()
    local pool = { phase = fields.START }
    for _ = 1, 1000 do
      assert.is_true(fields.due(pool))
    end
  end)

  it("then looks at 10 of 100, and of any rhythm of calls at as many", function()
    for rhythm = 1, 50 do
      local pool, looked, longest, since = { phase = 0 }, 0, 0, 0
      for call = 1, 2000 * rhythm do
        local is_due = fields.due(pool)
        if call % rhythm == 0 then
          since = is_due and 0 or since + 1
          looked, longest = looked + (is_due and 1 or 0), math.max(longest, since)
        end
      end
      assert.near(0.1, looked / 2000, 0.02)
      assert.is_true(longest <= 20 + 6 * rhythm, ("each %d-th goes unseen %d times"):format(rhythm, longest))
    end
  end)
end)
