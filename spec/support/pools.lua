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

return pools
