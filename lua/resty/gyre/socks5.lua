-- SOCKS5 (RFC 1928) with user and password (RFC 1929) over a cosocket. The target's name goes to the proxy as it is:
-- nothing is
-- looked up here.
local failure = require "resty.gyre.failure"

local byte, char = string.byte, string.char

local VERSION, AUTH_VERSION = 5, 1
local NO_AUTH, BY_PASSWORD = 0, 2
local CONNECT, DOMAIN = 1, 3
local ADDRESS_SIZES = { [1] = 4, [4] = 16 }

-- Replies, as src/net/classify.c reads them.
local REPLIES = {
  [1] = { "connect", "proxy", "general failure" },
  [2] = { "connect", "proxy", "not allowed" },
  [3] = { "connect", "proxy", "network unreachable" },
  [4] = { "connect", "target", "host unreachable" },
  [5] = { "connect", "target", "connection refused" },
  [6] = { "timeout", "target", "TTL expired" },
  [7] = { "connect", "proxy", "command not supported" },
  [8] = { "connect", "proxy", "address type not supported" },
}

local socks5 = {}

local function exchange(sock, bytes, want)
  local sent, why = sock:send(bytes)
  if not sent then
    return failure.of_socket("proxy", why)
  end
  local answer
  answer, why = sock:receive(want)
  if not answer then
    return failure.of_socket("proxy", why)
  end
  return answer
end

local function authenticate(sock, user, password)
  if #user > 255 or #password > 255 or #user == 0 then
    return failure.new("proxy_auth", "proxy", "SOCKS5 takes a user and a password of up to 255 bytes")
  end
  local answer, err = exchange(sock, char(AUTH_VERSION, #user) .. user .. char(#password) .. password, 2)
  if not answer then
    return nil, err
  elseif byte(answer, 2) ~= 0 then
    return failure.new("proxy_auth", "proxy", "user or password refused")
  end
  return true
end

local function greet(sock, user, password)
  local method = user and BY_PASSWORD or NO_AUTH
  local answer, err = exchange(sock, char(VERSION, 1, method), 2)
  if not answer then
    return nil, err
  elseif byte(answer, 1) ~= VERSION then
    return failure.new("protocol", "proxy", "this is no SOCKS5 proxy")
  elseif byte(answer, 2) ~= method then
    return failure.new("proxy_auth", "proxy", "no common way to authenticate")
  end
  if user then
    return authenticate(sock, user, password)
  end
  return true
end

-- The rest of the reply is the address that the proxy uses, which is of no interest.
local function skip_address(sock, kind)
  local size, why = ADDRESS_SIZES[kind], nil
  if kind == DOMAIN then
    local length
    length, why = sock:receive(1)
    size = length and byte(length)
  end
  local rest
  if size then
    rest, why = sock:receive(size + 2)
  end
  if not rest then
    return failure.of_socket("proxy", why or "a reply with an unknown type of address")
  end
  return true
end

--- Asks the proxy for a connection to a target.
---@param sock table connected cosocket
---@param host string up to 255 bytes
---@param port integer
---@param user? string
---@param password? string
---@return true? connected
---@return gyre.nginx.Error? err
function socks5.connect(sock, host, port, user, password)
  if #host > 255 then
    return failure.new("invalid", "local", "SOCKS5 takes names of up to 255 bytes")
  end
  local ready, err = greet(sock, user, password)
  if not ready then
    return nil, err
  end
  local ask = char(VERSION, CONNECT, 0, DOMAIN, #host) .. host .. char(math.floor(port / 256), port % 256)
  local answer
  answer, err = exchange(sock, ask, 4)
  if not answer then
    return nil, err
  end
  local _, code, _, kind = byte(answer, 1, 4)
  if code ~= 0 then
    local reply = REPLIES[code] or { "protocol", "proxy", "reply " .. code }
    return failure.new(reply[1], reply[2], reply[3])
  end
  return skip_address(sock, kind)
end

return socks5
