-- get.lua PROXIES URL [OPTION=VALUE]...: one pool:get. Prints a line of what came back:
--   response STATUS BYTES ATTEMPTS      or      error KIND WHERE ATTEMPTS MESSAGE
-- then the counters of each proxy. Exit code 0 or 1.
local gyre = require "gyre"

local options = {}
for i = 3, #arg do
  local name, value = arg[i]:match("^(%w[%w_]*)=(.*)$")
  if value == "true" or value == "false" then value = value == "true" end
  options[name] = tonumber(value) or value
end

local pool = assert(gyre.open { proxies = arg[1] })
local response, err = pool:get(arg[2], options)
if response then
  print("response", response.status, #response.body, response.attempts)
else
  print("error", err.kind, err.where, err.attempts, err.message)
end
for proxy in pool:each() do
  print("proxy", tostring(proxy), proxy.started, proxy.succeeded, proxy.failed, proxy.aborted, proxy.active)
end
return response and 0 or 1
