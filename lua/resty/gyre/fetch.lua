-- A request through a pool from inside nginx, without lua-resty-http: lease, connection, response, verdict; another
-- proxy when
-- one fails. Each attempt is one lease that ends exactly once: also when the request dies in between, since the lease
-- is
-- kept in ngx.ctx where finish() finds it.
local check = require "resty.gyre.check"
local connection = require "resty.gyre.connection"
local failure = require "resty.gyre.failure"
local held = require "resty.gyre.held"
local message = require "resty.gyre.message"

local ipairs, now, pairs = ipairs, ngx.now, pairs

local DEFAULT_TRIES = 3
-- Asking twice is harmless (RFC 9110, 9.2.2), so that another proxy may try after the target saw the request.
local IDEMPOTENT = { GET = true, HEAD = true, OPTIONS = true, PUT = true, DELETE = true, TRACE = true }
local RETRY = { proxy_bad = true, banned = true }

--- Options of fetch().
---@class gyre.nginx.FetchOptions: gyre.nginx.ConnectOptions
---@field method? string ["GET"]
---@field headers? table<string, string|number>
---@field body? string
---@field max_body? integer bytes of the response [8 MiB]
---@field tries? integer attempts in all, each through another proxy [3]
---@field request? gyre.Request what the pool is asked for: session, country, tags, ...
---@field judge? fun(response: gyre.nginx.Response): gyre.Verdict? nil: by status

--- What a target answered; the verdict is the judge's where it has one.
---@class gyre.nginx.Response: gyre.nginx.Answer
---@field proxy gyre.Proxy
---@field attempts integer

-- The caller's request, with a list of excludes that is ours to add to.
local function copy_request(request)
  local copy, exclude = {}, {}
  for field, value in pairs(request or {}) do
    copy[field] = value
  end
  for i, id in ipairs(copy.exclude or {}) do
    exclude[i] = id
  end
  copy.exclude = exclude
  return copy
end

-- One exchange; a connection that went stale while it was idle is replaced by a new one.
local function exchange(lease, target, options, method)
  for fresh = 0, 1 do
    local made, err = connection.connect(lease, target, options, fresh == 1)
    if not made then
      return nil, err
    end
    local response, why, stale = made:request(method, options.headers, options.body, options.max_body)
    made:finish()
    if response then
      return response
    elseif not stale or not IDEMPOTENT[method] then
      return nil, why
    end
  end
  return failure.new("protocol", "proxy", "closed twice before an answer")
end

local function attempt(lease, target, options, method)
  local began = now()
  local response, err = exchange(lease, target, options, method)
  local verdict, retry_after
  if response then
    response.proxy = lease.proxy
    verdict = options.judge and options.judge(response)
    if verdict then
      response.verdict = verdict
    else
      verdict, retry_after = response.verdict, response.retry_after
    end
  else
    verdict = err.verdict
    err.id = lease.id
  end
  lease:complete { verdict = verdict, ms = (now() - began) * 1000, retry_after = retry_after }
  return response, err, RETRY[verdict] and (response ~= nil or IDEMPOTENT[method] or not err.sent)
end

--- Fetches a URL through a proxy of a pool. Yields; for the phases that may (rewrite, access, content, timers).
---@param pool gyre.Pool
---@param url string http or https
---@param options? gyre.nginx.FetchOptions
---@return gyre.nginx.Response? response
---@return gyre.Error? err of the last attempt, or of the pool: no_proxy, busy
local function fetch(pool, url, options)
  check.fetch(url, options, 2)
  options = options or {}
  local target, err = connection.target(url)
  if not target then
    return nil, err
  end
  local method, request = options.method or "GET", copy_request(options.request)
  local fault = message.fault(method, target.path, target.authority, options.headers)
  if fault then
    return failure.new("invalid", "local", fault)
  end
  request.host = request.host or target.host
  local ctx, response = ngx.ctx, nil
  for try = 1, options.tries or DEFAULT_TRIES do
    local lease, why = check.acquire(pool, request, 2)
    if not lease then
      return nil, err or why
    end
    held.keep(lease, ctx)
    local again
    response, err, again = attempt(lease, target, options, method)
    held.drop(ctx, lease)
    if response then
      response.attempts = try
    end
    if not again then
      break
    end
    if request.session == nil then -- which stays with its proxy until that is benched, or banned by the host
      request.exclude[#request.exclude + 1] = lease.id
    end
  end
  return response, err
end

return fetch
