-- Requests through a pool, in the gyre program: each attempt is one lease, and ends it exactly once on every way out.
local found, net = pcall(require, "gyre.net")
if not found then
  error("requests need the gyre program: run the script with `gyre run`", 0)
end
local errors = require "gyre.error"
local map = require "gyre.map"
local request = require "gyre.request"
local response = require "gyre.response"
local task = require "gyre.task"

local error, pairs, pcall, tostring, type = error, pairs, pcall, tostring, type
local start, wait, finish = net.start, net.wait, net.finish

local VERDICTS = { "ok", "banned", "throttled", "proxy_bad", "target_bad", "aborted" } -- enum gyre_verdict
local IS_VERDICT = {}
for i = 1, #VERDICTS do
  IS_VERDICT[VERDICTS[i]] = true
end
-- Another proxy may do better.
local RETRY = { banned = true, proxy_bad = true }
-- The target would send the same again.
local SAME_AGAIN = { too_large = true, redirect = true }
-- At a limit one looks again after this long, seconds.
local BUSY_WAIT = 0.02

-- Leases of attempts under way: what is left here when the job is cut short is ended as aborted.
local open = {}

net.on_close(function()
  for lease in pairs(open) do
    open[lease] = nil
    lease:complete { verdict = "aborted" }
  end
end)

local http = {
  map = map.new,
  sleep = task.sleep,
  spawn = task.spawn,
  stopping = net.stopping,
}

local function complete(lease, verdict, ms, bytes)
  open[lease] = nil
  -- A lease that has ended already (its deadline passed, its pool was closed) is no concern of the request's.
  lease:complete { verdict = verdict, ms = verdict ~= "aborted" and ms or nil, bytes = bytes }
end

local function failure(proxy, kind, where, message, ms, sent, connect_code)
  local text = proxy and ("%s (%s): %s"):format(kind, tostring(proxy), message) or ("%s: %s"):format(kind, message)
  return errors.new(kind, text, {
    where = where,
    id = proxy and proxy.id,
    ms = ms,
    sent = sent,
    status = connect_code ~= 0 and connect_code or nil,
  })
end

-- One transfer. Returns response | nil, error, default verdict, ms, bytes.
local function transfer(plan, proxy_url, proxy)
  local under_way, why = start(plan.url, proxy_url, plan.native)
  if not under_way then
    return nil, failure(nil, "invalid", "local", why, 0, false, 0), "aborted", 0, 0
  end
  wait(under_way)
  local good, a, b, c, ms, bytes, message, sent, connect_code = finish(under_way)
  if not good then
    return nil, failure(proxy, a, b, message, ms, sent, connect_code), VERDICTS[c], ms, bytes
  end
  -- The same places hold status, content, ms, bytes and url.
  local made = response.new { status = a, content = b, ms = c, bytes = ms, url = bytes, proxy = proxy }
  return made, nil, nil, c, ms
end

-- Only what the status says for certain; bans look different on every site, and are the judge's.
local function default_verdict(got)
  local status = got.status
  if status == 429 or (status == 503 and got.headers["retry-after"]) then
    return "throttled"
  end
  return status >= 500 and "target_bad" or "ok"
end

local function ask_judge(plan, attempt, got, err)
  local judged, verdict = pcall(plan.judge, { url = plan.url, method = plan.method, attempt = attempt }, got, err)
  if judged and (verdict == nil or IS_VERDICT[verdict]) then
    return verdict
  end
  error(judged and ("judge returned '%s', which is no verdict"):format(tostring(verdict)) or verdict, 0)
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

-- One attempt through a lease. Returns response | nil, error, and whether another proxy should try.
local function attempt_through(lease, plan, attempt)
  open[lease] = true
  local proxy_url = lease.url
  if not proxy_url then -- removed between acquire and here
    complete(lease, "aborted")
    return nil, failure(nil, "no_proxy", "local", "the proxy was removed from the pool", 0, false, 0), true
  end
  local got, err, verdict, ms, bytes = transfer(plan, proxy_url, lease.proxy)
  verdict = verdict or default_verdict(got)
  if plan.judge and verdict ~= "aborted" then
    local judged, choice = pcall(ask_judge, plan, attempt, got, err)
    if not judged then
      complete(lease, "aborted")
      error(choice, 0)
    end
    verdict = choice or verdict
  end
  complete(lease, verdict, ms, bytes)
  if err then
    return nil, err, may_try_again(plan, err)
  end
  got.verdict, got.attempts = verdict, attempt
  if RETRY[verdict] then
    return nil, rejected(got, verdict), true
  end
  return got
end

-- A lease, after waiting as long as one attempt may take when all proxies are at their limits.
local function acquire(pool, plan)
  local patience = net.now() + plan.timeout
  while true do
    local lease, err = pool:acquire(plan.fields)
    if lease or err.kind ~= "busy" or net.now() >= patience then
      return lease, err
    end
    if not net.sleep(BUSY_WAIT) then
      return nil, task.aborted()
    end
  end
end

-- What a caller is told when no lease could be had: why the attempts before failed, if there were any.
local function none_left(last, err)
  if not last then
    err.attempts = 0
    return err
  end
  last.message = last.message .. "; no other proxy is left"
  return last
end

local function run(pool, plan)
  local last
  for attempt = 1, plan.tries do
    if net.stopping() then
      net.sleep(0) -- lets the loop turn: a script that asks again and again must not keep a second Ctrl-C out
      return nil, last or task.aborted()
    end
    local lease, err = acquire(pool, plan)
    if not lease then
      return nil, none_left(last, err)
    end
    local got, again
    got, last, again = attempt_through(lease, plan, attempt)
    if got then
      return got
    end
    last.attempts = attempt
    if not again then
      return nil, last
    end
    plan.fields.exclude[#plan.fields.exclude + 1] = lease.id
  end
  return nil, last
end

local function recorded(plan, got, err)
  if plan.job then
    plan.job:record(got, err)
  end
  return got, err
end

--- A request through the pool. A proxy that fails is left out and another one tries, `tries` attempts in all; any
--- response of the target is a response, whatever its status, unless the judge calls it banned or proxy_bad.
---@param pool gyre.Pool
---@param url string
---@param options? gyre.GetOptions
---@return gyre.Response? response
---@return gyre.Error? err fields: kind, where ("proxy", "target", "local"), attempts, id, ms, sent; and status, when
--- CONNECT was refused or the judge refused a response
function http.get(pool, url, options)
  local plan = request.plan(url, options, 2)
  net.check "pool:get"
  return recorded(plan, run(pool, plan))
end

--- One request without a pool.
---@param url string
---@param options table as pool:get's, without tries and the fields of a request; and proxy, a URL or "direct": going
--- out without a proxy has to be said
---@return gyre.Response? response
---@return gyre.Error? err
function http.fetch(url, options)
  local proxy = type(options) == "table" and options.proxy
  if type(proxy) ~= "string" then
    error('gyre.fetch needs the option proxy, a URL or "direct"', 2)
  end
  local plan = request.plan(url, options, 2)
  for name in pairs(plan.fields) do
    if name ~= "proxy" and name ~= "exclude" then
      error(("unknown option '%s'"):format(tostring(name)), 2)
    end
  end
  net.check "gyre.fetch"
  if net.stopping() then
    net.sleep(0)
    return nil, task.aborted()
  end
  local got, err = transfer(plan, proxy ~= "direct" and proxy or nil, nil)
  if got then
    got.attempts, got.verdict = 1, default_verdict(got)
  else
    err.attempts = 1
  end
  return recorded(plan, got, err)
end

return http
