-- Runs a shell command and reads what it prints, while other tasks go on.
local ffi = require "ffi"
local net = require "gyre.net"

local io, tonumber, tostring = io, tonumber, tostring

ffi.cdef [[
int fileno(void *stream);
long read(int fd, void *buffer, unsigned long count);
int kill(int pid, int signal);
]]

local SIZE = 65536
local LARGEST = 64 * 2 ^ 20
local KILL = 9

local command = {}

-- In a session of its own, so that all of it can be ended. It prints its number first, and the status of the command
-- last: closing a pipe does not tell it in Lua 5.1.
local function start(text)
  local script = "echo $$\n( " .. text .. "\n) </dev/null\nprintf '\\n%d' $?"
  return io.popen("exec setsid sh -c '" .. script:gsub("'", "'\\''") .. "'", "r")
end

-- Appends what comes to `parts`. nil at the end, else why there will be no more.
local function read_all(fd, parts, seconds)
  local buffer, size, deadline = ffi.new("char[?]", SIZE), 0, net.now() + seconds
  while true do
    local left = deadline - net.now()
    if left <= 0 or not net.readable(fd, left) then
      return ("not within %g seconds"):format(seconds)
    end
    local count = tonumber(ffi.C.read(fd, buffer, SIZE))
    if count <= 0 then
      return nil
    end
    parts[#parts + 1], size = ffi.string(buffer, count), size + count
    if size > LARGEST then
      return "more than 64 MiB of output"
    end
  end
end

--- The output of a command; nil and why when it failed, printed too much, or did not end in time: it is ended then.
---@param text string for sh -c
---@param seconds number
---@return string? output
---@return string? why
function command.read(text, seconds)
  local pipe, why = start(text)
  if not pipe then
    return nil, why
  end
  local parts = {}
  why = read_all(ffi.C.fileno(pipe), parts, seconds)
  local pid, output = table.concat(parts):match "^(%d+)\n(.*)$"
  if why and pid then
    ffi.C.kill(-tonumber(pid), KILL)
  end
  pipe:close()
  if why then
    return nil, why
  end
  local rest, status = (output or ""):match "^(.*)\n(%d+)$"
  if status ~= "0" then
    return nil, "exit status " .. tostring(status)
  end
  return rest
end

return command
