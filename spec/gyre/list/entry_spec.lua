local entry = require "gyre.list.entry"
local random = require "gyre.random"

describe("gyre.list.entry", function()
  it("encodes all but unreserved characters, and decodes that once", function()
    assert.equal("aZ0-._~%3A%2F%25%00%FF", entry.encode "aZ0-._~:/%\0\255")
    local generator = random.new(11)
    for _ = 1, 200 do
      local bytes = {}
      for i = 1, generator:upto(40) do
        bytes[i] = string.char(generator:upto(256) - 1)
      end
      local text = table.concat(bytes)
      assert.equal(text, entry.decode(entry.encode(text)))
    end
    assert.equal("%41", entry.decode "%2541")
  end)

  it("makes URLs from parts", function()
    assert.equal("http://h", entry.url { host = "h" })
    assert.equal("socks5h://a%3A:b%40@[::1]:1", entry.url { scheme = "SOCKS5H", host = "::1", port = "1", user = "a:",
      password = "b@" })
    assert.equal("http://a@h:80", entry.url { host = "h", port = 80, user = "a" })
  end)

  it("refuses hosts that would change the URL's meaning", function()
    for _, host in ipairs { "", "a@b", "a/b", "a:1", "a#b", "a?b", "a b", "[::1", "a%41" } do
      assert.is_nil((entry.url { host = host, port = 80 }), host)
    end
  end)

  it("names fields it does not know", function()
    local found, why, unknown = entry.from_fields { url = "http://h", tag = "x" }
    assert.same({ url = "http://h" }, found)
    assert.is_nil(why)
    assert.same({ "tag" }, unknown)
  end)
end)
