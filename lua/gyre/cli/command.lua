-- Runs a shell command and reads what it prints, while other tasks go on.
local ffi = require "ffi"
local net = require "gyre.net"

local io, tostring = io, tostring

ffi.cdef [[
int fileno(void *stream);
long read(int fd, void *buffer, unsigned long count);
]]

local SIZE = 65536
local LARGEST = 64 * 2 ^ 20

local command = {}

--- The output of a command; nil and why when it failed, printed too much, or did not end in time.
---@param text string for sh -c
---@param seconds number
---@return string? output
---@return string? why
function command.read(text, seconds)
  -- The status comes through the output, since closing a pipe does not tell it in Lua 5.1.
  local pipe, why = io.popen("( " .. text .. "\n) </dev/null; printf '\\n%d' $?", "r")
  if not pipe then
    return nil, why
  end
  local fd, buffer, parts, size = ffi.C.fileno(pipe), ffi.new("char[?]", SIZE), {}, 0
  local deadline = net.now() + seconds
  while true do
    local left = deadline - net.now()
    if left <= 0 or not net.readable(fd, left) then
      return nil, "not within " .. seconds .. " seconds" -- the pipe is closed by its finaliser, once the command ends
    end
    local count = tonumber(ffi.C.read(fd, buffer, SIZE))
    if count <= 0 then
      break
    end
    parts[#parts + 1], size = ffi.string(buffer, count), size + count
    if size > LARGEST then
      return nil, "more than 64 MiB of output"
    end
  end
  pipe:close()
  local output, status = table.concat(parts):match "^(.*)\n(%d+)$"
  if status ~= "0" then
    return nil, "exit status " .. tostring(status)
  end
  return output
end

return command
