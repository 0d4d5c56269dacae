local json = require "gyre.list.json"

describe("gyre.list.json", function()
  it("takes text as a line", function()
    assert.equal("http://bob:p%3A@h:80", json.parse('"h:80:bob:p:"').url)
  end)

  it("takes objects, null meaning not said", function()
    local found = json.parse '{"host": "2001:db8::1", "port": 8080, "user": null, "tags": ["a", "b"], "weight": 2.5}'
    assert.same({ url = "http://[2001:db8::1]:8080", tags = "a,b", weight = 2.5 }, found)
  end)

  it("takes a server with credentials beside it", function()
    local found = json.parse '{"server": "http://h:80", "username": "bob", "password": "p@:"}'
    assert.equal("http://bob:p%40%3A@h:80", found.url)
    assert.equal("socks5://bob:@h:80", json.parse('{"server":"h:80","type":"socks5","user":"bob","pass":""}').url)
  end)

  it("refuses everything else, without repeating it", function()
    local bad = { "hunter2", "17", "[]", "null", '{"host":["hunter2"]}', '{"host":"h","password":"hunter2"}',
      '{"url":"http://bob:hunter2@h","user":"x"}', '{"url":"http://h","host":"h","user":"hunter2"}', "{}",
      '{"url":"http://h","weight":"hunter2"}', '{"url":"http://h","weight":NaN}', '{"url":"http://h","tags":[1]}',
      '{"url":"http://h:1","port":2}', '{"url":"http://h","scheme":"http"}', '{"url":"hunter2' }
    for _, text in ipairs(bad) do
      local found, why = json.parse(text)
      assert.is_nil(found, text)
      assert.is_string(why, text)
      assert.is_nil(why:find "hunter2", why)
    end
  end)
end)
