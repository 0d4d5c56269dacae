-- Requests through a pool, in the gyre program: the options, the leases, the retries. One attempt is in attempt.lua.
local found, net = pcall(require, "gyre.net")
if not found then
  error("requests need the gyre program: run the script with `gyre run`", 0)
end
local ffi = require "ffi"
local attempt = require "gyre.attempt"
local errors = require "gyre.error"
local line = require "gyre.list.line"
local map = require "gyre.map"
local polite = require "gyre.polite"
local request = require "gyre.request"
local session = require "gyre.session"
local task = require "gyre.task"

local error, math, pairs, pcall, tostring, type, unpack = error, math, pairs, pcall, tostring, type, unpack

local is_stopping = ffi.cast("const int *", net.is_stopping) -- read without leaving compiled code

-- At a limit one looks again after this long, seconds.
local BUSY_WAIT = 0.02
-- Fields of a request that gyre.fetch knows; the others need a pool.
local FETCH_FIELDS = { host = true, session = true }

local http = {
  map = map.new,
  polite = polite.polite,
  session = session.new,
  sleep = task.sleep,
  spawn = task.spawn,
  stopping = net.stopping,
}

-- How long what makes acquire `busy` is known to last: the host's throttle; a limit is looked at again and again.
local function pause_of(pool, plan)
  local delay = plan.host and pool:host_delay(plan.host) or 0
  return delay > BUSY_WAIT and delay or BUSY_WAIT, delay > 0 and delay or nil
end

local function acquire_now(pool, plan)
  local fields = plan.fields
  fields.host, fields.exclude = plan.host, plan.exclude
  return pool:acquire(fields)
end

-- When all proxies are at their limits or the host asks for patience: waits for `plan.wait` seconds at most, and not at
-- all when the host is known to ask for more.
local function acquire_later(pool, plan, err)
  local patience, lease = net.now() + plan.wait, nil
  while not lease and err.kind == "busy" do
    local pause, asked_for = pause_of(pool, plan)
    if net.now() + pause > patience then
      err.retry_after = asked_for
      return nil, err
    end
    if not net.sleep(pause) then
      return nil, task.aborted()
    end
    lease, err = acquire_now(pool, plan)
  end
  return lease, err
end

-- A lease. What repeats is kept out of the usual way, here and in run(): a trace that meets a loop is given up.
local function acquire(pool, plan)
  local lease, err = acquire_now(pool, plan)
  if lease or err.kind ~= "busy" then
    return lease, err
  end
  return acquire_later(pool, plan, err)
end

