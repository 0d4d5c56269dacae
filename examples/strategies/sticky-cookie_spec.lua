local gyre = require "gyre"

local function pool_of(n, options)
  local urls = {}
  for i = 1, n do
    urls[i] = "http://192.0.2." .. i .. ":80"
  end
  return assert(gyre.open {
    proxies = urls, strategy = "examples/strategies/sticky-cookie.lua", strategy_options = options, clock = "manual",
    seed = 1,
  })
end

local function proxy_for(pool, cookie)
  local lease = assert(pool:acquire { metadata = { cookie = cookie } })
  lease:ok(1)
  return lease.id
end

describe("sticky-cookie", function()
  it("gives the same cookie the same proxy, whatever else the header holds", function()
    local pool = pool_of(20)
    local id = proxy_for(pool, "sid=42")
    for _, header in ipairs { "sid=42", "theme=dark; sid=42", "sid=42; theme=dark", "xsid=7; sid=42" } do
      assert.equal(id, proxy_for(pool, header))
    end
    pool:close()
  end)

  it("spreads cookies, and moves only those of a proxy that is out", function()
    local pool, before, used = pool_of(20), {}, {}
    for i = 1, 200 do
      before[i] = proxy_for(pool, "sid=" .. i)
      used[before[i]] = (used[before[i]] or 0) + 1
    end
    pool:disable(before[1])
    for i = 1, 200 do
      local now = proxy_for(pool, "sid=" .. i)
      assert.equal(before[i] ~= before[1], now == before[i])
      -- 10 each on the average; Poisson, 5 sigma
      assert.is_true(used[before[i]] <= 26)
    end
    pool:close()
  end)

  it("sends who has no such cookie anywhere", function()
    local pool, seen, count = pool_of(20, { cookie = "cart" }), {}, 0
    for _ = 1, 200 do
      local id = proxy_for(pool, "sid=42")
      count = count + (seen[id] and 0 or 1)
      seen[id] = true
    end
    assert.is_true(count > 15) -- all 20 but for one in 1,700 runs; the seed is fixed
    assert(pool:acquire()):ok(1)
    pool:close()
  end)
end)
