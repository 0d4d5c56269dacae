-- The built-in strategies as specs ask them: as they are, and the same rule by the `select` of their file.
local loader = require "gyre.strategy"

local rules = {}

--- Names of the files in strategies/.
---@return string[]
function rules.names()
  local list = {}
  local pipe = assert(io.popen "ls strategies/*.lua")
  for path in pipe:lines() do
    list[#list + 1] = path:match "([%w-]+)%.lua$"
  end
  pipe:close()
  return list
end

--- A strategy that picks by the `select` of another, never natively.
---@param name string
---@param options? table<string, any>
---@return gyre.Strategy
function rules.in_lua(name, options)
  local made = assert(loader.load(name, options))
  return {
    name = made.name, takes = made.takes, requires = made.requires,
    select = function(_, view, request) return made:select(view, request) end,
    refresh = function(_, pool) return made.refresh and made:refresh(pool) end,
  }
end

--- `for kind, strategy in rules.both(name, options) do`.
---@param name string
---@param options? table<string, any>
function rules.both(name, options)
  return pairs { native = options and { name, options = options } or name, lua = rules.in_lua(name, options) }
end

return rules
