-- How a verb of the program ends: exit codes, and the ways to get out with one from anywhere inside a verb.
local errors = require "gyre.error"

local error, getmetatable, setmetatable, tostring = error, getmetatable, setmetatable, tostring

local exit = {
  ALL_GOOD = 0,
  SOME_FAILED = 1,
  USAGE = 2, -- or an error in a script
  NO_PROXY = 3,
  INTERRUPTED = 4,
}

local Exit = {}

--- Ends the verb with a message on stderr.
---@param code integer
---@param message? string without the verb's name; nil: nothing is printed
function exit.with(code, message)
  error(setmetatable({ code = code, message = message }, Exit), 0)
end

--- Ends the verb because of what stands on its command line.
---@param message string names the option
function exit.usage(message)
  exit.with(exit.USAGE, message)
end

--- Passes a result on like assert(); an error ends the verb.
---@generic T
---@param value? T
---@param err? gyre.Error|string
---@return T
function exit.check(value, err, ...)
  if value == nil or value == false then
    error(errors.is(err) and err or setmetatable({ code = exit.USAGE, message = tostring(err) }, Exit), 0)
  end
  return value, err, ...
end

--- Code and message for what a verb raised; nil when it is no way out but a mistake in the program.
---@param raised any
---@return integer? code
---@return string? message
function exit.of(raised)
  if getmetatable(raised) == Exit then
    return raised.code, raised.message
  elseif errors.is(raised) then
    local none = raised.kind == "no_proxy" or raised.where == "proxy"
    return none and exit.NO_PROXY or exit.USAGE, tostring(raised)
  end
  return nil
end

return exit
