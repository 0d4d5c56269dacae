-- Writing to files so that a failure is told.
--
-- A write or a flush that fails in compiled code is made once more, by the interpreter, for its results. What failed is
-- gone from the buffer by then, so that this one succeeds and nobody learns of it: of 5,000 flushes into a pipe without
-- a reader none failed (LuaJIT 2.1.0-beta3). So these are never compiled.
local jit = jit

---@class gyre.stream
local stream = {}

--- Writes to a file.
---@param file file*
---@param ... string|number
---@return file*? written nil and why
---@return string? why
function stream.write(file, ...)
  return file:write(...)
end

--- Hands on what has been written to a file.
---@param file file*
---@return true? flushed nil and why
---@return string? why
function stream.flush(file)
  return file:flush()
end

jit.off(stream.write)
jit.off(stream.flush)

return stream
