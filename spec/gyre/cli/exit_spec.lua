local errors = require "gyre.error"
local exit = require "gyre.cli.exit"

local function raised(f, ...)
  local _, value = pcall(f, ...)
  return value
end

describe("gyre.cli.exit", function()
  it("carries code and message through an error", function()
    assert.same({ 3, "none" }, { exit.of(raised(exit.with, 3, "none")) })
    assert.same({ 2, "--x is wrong" }, { exit.of(raised(exit.usage, "--x is wrong")) })
  end)

  it("maps errors of gyre to codes", function()
    assert.same({ 3, "all out" }, { exit.of(errors.new("no_proxy", "all out")) })
    assert.same({ 3, "refused" }, { exit.of(errors.new("connect", "refused", { where = "proxy" })) })
    assert.same({ 2, "no file" }, { exit.of(errors.new("system", "no file")) })
  end)

  it("leaves mistakes alone", function()
    assert.is_nil(exit.of "some.lua:1: attempt to index a nil value")
    assert.is_nil(exit.of { code = 1 })
  end)

  it("checks results as assert does", function()
    assert.same({ 1, 2, 3 }, { exit.check(1, 2, 3) })
    local err = errors.new("system", "no file")
    assert.equal(err, raised(exit.check, nil, err))
    assert.same({ 2, "why" }, { exit.of(raised(exit.check, nil, "why")) })
  end)
end)
