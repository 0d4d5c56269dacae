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

  it("raises for what would be lost, and says where it is", function()
    local itself = {}
    itself.a = { itself }
    for why, value in pairs {
      ["the item has both [1] and other fields, or holes"] = { "x", title = "y" },
      ["list has both [1] and other fields, or holes"] = { list = { 1, nil, 3 } },
      ["both has both [1] and other fields, or holes"] = { both = { 1, nil, 3, x = 1 } },
      ["meta.f is a function"] = { meta = { f = print } },
      ["meta has a field whose name is a boolean"] = { meta = { [true] = 1 } },
      ["a table is in itself, or nested too deeply"] = itself,
    } do
      assert.is_false((pcall(json.encode, value)))
      assert.equal(why, json.unfit(value, "the item"))
    end
    assert.is_nil(json.unfit { a = { 1, { b = "c" } }, d = cjson.null, e = { [200] = 1, ok = true } })
  end)

  it("writes what else a table may be", function()
    assert.equal('{"200":3,"404":1,"ok":null}', json.encode { [404] = 1, [200] = 3, ok = cjson.null })
    assert.equal('[null,"a"]', json.encode(cjson.decode '[null,"a"]'))
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

  it("replaces what is no UTF-8, and nothing else", function()
    local R = "\239\191\189" -- U+FFFD
    local cases = {
      ["plain"] = "plain",
      ["h\195\169llo \226\130\172 \240\159\152\128"] = "h\195\169llo \226\130\172 \240\159\152\128",
      ["\194\128\223\191"] = "\194\128\223\191", -- the first and the last of each length
      ["\224\160\128\239\191\191"] = "\224\160\128\239\191\191",
      ["\240\144\128\128\244\143\191\191"] = "\240\144\128\128\244\143\191\191",
      ["\237\159\191\238\128\128"] = "\237\159\191\238\128\128", -- beside the surrogates
      ["caf\233"] = "caf" .. R, -- Latin-1
      ["\233t\233 \195\169"] = R .. "t" .. R .. " \195\169",
      ["\195"] = R, -- cut off: one for what there is
      ["\226\130"] = R,
      ["\240\159\152"] = R,
      ["\226\130x"] = R .. "x",
      ["\226\130\195\169"] = R .. "\195\169",
      ["\192\175"] = R .. R, -- overlong
      ["\193\191"] = R .. R,
      ["\224\159\191"] = R .. R .. R,
      ["\240\143\191\191"] = R .. R .. R .. R,
      ["\237\160\128"] = R .. R .. R, -- surrogates
      ["\237\191\191"] = R .. R .. R,
      ["\244\144\128\128"] = R .. R .. R .. R, -- beyond U+10FFFF
      ["\245\128"] = R .. R,
      ["\128\191\254\255"] = R .. R .. R .. R,
    }
    for given, wanted in pairs(cases) do
      assert.equal('"' .. wanted .. '"', json.text(given))
    end
    assert.equal('{"caf' .. R .. '":["\\n' .. R .. '\\u0000"]}', json.encode { ["caf\233"] = { "\n\255\0" } })
  end)

  it("leaves it where gyre reads it again", function()
    assert.equal('"caf\233"', json.text("caf\233", true))
    assert.equal('{"a\233":["b\233"]}', json.encode({ ["a\233"] = { "b\233" } }, true))
  end)

  it("makes JSON of any bytes", function()
    math.randomseed(11)
    for _ = 1, 2000 do
      local bytes = {}
      for i = 1, math.random(0, 12) do
        bytes[i] = string.char(math.random() < 0.3 and math.random(0, 127) or math.random(128, 255))
      end
      local text = json.text(table.concat(bytes))
      assert.equal(text, json.text(cjson.decode("[" .. text .. "]")[1])) -- valid: again it changes nothing
      assert.equal(0, #text:gsub("[%z\1-\127\194-\244][\128-\191]*", "")) -- no stray byte is left
    end
  end)

  it("refuses what JSON has no word for", function()
    assert.has_error(function()
      json.encode { print }
    end, "no JSON for a function")
  end)
end)
