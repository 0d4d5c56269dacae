local headers = require "gyre.headers"

local function lines(given, keeps_cookies)
  local made, cookie = headers.lines(given, keeps_cookies or false, 1)
  table.sort(made)
  return table.concat(made, "|"), cookie
end

describe("gyre.headers", function()
  it("makes a line of each value", function()
    assert.equal("A: 1|B: 2|B: x|C;|D:|E: a b",
      (lines { A = 1, B = { "x", 2 }, C = " ", D = false, E = "\t a b " }))
    assert.equal("", lines {})
  end)

  it("has cookies apart where others are kept", function()
    assert.same({ "Cookie: a=1", nil }, { lines { Cookie = "a=1" } })
    assert.same({ "X: 1", "a=1" }, { lines({ COOKIE = "a=1", X = 1 }, true) })
    assert.same({ "", "a=1; b=2" }, { lines({ cookie = { "a=1", "b=2" } }, true) })
    assert.same({ "", nil }, { lines({ Cookie = "" }, true) })
    assert.same({ "Cookie:", nil }, { lines({ Cookie = false }, true) })
  end)

  it("leaves the length of the body to who counts it", function()
    assert.equal("Content-Type: x", lines { ["content-LENGTH"] = 5, ["Content-Type"] = "x" })
  end)

  it("refuses what would be something else", function()
    local wrong = { ["a b"] = "x", [""] = "x", ["a:"] = "x", [1] = "A: x", A = true, B = "x\r\ny", C = "\0",
      D = { "x", false }, Cookie = { {} } }
    for name, value in pairs(wrong) do
      assert.has_error(function() headers.lines({ [name] = value }, true, 1) end)
    end
  end)
end)
