-- One page from the frontier: asked for, judged, handed to the job's functions, and ended in the frontier.
local errors = require "gyre.error"
local judge = require "gyre.judge"
local net = require "gyre.net"
local pages = require "gyre.crawl.page"
local robots = require "gyre.crawl.robots"
local url = require "gyre.url"

local debug, match, pcall, tostring, xpcall = debug, string.match, pcall, tostring, xpcall

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }
local MAX_HOPS = 10
-- Times that a page comes back whose host asked for patience: more than a failed one, for it is nobody's failure.
local MAX_THROTTLED = 20
-- What a page that came back would end by again.
local SAME_AGAIN = { too_large = true, invalid = true }
-- Seconds that a host waits when the pool has nobody for it.
local NO_PROXY_PAUSE, BUSY_PAUSE = 1, 0.05

local fetch = {}

local function with_traceback(err)
  return debug.traceback(tostring(err), 2)
end

-- Runs one of the job's functions. A mistake in it fails the page, not the crawl.
local function call(crawl, page, f)
  local ran, trace = xpcall(f, with_traceback, page)
  if not ran then
    crawl.report:script_error(page.url, trace)
  end
  return ran
end

local function finish(crawl, page, ended, answer, retry_after)
  pages.close(page)
  return crawl:checked(crawl.frontier:finish(page.taken, ended, answer, retry_after, page.follows, page.items))
end

-- Whatever the page has collected does not count.
local function drop(page)
  page.follows, page.items = {}, {}
end

-- The end of a page that will not come back.
local function give_up(crawl, page, err, answer, retry_after)
  drop(page)
  page.error = err
  crawl.report:failed(page, err)
  local failed = crawl.settings.given.failed
  if failed and not call(crawl, page, failed) then
    drop(page)
  end
  finish(crawl, page, "failed", answer, retry_after)
end

local function come_back(crawl, page, err, answer, retry_after, most)
  if page.tries < most then
    drop(page)
    finish(crawl, page, "again", answer, retry_after)
  else
    give_up(crawl, page, err, answer, retry_after)
  end
end

local function throttled(crawl, page, response)
  local retry_after = judge.retry_after(response.headers)
  local err = errors.new("throttled", ("throttled: the host asked for patience (status %d)"):format(response.status), {
    where = "target", status = response.status, response = response,
  })
  come_back(crawl, page, err, "slower", retry_after, MAX_THROTTLED)
end

-- One of the job's functions has raised.
local function raised(crawl, page, answer)
  if net.stopping() then -- what it waited for was cut short, maybe: the next run asks for the page anew
    drop(page)
    return finish(crawl, page, "back", answer)
  end
  local err = errors.new("script", "script: the job's function raised an error", { where = "local" })
  come_back(crawl, page, err, answer, nil, crawl.settings.given.retry_errors and crawl.settings.retries or 0)
end

local function moved(crawl, page, location)
  local target = url.resolve(location, page.url)
  local normal = target and url.normalise(target)
  if page.hops >= MAX_HOPS or not normal or normal == page.url then
    local why = normal == page.url and "redirects to itself" or normal and "too many redirects" or "redirects to no URL"
    return give_up(crawl, page, errors.new("redirect", "redirect: " .. why, { where = "target" }), "fine")
  end
  local function follow() -- which asks the job's `scope`
    if not pages.redirect(page, normal) then
      crawl.report:out_of_scope(page, normal)
    end
  end
  if not call(crawl, page, follow) then
    return raised(crawl, page, "fine")
  end
  finish(crawl, page, "moved", "fine")
end

local function answered(crawl, page, response)
  local status, answer = response.status, response.status == 503 and "slower" or "fine"
  page.response, page.attempts = response, response.attempts
  crawl.report:answered(response)
  if response.verdict == "throttled" then
    return throttled(crawl, page, response)
  elseif REDIRECTS[status] and response.headers.location then
    return moved(crawl, page, response.headers.location)
  elseif status >= 500 and page.tries < crawl.settings.retries then
    return finish(crawl, page, "again", answer)
  elseif not call(crawl, page, crawl.settings.given.page) then
    return raised(crawl, page, answer)
  end
  if status >= 400 then
    crawl.report:failed(page)
  end
  finish(crawl, page, status < 400 and "done" or "failed", answer)
end

-- Nobody was asked: the page goes back to where it was.
local function put_back(crawl, page, seconds, authority)
  if seconds then
    crawl.frontier:hold(authority, seconds)
  end
  drop(page)
  finish(crawl, page, "back", "undone")
end

local function no_answer(crawl, page, err, authority)
  page.attempts = err.attempts or 0
  if page.attempts == 0 then
    crawl.job:uncount()
  end
  if err.kind == "aborted" then
    put_back(crawl, page)
  elseif err.kind == "busy" then
    put_back(crawl, page, err.retry_after or BUSY_PAUSE, authority)
  elseif err.kind == "no_proxy" and page.attempts == 0 then
    crawl.report:no_proxy(err)
    put_back(crawl, page, NO_PROXY_PAUSE, authority)
  elseif crawl.report:outage(err) then
    put_back(crawl, page, NO_PROXY_PAUSE, authority)
  else
    come_back(crawl, page, err, "nothing", nil, SAME_AGAIN[err.kind] and 0 or crawl.settings.retries)
  end
end

--- Deals with a page that the frontier gave.
---@param crawl table
---@param fields table of the page
---@param origin string
function fetch.page(crawl, fields, origin)
  local page = pages.new(crawl, fields)
  if crawl.settings.robots and not robots.allows(crawl, origin, page.url) then
    return finish(crawl, page, "refused", "undone")
  end
  local authority = match(origin, "//(.*)$")
  local response, err = crawl:request(page.url, crawl.settings.page_request, crawl.job)
  if response then
    answered(crawl, page, response)
  else
    no_answer(crawl, page, err, authority)
  end
end

--- The same, so that what goes wrong in here stops the crawl with its reason instead of losing a page.
function fetch.protected(crawl, f, ...)
  local ran, why = pcall(f, crawl, ...)
  if not ran then
    crawl:fail(why)
  end
end

return fetch
