-- Probes: leases of a proxy that one wants to know about, whether it is benched or not.
local C = require "gyre.clib"
local base = require "gyre.pool.base"
local lease = require "gyre.lease"
local status = require "gyre.status"

local Pool = {}

--- Leases a proxy to find out whether it works. One that is benched is half-open from then on, and this lease its
--- probe: `ok` ends the bench, `proxy_bad` makes it longer, `aborted` lets it go on; nobody else gets it meanwhile.
---@param id number
---@return gyre.Lease? lease
---@return gyre.Error? err kinds: no_proxy (disabled, draining, being probed), busy, not_found, full, closed
function Pool.probe(self, id)
  base.check_id(id)
  if self.handle == nil then
    return base.closed(self)
  end
  local into = lease.new()
  into.pool, into.tag = self.number, 0
  local code = C.gyre_probe(self.handle, id, into.raw)
  if code ~= 0 then
    return nil, status.error(code)
  end
  return into
end

return Pool
