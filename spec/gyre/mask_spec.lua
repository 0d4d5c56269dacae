local mask = require "gyre.mask"

describe("gyre.mask", function()
  it("takes the credentials out of what was given as the name of a file", function()
    for given, shown in pairs {
      ["http://a:sekret@h:1"] = "http://h:1",
      ["http://a:se@k/re t@h:1"] = "http://h:1",
      ["a:sekret@h:1"] = "h:1",
      ["192.0.2.7:3128:a:sekret"] = "192.0.2.7:3128",
      ["[2001:db8::1]:3128:a:sekret"] = "[2001:db8::1]:3128",
      ["a:sekret:192.0.2.7:3128"] = "192.0.2.7:3128",
      ["192.0.2.7:3128@a:sekret"] = "192.0.2.7:3128",
      ["http://h:1"] = "http://h:1",
      ["h:1"] = "h:1",
      ["./lists/me@home.txt"] = "./lists/me@home.txt",
      ["./a:b:c.txt"] = "./a:b:c.txt",
      ["http://192.0.2.7:8080:a:sekret"] = "http://192.0.2.7:8080",
      ["a@b.example:sekret:gw.example:8080"] = "gw.example:8080",
      ["a:sekret:gw.example:8080#country=de"] = "gw.example:8080",
      ["a:sekret:localhost:8080"] = "localhost:8080",
      ["a:sek/ret:gw.example:8080"] = "gw.example:8080",
      ["a:sek ret:gw.example:8080"] = "gw.example:8080",
      ["a:sekret:b"] = "what was given",
    } do
      assert.equal(shown, mask.place(given))
    end
  end)

  it("takes them out of a URL to be fetched, and nothing else", function()
    for given, shown in pairs {
      ["http://a:sekret@h/x?y=@z"] = "http://h/x?y=@z",
      ["ftp://a:se kr@et@h/"] = "ftp://h/",
      ["a:sekret@h/"] = "h/",
      ["http://h/@a"] = "http://h/@a",
      ["h/@a"] = "h/@a",
    } do
      assert.equal(shown, mask.url(given))
    end
  end)

  it("takes them out of the URLs in a text", function()
    assert.equal("by http://h:1 and socks5://i:2/, me@home",
      mask.text "by http://a:sek@ret@h:1 and socks5://b@i:2/, me@home")
  end)
end)
