-- Crawls every page of a site below its start URL, each exactly once, through a rotating pool of proxies.
--
--   gyre run examples/jobs/crawl_docs.lua --proxies proxies.txt --start http://docs.example/manual/index.html
--
-- A page is what has no extension, or .htm or .html. One that fails is tried again through another proxy. The output is
-- one JSON object a page and line. Cut short by Ctrl-C or worse, the same command goes on where it was; --fresh starts
-- over.
-- Exit code: 0 all pages, 1 some failed, 3 no usable proxy, 4 stopped before the end.
local gyre = require "gyre"

local parser = require "argparse" ("crawl_docs", "Crawls a site through a pool of proxies.")
parser:option("--proxies", "List of proxies, one a line."):count(1)
parser:option("--start", "Where to begin; only URLs in the same folder and below are followed."):count(1)
parser:option("--out", "Where the pages go.", "pages.jsonl")
parser:option("--state", "Where the crawl is remembered [OUT.state].")
parser:option("--concurrency", "Pages in flight at once.", "16"):convert(tonumber)
parser:option("--per-host", "Of these, on one host.", "2"):convert(tonumber)
parser:option("--delay", "Seconds from one request to a host to the next.", "0.5"):convert(tonumber)
parser:option("--tries", "Proxies to try for a page.", "4"):convert(tonumber)
parser:option("--timeout", "Seconds for one try.", "30"):convert(tonumber)
parser:option("--shared", "Keep the pool in this file, warm for the next run.")
parser:flag("--ignore-robots", "Do not ask for robots.txt: for a site of your own.")
local known, args = parser:pparse(arg)
if not known then
  io.stderr:write(args, "\n")
  return 2
end

return gyre.crawl {
  name = "crawl_docs",
  pool = { proxies = args.proxies, shared = args.shared },
  start = args.start, out = args.out, state = args.state,
  concurrency = args.concurrency, per_host = { active = args.per_host, delay = args.delay },
  tries = args.tries, timeout = args.timeout, robots = not args.ignore_robots,
  page = function(page)
    local links = page:links()
    for _, link in ipairs(links) do
      local name = link:match "^[^?#]*":match "[^/]*$"
      if not name:find "%." or name:find "%.html?$" then page:follow(link) end
    end
    page:emit { url = page.url, status = page.status, title = page.title, links = #links,
      proxy = page.proxy.id, ms = page.ms, attempts = page.attempts }
  end,
  failed = function(page)
    page:emit { url = page.url, error = tostring(page.error), attempts = page.attempts }
  end,
}
