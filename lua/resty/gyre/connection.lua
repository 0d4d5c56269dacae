-- A connection to a target through the proxy of a lease, by cosockets: absolute form for http through an HTTP proxy,
-- otherwise a tunnel, by CONNECT or SOCKS5. Everything is non-blocking; nothing goes around the proxy, and names of
-- targets
-- are the proxy's to look up.
--
-- Idle connections are kept apart by proxy, credentials, target, way of verification and session: two identities never
-- share one.
local C = require "gyre.clib"
local memo = require "gyre.memo"
local check = require "resty.gyre.check"
local failure = require "resty.gyre.failure"
local message = require "resty.gyre.message"
local peer = require "resty.gyre.peer"
local socks5 = require "resty.gyre.socks5"
local verdicts = require "resty.gyre.verdict"

local max, min, setmetatable, tonumber, tostring = math.max, math.min, setmetatable, tonumber, tostring

local DEFAULT_TIMEOUT, DEFAULT_CONNECT_TIMEOUT = 30, 10 -- seconds
local DEFAULT_IDLE, POOL_SIZE = 60, 32 -- seconds, connections of one identity to one target
local DEFAULT_MAX_BODY = 8 * 1024 * 1024
local LONGEST = 2 ^ 31 - 1 -- milliseconds that nginx takes
local PORTS = { http = 80, https = 443 }

--- Where a request goes.
---@class gyre.nginx.Target
---@field scheme "http"|"https"
---@field host string
---@field port integer
---@field path string
---@field authority string host and, where it is not the default, port

