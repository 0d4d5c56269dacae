-- For lua-resty-http (0.16 and later), where it is installed: what its connect() and set_proxy_options() take. It keys
-- its idle connections by proxy and credentials, as it should.
local C = require "gyre.clib"
local errors = require "gyre.error"
local peer = require "resty.gyre.peer"

--- Options for httpc:connect { proxy_opts = ... }.
---@param lease gyre.Lease
---@return table? options http_proxy, https_proxy and their authorization
---@return gyre.Error? err lua-resty-http speaks to HTTP proxies only, without TLS
local function proxy_opts(lease)
  local place, err = peer.place(lease)
  if not place then
    return nil, err
  elseif place.scheme ~= C.GYRE_HTTP then
    return nil, errors.new("invalid", "lua-resty-http takes http proxies only", { id = lease.id })
  end
  local host = place.address or place.host
  local url = ("http://%s:%d"):format(host, place.port)
  local authorization = peer.authorization(lease)
  return {
    http_proxy = url, http_proxy_authorization = authorization,
    https_proxy = url, https_proxy_authorization = authorization,
  }
end

return proxy_opts
