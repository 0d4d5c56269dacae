-- faults.lua NAME=PORT...: every way a proxy or a target may fail, against what the pool says of it: kind, where and
-- verdict. Each row is a request of its own through a pool of its own, many at once; none may take longer than
-- its limit, and none may leave a lease. The names are those of fixtures: see test_faults.sh.
local gyre = require "gyre"
local net = require "gyre.net"

local ports = {}
for _, pair in ipairs(arg) do
  local name, port = pair:match "^([%w-]+)=(%d+)$"
  ports[name] = port
end

-- Of a request, seconds: of those that are to run into it, and of the others, on a busy machine.
local SHORT, LONG = 2, 20
local PATIENCE = 10 -- beyond which a limit has not held

-- What, proxy (scheme and name), target (scheme and path), outcome (kind, where, verdict; or status, verdict), options.
local ROWS = {
  -- The proxy is not there, or does not get so far as to answer.
  { "refuses", "http dead", "http /", "connect proxy proxy_bad" },
  { "refuses, https", "http dead", "https /", "connect proxy proxy_bad" },
  { "refuses, SOCKS", "socks5h dead", "http /", "connect proxy proxy_bad" },
  { "TCP hangs", "http full", "http /", "timeout proxy proxy_bad" },
  { "TCP hangs, SOCKS4", "socks4a full", "http /", "timeout proxy proxy_bad" },
  { "hangs", "http hang", "http /", "timeout proxy proxy_bad" },
  { "hangs before CONNECT is answered", "http hang", "https /", "timeout proxy proxy_bad" },
  { "hangs before CONNECT is answered, after a redirect", "http noconnect", "http /redirect/https://a.test/",
    "timeout proxy proxy_bad" },
  { "hangs in the SOCKS handshake", "socks5h hang", "http /", "timeout proxy proxy_bad" },
  { "hangs in the SOCKS4 handshake", "socks4a hang", "http /", "timeout proxy proxy_bad" },
  { "hangs in TLS to the proxy", "https good", "http /", "timeout proxy proxy_bad" },
  { "closes", "http close", "http /", "protocol proxy proxy_bad" },
  { "closes, https", "http close", "https /", "protocol proxy proxy_bad" },
  { "closes, SOCKS", "socks5h close", "http /", "protocol proxy proxy_bad" },
  { "closes, SOCKS4", "socks4a close", "http /", "protocol proxy proxy_bad" },
  { "closes one half", "http half", "http /", "protocol proxy proxy_bad" },
  { "closes one half, https", "http half", "https /", "protocol proxy proxy_bad" },
  { "closes one half, SOCKS", "socks5h half", "http /", "protocol proxy proxy_bad" },
  { "resets", "http reset", "http /", "protocol proxy proxy_bad" },
  { "resets, https", "http reset", "https /", "protocol proxy proxy_bad" },
  { "dies in its headers", "http cut", "http /", "protocol proxy proxy_bad" },
  { "garbage", "http garbage", "http /", "protocol proxy proxy_bad" },
  { "garbage instead of an answer to CONNECT", "http garbage", "https /", "protocol proxy proxy_bad" },
  { "garbage in the SOCKS handshake", "socks5h garbage", "http /", "protocol proxy proxy_bad" },
  { "garbage in the SOCKS4 handshake", "socks4a garbage", "http /", "protocol proxy proxy_bad" },
  { "headers without end", "http endless", "http /", "too_large proxy proxy_bad" },
  { "headers without end after CONNECT", "http endless", "https /", "too_large proxy proxy_bad" },
  -- It answers, and does not do it.
  { "407", "http s407", "http /", "proxy_auth proxy proxy_bad" },
  { "407 to CONNECT", "http s407", "https /", "proxy_auth proxy proxy_bad" },
  { "403 to CONNECT", "http s403", "https /", "connect proxy proxy_bad" },
  { "502 to CONNECT", "http s502", "https /", "connect proxy proxy_bad" },
  { "503 to CONNECT", "http s503", "https /", "connect proxy proxy_bad" },
  { "504 to CONNECT", "http s504", "https /", "timeout target target_bad", { timeout = LONG, connect_timeout = LONG } },
  -- Without a tunnel nobody can tell whose 5xx it is.
  { "502", "http s502", "http /", "502 target_bad" },
  { "503", "http s503", "http /", "503 target_bad" },
  { "504", "http s504", "http /", "504 target_bad" },
  { "wants credentials, SOCKS", "socks5h auth", "http /", "proxy_auth proxy proxy_bad" },
  { "target refuses, HTTP", "http good", "dead /", "502 target_bad" },
  { "target refuses, CONNECT", "http good", "deads /", "connect proxy proxy_bad" },
  { "target refuses, SOCKS", "socks5h good", "dead /", "connect target target_bad" },
  -- 0x5b is all that SOCKS4 can say.
  { "target refuses, SOCKS4", "socks4a good", "dead /", "connect proxy proxy_bad" },
  -- The target misbehaves: through a tunnel it is known who it was.
  { "TLS never answered", "http good", "https /", "timeout target target_bad" },
  { "TLS never answered, SOCKS", "socks5h good", "https /", "timeout target target_bad" },
  { "no answer", "socks5h good", "http /hang", "timeout target target_bad" },
  { "no answer, HTTP", "http good", "http /hang", "timeout proxy proxy_bad" },
  { "slow drip", "socks5h good", "http /drip/1000", "timeout target target_bad" },
  { "slow drip, HTTP", "http good", "http /drip/1000", "timeout proxy proxy_bad" },
  { "slow drip of a header", "socks5h good", "http /headdrip", "timeout target target_bad" },
  { "reset in mid-body", "socks5h good", "http /rst", "protocol target target_bad" },
  { "reset in mid-body, HTTP", "http good", "http /rst", "protocol proxy proxy_bad" },
  { "end in mid-body", "socks4a good", "http /eof", "protocol target target_bad" },
  { "Content-Length too large", "http good", "http /eof", "protocol proxy proxy_bad" },
  { "Content-Length too small", "socks5h good", "http /short", "200 ok" },
  { "Content-Length that is no number", "socks5h good", "http /badlength", "protocol target target_bad" },
  { "reset", "socks5h good", "http /reset", "protocol target target_bad" },
  { "headers without end, target", "socks5h good", "http /endless", "too_large target target_bad" },
  { "gzip bomb", "http good", "http /bomb", "too_large target target_bad" },
  { "gzip that is none", "http good", "http /badgzip", "protocol target target_bad" },
  { "redirect loop", "http good", "http /loop", "redirect target target_bad" },
  { "redirect to another protocol", "http good", "http /redirect/ftp://a.test/", "redirect target target_bad" },
  { "body over the limit", "http good", "http /bytes/2000", "too_large target target_bad", { max_body = 1999 } },
  { "unknown name", "http good", "unknown /", "502 target_bad" },
}