--- How to connect.
---@class gyre.nginx.ConnectOptions
---@field timeout? number seconds for one step of sending or receiving [30]
---@field connect_timeout? number seconds for one step until the target can be asked [10]
---@field verify? boolean certificates, by lua_ssl_trusted_certificate [true]
---@field session? string connections of different sessions are kept apart [that of the lease's request]
---@field idle_timeout? number seconds for which an unused connection is kept; 0: not at all [60]

--- A connection through a proxy.
---@class gyre.nginx.Connection
---@field sock table the cosocket, for protocols of your own
---@field reused boolean it has carried requests before
local Connection = {}
Connection.__index = Connection

local connection = {}

--- The parts of a URL.
---@param url string
---@return gyre.nginx.Target? target
---@return gyre.nginx.Error? err
function connection.target(url)
  local scheme, authority, path = url:match "^(%a+)://([^/?#]+)([^#]*)"
  scheme = scheme and scheme:lower()
  local host, port = (authority or ""):match "^(%[[%x:.]+%])(.*)$"
  if not host then
    host, port = (authority or ""):match "^([%w._-]+)(.*)$"
  end
  local number = port == "" and PORTS[scheme] or tonumber((port or ""):match "^:(%d+)$")
  if not PORTS[scheme] or not host or not number or number < 1 or number > 65535 then
    return failure.new("invalid", "local", "no http or https URL without user and password")
  end
  host = host:lower()
  return {
    scheme = scheme, host = host, port = number,
    path = path:sub(1, 1) == "/" and path or "/" .. path,
    authority = number == PORTS[scheme] and host or host .. ":" .. number,
  }
end

-- Whole milliseconds; 0 would be nginx's default.
local function milliseconds(seconds)
  return max(1, math.floor(min(seconds * 1000, LONGEST)))
end

-- The id of a proxy stands for its credentials, but for what a template in them becomes. As a digest, since nginx logs
-- the names of its pools.
local function pool_name(lease, target, options)
  local authorization = peer.authorization(lease)
  return ("gyre/%d/%.0f/%s/%s/%s/%d/%s/%s"):format(lease.pool, lease.id, authorization and ngx.md5(authorization) or "",
    target.scheme, target.host, target.port, options.verify == false and "any" or "verified",
    options.session or memo.recall(lease.memo) or "")
end

local function handshake(sock, name, options, where)
  local done, why = sock:sslhandshake(false, name, options.verify ~= false)
  if not done then
    return failure.of_socket(where, why, "tls")
  end
  return true
end

-- An HTTP proxy opens a tunnel.
local function open_tunnel(sock, target, authorization)
  local authority = target.host .. ":" .. target.port
  local text, err = message.request("CONNECT", authority, authority, nil, nil, authorization)
  if not text then
    return nil, err
  end
  local sent, why = sock:send(text)
  if not sent then
    return failure.of_socket("proxy", why)
  end
  local response
  response, err = message.read_head(sock, "proxy")
  if not response then
    return nil, err
  elseif response.status == 407 then
    return failure.new("proxy_auth", "proxy", "user or password refused")
  elseif response.status == 504 then
    return failure.new("timeout", "target", "the proxy says that the target was late")
  elseif response.status < 200 or response.status > 299 then
    return failure.new("connect", "proxy", "the proxy answers CONNECT with " .. response.status)
  end
  return true
end

-- Everything between a connection to the proxy and one to the target.
local function reach(self, place, lease, target, options)
  local sock = self.sock
  local secure_proxy = place.scheme == C.GYRE_HTTPS
  local socks = place.scheme == C.GYRE_SOCKS5 or place.scheme == C.GYRE_SOCKS5H
  local done, err = true, nil
  if secure_proxy then
    done, err = handshake(sock, place.host, options, "proxy")
  end
  if done and socks then
    local user, password = peer.credentials(lease)
    done, err = socks5.connect(sock, target.host:gsub("[%[%]]", ""), target.port, user, password)
  elseif done and not self.absolute then
    done, err = open_tunnel(sock, target, peer.authorization(lease))
  end
  if done and target.scheme == "https" then
    done, err = handshake(sock, target.host, options, "target")
  end
  return done, err
end

-- What nginx cannot do.
local function unsupported(place, target)
  if place.scheme == C.GYRE_SOCKS4 or place.scheme == C.GYRE_SOCKS4A then
    return "SOCKS4 proxies are not supported in nginx"
  elseif place.scheme == C.GYRE_HTTPS and target.scheme == "https" then
    return "nginx cannot have TLS within TLS: no https targets through https proxies"
  end
  return nil
end

-- A cosocket that is connected to the proxy; with `fresh`, idle connections are closed until a new one is made.
local function connect_proxy(place, name, options, fresh)
  local step = milliseconds(options.connect_timeout or DEFAULT_CONNECT_TIMEOUT)
  while true do
    local sock = ngx.socket.tcp()
    sock:settimeouts(step, step, step)
    local connected, why = sock:connect(place.address or place.host, place.port, { pool = name, pool_size = POOL_SIZE })
    if not connected then
      return nil, why
    elseif not fresh or sock:getreusedtimes() == 0 then
      return sock
    end
    sock:close()
  end
end

--- Connects to a target through the proxy of a lease. Yields; completes nothing.
---@param lease gyre.Lease
---@param target gyre.nginx.Target
---@param options? gyre.nginx.ConnectOptions
---@param fresh? boolean no connection that was used before
---@return gyre.nginx.Connection? connection
---@return gyre.nginx.Error? err
function connection.connect(lease, target, options, fresh)
  options = options or {}
  local place, err = peer.place(lease)
  if not place then
    return failure.new("invalid", "local", tostring(err))
  end
  local fault = unsupported(place, target)
  if fault then
    return failure.new("invalid", "local", fault)
  end
  local sock, why = connect_proxy(place, pool_name(lease, target, options), options, fresh)
  if not sock then
    return failure.of_socket("proxy", why, "connect")
  end
  local http_proxy = place.scheme == C.GYRE_HTTP or place.scheme == C.GYRE_HTTPS
  local self = setmetatable({
    sock = sock, lease = lease, target = target, idle = options.idle_timeout or DEFAULT_IDLE,
    absolute = http_proxy and target.scheme == "http", reused = sock:getreusedtimes() > 0, broken = false,
  }, Connection)
  self.where = self.absolute and "proxy" or "target"
  if not self.reused then
    local done
    done, err = reach(self, place, lease, target, options)
    if not done then
      sock:close()
      return nil, err
    end
  end
  local timeout = milliseconds(options.timeout or DEFAULT_TIMEOUT)
  sock:settimeouts(timeout, timeout, timeout)
  return self
end

--- What a target answered.
---@class gyre.nginx.Answer
---@field status integer
---@field headers table<string, string> by lower-case name; a repeated one joined by ", ", set-cookie by "\n"
---@field body string as it was sent: not decompressed
---@field verdict gyre.Verdict by status
---@field retry_after? number seconds that a throttled one asks for

--- Asks for the URL that the connection was made for, and reads the whole response. Yields. A 407 of the proxy is an
--- error.
---@param method? string ["GET"]
---@param headers? table<string, string|number>
---@param body? string
---@param max_body? integer bytes of the response [8 MiB]
---@return gyre.nginx.Answer? response
---@return gyre.nginx.Error? err with the verdict that it is
---@return boolean? stale a used connection was closed before a byte came: another try is harmless
function Connection:request(method, headers, body, max_body)
  check.request(method, headers, body, max_body, 2)
  method = method or "GET"
  local target, sock, where = self.target, self.sock, self.where
  local path = self.absolute and "http://" .. target.authority .. target.path or target.path
  local authorization = self.absolute and peer.authorization(self.lease) or nil
  local text, err = message.request(method, path, target.authority, headers, body, authorization)
  if not text then
    return nil, err
  end
  self.broken = true -- until the whole response has been read
  local sent, why = sock:send(text)
  if not sent then
    local _, failed = failure.of_socket(where, why)
    return nil, failed, self.reused
  end
  local response, silent
  response, err, silent = message.read_head(sock, where)
  if not response then
    err.sent = true
    return nil, err, self.reused and silent and err.kind ~= "timeout"
  end
  response.body, err = message.read_body(sock, response, method, max_body or DEFAULT_MAX_BODY, where)
  if not response.body then
    err.sent = true
    return nil, err
  end
  self.broken = not err
  if self.absolute and response.status == 407 then
    return failure.new("proxy_auth", "proxy", "user or password refused")
  end
  response.verdict, response.retry_after = verdicts.of_response(response.status, response.headers["retry-after"])
  return response
end

--- Keeps the connection for the next request of the same identity to the same target, or closes it.
function Connection:finish()
  if self.broken or self.idle == 0 then
    self.sock:close()
  else
    self.sock:setkeepalive(milliseconds(self.idle), POOL_SIZE)
  end
end

return connection
