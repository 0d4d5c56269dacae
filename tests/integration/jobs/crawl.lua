-- crawl.lua PROXIES START [NAME=VALUE]...: follows every link in scope. Values are Lua; each NAME is an option of
-- gyre.crawl. Prints what `finish` is told.
local gyre = require "gyre"

local options = {
  pool = arg[1], start = arg[2], state = false, out = "/dev/null", per_host = { active = 2, delay = 0 },
  page = function(page)
    page:follow(page:links())
    page:emit { url = page.url, status = page.status }
  end,
  finish = function(totals)
    print(("done %d failed %d refused %d waiting %d held_back %d slowed %d items %d"):format(totals.done, totals.failed,
      totals.refused, totals.waiting, totals.held_back, totals.slowed, totals.items))
  end,
}
for i = 3, #arg do
  local name, value = arg[i]:match "^([%w_]+)=(.*)$"
  options[name] = assert(loadstring("local gyre = require 'gyre' return " .. value))()
end
return gyre.crawl(options)
