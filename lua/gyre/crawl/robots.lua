-- robots.txt in a crawl: fetched through the pool as pages are, kept in the state for 24 hours, asked before each page.
local judge = require "gyre.judge"
local net = require "gyre.net"
local robots = require "gyre.robots"
local url = require "gyre.url"

local find, match, sub = string.find, string.match, string.sub

local MAX_REDIRECTS = 5 -- RFC 9309, 2.3.1.2
local MAX_TRIES = 3
local MAX_PARSED = 256 -- origins whose rules are kept parsed, per worker
local LIFE = 600 -- seconds for which they are: another worker may have been told new ones
local PAUSE = 1 -- seconds that a host waits when the pool has nobody for it
local KEPT = 500 * 1024 -- bytes of a robots.txt that count, hence are stored

local module = {}

local function get(crawl, target)
  local asked = target
  for _ = 0, MAX_REDIRECTS do
    local response, err = crawl:request(asked, crawl.settings.robots_request)
    if not response then
      return nil, err
    end
    local location = response.status >= 300 and response.status < 400 and response.headers.location
    if not location then
      return response
    end
    asked = url.resolve(location, asked)
    if not asked then
      return response
    end
  end
  return { status = 404, headers = {} } -- too many redirects: as if there were none
end

-- What to store: status, body; nil: not to be had now.
local function outcome(response)
  if not response or response.status >= 500 or response.status == 429 then
    return nil
  elseif response.status >= 200 and response.status < 300 then
    return response.status, sub(response.body, 1, KEPT + 1) -- one more, so that the parser sees that it was cut
  end
  return 404, "" -- 4xx and what is left of 3xx: nothing is forbidden
end

-- Whether it is worth asking again in this run. Not to be had is no answer: the host's pages wait for another run.
local function gives_up(crawl, origin, err)
  local tries = (crawl.robots_tries[origin] or 0) + 1
  crawl.robots_tries[origin] = tries
  return tries >= MAX_TRIES and not (err and err.kind == "aborted")
end

-- Nobody could be asked: that is no try.
local function put_back(crawl, taken, origin, err)
  if err.kind == "no_proxy" then
    crawl.report:no_proxy(err)
  end
  crawl.frontier:hold(match(origin, "//(.*)$"), err.retry_after or PAUSE)
  crawl:checked(crawl.frontier:robots(taken, false, 0, -1, "", "undone"))
end

--- Fetches a host's robots.txt and hands it to the frontier.
---@param crawl table
---@param taken userdata
---@param origin string
function module.fetch(crawl, taken, origin)
  local response, err = get(crawl, origin .. "/robots.txt")
  if response then
    crawl.report:answered()
  elseif (err.attempts == 0 and (err.kind == "no_proxy" or err.kind == "busy")) or crawl.report:outage(err) then
    return put_back(crawl, taken, origin, err)
  end
  local status, body = outcome(response)
  local delay = status and crawl.token_rules(body).delay or nil
  local slower = response and (response.status == 429 or response.status == 503)
  local answer = slower and "slower" or response and "fine" or "nothing"
  local good = status ~= nil or gives_up(crawl, origin, err)
  if good and not status then
    crawl.report:held_back(origin, err and tostring(err) or "status " .. response.status)
  end
  crawl:checked(crawl.frontier:robots(taken, good, status or 0, delay or -1, body or "", answer,
    slower and judge.retry_after(response.headers) or nil))
end

local function read(crawl, origin)
  local status, body = crawl.frontier:robots_text(origin)
  return status == 0 and robots.all(false) or status == 404 and robots.all(true) or crawl.token_rules(body or "")
end

-- The parsed rules of an origin, from the state when they are not at hand.
local function rules_of(crawl, origin)
  local cache, now = crawl.robots_cache, net.now()
  local kept = cache[origin]
  if not kept then
    if crawl.robots_cached >= MAX_PARSED then
      cache, crawl.robots_cached = {}, 0
      crawl.robots_cache = cache
    end
    kept = { ends = now }
    cache[origin] = kept
    crawl.robots_cached = crawl.robots_cached + 1
  end
  if now >= kept.ends then
    kept.rules, kept.ends = read(crawl, origin), now + LIFE
  end
  return kept.rules
end

--- Whether robots.txt, which has been fetched, allows a page.
---@param crawl table
---@param origin string
---@param target string in normal form
---@return boolean
function module.allows(crawl, origin, target)
  return (rules_of(crawl, origin):allows(sub(target, #origin + 1)))
end

--- Forgets the parsed rules of an origin: new ones are coming.
function module.forget(crawl, origin)
  if crawl.robots_cache[origin] then
    crawl.robots_cache[origin] = nil
    crawl.robots_cached = crawl.robots_cached - 1
  end
end

--- Whether a URL can be a robots.txt, which nobody needs to ask for twice.
function module.is_robots(target)
  return find(target, "^%a+://[^/]+/robots%.txt$") ~= nil
end

return module
