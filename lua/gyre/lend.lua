-- Pools of a job with workers. Each runs the same script in a Lua state of its own; what the first opens for itself
-- alone it lends to the others, in the order in which the script opens them: it is one pool to all of them.
local ffi = require "ffi"
local C = require "gyre.clib"
local status = require "gyre.status"

local tonumber = tonumber

local lend = {}

local opened = 0 -- private pools so far, in this state

-- The program's module of workers, where there is more than one.
local function workers()
  local open = package.loaded["gyre.workers"] or package.preload["gyre.workers"]
  local module = open and require "gyre.workers"
  return module and module.count > 1 and module or nil
end

local function open(settings)
  local cell = ffi.new "struct gyre_pool *[1]"
  local code = C.gyre_pool_open(settings, cell)
  if code ~= 0 then
    return nil, status.error(code)
  end
  return cell[0]
end

--- A handle of the core for gyre.open().
---@param settings ffi.cdata* `struct gyre_options *`
---@param private boolean no file is named
---@return ffi.cdata*? handle
---@return gyre.Error? err
---@return boolean? borrowed not to be closed
function lend.open(settings, private)
  local shared = private and workers()
  if not shared then
    return open(settings)
  end
  opened = opened + 1
  local address = shared.pool(opened)
  if address then
    return ffi.cast("struct gyre_pool *", ffi.cast("uintptr_t", address)), nil, true
  end
  local handle, err = open(settings)
  if handle then
    shared.pool(opened, tonumber(ffi.cast("uintptr_t", handle)))
  end
  return handle, err
end

return lend
