-- Errors as values. Every function of gyre that can fail returns `nil, err` with one of these; misuse (a wrong
-- type, an unknown option) raises at the caller instead. No text in here ever holds a credential.
local setmetatable, tostring = setmetatable, tostring

--- What went wrong. Prints, concatenates and `assert`s as its message.
---@class gyre.Error
---@field kind gyre.ErrorKind what a program decides by
---@field message string what a person reads
---@field id? number the proxy it is about
---@field where? "proxy"|"target"|"local" whose side it happened on, for errors of requests

---@alias gyre.ErrorKind
---| "no_proxy" no proxy is eligible
---| "busy" every eligible proxy is at its limit
---| "full" the segment is full
---| "exists" already in the pool
---| "not_found" not in the pool
---| "invalid" a value that cannot be used
---| "missing_metadata" the strategy needs a field that some proxies lack
---| "strategy" a strategy could not be loaded, or failed while picking
---| "closed" the lease has ended, or the pool is closed
---| "corrupt" the segment is damaged
---| "abi" another version made it
---| "system" a file or a system call failed

---@class gyre.error
local error_module = {}

local Error = {}
Error.__index = Error

function Error.__tostring(self)
  return self.message
end

function Error.__concat(left, right)
  return tostring(left) .. tostring(right)
end

--- Makes an error.
---@param kind gyre.ErrorKind
---@param message string
---@param fields? table further fields, e.g. `{ id = 17 }`; becomes the error itself
---@return gyre.Error
function error_module.new(kind, message, fields)
  local err = fields or {}
  err.kind = kind
  err.message = message
  return setmetatable(err, Error)
end

--- Whether a value is an error made here.
---@param value any
---@return boolean
function error_module.is(value)
  return getmetatable(value) == Error
end

return error_module
