-- gyre in OpenResty: one pool for all workers, in shared memory.
--
--     init_by_lua_block {
--       local gyre = require "resty.gyre"
--       gyre.open { shared = "/dev/shm/gyre", proxies = "/etc/gyre/proxies.txt" }
--     }
--     ...
--     content_by_lua_block {
--       local gyre = require "resty.gyre"
--       local response, err = gyre.fetch("http://shop.example/", { request = { session = ngx.var.arg_s } })
--     }
--     log_by_lua_block { require("resty.gyre").finish() }
--
-- The library decides, nginx transports: no thread, no timer, no lock that waits for another worker, and nothing in
-- here but fetch() and connect() yields. Workers inherit the segment from the master by fork; each enters itself in the
-- segment's table of processes when it first uses the pool, so that what it has in flight is known as its own.
local ffi = require "ffi"

-- nginx shows errors that are text, and says "unknown error" of all others.
local found, gyre = pcall(require, "gyre")
if not found then
  error(tostring(gyre), 0)
end

local leases = require "gyre.lease"
local balancer = require "resty.gyre.balancer"
local check = require "resty.gyre.check"
local connection = require "resty.gyre.connection"
local fetch = require "resty.gyre.fetch"
local held = require "resty.gyre.held"
local metrics = require "resty.gyre.metrics"
local peer = require "resty.gyre.peer"
local proxy_opts = require "resty.gyre.proxy_opts"

local error, pairs, pcall, tostring, type = error, pairs, pcall, tostring, type

---@class gyre.nginx
local nginx = {
  --- An empty lease, for pool:acquire_into().
  lease = gyre.lease,
  version = gyre.version,
  --- What balancer_by_lua hands to ngx.exit() when nobody is left: nginx answers 502. (NGX_BUSY. A status of HTTP would
  --- need
  --- OpenResty's own nginx there; others make a 500 of it.)
  NO_PEER = -3,
}

local DEFAULT_NAME = "default"
local pools = {} -- by name

--- Options of gyre.open(), and:
---@class gyre.nginx.Options: gyre.Options
---@field name? string for pool(), where there are several ["default"]

local function log(message)
  ngx.log(ngx.ERR, "gyre: ", message)
end

--- Opens a pool, in init_by_lua. After a reload it runs again, in the master and in a new Lua state, and attaches to
--- what is
--- there: nothing is made anew, and the old workers go on. Raises, as text, what gyre.open() would return: without its
--- pool
--- nginx shall not start, and after a reload goes on with the old workers. Names of proxies are looked up now. A proxy
--- whose name has
--- no address is reported and cannot be a peer of balancer_by_lua; all else goes.
---@param options gyre.nginx.Options
---@return gyre.Pool pool
function nginx.open(options)
  if options ~= nil and type(options) ~= "table" then
    error("gyre.open takes a table of options, not a " .. type(options), 2)
  end
  local given = {}
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  local name = given.name or DEFAULT_NAME
  if type(name) ~= "string" then
    error("option 'name' must be a string, not a " .. type(name), 2)
  end
  given.name = nil
  given.logger = given.logger or log
  local ran, pool, err = pcall(gyre.open, given)
  if not ran then -- a misuse, which is our caller's
    error(pool, 2)
  elseif not pool then
    error("gyre: " .. tostring(err), 2)
  end
  for host, why in pairs(peer.resolve(pool)) do
    log(("no address of the proxy host %s: %s"):format(host, why))
  end
  pools[name] = pool
  return pool
end

--- The pool that open() made.
---@param name? string ["default"]
---@return gyre.Pool
function nginx.pool(name)
  local pool = pools[name or DEFAULT_NAME]
  if not pool then
    error(("no pool '%s' was opened in init_by_lua"):format(tostring(name or DEFAULT_NAME)), 2)
  end
  return pool
end

local function chosen(pool)
  return pool or pools[DEFAULT_NAME] or nginx.pool()
end

--- Leases a proxy and keeps the lease for this request: what is left of it in the log phase, finish() ends there.
--- For any phase; nothing in here yields or blocks.
---@param request? gyre.Request
---@param pool? gyre.Pool [the default one]
---@return gyre.Lease? lease
---@return gyre.Error? err
function nginx.acquire(request, pool)
  local lease, err = check.acquire(chosen(pool), request, 2)
  if lease then
    held.keep(lease)
  end
  return lease, err
end

--- Ends what this request still holds; for log_by_lua. Verdict and latency from what nginx knows: the upstream's time
--- and
--- status, or the request's own. Returns how many leases that ended.
---@type fun(verdict?: gyre.Verdict): integer
nginx.finish = held.finish

--- Chooses the peer in balancer_by_lua; on every attempt another. See resty/gyre/balancer.lua.
---@param request? gyre.Request
---@param options? gyre.nginx.BalanceOptions
---@param pool? gyre.Pool
---@return true? chosen
---@return gyre.Error|string? err
function nginx.balance(request, options, pool)
  return balancer.balance(chosen(pool), request, options)
end

--- Fetches a URL through the pool by cosockets. See resty/gyre/fetch.lua.
---@param url string
---@param options? gyre.nginx.FetchOptions
---@param pool? gyre.Pool
---@return gyre.nginx.Response? response
---@return gyre.Error? err
function nginx.fetch(url, options, pool)
  return fetch(chosen(pool), url, options)
end

--- Prometheus text of a pool. Serve it as "text/plain; version=0.0.4".
---@param limit? integer proxies with series of their own [100]
---@param pool? gyre.Pool
---@return string
function nginx.metrics(limit, pool)
  check.limit(limit, 2)
  return metrics.text(chosen(pool), limit)
end

--- The same as a table, for JSON.
---@param limit? integer proxies to list [100]
---@param pool? gyre.Pool
---@return table
function nginx.status(limit, pool)
  check.limit(limit, 2)
  return metrics.status(chosen(pool), limit)
end

--- Lets the collector end a lease that is forgotten, as aborted. Not the default, since it costs 180 ns a lease, and
--- finish() and the deadline do the same: for leases that live longer than a request.
---@param lease gyre.Lease
---@return gyre.Lease lease
function nginx.collected(lease)
  return ffi.gc(lease, function(forgotten)
    forgotten:fail "aborted"
  end)
end

-- What leases can do in nginx.
local methods = leases.methods

--- Address and port of the proxy, for set_current_peer().
methods.peer = peer.address
--- What Proxy-Authorization has to say; nil without credentials.
methods.authorization = peer.authorization
--- Options for lua-resty-http.
methods.proxy_opts = proxy_opts

--- A connection to a URL's host through this proxy: conn.sock is a cosocket behind the proxy's handshake. Yields.
---@param url string
---@param options? gyre.nginx.ConnectOptions
---@return gyre.nginx.Connection? connection
---@return gyre.Error? err
function methods.connect(lease, url, options)
  check.connect(url, options, 2)
  local target, err = connection.target(url)
  if not target then
    return nil, err
  end
  return connection.connect(lease, target, options)
end

return nginx
