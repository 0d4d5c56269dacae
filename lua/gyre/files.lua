-- Files that hold credentials.
local bit = require "bit"
local ffi = require "ffi"
local errors = require "gyre.error"
local stream = require "gyre.stream"

local io, os, tostring = io, os, tostring

-- A second declaration of the same kind is none: another Lua state of the process may have made it.
ffi.cdef [[
  unsigned int umask(unsigned int mask);
  int getpid(void);
  int gyre_statx(int folder, const char *path, int flags, unsigned int mask, void *out) asm("statx");
  char *gyre_realpath(const char *path, char *resolved) asm("realpath");
]]

local files = {}

-- statx(2), whose struct is the same on every machine: the mode is its 15th half word.
local HERE, TYPE, MODE_AT = -100, 1, 14
local FORMAT, REGULAR = 0xf000, 0x8000
local LONGEST_PATH = 4096
local about = ffi.new "uint16_t[128]"

--- What there is by this name: nil, when it is not there or cannot be looked at; "special" is a device, a pipe, a
--- folder. Does not wait, as opening a pipe does.
---@param path string
---@return "file"|"special"|nil
function files.kind(path)
  if ffi.C.gyre_statx(HERE, path, 0, TYPE, about) ~= 0 then
    return nil
  end
  return bit.band(about[MODE_AT], FORMAT) == REGULAR and "file" or "special"
end

-- The file behind symbolic links, when there is one.
local function resolve(path)
  local room = ffi.new("char[?]", LONGEST_PATH)
  return ffi.C.gyre_realpath(path, room) ~= nil and ffi.string(room) or path
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

-- Writes and closes. nil, or why not all is written.
local function fill(file, write)
  local failed
  write(function(...)
    local written, reason = stream.write(file, ...)
    failed = failed or not written and reason
  end)
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
  if files.kind(path) == "special" then
    return write_special(path, write)
  end
  local place = resolve(path)
  local new_path = ("%s.%d.new"):format(place, ffi.C.getpid())
  local file, why = create(new_path)
  if not file then
    return nil, failure(path, why)
  end
  local failed = fill(file, write)
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
