-- Options of strategies as JSON: what is written is read back, and what is no JSON is refused with its place.
local text = require "gyre.strategy.text"

describe("gyre.strategy.text", function()
  it("reads back what it wrote", function()
    for _, options in ipairs {
      { k = 2, deep = false, name = "x" }, { tiers = { "cheap", "premium" } }, { n = 0.1, m = -1e300, big = 2 ^ 53 },
      { where = { country = "US", tags = { "a", "b" } }, over = { strategy = "geo", options = { any = true } } },
      { text = "a\"b\\c/d\n\r\t\127\1 \195\164\226\130\172" }, { ["odd name\n"] = "" },
    } do
      local written = assert(text.write(options))
      assert.same(options, (assert(text.read(written))))
    end
    assert.equal("", text.write(nil))
    assert.equal("", text.write {})
    assert.same({}, (text.read ""))
  end)

  it("reads what others write", function()
    assert.same({ a = { 1, 2.5, -3e2 }, b = { c = { d = true } }, e = "\195\164\226\130\172/\8" },
      (assert(text.read ' { "a" : [1, 2.5,-3e2] ,"b":{"c":{"d":true}},"e":"\\u00e4\\u20AC\\/\\b"}\n')))
    assert.same({}, (assert(text.read "[]")))
    assert.same({ a = {} }, (assert(text.read '{"a":{}}')))
  end)

  it("refuses what is none, and says where", function()
    for source, message in pairs {
      ["{"] = "no name at byte 2", ['{"a"}'] = "no : at byte 5", ['{"a":1'] = "no , or } at byte 7",
      ["[1"] = "no , or %] at byte 3", ["[1 2]"] = "no , or %] at byte 4", ['{"a":nil}'] = "no value at byte 6",
      ['{"a":null}'] = "no value", ["5"] = "options are an object", ["true"] = "options are an object",
      ['{"a":"x}'] = "a text without end at byte 6", ['{"a":"\\q"}'] = "no escape at byte 8",
      ['{"a":"\\u12"}'] = "no four hexadecimal digits at byte 8", ["{} {}"] = "more after the end at byte 3",
      [("["):rep(40)] = "nested too deeply",
    } do
      local options, why = text.read(source)
      assert.is_nil(options, source)
      assert.matches(message, why)
    end
  end)

  it("refuses options that no other process could read", function()
    local loop = {}
    loop.loop = loop
    assert.matches("no JSON for a function", select(2, text.write { f = print }))
    assert.matches("refer to themselves", select(2, text.write(loop)))
  end)

  it("never takes longer than a text is long", function()
    local random = require("gyre.random").new(6)
    local pieces = { "{", "}", "[", "]", '"', ":", ",", "\\", "1", "a", "e", " " }
    for _ = 1, 3000 do
      local made = {}
      for i = 1, random:upto(30) do
        made[i] = pieces[random:upto(#pieces)]
      end
      local source = table.concat(made)
      local options, why = text.read(source)
      assert.is_true(type(options) == "table" or type(why) == "string", source)
    end
  end)
end)
