local cjson = require "cjson"
local json = require "gyre.json"

describe("gyre.json", function()
  it("keeps the order of fields", function()
    assert.equal('{"b":1,"a":[true,"x"]}', json.object({ a = { true, "x" }, b = 1, c = 2 }, { "b", "missing", "a" }))
    assert.equal('{"a":2,"b":{"c":[]}}', json.encode { b = { c = {} }, a = 2 })
  end)

  it("writes numbers that read back as they were", function()
    math.randomseed(7)
    for _ = 1, 1000 do
      local value = (math.random() - 0.5) * 10 ^ math.random(-20, 20)
      assert.equal(value, tonumber(json.encode(value)))
    end
    assert.equal("9007199254740991", json.encode(2 ^ 53 - 1))
    assert.equal("0.1", json.encode(0.1))
    assert.equal("null", json.encode(0 / 0))
    assert.equal("null", json.encode(1 / 0))
  end)

  it("escapes every byte that JSON wants escaped", function()
    local text = ""
    for byte = 1, 127 do
      text = text .. string.char(byte)
    end
    text = text .. "é€"
    assert.equal(text, cjson.decode(json.encode { text })[1])
    assert.equal('"http://x/"', json.text "http://x/")
  end)

  it("refuses what JSON has no word for", function()
    assert.has_error(function()
      json.encode { print }
    end, "no JSON for a function")
  end)
end)
