local csv = require "gyre.list.csv"

describe("gyre.list.csv", function()
  it("splits cells, quoted and not", function()
    assert.same({ "a", "b", "" }, csv.cells "a,b,")
    assert.same({ "a, b", 'say "x"', "c" }, csv.cells '"a, b" , "say ""x""",  c ')
    assert.same({ "" }, csv.cells "")
    assert.same({ "", "" }, csv.cells '"",')
  end)

  it("refuses broken quoting", function()
    assert.is_nil((csv.cells '"a'))
    assert.is_nil((csv.cells '"a"b,c'))
    assert.is_nil((csv.cells '"a""'))
  end)

  it("knows a header by an address column", function()
    assert.same({ "IP", "Port", "speed" }, csv.header "IP, Port, speed")
    assert.same({ "url" }, csv.header "url")
    assert.is_nil(csv.header "http://192.0.2.1:80")
    assert.is_nil(csv.header "192.0.2.1:80:user:pass,word")
    assert.is_nil(csv.header "port,country")
  end)

  it("makes an entry from a row", function()
    local columns = csv.header "protocol,ip,port,username,password,country,tags,speed"
    local found, why, unknown = csv.parse('socks5,192.0.2.7,1080,bob,"p,@:""%41",de,"a,b",3', columns)
    assert.is_nil(why)
    assert.equal("socks5://bob:p%2C%40%3A%22%2541@192.0.2.7:1080", found.url)
    assert.equal("de", found.country)
    assert.equal("a,b", found.tags)
    assert.same({ "speed" }, unknown)
  end)

  it("is separated by what its header is separated by", function()
    for _, separator in ipairs { ",", ";", "\t" } do
      local function row(...)
        return table.concat({ ... }, separator)
      end
      local columns, found = csv.header(row("IP Address", "Port", "User-Name", "username", "password", "country"))
      assert.equal(separator, found)
      local entry, why = csv.parse(row("192.0.2.7", "80", "", "bob", '"a' .. separator .. 'b"', ""), columns, found)
      assert.is_nil(why)
      assert.equal(6, #columns)
      assert.equal("http://bob:a%" .. ("%02X"):format(separator:byte()) .. "b@192.0.2.7:80", entry.url)
    end
  end)

  it("takes empty cells as not said", function()
    local found = csv.parse("192.0.2.7,80,,,", csv.header "host,port,user,password,country")
    assert.same({ url = "http://192.0.2.7:80" }, found)
  end)

  it("refuses rows that do not fit, without repeating them", function()
    local columns = csv.header "host,port,user,password"
    local bad = { "h,80,bob", "h,80,bob,hunter2,", "h,hunter2,bob,x", "h,80,,hunter2", ",80,bob,hunter2",
      "h@hunter2,80,bob,x", '"hunter2', "h,0,a,hunter2", "h,65536,a,hunter2", "h,80.5,a,hunter2" }
    for _, row in ipairs(bad) do
      local found, why = csv.parse(row, columns)
      assert.is_nil(found, row)
      assert.is_nil(why:find "hunter2", why)
    end
  end)

  it("refuses two columns of one meaning", function()
    local found, why = csv.parse("h,80,a,b", csv.header "host,port,user,username")
    assert.is_nil(found)
    assert.equal("user is given twice", why)
  end)
end)
