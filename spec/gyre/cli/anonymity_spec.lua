local anonymity = require "gyre.cli.check.anonymity"

describe("gyre.cli.check.anonymity", function()
  local function level(body, own)
    return anonymity.of(body, "x.example", own or {})
  end

  it("knows a request that says nothing", function()
    assert.equal("elite", level "GET / HTTP/1.1\r\nHost: x.example:8080\r\nUser-Agent: gyre/0.1\r\n\r\n")
    assert.equal("elite", level '{"headers": {"Host": "x.example:8080", "Accept": "*/*"}}')
    assert.equal("elite", level "HTTP_HOST = x.example\nREMOTE_ADDR = 192.0.2.7\n")
  end)

  it("knows one that tells of a proxy", function()
    assert.equal("anonymous", level "GET / HTTP/1.1\r\nHost: x.example:8080\r\nVia: 1.1 tinyproxy\r\n\r\n")
    assert.equal("anonymous", level '{"headers": {"Via": "1.1 squid", "Host": "x.example"}}')
    assert.equal("anonymous", level "Host: x.example\r\nX-Forwarded-For: unknown\r\n")
    assert.equal("anonymous", level "HTTP_HOST = x.example\nHTTP_VIA = 1.1 squid\n")
  end)

  it("knows one that tells whose it is", function()
    assert.equal("transparent", level "Host: x.example\r\nX-Forwarded-For: 192.0.2.77\r\n")
    assert.equal("transparent", level '{"headers": {"Host": ["x.example"], "X-Real-Ip": ["2001:db8::1"]}}')
    assert.equal("transparent", level "Host: x.example\r\nForwarded: for=192.0.2.60;proto=http\r\n")
    assert.equal("transparent", level "HTTP_HOST = x.example\nHTTP_X_FORWARDED_FOR = 192.0.2.77\n")
    assert.equal("transparent", level('{"Host": "x.example", "origin": "198.51.100.7"}', { "198.51.100.7" }))
  end)

  it("knows what is no echo", function()
    for _, body in ipairs { "", "hello", "<html><body>Welcome to x.example</body></html>", "Host: other.example\r\n",
      "ghost: x.example", "Host: x.example.com", '{"origin": "192.0.2.7"}', "Via: 1.1 squid" } do
      assert.is_nil(level(body))
    end
  end)

  it("tells by an address of ours in anything", function()
    assert.equal("transparent", level("hello 198.51.100.7", { "198.51.100.7" }))
  end)

  it("knows a host that is an address", function()
    assert.equal("elite", anonymity.of("Host: [2001:DB8::1]:80", "2001:db8::1", {}))
    assert.equal("elite", anonymity.of("Host: 192.0.2.1:80", "192.0.2.1", {}))
    assert.is_nil(anonymity.of("Host: 192.0.2.11:80", "192.0.2.1", {}))
  end)
end)
