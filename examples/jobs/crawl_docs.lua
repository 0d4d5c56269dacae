-- Crawls every page of a site below its start URL, each exactly once, through a rotating pool of proxies.
--
--   gyre run examples/jobs/crawl_docs.lua --proxies proxies.txt --start http://docs.example/manual/index.html
--
-- A page that fails is tried again through another proxy. The output is one JSON object a page and line.
-- Exit code: 0 all pages, 1 some failed, 3 no usable proxy, 4 stopped by Ctrl-C.
local gyre = require "gyre"

local parser = require "argparse" ("crawl_docs", "Crawls a site through a pool of proxies.")
parser:option("--proxies", "List of proxies, one a line."):count(1)
parser:option("--start", "Where to begin; only URLs in the same folder and below are followed."):count(1)
parser:option("--out", "Where the pages go.", "pages.jsonl")
parser:option("--concurrency", "Pages in flight at once.", "16"):convert(tonumber)
parser:option("--tries", "Proxies to try for a page.", "4"):convert(tonumber)
parser:option("--timeout", "Seconds for one try.", "30"):convert(tonumber)
parser:option("--shared", "Keep the pool in this file, warm for the next run.")
local known, args = parser:pparse(arg)
if not known then
  io.stderr:write(args, "\n")
  return 2
end

local pool = assert(gyre.open { proxies = args.proxies, shared = args.shared })
io.stderr:write(pool.loaded.message, "\n")
local job = gyre.job { pool = pool, out = args.out, name = "crawl_docs" }
local prefix = args.start:match("^%a+://[^/]+.*/") or args.start .. "/"
local queue, seen = {}, {}                    -- a page is queued once and never leaves `seen`
local taken, done, failed, answered = 0, 0, 0, false

local function add(url)
  if not seen[url] and url:sub(1, #prefix) == prefix and (url:match("%.html?$") or url:match("/$")) then
    seen[url] = true
    queue[#queue + 1] = url
  end
end

local function crawl(url)
  local response, err = pool:get(url, { tries = args.tries, timeout = args.timeout, job = job })
  if not response then
    failed = failed + 1
    answered = answered or err.where == "target"
    return job:emit { url = url, error = tostring(err), attempts = err.attempts }
  end
  answered = true
  local page = gyre.html(response.body, response.url)
  for _, link in ipairs(page.links) do add(link) end
  if response.status ~= 200 then failed = failed + 1 end
  job:emit { url = url, status = response.status, title = page.title, links = #page.links,
    proxy = response.proxy.id, ms = response.ms, attempts = response.attempts }
end

local function worker()
  while not gyre.stopping() and done < #queue do
    if taken < #queue then
      taken = taken + 1
      crawl(queue[taken])
      done = done + 1
      job:progress(done, #queue - done, failed)
    else
      gyre.sleep(0.01)                        -- pages in flight may still bring links
    end
  end
end

add(args.start)
local workers = {}
for i = 1, args.concurrency do workers[i] = gyre.spawn(worker) end
for _, each in ipairs(workers) do each:join() end
job:finish()
if failed > 0 then return answered and 1 or 3 end
return 0
