-- Results of the C library as errors.
local ffi = require "ffi"
local C = require "gyre.clib"
local errors = require "gyre.error"

local status = {}

--- The error for a negative result of the call this thread made last.
---@param code integer GYRE_E*
---@param fields? table further fields of the error
---@return gyre.Error
function status.error(code, fields)
  local text, detail = ffi.string(C.gyre_strerror(code)), ffi.string(C.gyre_detail())
  if detail:sub(1, #text) == text then
    text = detail
  elseif detail ~= "" then
    text = text .. ": " .. detail
  end
  return errors.new(ffi.string(C.gyre_error_name(code)), text, fields)
end

--- The error of a pool, or of a lease, that has ended.
---@param what string
---@return gyre.Error
function status.closed(what)
  return errors.new("closed", what)
end

return status
