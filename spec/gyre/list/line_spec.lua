local line = require "gyre.list.line"

local function url(text)
  local found, why = line.parse(text)
  return found and found.url, why
end

describe("gyre.list.line", function()
  it("takes URLs of all schemes as they are", function()
    for _, scheme in ipairs { "http", "https", "socks4", "socks4a", "socks5", "socks5h", "SOCKS5" } do
      local text = scheme .. "://user:p%40ss@host.example:3128"
      assert.equal(text, url(text))
    end
    assert.equal("http://[2001:db8::1]:80", url "http://[2001:db8::1]:80")
  end)

  it("takes host:port as http", function()
    assert.equal("http://192.0.2.7:3128", url "192.0.2.7:3128")
    assert.equal("http://proxy.example:80", url "  proxy.example:80  ")
    assert.equal("http://[::1]:80", url "[::1]:80")
  end)

  it("takes host:port:user:password as it stands and encodes it", function()
    assert.equal("http://bob:secret@192.0.2.7:80", url "192.0.2.7:80:bob:secret")
    assert.equal("http://bob:p%40%3A%23%25%3D%3B@192.0.2.7:80", url "192.0.2.7:80:bob:p@:#%=;")
    assert.equal("http://bob:%2541@192.0.2.7:80", url "192.0.2.7:80:bob:%41")
    assert.equal("http://bob:@192.0.2.7:80", url "192.0.2.7:80:bob:")
    assert.equal("http://bob:x@[::1]:80", url "[::1]:80:bob:x")
  end)

  it("takes user:password@host:port as a URL without its scheme", function()
    assert.equal("http://bob:p%40ss@192.0.2.7:80", url "bob:p%40ss@192.0.2.7:80")
    assert.equal("http://bob:1234@192.0.2.7:80", url "bob:1234@192.0.2.7:80")
  end)

  it("takes both the other way round, where nothing else can be meant", function()
    assert.equal("http://bob:secret@192.0.2.7:80", url "bob:secret:192.0.2.7:80")
    assert.equal("http://bob:s%3Ae%25c@gate.example:80", url "bob:s:e%c:gate.example:80")
    assert.equal("http://bob:12345@192.0.2.7:80", url "bob:12345:192.0.2.7:80")
    assert.equal("http://bob%25session%3Ahex8:pw@gate.example:80", url "bob%session:hex8:pw:gate.example:80")
    assert.equal("http://bob:s%40c@192.0.2.7:80", url "192.0.2.7:80@bob:s%40c")
    assert.equal("http://bob:secret@gate.example:80", url "gate.example:80@bob:secret")
    assert.equal("http://bob:1234@192.0.2.7:80", url "192.0.2.7:80@bob:1234")
    -- These two are as they always were.
    assert.equal("http://my.bob:1234@gate.example:80", url "gate.example:80:my.bob:1234")
    assert.equal("http://b.ob:1234@gate.example:80", url "b.ob:1234@gate.example:80")
    assert.equal("http://bob:12@s3cret@gate.example:80", url "bob:12@s3cret@gate.example:80")
    assert.equal("http://my.bob:1234@gate:80", url "gate:80:my.bob:1234")
  end)

  it("takes a user with a dot and a password of digits for what they are", function()
    for _, gate in ipairs { "[2001:db8::1]:3128", "b\195\188cher.example:3128", "gate~way.example:80", "gate:80" } do
      assert.equal("http://my.bob:1234@" .. gate, url("my.bob:1234@" .. gate))
    end
    for _, text in ipairs { "my.bob:1234@gate.example", "my.bob:1234@gate", "gate.example:80@bob" } do
      local found, why = line.parse(text)
      assert.is_nil(found)
      assert.is_truthy(why:find "^no port")
    end
  end)

  it("says of columns that nothing names them", function()
    for _, text in ipairs { "192.0.2.7,80,bob,hunter2", "192.0.2.7;80", "192.0.2.7\t80\tbob\thunter2" } do
      local found, why = line.parse(text)
      assert.is_nil(found)
      assert.is_truthy(why:find "^columns, and no line above names them")
    end
  end)

  it("reads attributes after # in every form", function()
    local forms = { "http://h:80", "h:80", "h:80:bob:pw", "bob:pw@h:80", "http://bob:pw@h", "bob:pw:h.example:80",
      "h.example:80@bob:pw" }
    for _, form in ipairs(forms) do
      for _, gap in ipairs { "", " " } do
        local found = assert(line.parse(form .. gap .. "#country=de&tags=cheap,slow&weight=2&cost=0.5&max_active=3"))
        assert.same({ "de", "cheap,slow", 2, 0.5, 3 },
          { found.country, found.tags, found.weight, found.cost, found.max_active })
        assert.equal(url(form), found.url)
      end
    end
  end)

  it("decodes attribute values", function()
    assert.equal("Île de France", line.parse("h:80#region=%C3%8Ele%20de%20France").region)
  end)

  it("keeps a raw # in credentials", function()
    assert.equal("http://bob:a%23b@h:80", url "h:80:bob:a#b")
    assert.equal("http://bob:a%23b%23@h:80", url "h:80:bob:a#b##country=de")
    assert.equal("http://bob:a#b@h:80", url "http://bob:a#b@h:80#country=de")
  end)

  it("skips a comment after a space", function()
    assert.equal("http://h:80", url "h:80 # the fast one, me@example.org")
    assert.equal("http://bob:pw@h:80", url "h:80:bob:pw # the = fast one")
  end)

  it("refuses what is no proxy, without repeating it", function()
    local bad = {
      "hunter2", "hunter2:hunter2", "192.0.2.7", "192.0.2.7:80:hunter2", "h:80 hunter2", "bob:hunter2@h",
      "http://bob:hunter2@h:80 x", "h:80#hunter2", "h:80#hunter2=1", "h:80:bob:x #hunter2=1", "h:80#weight=hunter2",
      "h:80#country=de&hunter2", "h:80#country=de&country=fr", "h:80:bob:hunter2\1", "h:80#max_active=1.5",
      "::1:80:bob:hunter2",
    }
    for _, text in ipairs(bad) do
      local found, why = line.parse(text)
      assert.is_nil(found, text)
      assert.is_string(why, text)
      assert.is_nil(why:find "hunter2", why)
    end
  end)

  it("reads a rate and a time to live", function()
    local found = assert(line.parse "h:80#rate=40/10s&ttl=600")
    assert.same({ "40/10s", 600 }, { found.rate, found.ttl })
    assert.equal("ttl is no number", select(2, line.parse "h:80#ttl=soon"))
  end)
end)
