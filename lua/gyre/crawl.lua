-- gyre.crawl: a whole crawl in one call. What a page leads to and what it brings home are one function; the rest (which
-- URL is next, how fast, what has been seen, what is written, going on after a kill) is the frontier's, in src/job.
--     return gyre.crawl {
--       start = "https://docs.example/manual/", pool = "proxies.txt", out = "pages.jsonl",
--       page = function(page)
--         page:follow(page:links())
--         page:emit { url = page.url, title = page.title }
--       end,
--     }
local fetch = require "gyre.crawl.fetch"
local format = require "gyre.crawl.format"
local frontier = require "gyre.frontier"
local job = require "gyre.job"
local net = require "gyre.net"
local open = require "gyre.open"
local options = require "gyre.crawl.options"
local pages = require "gyre.crawl.page"
local polite = require "gyre.polite"
local report = require "gyre.crawl.report"
local robots = require "gyre.crawl.robots"
local robots_parser = require "gyre.robots"
local shared = require "gyre.shared"
local team = require "gyre.crawl.team"

local assert, error, io, math, pairs, pcall = assert, error, io, math, pairs, pcall
local setmetatable, tostring, type = setmetatable, tostring, type

-- A page keeps its place until it is committed. A commit costs a fraction of a millisecond; it waits until a quarter of
-- the places depend on it, or so many seconds.
local COMMIT_SHARE, COMMIT_AFTER = 4, 0.005

---@class gyre.Crawl
local Crawl = {}
Crawl.__index = Crawl

--- Stops the crawl with a reason: what is in the state stays as it was committed.
function Crawl:fail(why)
  local kind = self.mistaken and "script" or "error"
  self.report:stop(kind, tostring(why))
  team.stop(kind, tostring(why))
  for task in pairs(self.running) do
    net.cancel(task)
  end
end

--- Passes on what the frontier returned, and stops the crawl when that is a failure.
function Crawl:checked(result, why)
  if result == nil then
    self:fail(why)
  end
  return result
end

-- Errors that every request would come to: what the script says of its strategy is wrong.
local MISTAKES = { strategy = true, missing_metadata = true }

--- A request. What raises in it is a mistake in the script, mostly in its judge or its strategy.
---@param target string
---@param given table of settings: page_request or robots_request
---@param counted_by? gyre.Job
---@return gyre.Response?
---@return gyre.Error?
function Crawl:request(target, given, counted_by)
  local all = { follow = false, polite = self.polite, job = counted_by }
  for name, value in pairs(given) do
    all[name] = value
  end
  local ran, response, err = pcall(self.pool.get, self.pool, target, all)
  if not ran or (err and MISTAKES[err.kind]) then
    self.mistaken = true
    error(ran and err.message or response, 0)
  end
  return response, err
end

-- Runs beside the loop, for one page or robots.txt.
local function work(crawl, kind, taken, origin, fields)
  local me = net.current()
  crawl.running[me] = true
  if kind == "robots" then
    robots.forget(crawl, origin)
    fetch.protected(crawl, robots.fetch, taken, origin)
  else
    fetch.protected(crawl, fetch.page, fields, origin)
  end
  crawl.running[me] = nil
  crawl.in_flight = crawl.in_flight - 1
  net.wake(crawl.loop)
end

-- Takes one from the frontier. Returns what it said when there was none: kind, seconds.
function Crawl:start_one()
  local taken, kind, origin, url, depth, hops, tries, priority, referrer, data = self.frontier:take()
  if not taken then
    if not kind then
      self:fail(origin)
      return "error", 0
    end
    return kind, origin
  end
  local fields = kind == "page" and {
    taken = taken, url = url, depth = depth, hops = hops, tries = tries, priority = priority, referrer = referrer,
    data_text = data,
  }
  self.in_flight = self.in_flight + 1
  net.spawn(true, work, self, kind, taken, origin, fields)
end

-- Commits when it is time. Returns seconds until it will be, or nil: nothing waits.
function Crawl:commit()
  local waiting = self.frontier:uncommitted()
  if waiting == 0 then
    self.dirty_since = nil
    return nil
  end
  self.dirty_since = self.dirty_since or net.now()
  local age = net.now() - self.dirty_since
  if waiting * COMMIT_SHARE < self.settings.concurrency and age < COMMIT_AFTER and self.in_flight > 0 then
    return COMMIT_AFTER - age
  end
  self.dirty_since = nil
  self:checked(self.frontier:commit())
  self:show()
end

function Crawl:show()
  if team.number > 1 then
    return
  end
  local counts = self.frontier:counts()
  self.job:progress(counts.done + counts.failed, counts.waiting, counts.failed)
end

-- Starts what may start. Returns "end" when nothing more will come, or how long there is nothing to do.
function Crawl:fill()
  while true do
    if net.stopping() then
      self.report:stop "interrupted"
    elseif team.stopped() then
      self.report:stop(team.stopped())
    end
    if self.report.stopped then
      return self.in_flight == 0 and "end" or math.huge
    end
    local kind, seconds = self:start_one()
    if kind == "enough" then
      self.report:stop "enough"
    elseif kind == "empty" then
      return "end"
    elseif kind then
      return kind == "wait" and seconds or math.huge
    end
  end
