-- gyre.shared: counters that all workers of a job have in common, for as long as it runs.
--     gyre.shared:add("products", 3)      gyre.shared.products      totals.shared.products, in `finish`
-- An addition is atomic. What has to survive the run belongs in an item, or in a counter of the pool.
local workers = require "gyre.workers"

local error, setmetatable, type = error, setmetatable, type

---@class gyre.Shared
local methods = {}

--- Adds to a counter, which begins at 0.
---@param name string 1 to 47 bytes
---@param number? number [1]
---@return number value after it
function methods.add(_, name, number)
  if type(name) ~= "string" or #name == 0 or #name > 47 then
    error("gyre.shared: a counter has a name of 1 to 47 bytes", 2)
  end
  local value, why = workers.add(name, number or 1)
  if not value then
    error("gyre.shared: " .. why, 2)
  end
  return value
end

local function read(_, name)
  return methods[name] or workers.counters()[name] or 0
end

local function write()
  error("gyre.shared: use gyre.shared:add(name, number), which is atomic", 2)
end

return { shared = setmetatable({}, { __index = read, __newindex = write }), all = workers.counters }
