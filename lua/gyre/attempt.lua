-- One attempt at a request: a transfer, the verdict on it, and the end of its lease, exactly once on every way out.
local errors = require "gyre.error"
local judge = require "gyre.judge"
local net = require "gyre.net"
local request = require "gyre.request"
local response = require "gyre.response"
local end_lease = require("gyre.lease").finish
local strategy_judge = require("gyre.active").judge

local error, io, pcall, tostring = error, io, pcall, tostring
local send, result = net.request, net.result
local decide = judge.decide

local VERDICTS = { "ok", "banned", "throttled", "proxy_bad", "target_bad", "aborted" } -- enum gyre_verdict
-- Another proxy may do better; where the request may have been carried out all the same, only when that is harmless.
local RETRY = { banned = true, proxy_bad = true }
-- The target would send the same again.
local SAME_AGAIN = { too_large = true, redirect = true }

local NOBODY = {} -- to judge but the default

-- Hosts whose blame has been told, by pool.
local blamed = {}

-- Leases of attempts under way: what is left here when the job is cut short is ended as aborted. By place, and false
-- where a place is vacant: as keys of a table, always new ones, they would have it laid out anew every few requests.
local open, places = {}, 0
local vacant, vacancies = {}, 0

net.on_close(function()
  for place = 1, places do
    local lease = open[place]
    open[place] = false
    if lease then
      lease:complete { verdict = "aborted" }
    end
  end
end)

local function open_place(lease)
  local place
  if vacancies > 0 then
    place, vacancies = vacant[vacancies], vacancies - 1
  else
    places = places + 1
    place = places
  end
  open[place] = lease
  return place
end

-- Ends the attempt's lease. A lease that has ended already (its deadline passed, its pool was closed) is no concern of
-- the request's. Of a redirect to another host it is that host who refuses the proxy or asks for patience.
local function complete(place, verdict, ms, bytes, retry_after, host)
  local lease = open[place]
  vacancies = vacancies + 1
  open[place], vacant[vacancies] = false, place
  end_lease(lease, verdict, verdict ~= "aborted" and ms or nil, bytes, retry_after, host)
end

local function failure(proxy, kind, where, message, ms, sent, connect_code, verdict)
  local text = proxy and ("%s (%s): %s"):format(kind, tostring(proxy), message) or ("%s: %s"):format(kind, message)
  return errors.new(kind, text, {
    where = where,
    verdict = verdict,
    id = proxy and proxy.id,
    ms = ms,
    sent = sent,
    status = connect_code >= 300 and connect_code or nil, -- a CONNECT that was refused
  })
end

-- One transfer. Returns response | nil, error; ms, bytes; and how many redirects led to the response. The error has the
-- verdict of codes and phases.
local function transfer(plan, proxy_url, proxy)
  local ended, why = send(plan.url, proxy_url, plan.terms)
  if ended == nil then
    return nil, failure(nil, "invalid", "local", why, 0, false, 0, "aborted"), 0, 0
  end
  local good, a, b, c, ms, bytes, message, sent, connect_code = result()
  if plan.mixed and plan.job then
    plan.job.mixed = true
  end
  if not good then
    return nil, failure(proxy, a, b, message, ms, sent, connect_code, VERDICTS[c]), ms, bytes
  end
  -- The same places hold status, head, body, ms, bytes, url, version of HTTP and redirects.
  local made = response.new {
    status = a, head = b, body = c, ms = ms, bytes = bytes, url = message, http = sent, proxy = proxy,
    verdict = false, attempts = 1, -- until they are known: all places at once
  }
  return made, nil, ms, bytes, connect_code
end

-- The judges of an attempt, in order, with holes for those that are not there; nil: only the default. The strategy's is
-- that of when the lease was taken, whatever is in use when it ends.
local function judges_of(pool, plan)
  local job = plan.job
  local own, jobs, strategys = plan.judge, job and job.judge, pool and strategy_judge(pool, plan.fields.strategy)
  if own or jobs or strategys then
    return { own, jobs, strategys }
  end
  return nil
end

local function asked_of(plan, number, proxy)
  return {
    url = plan.url,
    method = plan.method,
    host = plan.host,
    attempt = number,
    session = plan.session,
    proxy = proxy,
  }
end

