-- gyre: picks an outbound proxy for every request, and remembers how each one did.
--
--     local gyre = require "gyre"
--     local pool = assert(gyre.open { proxies = "proxies.txt" })
--     local lease = assert(pool:acquire())
--     ...                                   -- a request through lease.url
--     lease:ok(132)                         -- milliseconds; or lease:fail("proxy_bad", 10)
--
-- Functions return `nil, err` (a gyre.Error) when something fails; misuse raises.
local ffi = require "ffi"
local C = require "gyre.clib"

local error, pcall, tostring = error, pcall, tostring

---@class gyre
local gyre = {
  open = require "gyre.open",
  --- An empty lease, for pool:acquire_into().
  lease = require("gyre.lease").new,
  --- Version of libgyre, e.g. "0.1.0".
  version = ffi.string(C.gyre_version()),
}

return gyre
