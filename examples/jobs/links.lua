-- A link checker: every link of a site that leads nowhere, and the page it was first seen on. Pages elsewhere are
-- looked at, not crawled.
--   gyre run examples/jobs/links.lua proxies.txt https://docs.example/ broken.jsonl
local gyre = require "gyre"
local site = assert(arg[2], "it takes a list of proxies and the URL of a site"):match "^%a+://[^/]+/"

local function report(page, what)
  page:emit { url = page.url, on = page.referrer, what = what }
end

return gyre.crawl {
  start = arg[2], pool = arg[1], out = arg[3] or "broken.jsonl", scope = "any", retries = 1,
  page = function(page)
    if page.status >= 400 then return report(page, page.status) end
    if page.url:sub(1, #site) == site then page:follow(page:links()) end
  end,
  failed = function(page) report(page, page.error.kind) end,
}