-- What the request and everybody else will be told. Returns verdict, retry_after.
local function judged(judges, plan, number, proxy, got, err)
  if err and err.verdict == "aborted" then
    return "aborted" -- by us: says nothing, whoever is asked
  elseif not judges then
    return decide(NOBODY, 0, nil, got, err)
  end
  return decide(judges, 3, asked_of(plan, number, proxy), got, err)
end

-- The same for the end of a lease, which ends as aborted when a judge raises. Without judges nothing raises, and LuaJIT
-- compiles what comes after: a trace that began in a pcall does not leave it.
local function judged_or_aborted(place, judges, plan, number, proxy, got, err)
  if not judges then
    return judged(nil, plan, number, proxy, got, err)
  end
  local called, verdict, retry_after = pcall(judged, judges, plan, number, proxy, got, err)
  if not called then
    complete(place, "aborted")
    error(verdict, 0)
  end
  return verdict, retry_after
end

local function rejected(got, verdict)
  local text = ("%s (%s): the judge refused the response, status %d"):format(verdict, tostring(got.proxy), got.status)
  local err = errors.new(verdict, text, { where = "target", response = got, status = got.status })
  err.id = got.proxy and got.proxy.id
  return err
end

-- A request that may have reached the target is only repeated when that is harmless.
local function may_try_again(plan, err)
  return err.where ~= "local" and not SAME_AGAIN[err.kind] and (plan.idempotent or not err.sent)
end

-- Said once a host: the work goes on, and somebody should look.
local function warn(pool, plan, host)
  local key = pool.number .. " " .. host
  if plan.job then
    plan.job:blame(host)
  end
  if not blamed[key] then
    blamed[key] = true
    io.stderr:write("gyre: ", host, " refused most of the pool within seconds: it refuses everybody, or the judge ",
      "that says so is wrong. No proxy is benched for it.\n")
  end
end

-- Who the verdict is about: the host that answered, which after redirects may be another than the one asked.
local function answering(plan, got)
  return got and got.url ~= plan.url and request.host(got.url) or plan.host
end

-- Ends the lease by the verdict. Returns that and whether the host is blamed.
local function settle(place, pool, plan, judges, number, proxy, got, err, ms, bytes)
  local verdict, retry_after = judged_or_aborted(place, judges, plan, number, proxy, got, err)
  local host = answering(plan, got)
  complete(place, verdict, ms, bytes, retry_after, host ~= plan.host and host or nil)
  local is_blamed = verdict == "banned" and host and (pool:host_blamed(host) or 0) > 0
  if is_blamed then
    warn(pool, plan, host)
  end
  return verdict, is_blamed
end

local attempt = {}

--- One attempt through a lease.
---@param lease gyre.Lease ends here
---@param pool gyre.Pool
---@param plan table of request.plan()
---@param number integer which attempt it is, from 1 on
---@return gyre.Response? response
---@return gyre.Error? err
---@return boolean? again whether another proxy should try
function attempt.through(lease, pool, plan, number)
  local place = open_place(lease)
  local judges = judges_of(pool, plan)
  local proxy_url, proxy = lease.url, lease.proxy
  if not proxy_url then -- removed between acquire and here
    complete(place, "aborted")
    return nil, failure(nil, "no_proxy", "local", "the proxy was removed from the pool", 0, false, 0, "aborted"), true
  end
  local got, err, ms, bytes, redirects = transfer(plan, proxy_url, proxy)
  local verdict, blame = settle(place, pool, plan, judges, number, proxy, got, err, ms, bytes)
  if err then
    err.verdict = verdict
    return nil, err, may_try_again(plan, err)
  end
  got.verdict, got.attempts = verdict, number
  if RETRY[verdict] then
    -- Who bans has not carried the request out; but after a redirect somebody has.
    return nil, rejected(got, verdict), not blame and (plan.idempotent or (verdict == "banned" and redirects == 0))
  end
  return got
end

--- One attempt without a pool. The verdict is told, and nobody's fault.
---@param plan table
---@param proxy_url? string nil: direct
---@return gyre.Response? response
---@return gyre.Error? err
function attempt.direct(plan, proxy_url)
  local got, err = transfer(plan, proxy_url, nil)
  local outcome = got or err
  outcome.attempts = 1
  outcome.verdict = judged(judges_of(nil, plan), plan, 1, nil, got, err)
  return got, err
end

return attempt