-- A lease on a proxy that the request's limits admit. One that they do not is given back, and another is looked for;
-- when there is none, the first that will be admitted is waited for.
local function acquire_admitted(pool, plan)
  local patience, own = net.now() + plan.wait, plan.exclude
  local soonest = math.huge
  while true do
    local lease, err = acquire(pool, plan)
    local wait = lease and plan.polite:admit(lease.id, plan.host)
    if wait == 0 or (not lease and soonest == math.huge and plan.exclude == own) then
      plan.exclude = own
      return lease, err
    elseif lease then
      lease:complete { verdict = "aborted" }
      soonest = math.min(soonest, wait)
      plan.exclude = plan.exclude == own and { unpack(own or {}) } or plan.exclude
      plan.exclude[#plan.exclude + 1] = lease.id
    end
    if not lease or plan.session then
      local pause = math.min(soonest, BUSY_WAIT * 5)
      soonest, plan.exclude = math.huge, own
      if net.now() + pause > patience then
        return nil, errors.new("busy", "busy: every proxy is at the request's limits")
      elseif not net.sleep(pause) then
        return nil, task.aborted()
      end
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

-- One attempt, and the place among the limits that it has.
local function attempt_admitted(lease, pool, plan, number)
  local ran, got, err, again = pcall(attempt.through, lease, pool, plan, number)
  plan.polite:release(lease.id, plan.host)
  if not ran then
    error(got, 0)
  end
  return got, err, again
end

-- One try; `last` is why the one before failed. Returns response | nil, error, whether to try again.
local function try(pool, plan, number, limited, last)
  if is_stopping[0] ~= 0 then
    net.sleep(0) -- lets the loop turn: a script that asks again and again must not keep a second Ctrl-C out
    return nil, last or task.aborted()
  end
  local get_lease, through = limited and acquire_admitted or acquire, limited and attempt_admitted or attempt.through
  local lease, err = get_lease(pool, plan)
  if not lease then
    return nil, none_left(last, err)
  end
  local got, why, again = through(lease, pool, plan, number)
  if got then
    return got
  end
  why.attempts = number
  if again and not plan.session then -- which stays with its proxy until that is benched, or banned by the host
    request.exclude(plan, lease.id)
  end
  return nil, why, again
end

local function try_again(pool, plan, limited, last)
  for number = 2, plan.tries do
    local got, again
    got, last, again = try(pool, plan, number, limited, last)
    if not again then
      return got, last
    end
  end
  return nil, last
end

local function run(pool, plan)
  local limited = plan.polite and plan.polite:limits_proxies()
  local got, err, again = try(pool, plan, 1, limited, nil)
  if again then
    return try_again(pool, plan, limited, err)
  end
  return got, err
end

-- The same after waiting for the host's turn.
local function run_politely(pool, plan)
  local host = plan.host or ""
  local began, interrupted = plan.polite:enter(host)
  if not began then
    return nil, interrupted
  end
  local ran, got, err = pcall(run, pool, plan)
  plan.polite:leave(host, began, ran and got or nil, ran and err or nil)
  if not ran then
    error(got, 0)
  end
  return got, err
end

local function recorded(plan, got, err)
  if plan.job then
    plan.job:record(got, err)
  end
  return got, err
end

local function perform(pool, plan)
  return recorded(plan, (plan.polite and run_politely or run)(pool, plan))
end

--- A request through the pool. A proxy that fails is left out and another one tries, `tries` attempts in all (with a
--- session the same one, until it is benched or banned by the host); any response of the target is a response, whatever
--- its status, unless the judge calls it banned or proxy_bad.
---@param pool gyre.Pool
---@param url string
---@param options? gyre.GetOptions
---@return gyre.Response? response
---@return gyre.Error? err fields: kind, where ("proxy", "target", "local"), verdict, attempts, id, ms, sent; status,
--- when CONNECT was refused or a judge refused a response, which is then err.response; retry_after, when kind is busy
--- because the host asks to wait for longer than `wait`
function http.get(pool, url, options)
  local plan = request.plan(request.prepare(options, 2), url, 2)
  net.check "pool:get"
  return perform(pool, plan)
end

map.performs(function(pool, prepared, url)
  return perform(pool, request.plan(prepared, url, 1))
end)

--- One request without a pool.
---@param url string
---@param options table as pool:get's, without tries, wait and the fields of a request; and proxy, written as in a
--- list, or "direct": going out without a proxy has to be said
---@return gyre.Response? response
---@return gyre.Error? err
function http.fetch(url, options)
  local proxy = type(options) == "table" and options.proxy
  if type(proxy) ~= "string" then
    error('gyre.fetch needs the option proxy, a URL or "direct"', 2)
  end
  local own = {}
  for name, value in pairs(options) do
    own[name] = value
  end
  own.proxy = nil
  if own.tries ~= nil or own.wait ~= nil then
    error(("option '%s' needs a pool"):format(own.tries ~= nil and "tries" or "wait"), 2)
  end
  local plan = request.plan(request.prepare(own, 2), url, 2)
  local chosen, why
  if proxy ~= "direct" then
    chosen, why = line.parse(proxy)
    if not chosen then
      return nil, errors.new("invalid", "invalid: the proxy: " .. why, {
        where = "local", verdict = "aborted", attempts = 0,
      })
    end
  end
  for name in pairs(plan.fields) do
    if not FETCH_FIELDS[name] then
      error(("unknown option '%s'"):format(tostring(name)), 2)
    end
  end
  net.check "gyre.fetch"
  if net.stopping() then
    net.sleep(0)
    return nil, task.aborted()
  end
  local got, err = attempt.direct(plan, chosen and chosen.url)
  return recorded(plan, got, err)
end

return http
