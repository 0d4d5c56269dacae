-- crawl.lua COPIES CONCURRENCY ORIGIN PROXY...: a whole crawl, as `gyre run` does it: links and a heading by libxml2,
-- the frontier and the items on disk. The origin has so many copies of a site, /1/, /2/ and so on. Prints what map.lua
-- does: pages, failures, seconds, CPU seconds, peak KiB. Environment: USAGE, usage.lua; DIR, for state and output.
local gyre = require "gyre"
local net = require "gyre.net"
local usage = dofile(os.getenv "USAGE")

local dir, began, before = os.getenv "DIR", net.now(), usage()
local start = {}
for i = 1, tonumber(arg[1]) do
  start[i] = ("%s/%d/index.html"):format(arg[3], i)
end

return gyre.crawl {
  pool = assert(gyre.open { proxies = { select(4, unpack(arg)) } }),
  start = start, concurrency = tonumber(arg[2]), robots = false, per_host = false,
  state = dir .. "/state", out = dir .. "/items.jsonl",
  page = function(page)
    page:follow(page:links "%.html$")
    page:emit { url = page.url, status = page.status, title = page.title, heading = page:xpath "string(//h1)" }
  end,
  finish = function(totals)
    local cpu, peak = usage()
    print(("%d %d %.3f %.3f %d"):format(totals.done, totals.failed, net.now() - began, cpu - before, peak))
  end,
}
