local tables = require "gyre.cli.table"

describe("gyre.cli.table", function()
  it("aligns text left and numbers right", function()
    assert.same({ "NAME     N", "a        1", "longer  22" },
      tables.lines({ "NAME", "N" }, { { "a", 1 }, { "longer", 22 } }, { true }))
    assert.same({ "N  NAME", "1  a", "3  bc" },
      tables.lines({ "N", "NAME" }, { { 1, "a" }, { 3, "bc" } }, { [2] = true }))
  end)

  it("says durations briefly", function()
    local said = {}
    for i, seconds in ipairs { 0.04, 9.9, 42, 61, 3600, 7860, 90000 } do
      said[i] = tables.duration(seconds)
    end
    assert.same({ "0.0s", "9.9s", "42s", "1m01s", "1h00m", "2h11m", "1d01h" }, said)
  end)
end)
