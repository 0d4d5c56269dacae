local judge = require "gyre.judge"

describe("gyre.judge", function()
  local asked = { url = "http://shop.example/", method = "GET", host = "shop.example", attempt = 1 }

  local function answer(status, headers)
    return { status = status, headers = headers or {} }
  end

  local function says(by, response, err)
    return judge.decide({ assert(judge.compile(by)) }, 1, asked, response, err)
  end

  it("reads a status by one word", function()
    local expected = { -- default, lenient, strict
      [200] = { "ok", "ok", "ok" },
      [301] = { "ok", "ok", "ok" },
      [401] = { "ok", "ok", "banned" },
      [403] = { "ok", "ok", "banned" },
      [404] = { "ok", "ok", "ok" },
      [407] = { "ok", "ok", "ok" },
      [429] = { "throttled", "throttled", "throttled" },
      [451] = { "ok", "ok", "banned" },
      [500] = { "target_bad", "ok", "target_bad" },
      [503] = { "target_bad", "ok", "target_bad" },
      [599] = { "target_bad", "ok", "target_bad" },
      [999] = { "target_bad", "ok", "banned" },
    }
    for status, verdicts in pairs(expected) do
      for i, word in ipairs { "default", "lenient", "strict" } do
        assert.same({ status, word, verdicts[i] }, { status, word, (says(word, answer(status))) })
        assert.same({ status, word, status == 503 and "throttled" or verdicts[i] },
          { status, word, (says(word, answer(status, { ["retry-after"] = "3" }))) })
      end
    end
  end)

  it("takes a failed transfer's verdict from where it failed", function()
    for _, word in ipairs { "default", "lenient", "strict" } do
      assert.equal("proxy_bad", says(word, nil, { kind = "connect", where = "proxy", verdict = "proxy_bad" }))
      assert.equal("target_bad", says(word, nil, { kind = "timeout", where = "target", verdict = "target_bad" }))
    end
  end)

  it("asks one after the other until one says something", function()
    local said = {}
    local function saying(name, verdict, wait)
      return function(_, response, err)
        said[#said + 1] = name
        assert.is_true(response ~= nil or err ~= nil)
        return verdict, wait
      end
    end
    local judges = { saying "request", nil, saying("strategy", "banned", 7), saying("never", "ok") }
    assert.same({ "banned", 7 }, { judge.decide(judges, 4, asked, answer(200)) })
    assert.same({ "request", "strategy" }, said)
    assert.equal("target_bad", judge.decide({ saying "request", nil, nil }, 3, asked, answer(500)))
  end)

  it("takes a table of statuses, and leaves the others to the next", function()
    local by = { [200] = "ok", [404] = "banned" }
    assert.equal("banned", says(by, answer(404)))
    assert.equal("throttled", says(by, answer(429)))
    assert.equal("proxy_bad", says(by, nil, { verdict = "proxy_bad" }))
    by[500] = "banned" -- the caller's table is the caller's
    assert.equal("target_bad", says({ [404] = "banned" }, answer(500)))
  end)

  it("refuses what is no judge, and a judge that says nonsense", function()
    assert.matches("no judge 'nonsense'", select(2, judge.compile "nonsense"))
    assert.matches("not a number", select(2, judge.compile(7)))
    assert.matches("statuses as keys", select(2, judge.compile { ["404"] = "banned" }))
    assert.matches("statuses as keys", select(2, judge.compile { [404] = "bad" }))
    assert.has_error(function() says(function() return "bad" end, answer(200)) end,
      "judge returned 'bad', which is no verdict")
    assert.has_error(function() says(function() return "banned", "soon" end, answer(200)) end,
      "judge returned 'soon' as the seconds to wait")
    assert.has_error(function() says(function() return "banned", -1 end, answer(200)) end)
  end)

  it("reads Retry-After in seconds", function()
    for _, text in ipairs { "0", "-1", "1.5", "soon", "" } do
      assert.is_nil(judge.retry_after { ["retry-after"] = text })
    end
    assert.equal(1, judge.retry_after { ["retry-after"] = "1" })
    assert.is_nil(judge.retry_after {})
    assert.same({ "throttled", 120 }, { says("default", answer(429, { ["retry-after"] = "120" })) })
    local five = function() return "throttled", 5 end
    assert.same({ "throttled", 5 }, { says(five, answer(429, { ["retry-after"] = "120" })) })
    assert.same({ "ok" }, { says("default", answer(200, { ["retry-after"] = "120" })) })
  end)

  it("reads dates in all three forms of RFC 9110", function()
    local forms = { "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994" }
    for _, text in ipairs(forms) do
      assert.equal(784111777, judge.date(text))
    end
    local nonsense = {
      "", "tomorrow", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Noe 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
    }
    for _, text in ipairs(nonsense) do
      assert.is_nil(judge.date(text))
    end
    assert.equal(951782400, judge.date "Tue, 29 Feb 2000 00:00:00 GMT")
  end)

  it("agrees with the C library on any date", function()
    math.randomseed(20)
    for _ = 1, 2000 do
      local at = math.random(0, 2 ^ 32)
      assert.equal(at, judge.date(os.date("!%a, %d %b %Y %H:%M:%S GMT", at)))
    end
  end)

  it("measures a date by the server's clock, or by ours", function()
    local headers = { ["retry-after"] = "Sun, 06 Nov 1994 08:50:37 GMT", date = "Sun, 06 Nov 1994 08:49:37 GMT" }
    assert.equal(60, judge.retry_after(headers))
    headers.date = nil
    assert.is_nil(judge.retry_after(headers)) -- long past
    headers["retry-after"] = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + 100)
    assert.is_true(math.abs(judge.retry_after(headers) - 100) <= 2)
  end)
end)
