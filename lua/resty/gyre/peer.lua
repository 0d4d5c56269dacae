-- Where a proxy is, as nginx wants it: an address. balancer_by_lua takes no names and may not resolve any, so names are
-- looked up once, when a pool is opened in init_by_lua, where waiting harms nobody; a reload looks again.
--
-- Host and port of a proxy never change, and its id is never used again, so each worker keeps what it has asked for
-- once: the
-- segment's lock, which gyre_pool_get() takes, is off the path of requests.
local ffi = require "ffi"
local C = require "gyre.clib"
local errors = require "gyre.error"
local registry = require "gyre.registry"
local status = require "gyre.status"

local pcall = pcall
local pools = registry.pools

-- The front of struct addrinfo as Linux has it; getnameinfo() makes the text.
if not pcall(ffi.typeof, "struct gyre_addrinfo") then
  ffi.cdef [[
struct gyre_addrinfo {
  int flags, family, socktype, protocol;
  unsigned int length;
  void *address;
  char *name;
  struct gyre_addrinfo *next;
};
int getaddrinfo(const char *node, const char *service, const struct gyre_addrinfo *hints,
  struct gyre_addrinfo **result);
void freeaddrinfo(struct gyre_addrinfo *list);
int getnameinfo(const void *address, unsigned int length, char *host, unsigned int size, char *service,
  unsigned int service_size, int flags);
const char *gai_strerror(int code);
]]
end

local SOCK_STREAM, AF_INET6, NI_NUMERICHOST = 1, 10, 1

local info = ffi.new("struct gyre_proxy", { size = ffi.sizeof "struct gyre_proxy" })
local url = ffi.new "struct gyre_url"

local peer = {}

-- name -> address, for all pools of this process
local resolved = {}
-- pool number -> slot -> what is known of the proxy there
local known = {}

local function look_up(name)
  local hints = ffi.new("struct gyre_addrinfo", { socktype = SOCK_STREAM })
  local cell, buffer = ffi.new "struct gyre_addrinfo *[1]", ffi.new "char[64]"
  local code = ffi.C.getaddrinfo(name, nil, hints, cell)
  if code ~= 0 then
    return nil, ffi.string(ffi.C.gai_strerror(code))
  end
  local first = cell[0]
  code = ffi.C.getnameinfo(first.address, first.length, buffer, 64, nil, 0, NI_NUMERICHOST)
  local address = ffi.string(buffer)
  if first.family == AF_INET6 then
    address = "[" .. address .. "]"
  end
  ffi.C.freeaddrinfo(cell[0])
  if code ~= 0 then
    return nil, ffi.string(ffi.C.gai_strerror(code))
  end
  return address
end

local function address_of(host)
  if host:find(":", 1, true) then
    return "[" .. host .. "]"
  elseif host:find "^%d+%.%d+%.%d+%.%d+$" then
    return host
  end
  return resolved[host]
end

--- Looks up the names among a pool's proxies. Blocks: for init_by_lua.
---@param pool gyre.Pool
---@return table<string, string> failed why, by name
function peer.resolve(pool)
  local failed = {}
  for proxy in pool:each() do
    local host = proxy.host
    if host and not address_of(host) and not failed[host] then
      resolved[host], failed[host] = look_up(host)
    end
  end
  return failed
end

-- Asks the pool. The result's fields: generation, scheme, host, port, address (nil for a name that was not resolved).
local function ask(pool, id)
  local code = C.gyre_pool_get(pool.handle, id, info)
  if code ~= 0 then
    return nil, status.error(code)
  end
  local host = ffi.string(info.host)
  return { host = host, port = info.port, scheme = info.scheme, address = address_of(host) }
end

--- What is known of a lease's proxy.
---@param lease gyre.Lease
---@return table? place scheme (number), host, port, address
---@return gyre.Error? err kinds: closed, not_found
function peer.place(lease)
  local slot, generation = lease.raw.slot, lease.raw.generation
  local of_pool = known[lease.pool]
  local place = of_pool and of_pool[slot]
  if place and place.generation == generation then
    return place
  end
  local pool = pools[lease.pool]
  if not pool then
    return nil, status.closed "the pool of this lease is closed"
  end
  local err
  place, err = ask(pool, lease.raw.id)
  if not place then
    return nil, err
  end
  if not of_pool then
    of_pool = {}
    known[lease.pool] = of_pool
  end
  place.generation = generation
  of_pool[slot] = place
  return place
end

--- Address and port, for ngx.balancer.set_current_peer(). O(1), no lock after a proxy's first time in this worker.
---@param lease gyre.Lease
---@return string? address IPv6 in brackets
---@return integer|gyre.Error port_or_err kinds: invalid (a name that was not resolved), closed, not_found
function peer.address(lease)
  local place, err = peer.place(lease)
  if not place then
    return nil, err
  elseif not place.address then
    local message = "the proxy's host %s is a name that was not resolved when its pool was opened"
    return nil, errors.new("invalid", message:format(place.host), { id = lease.id })
  end
  return place.address, place.port
end

--- User and password of a lease's proxy, or nil when it has none.
---@param lease gyre.Lease
---@return string? user
---@return string? password "" when only a user is given
function peer.credentials(lease)
  local text = lease.url -- with the templates in it filled in
  if not text or C.gyre_url_parse(text, url) ~= 0 or url.has_user == 0 then
    return nil
  end
  return ffi.string(url.user), ffi.string(url.password)
end

--- What Proxy-Authorization has to say, or nil.
---@param lease gyre.Lease
---@return string?
function peer.authorization(lease)
  local user, password = peer.credentials(lease)
  return user and "Basic " .. ngx.encode_base64(user .. ":" .. password)
end

return peer
