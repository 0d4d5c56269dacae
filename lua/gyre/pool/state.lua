-- pool:save() and pool:load(): the whole of a pool as JSON, across machines and layouts of segments.
local base = require "gyre.pool.base"

local error, type = error, type

local Pool = {}

--- Writes everything the segment holds to a file: proxies with labels, limits, counters, averages, windows and
--- health; sessions, bans, throttles, counters by name, the strategy. Leases in flight are not part of it. Times are
--- kept as ages, so that they mean the same when it is loaded. Each proxy is of one moment; others may go on
--- meanwhile. The file has mode 0600, since it holds the credentials, and is replaced whole or not at all.
---@param path string
---@param options? { credentials?: boolean } false: without them; then it can only be loaded where the proxies are
---@return true? saved
---@return gyre.Error? err
function Pool.save(self, path, options)
  base.check_text(path, "a path")
  if options ~= nil and type(options) ~= "table" then
    error("options are a table, not a " .. type(options), 2)
  end
  if self.handle == nil then
    return base.closed(self)
  end
  return require("gyre.state.save").to_file(self, path, not options or options.credentials ~= false)
end

--- Loads what pool:save() wrote: adds its proxies, or gives those that are there the labels and books of the file; who
--- is in the pool and not in the file stays as he is. The time since it was saved has passed for benches, bans and
--- sessions too.
---@param path string
---@return table<string, integer>? report proxies, sessions, bans, throttles: how many were loaded
---@return gyre.Error? err
function Pool.load(self, path)
  base.check_text(path, "a path")
  if self.handle == nil then
    return base.closed(self)
  end
  local load = require "gyre.state.load"
  local state, err = load.read(path)
  if not state then
    return nil, err
  end
  return load.apply(self, state)
end

return Pool
