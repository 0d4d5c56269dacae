-- What a verb reads: a text as a whole, a list of proxies, or lines as they come. "-" is stdin. Other tasks go on while
-- a pipe or a terminal has nothing to read; Ctrl-C ends the wait.
local exit = require "gyre.cli.exit"
local ffi = require "ffi"
local list = require "gyre.list"
local mask = require "gyre.mask"
local net = require "gyre.net"

local io, setmetatable, tonumber = io, setmetatable, tonumber
local find, sub = string.find, string.sub

ffi.cdef [[
int fileno(void *stream);
long read(int fd, void *buffer, unsigned long count);
long lseek(int fd, long offset, int whence);
char *strerror(int error);
]]

local FOREVER = 1e9
local SIZE = 65536
local SEEK_CUR = 1

--- Reads a file in pieces.
---@class gyre.cli.Reader
---@field ended boolean nothing more will be read
---@field why string? what went wrong, with the file's name
local Reader = {}
Reader.__index = Reader

local input = {}

local stdin_is_taken = false

--- Opens a file; nil and why when it cannot be, or is stdin, which something else has read.
---@param path string
---@return gyre.cli.Reader?
---@return string? why
function input.open(path)
  local file, why = io.stdin, nil
  if path ~= "-" then
    file, why = io.open(path, "rb")
  elseif stdin_is_taken then
    return nil, "stdin (-) can be read by one only"
  else
    stdin_is_taken = true
  end
  if not file then
    return nil, mask.place(path) .. why:sub(#path + 1)
  end
  return setmetatable({ file = file, fd = ffi.C.fileno(file), name = path == "-" and "stdin" or path,
    buffer = ffi.new("char[?]", SIZE), text = "", at = 1, ended = false }, Reader)
end

-- The next piece; nil at the end, after an error, or when a signal came.
local function read(self)
  if self.ended then
    return nil
  end
  local count = net.readable(self.fd, FOREVER) and tonumber(ffi.C.read(self.fd, self.buffer, SIZE))
  if count and count > 0 then
    return ffi.string(self.buffer, count)
  end
  self.ended = true
  if count and count < 0 then
    self.why = self.name .. ": " .. ffi.string(ffi.C.strerror(ffi.errno()))
  end
  return nil
end

--- Reads one piece more, which may wait.
function Reader:fill()
  local piece = read(self)
  if piece then
    self.text, self.at = sub(self.text, self.at) .. piece, 1
  end
end

--- A line of what has been read so far, without its end; nil when there is none. The last one may have no end.
---@return string?
function Reader:ready_line()
  local stop = find(self.text, "\n", self.at, true)
  local line
  if stop then
    line, self.at = sub(self.text, self.at, stop - 1), stop + 1
  elseif self.ended and self.at <= #self.text then
    line, self.text, self.at = sub(self.text, self.at), "", 1
  end
  return line
end

--- The next line, which may have to be waited for; nil at the end, after an error, or when a signal came.
---@return string?
function Reader:line()
  local line = self:ready_line()
  while not line and not self.ended do
    self:fill()
    line = self:ready_line()
  end
  return line
end

--- Whether it can be read again from its beginning.
function Reader:can_seek()
  return ffi.C.lseek(self.fd, 0, SEEK_CUR) >= 0
end

function Reader:close()
  if self.file ~= io.stdin then
    self.file:close()
  end
end

--- All that a file holds; what cannot be read ends the verb.
---@param path string
---@param option? string that the file was given to
---@return string
function input.text(path, option)
  local prefix = option and option .. ": " or ""
  local reader, why = input.open(path)
  if not reader then
    exit.usage(prefix .. why)
  end
  local parts, piece = {}, read(reader)
  while piece do
    parts[#parts + 1] = piece
    piece = read(reader)
  end
  reader:close()
  if reader.why then
    exit.usage(prefix .. reader.why)
  elseif net.stopping() then
    exit.with(exit.INTERRUPTED)
  end
  return table.concat(parts)
end

--- A list of proxies from a file or stdin; what is no list ends the verb.
---@param source string
---@param otherwise? string what the verb has for a single proxy
---@return gyre.list.Parsed
function input.list(source, otherwise)
  if source == "-" then
    local parsed, err = list.parse(input.text "-")
    if not parsed then
      err.message = "stdin: " .. err.message
      exit.check(nil, err)
    end
    parsed.source = "stdin"
    return parsed
  end
  local parsed, err = list.read(source)
  if not parsed and err.no_file then
    exit.usage(("%s: there is no such file: a list is a file, or - for a list on stdin%s"):format(mask.place(source),
      otherwise or ""))
  end
  return (exit.check(parsed, err))
end

return input
