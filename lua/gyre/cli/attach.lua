-- Pools for verbs: an existing segment, or one of the verb's own from a list.
local exit = require "gyre.cli.exit"
local gyre = require "gyre"

local io = io

local attach = {}

--- Attaches a segment that exists. What is not there is an error: a mistyped path must not make an empty pool.
---@param path string
---@return gyre.Pool
function attach.open(path)
  local file, why = io.open(path, "rb")
  if not file then
    exit.usage("no pool: " .. why)
  end
  file:close()
  return (exit.check(gyre.open { shared = path }))
end

return attach
