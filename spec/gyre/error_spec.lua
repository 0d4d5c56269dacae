local errors = require "gyre.error"

describe("gyre.error", function()
  it("prints as its message", function()
    local err = errors.new("busy", "every proxy is at its limit")
    assert.equal("every proxy is at its limit", tostring(err))
    assert.equal("no: every proxy is at its limit", "no: " .. err)
    assert.equal("every proxy is at its limit!", err .. "!")
  end)

  it("keeps kind and further fields", function()
    local err = errors.new("exists", "twice", { id = 17 })
    assert.equal("exists", err.kind)
    assert.equal(17, err.id)
  end)

  it("can be raised and caught", function()
    local err = errors.new("invalid", "no")
    local _, caught = pcall(error, err)
    assert.equal(err, caught)
  end)

  it("knows its own", function()
    assert.is_true(errors.is(errors.new("full", "full")))
    assert.is_false(errors.is { kind = "full", message = "full" })
    assert.is_false(errors.is "full")
  end)
end)
