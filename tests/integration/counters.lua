-- counters.lua SEGMENT: the counters of every proxy in a shared pool, read by plain luajit after the gyre program
-- has ended: URL started completed succeeded failed aborted active, by tabs.
local gyre = require "gyre"

local pool = assert(gyre.open { shared = arg[1] })
for proxy in pool:each() do
  print(("%s\t%d\t%d\t%d\t%d\t%d\t%d"):format(tostring(proxy), proxy.started, proxy.completed, proxy.succeeded,
    proxy.failed, proxy.aborted, proxy.active))
end
