-- What only the gyre program can do: requests, sleeping, jobs. Loaded when first used, so that plain luajit and nginx
-- never need it; there it raises at the caller.
local error = error

---@class gyre.runtime
local runtime = {}

-- Where the functions live. The modules need the program's native module gyre.net.
local MODULES = { "gyre.http", "gyre.job", "gyre.crawl", "gyre.shared" }

--- Whether this Lua state belongs to the gyre program.
---@return boolean
function runtime.available()
  return package.loaded["gyre.net"] ~= nil or package.preload["gyre.net"] ~= nil
end

--- The function with this name.
---@param name string
---@param said string what the user wrote, for the error
---@param level integer where misuse is reported, as for error()
---@return function
function runtime.find(name, said, level)
  if not runtime.available() then
    error(said .. " needs the gyre program: run the script by `gyre run`", level + 1)
  end
  for i = 1, #MODULES do
    local found = require(MODULES[i])[name]
    if found then
      return found
    end
  end
  error("this gyre program has no " .. said, level + 1)
end

return runtime
