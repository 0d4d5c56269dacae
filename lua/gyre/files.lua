-- Files: what there is by a name, and writing those that hold credentials.
local bit = require "bit"
local ffi = require "ffi"
local errors = require "gyre.error"
local stream = require "gyre.stream"

local io, os, tostring = io, os, tostring

-- A second declaration of the same kind is none: another Lua state of the process may have made it. Under names of our
-- own where others may have declared it their way.
ffi.cdef [[
  unsigned int umask(unsigned int mask);
  int getpid(void);
  int gyre_statx(int folder, const char *path, int flags, unsigned int mask, void *out) asm("statx");
  char *gyre_realpath(const char *path, char *resolved) asm("realpath");
  int gyre_fileno(void *stream) asm("fileno");
  int gyre_fsync(int fd) asm("fsync");
]]

local files = {}

-- statx(2), whose struct is the same on every machine: the mode is its 15th half word.
local HERE, TYPE, MODE_AT = -100, 1, 14
local INODE, INODE_AT, DEVICE_AT = 0x100, 16, 68 -- the inode has four half words, and so has the device
local FORMAT, REGULAR, FOLDER = 0xf000, 0x8000, 0x4000
local PATH_MAX = 4096 -- of Linux
local about = ffi.new "uint16_t[128]"

--- What there is by this name, behind symbolic links: nil, when it is not there or cannot be looked at; "device" is
--- also a pipe or a socket. Does not wait, as opening a pipe does.
---@param path string
---@return "file"|"folder"|"device"|nil
function files.kind(path)
  if ffi.C.gyre_statx(HERE, path, 0, TYPE, about) ~= 0 then
    return nil
  end
  local format = bit.band(about[MODE_AT], FORMAT)
  return format == REGULAR and "file" or format == FOLDER and "folder" or "device"
end

--- Which file has this name, as a text that no other file has as long as it is there; nil when there is none.
---@param path string
---@return string?
function files.identity(path)
  if ffi.C.gyre_statx(HERE, path, 0, INODE, about) ~= 0 then
    return nil
  end
  return ffi.string(about + INODE_AT, 8) .. ffi.string(about + DEVICE_AT, 8)
end

--- What an output is, or will be: what is not there will be a file. By its name too: /dev/stdout may lead to a file
--- today.
---@param path string
---@return "file"|"folder"|"device"
function files.place(path)
  if path:find "^/proc/" or (path:find "^/dev/" and not path:find "^/dev/shm/") then
    return "device"
  end
  return files.kind(path) or "file"
end

--- The path from the root on, without symbolic links; as it is, when there is no such file.
---@param path string
---@return string
function files.absolute(path)
  local resolved = ffi.new("char[?]", PATH_MAX + 1)
  if ffi.C.gyre_realpath(path, resolved) ~= nil then
    return ffi.string(resolved)
  end
  return path
end

-- Readable by its owner only, from its first moment.
local function create(path)
  local mask = ffi.C.umask(63) -- 0077
  os.remove(path)
  local file, why = io.open(path, "wbx")
  ffi.C.umask(mask)
  return file, why
end

-- The system's words name the new file, of which nobody need know.
local function failure(path, why)
  return errors.new("system", ("%s: %s"):format(path, (tostring(why):gsub("^.*: ", ""))))
end

-- Until the disk has what was written. nil, or why not.
local function sync(file)
  local flushed, reason = stream.flush(file)
  if not flushed then
    return reason
  end
  return ffi.C.gyre_fsync(ffi.C.gyre_fileno(file)) ~= 0 and "the disk did not take it" or nil
end

-- Writes and closes. nil, or why not all is written.
local function fill(file, write, is_synced)
  local failed
  write(function(...)
    local written, reason = stream.write(file, ...)
    failed = failed or not written and reason
  end)
  failed = failed or is_synced and sync(file)
  local closed, reason = file:close()
  return failed or not closed and reason or nil
end

-- Into a device or a pipe, which stays what it is.
local function write_special(path, write)
  local file, why = io.open(path, "wb")
  local failed = not file and why or fill(file, write)
  if failed then
    return nil, failure(path, failed)
  end
  return true
end

--- Writes a file that only its owner may read (mode 0600); an old one is replaced whole or not at all, the one behind a
--- symbolic link too. What is no regular file is written to.
---@param path string
---@param write fun(out: fun(...: string)) is given a function that takes pieces of text
---@return true? written
---@return gyre.Error? err
function files.write_private(path, write)
  if (files.kind(path) or "file") ~= "file" then
    return write_special(path, write)
  end
  local place = files.absolute(path)
  local new_path = ("%s.%d.new"):format(place, ffi.C.getpid())
  local file, why = create(new_path)
  if not file then
    return nil, failure(path, why)
  end
  local failed = fill(file, write, true) -- or the new name could come to the disk before what it names
  if not failed then
    local renamed
    renamed, failed = os.rename(new_path, place)
    if renamed then
      return true
    end
  end
  os.remove(new_path)
  return nil, failure(path, failed)
end

return files
