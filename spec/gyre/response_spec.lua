local response = require "gyre.response"

local function headers(...)
  return response.new({ head = table.concat({ "HTTP/1.1 200 OK", ... }, "\r\n") .. "\r\n\r\n" }).headers
end

describe("gyre.response", function()
  it("has headers by names in lower case, without blanks around values", function()
    assert.same({ ["content-type"] = "text/html", empty = "", x = "a: b" },
      headers("Content-Type: text/html", "EMPTY:", "X:\t a: b \t"))
  end)

  it("joins those that come again, cookies by line ends", function()
    assert.same({ x = "1, 2", ["set-cookie"] = "a=1\nb=2; Path=/" },
      headers("X: 1", "Set-Cookie: a=1", "x: 2", "set-cookie: b=2; Path=/"))
  end)

  it("joins values of several lines", function()
    assert.same({ x = "one two three", y = "4" }, headers("X: one", "  two", "\tthree", "Y: 4"))
  end)

  it("reads them once, and knows nothing else", function()
    local made = response.new { head = "HTTP/1.1 200 OK\nX: 1\n\n" }
    assert.equal(made.headers, made.headers)
    assert.equal("1", made.headers.x)
    assert.is_nil(made.nothing)
  end)

  it("has none of a line that is none", function()
    assert.same({}, headers("nothing", "a b: c", ": d"))
  end)

  it("reads them quickly, however much white space is in them", function()
    local began, spaces = os.clock(), (" "):rep(200000)
    assert.equal(200002, #headers("a: x" .. spaces .. "y").a)
    assert.equal("", headers("a:" .. spaces).a)
    assert.equal("1", headers("a: 1", spaces).a)
    assert.is_true(os.clock() - began < 5)
  end)
end)
