-- What several specs need: pools of made-up proxies, and their ids. Addresses are of TEST-NET-1; nothing is connected.
local gyre = require "gyre"

local pools = {}

--- n URLs.
function pools.urls(n)
  local urls = {}
  for i = 1, n do
    urls[i] = ("http://192.0.2.%d:%d"):format(i % 256, 1000 + i)
  end
  return urls
end

--- A pool of n proxies on a manual clock, with a fixed seed.
function pools.open(n, options)
  local given = { proxies = pools.urls(n), clock = "manual", seed = 7 }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return assert(gyre.open(given))
end

--- Ids in the order of pool:each().
function pools.ids(pool)
  local ids = {}
  for proxy in pool:each() do
    ids[#ids + 1] = proxy.id
  end
  return ids
end

--- Makes a proxy half-open: it fails until it is benched, then time passes. Others may be acquired meanwhile.
function pools.half_open(pool, id)
  local proxy = assert(pool:get(id))
  while proxy.state == "closed" do
    assert(assert(pool:probe(id)):fail "proxy_bad")
  end
  pool:set_time(pool:time() + 4000)
  assert(pool:acquire { exclude = { id } }):complete { verdict = "aborted" } -- on its way the time is noticed
  assert(proxy.state == "half_open", proxy.state)
end

return pools
