-- What a verb prints: data to stdout, words for people to stderr. stdout is data somebody relies on, so what cannot be
-- written ends the verb.
local ffi = require "ffi"
local exit = require "gyre.cli.exit"
local stream = require "gyre.stream"

local io, tostring = io, tostring

ffi.cdef [[
int mkdir(const char *path, unsigned int mode);
int access(const char *path, int mode);
char *strerror(int error);
]]

local EEXIST = 17
local WRITE_AND_ENTER = 3 -- W_OK and X_OK

local output = {}

local function failed(why)
  why = tostring(why)
  -- Whoever read us has seen enough (`gyre pool ls | head`): no reason for words.
  exit.with(exit.SOME_FAILED, not why:find "Broken pipe" and "stdout: " .. why or nil)
end

--- Writes data.
---@param ... string|number
function output.write(...)
  local written, why = stream.write(io.stdout, ...)
  if not written then
    failed(why)
  end
end

--- Hands on what has been written so far.
function output.flush()
  local flushed, why = stream.flush(io.stdout)
  if not flushed then
    failed(why)
  end
end

local function refuse(option, path)
  exit.usage(("%s: %s: %s"):format(option, path, ffi.string(ffi.C.strerror(ffi.errno()))))
end

--- Makes a folder, or sees to it that files can be made in the one that is there.
---@param path string
---@param option string that names it
function output.make_folder(path, option)
  if ffi.C.mkdir(path, 511) ~= 0 and (ffi.errno() ~= EEXIST or ffi.C.access(path .. "/.", WRITE_AND_ENTER) ~= 0) then
    refuse(option, path)
  end
end

--- Ends the verb when a file could not be put at `path`, which is written later.
---@param path string
---@param option string that names it
function output.check_place(path, option)
  if ffi.C.access(path .. "/.", 0) == 0 then
    exit.usage(("%s: %s: Is a directory"):format(option, path))
  elseif ffi.C.access(path:match "^(.*/)[^/]*$" or ".", WRITE_AND_ENTER) ~= 0 then
    refuse(option, path)
  end
end

--- A line for people.
---@param ... string|number
function output.say(...)
  io.stderr:write(...)
  io.stderr:write "\n"
end

return output
