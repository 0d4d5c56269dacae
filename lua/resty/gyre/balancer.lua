-- balancer_by_lua: proxies as peers of an nginx upstream, with failover to others.
--
-- In that phase there are no cosockets, no sleep, no coroutines and no names; nothing in here needs them. A lease is
-- kept for the request and ended by finish() in the log phase; one whose attempt failed is ended when nginx asks for
-- the
-- next peer, so that every attempt counts for the proxy that made it.
local ngx_balancer = require "ngx.balancer"
local check = require "resty.gyre.check"
local held = require "resty.gyre.held"
local peer = require "resty.gyre.peer"
local verdicts = require "resty.gyre.verdict"

local set_current_peer, set_more_tries = ngx_balancer.set_current_peer, ngx_balancer.set_more_tries
local get_last_failure, recreate_request = ngx_balancer.get_last_failure, ngx_balancer.recreate_request
local keep, address_of = held.keep, peer.address
local ipairs, now, pairs = ipairs, ngx.now, pairs

local KEY = "gyre.tried" -- in ngx.ctx: ids of proxies that this request shall not get again
local DEFAULT_TRIES = 3
local MOST_UNUSABLE = 16 -- proxies without an address that one attempt passes over

--- How balance() works.
---@class gyre.nginx.BalanceOptions
---@field tries? integer attempts in all, each through another proxy [3]; proxy_next_upstream says after what
---@field authorization? string an nginx variable that gets the proxy's "Basic ...", or ""; for proxy_set_header

local balancer = {}

-- The request again, without those who failed.
local function narrowed(request, tried)
  local copy = {}
  for field, value in pairs(request or {}) do
    copy[field] = value
  end
  local exclude = {}
  for i, id in ipairs(copy.exclude or {}) do
    exclude[i] = id
  end
  for i = 1, #tried do
    exclude[#exclude + 1] = tried[i]
  end
  copy.exclude = exclude
  return copy
end

local function pass_over(ctx, lease)
  local tried = ctx[KEY]
  if not tried then
    tried = {}
    ctx[KEY] = tried
  end
  tried[#tried + 1] = lease.id
end

-- Ends the lease of the attempt that has just failed. A session stays with its proxy until that is benched.
local function record_failure(ctx, state, code, has_session)
  local lease, began = held.last(ctx)
  if not lease then
    return
  end
  held.drop(ctx, lease)
  local verdict = state == "failed" and "proxy_bad" or verdicts.of_response(code)
  local ms = (now() - began) * 1000
  if verdict == "ok" then
    lease:ok(ms)
  else
    lease:fail(verdict, ms)
  end
  if not has_session then
    pass_over(ctx, lease)
  end
end

-- A lease of a proxy that has an address.
local function lease_peer(pool, request, ctx)
  local err
  for _ = 1, MOST_UNUSABLE do
    local tried, lease = ctx[KEY]
    lease, err = check.acquire(pool, tried and narrowed(request, tried) or request, 3)
    if not lease then
      return nil, err
    end
    local address, port = address_of(lease)
    if address then
      return lease, address, port
    end
    err = port
    lease:fail "aborted"
    pass_over(ctx, lease)
  end
  return nil, err
end

-- The request's head was written before a proxy was known, or for the one before.
local function authorize(lease, variable, again)
  local authorization = peer.authorization(lease) or ""
  if not again and ngx.var[variable] == authorization then
    return true
  end
  ngx.var[variable] = authorization
  return recreate_request()
end

--- Chooses the peer of this attempt.
---@param pool gyre.Pool
---@param request? gyre.Request
---@param options? gyre.nginx.BalanceOptions
---@return true? chosen
---@return gyre.Error|string? err nobody is left: end the request, by ngx.exit(503)
function balancer.balance(pool, request, options)
  check.balance(options, 2)
  local ctx = ngx.ctx
  local state, code = get_last_failure()
  if state then
    record_failure(ctx, state, code, request ~= nil and request.session ~= nil)
  end
  local lease, address, port = lease_peer(pool, request, ctx)
  if not lease then
    return nil, address
  end
  keep(lease, ctx)
  local set, why = set_current_peer(address, port)
  if set and not state then
    local tries = options and options.tries or DEFAULT_TRIES
    set, why = tries < 2 or set_more_tries(tries - 1), nil
  end
  if set and options and options.authorization then
    set, why = authorize(lease, options.authorization, state ~= nil)
  end
  return set, why
end

return balancer
