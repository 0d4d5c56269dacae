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
local runtime = require "gyre.runtime"

---@class gyre
---@field fetch function only in the gyre program, as those below: a request without a pool
---@field sleep function
---@field spawn function
---@field session function
---@field stopping function
---@field html function
---@field job function
---@field crawl function
---@field polite function
---@field shared gyre.Shared counters of all workers
local gyre = {
  open = require "gyre.open",
  --- Puts strategies together: gyre.compose { where = { country = "US" }, "performance", fallback = "random" }.
  compose = require("gyre.strategy.compose").new,
  --- An empty lease, for pool:acquire_into().
  lease = require("gyre.lease").new,
  --- Version of libgyre, e.g. "0.1.0".
  version = ffi.string(C.gyre_version()),
}

local RUNTIME = {
  fetch = true, sleep = true, spawn = true, session = true, stopping = true, html = true, job = true, crawl = true,
  polite = true, shared = true,
}

local function load(self, name)
  if not RUNTIME[name] then
    return nil
  end
  local found = runtime.find(name, "gyre." .. name, 2)
  self[name] = found
  return found
end

return setmetatable(gyre, { __index = load })
