local anonymity = require "gyre.cli.check.anonymity"

describe("gyre.cli.check.anonymity", function()
  local function level(body, own)
    return anonymity.of(body, own or {})
  end

  it("knows a request that says nothing", function()
    assert.equal("elite", level "GET / HTTP/1.1\r\nHost: x.example\r\nUser-Agent: gyre/0.1\r\n\r\n")
    assert.equal("elite", level '{"headers": {"Host": "x.example", "Accept": "*/*"}}')
  end)

  it("knows one that tells of a proxy", function()
    assert.equal("anonymous", level "GET / HTTP/1.1\r\nVia: 1.1 tinyproxy\r\n\r\n")
    assert.equal("anonymous", level '{"headers": {"Via": "1.1 squid", "Host": "x"}}')
    assert.equal("anonymous", level "X-Forwarded-For: unknown\r\n")
  end)

  it("knows one that tells whose it is", function()
    assert.equal("transparent", level "X-Forwarded-For: 192.0.2.77\r\n")
    assert.equal("transparent", level '{"headers": {"X-Real-Ip": "2001:db8::1"}}')
    assert.equal("transparent", level "Forwarded: for=192.0.2.60;proto=http\r\n")
    assert.equal("transparent", level('{"origin": "198.51.100.7"}', { "198.51.100.7" }))
  end)
end)
