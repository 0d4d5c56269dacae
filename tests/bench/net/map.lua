-- map.lua REQUESTS CONCURRENCY URL PROXY...: the work of net-bare through pool:map. Prints the same: requests, errors,
-- seconds, CPU seconds, peak KiB. Environment: USAGE, usage.lua; CACERT, a file; CLOSE=1, every request by a connection
-- of its own.
local gyre = require "gyre"
local net = require "gyre.net"
local usage = dofile(os.getenv "USAGE")

local requests, concurrency, url = tonumber(arg[1]), tonumber(arg[2]), arg[3]
local pool = assert(gyre.open { proxies = { select(4, unpack(arg)) } })
local left = requests

local function urls()
  left = left - 1
  return left >= 0 and url or nil
end

local options = { concurrency = concurrency, tries = 1, timeout = 60, connect_timeout = 60 }
options.cacert = os.getenv "CACERT"
if os.getenv "CLOSE" then
  options.headers = { Connection = "close" }
end
local done, errors = 0, 0
local began, before = net.now(), usage()
for _, response in pool:map(urls, options) do
  done = done + 1
  if not response or response.status ~= 200 or #response.body == 0 then
    errors = errors + 1
  end
end
local cpu, peak = usage()
print(("%d %d %.3f %.3f %d"):format(done, errors, net.now() - began, cpu - before, peak))
return errors == 0 and 0 or 1