end

-- Until the frontier is empty or the crawl is stopped.
function Crawl:run()
  self.loop = net.current()
  while true do
    local until_commit = self:commit()
    local wait = self:fill()
    if wait == "end" then
      break
    end
    wait = team.patience(math.min(wait, until_commit or math.huge))
    if net.stopping() or wait > 3600 then
      wait = self.in_flight > 0 and math.huge or 3600
    end
    if wait == math.huge then
      net.park()
    else
      net.park(wait)
    end
  end
  if self.report.stopped then
    team.stop(self.report.stopped, self.report.why)
  end
  if not self.report:has_failed() then
    self:checked(self.frontier:commit())
  end
end

local function open_pool(given)
  if type(given) == "cdata" then
    return given
  elseif type(given) == "string" or given[1] then
    return assert(open { proxies = given })
  end
  return assert(open(given))
end

local function open_frontier(settings)
  local given, output = settings.given, settings.output
  local opened, resumed = frontier.open {
    path = settings.state,
    job = settings.job,
    share = team.count > 1 and "crawl " .. (settings.state or settings.job) or nil,
    fresh = given.fresh or (team.fresh and team.number == 1),
    sync = given.sync,
    concurrency = settings.concurrency,
    max_pages = settings.max_pages,
    max_depth = settings.depth,
    robots = settings.robots,
    delay = settings.per_host.delay,
    active = settings.per_host.active,
    out = output.out,
    compress = output.compress,
    rotate = output.rotate,
    format = output.format,
  }
  if not opened then
    error(options.error(resumed), 0)
  end
  return opened, resumed
end

local function add_starts(crawl)
  local follows = {}
  for _, start in ipairs(crawl.settings.starts) do
    local priority = pages.priority_of(crawl, start, 0)
    local at = #follows
    follows[at + 1], follows[at + 2], follows[at + 3], follows[at + 4], follows[at + 5] = start, 0, 0, priority, false
  end
  crawl:checked(crawl.frontier:add(follows))
end

-- The limits that only the lease tells: hosts are the frontier's.
local function polite_of(settings)
  local given = settings.given
  if given.per_proxy ~= nil or given.per_proxy_host ~= nil then
    return polite.polite {
      per_proxy = given.per_proxy, per_proxy_host = given.per_proxy_host, share = settings.state or settings.job,
    }
  end
end

local function new(settings)
  local pool = open_pool(settings.given.pool)
  local opened, resumed = open_frontier(settings)
  local encode, why = format.encoder(settings.output.format, opened, settings.output.columns)
  if not encode then
    error(options.error(why), 0)
  end
  local crawl = setmetatable({
    settings = settings,
    pool = pool,
    frontier = opened,
    report = report.new(settings),
    polite = polite_of(settings),
    job = job.job { pool = pool, name = settings.given.name or "crawl" },
    encode = encode,
    running = {},
    in_flight = 0,
    robots_cache = {},
    robots_cached = 0,
    robots_tries = {},
  }, Crawl)
  function crawl.token_rules(text)
    return robots_parser.parse(text, settings.token)
  end
  crawl.report.job = crawl.job
  if team.number == 1 then
    if type(settings.given.pool) ~= "cdata" and pool.loaded then -- opened here
      crawl.report:say(pool.loaded.message)
    end
    local counts = opened:counts()
    crawl.report:begin(resumed, counts)
    crawl.report:at_once(net.most_at_once * team.count)
    crawl.job.line:resume(counts.done + counts.failed)
  end
  return crawl
end

-- The end: everything is written, the summary printed, the job's `finish` called.
local function conclude(crawl)
  local counts = crawl.frontier:counts()
  if not crawl.report:has_failed() and counts.waiting + counts.held_back == 0 then
    crawl:checked(crawl.frontier:set_finished())
  end
  local closed, why = crawl.frontier:close()
  if not closed then
    crawl.report:stop("error", why)
  end
  crawl.job:finish()
  io.stderr:write(crawl.report:summary(counts), "\n")
  local code = crawl.report:code(counts)
  counts.stopped, counts.code, counts.shared = crawl.report.stopped, code, shared.all()
  if crawl.settings.given.finish then
    crawl.settings.given.finish(counts)
  end
  return code, counts
end

--- Crawls. Returns when the frontier is empty, or when the crawl has been stopped.
---@param given gyre.CrawlOptions
---@return integer code for the script to return: 0 all pages, 1 some failed, 2 a mistake in the script, 3 no usable
--- proxy, 4 stopped and can go on
---@return table totals done, failed, refused, moved, waiting, held_back, too_deep, items, slowed; stopped: why; shared:
--- what gyre.shared holds
local function crawl(given)
  local read, settings = pcall(options.read, given)
  if not read then
    error(settings, 2)
  end
  net.check "gyre.crawl"
  options.check_request(settings, 2)
  local made = new(settings)
  if team.number > 1 then
    made:run()
    made.frontier:close()
    return team.leave(made)
  end
  add_starts(made)
  team.begin()
  made:run()
  team.gather(made)
  return conclude(made)
end

return { crawl = crawl }
