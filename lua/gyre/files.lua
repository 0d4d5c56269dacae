-- Files that hold credentials.
local ffi = require "ffi"
local errors = require "gyre.error"
local stream = require "gyre.stream"

local io, os, tostring = io, os, tostring

-- A second declaration of the same kind is none: another Lua state of the process may have made it.
ffi.cdef "unsigned int umask(unsigned int mask); int getpid(void);"

local files = {}

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

--- Writes a file that only its owner may read (mode 0600); an old one is replaced whole or not at all.
---@param path string
---@param write fun(out: fun(...: string)) is given a function that takes pieces of text
---@return true? written
---@return gyre.Error? err
function files.write_private(path, write)
  local new_path = ("%s.%d.new"):format(path, ffi.C.getpid())
  local file, why = create(new_path)
  if not file then
    return nil, failure(path, why)
  end
  local failed
  write(function(...)
    local written, reason = stream.write(file, ...)
    failed = failed or not written and reason
  end)
  local closed, reason = file:close()
  failed = failed or not closed and reason
  if not failed then
    local renamed
    renamed, failed = os.rename(new_path, path)
    if renamed then
      return true
    end
  end
  os.remove(new_path)
  return nil, failure(path, failed)
end

return files
