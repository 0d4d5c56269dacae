local entry = require "gyre.list.entry"
local gyre = require "gyre"
local template = require "gyre.template"

describe("gyre.template", function()
  local CUSTOMER = "customer-X{-cc-%country}{-sessid-%session:hex8}"

  local function with(values)
    return function(name) return values[name] end
  end

  local function expand(text, values)
    return template.expand(text, with(values or {}))
  end

  it("fills in what it knows, and leaves out the rest", function()
    local session = template.hash("cart-17", "hex", 8)
    assert.equal("customer-X", expand(CUSTOMER))
    assert.equal("customer-X-cc-DE", expand(CUSTOMER, { country = "DE" }))
    assert.equal("customer-X-sessid-" .. session, expand(CUSTOMER, { session = "cart-17" }))
    assert.equal("customer-X-cc-DE-sessid-" .. session, expand(CUSTOMER, { country = "DE", session = "cart-17" }))
    assert.equal("x-", expand "x-%country")
    local labels = { country = "DE", region = "Berlin" }
    assert.equal("de.BERLIN.de", expand("%country:lower.%region:upper.%country:lower", labels))
    assert.equal("", expand("{%country-%region}", { country = "DE" }))
  end)

  it("leaves alone what is no variable", function()
    local texts = { "", "%", "100%", "%41", "{}", "{x}", "a{b}c%d", "%citizen", "}{", "%%", "%Session", "{%sessions}" }
    for _, text in ipairs(texts) do
      assert.equal(text, expand(text, { session = "s", country = "DE", region = "r" }))
    end
    assert.equal("%country", expand("%%country", { country = "DE" }))
    assert.equal("%country DE", expand("{%%country %country}", { country = "DE" }))
  end)

  it("hashes any session into the alphabet and length that are asked for", function()
    local patterns = { hex = "^[0-9a-f]+$", num = "^%d+$", alpha = "^%l+$", alnum = "^[%l%d]+$" }
    math.randomseed(7)
    local seen = {}
    for i = 1, 3000 do
      local session = {}
      for k = 1, math.random(1, 128) do
        session[k] = string.char(math.random(33, 126))
      end
      session = table.concat(session) .. i
      for alphabet, pattern in pairs(patterns) do
        local length = math.random(1, 64)
        local text = expand(("%%session:%s%d"):format(alphabet, length), { session = session })
        assert.equal(length, #text)
        assert.matches(pattern, text)
        assert.equal(text, template.hash(session, alphabet, length))
      end
      local long = template.hash(session, "hex", 16)
      assert.is_nil(seen[long])
      seen[long] = true
    end
    assert.matches("^[%l%d]+$", expand("%session", { session = "s" }))
    assert.equal(12, #expand("%session", { session = "s" }))
    assert.equal(12 + 6, #expand("%session:hex99", { session = "s" })) -- no length we have: text
  end)

  it("uses every character of an alphabet about as often", function()
    local counts, n = {}, 0
    for i = 1, 2000 do
      for character in template.hash("session" .. i, "alnum", 20):gmatch "." do
        counts[character] = (counts[character] or 0) + 1
        n = n + 1
      end
    end
    local mean = n / 36
    local sigma = math.sqrt(mean * 35 / 36)
    local kinds = 0
    for _, count in pairs(counts) do
      kinds = kinds + 1
      assert.is_true(math.abs(count - mean) < 5 * sigma)
    end
    assert.equal(36, kinds)
  end)

  it("never changes the credentials of a proxy without templates", function()
    math.randomseed(8)
    local lookup = with { session = "s", country = "DE", region = "r" }
    for _ = 1, 2000 do
      local text = {}
      for k = 1, math.random(0, 20) do
        text[k] = string.char(math.random(1, 255))
      end
      local password = entry.encode(table.concat(text))
      local url = "http://user:" .. password .. "@192.0.2.1:3128"
      assert.equal(url, template.url(url, lookup))
    end
    assert.equal("http://192.0.2.1:3128", template.url("http://192.0.2.1:3128", lookup))
  end)

  it("decodes once, and encodes what it fills in", function()
    local lookup = with { region = "a b@c:d%41" }
    local url = "http://u%7B-%25region%7D:p%2541%25region@192.0.2.1:3128"
    assert.equal("http://u-a%20b%40c%3Ad%2541:p%2541a%20b%40c%3Ad%2541@192.0.2.1:3128", template.url(url, lookup))
    assert.equal("http://u:p%2541@192.0.2.1:3128", template.url(url, with {}))
  end)

  it("is part of a list in every form, and of lease.url", function()
    local lines = {
      "http://" .. CUSTOMER .. ":secret@192.0.2.1:3128#country=*",
      "192.0.2.2:3128:" .. CUSTOMER .. ":secret#country=*",
      CUSTOMER .. ":secret@192.0.2.3:3128#country=*",
      "http://customer-X%7B-cc-%25country%7D%7B-sessid-%25session%3Ahex8%7D:secret@192.0.2.4:3128#country=*",
    }
    for _, line in ipairs(lines) do
      local pool = assert(gyre.open { proxies = { line }, max_proxies = 64, max_leases = 64, max_sessions = 64 })
      assert.matches("^http://customer%-X:secret@", assert(pool:acquire()).url)
      assert.matches("^http://customer%-X%-cc%-DE:secret@", assert(pool:acquire { country = "DE" }).url)
      assert.matches("^http://customer%-X%-cc%-FR:secret@", assert(pool:acquire { country = { "FR", "DE" } }).url)
      local sticky = assert(pool:acquire { session = "cart-17", country = "DE" })
      local hex = template.hash("cart-17", "hex", 8)
      assert.matches("^http://customer%-X%-cc%-DE%-sessid%-" .. hex .. ":secret@", sticky.url)
      local again = gyre.lease()
      assert.matches(hex, assert(pool:acquire_into(again, { session = "cart-17" })).url)
      assert.not_matches(hex, assert(pool:acquire_into(again)).url)
      assert.not_matches("customer", tostring(sticky.proxy))
      assert.is_not_nil(pool:find(line:gsub("#.*", "")))
      pool:close()
    end
  end)

  it("takes the label where the proxy has one", function()
    local pool = assert(gyre.open { max_proxies = 64, max_leases = 64, max_sessions = 64 })
    assert(pool:add { url = "http://u-%country-%region:p@192.0.2.1:3128", country = "fr", region = "Paris" })
    assert.matches("^http://u%-FR%-Paris:p@", assert(pool:acquire()).url)
    assert.matches("^http://u%-FR%-Paris:p@", assert(pool:acquire { country = { "DE", "FR" } }).url)
    assert.equal("no_proxy", select(2, pool:acquire { country = "DE" }).kind)
    pool:close()
  end)
end)