local SCHEMES = { http = "http", https = "https", dead = "http", deads = "https", unknown = "http" }

local function target_of(row)
  local scheme, path = row[3]:match "^(%S+) (.*)$"
  local host = (scheme == "dead" or scheme == "deads") and "127.0.0.1:1"
    or scheme == "unknown" and "nowhere.invalid" or "a.test:" .. ports.origin
  return SCHEMES[scheme] .. "://" .. host .. path
end

local function outcome(response, err)
  if response then
    return response.status .. " " .. response.verdict
  elseif err.status and err.status < 300 then
    return "a failure has the status of a success"
  end
  return ("%s %s %s"):format(err.kind, err.where, err.verdict)
end

local failed = 0
local function complain(row, ...)
  failed = failed + 1
  print(row[1] .. ":", ...)
end

local function open(row)
  local scheme, name = row[2]:match "^(%S+) (%S+)$"
  return assert(gyre.open {
    proxies = { scheme .. "://127.0.0.1:" .. assert(ports[name], name) },
    max_proxies = 64, max_leases = 64, max_sessions = 64, max_bans = 64,
  })
end

local function check(row, pool)
  local timeout = row[4]:find "^timeout" and SHORT or LONG
  local options = { timeout = timeout, connect_timeout = timeout, tries = 1, verify = false, verify_proxy = false }
  for option, value in pairs(row[5] or {}) do
    options[option] = value
  end
  local began = net.now()
  local got = outcome(pool:get(target_of(row), options))
  local took, stats = net.now() - began, pool:stats()
  if got ~= row[4] then
    complain(row, "want", row[4], "got", got)
  end
  if took > options.timeout + PATIENCE then
    complain(row, "took", took, "seconds")
  end
  if stats.active ~= 0 or stats.started ~= 1 or stats.completed ~= 1 then
    complain(row, "leases", stats.started, stats.completed, stats.active)
  end
  pool:close()
end

-- Those that run into their limit first, all at once; then the others, of which some unpack and copy for seconds on a
-- busy machine: nobody's limit must pass meanwhile.
for _, is_timeout in ipairs { true, false } do
  local pools, tasks = {}, {}
  for i, row in ipairs(ROWS) do
    pools[i] = (row[4]:find "^timeout" ~= nil) == is_timeout and open(row) or nil
  end
  for i, pool in pairs(pools) do
    tasks[#tasks + 1] = gyre.spawn(check, ROWS[i], pool)
  end
  for _, each in ipairs(tasks) do
    each:join()
  end
end
print(#ROWS .. " rows, " .. failed .. " complaints")
return failed == 0 and 0 or 1
