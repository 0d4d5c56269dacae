-- Round-robin over three proxies, two of them users of one gateway, and what the pool remembers of each.
-- Needs no network: `gyre run examples/first.lua`, or plain luajit with lua/ on package.path.
local gyre = require "gyre"

local pool = assert(gyre.open {
  proxies = { "http://192.0.2.7:3128", "http://anna:secret@192.0.2.8:8080", "http://ben:secret@192.0.2.8:8080" },
})

for i = 1, 9 do
  local lease = assert(pool:acquire())       -- lease.url has the credentials, for whoever makes the request
  if i == 5 then
    lease:fail("proxy_bad", 20)              -- the verdict says whose fault it was
  else
    lease:ok(100 + i)                        -- milliseconds
  end
end

for proxy in pool:each() do                  -- tostring(proxy) never shows a password
  print(("%-32s started %d, succeeded %d, failed %d, mean %.0f ms"):format(
    tostring(proxy), proxy.started, proxy.succeeded, proxy.failed, proxy.ema_ms or 0))
end
