-- Finds libgyre, checks that it is the one this module was written for, and returns its functions.
local ffi = require "ffi"
local cdef = require "gyre.cdef"
local errors = require "gyre.error"

local pcall, tostring, ipairs = pcall, tostring, ipairs

-- The gyre program, and C programs linked with libgyre, carry the functions themselves.
local function from_host()
  local found = pcall(function()
    return ffi.C.gyre_abi
  end)
  if found then
    return ffi.C
  end
  return nil, "the program itself: no symbol gyre_abi"
end

local function from_file(path)
  local loaded, library = pcall(ffi.load, path)
  if loaded then
    return library
  end
  return nil, path .. ": " .. tostring(library)
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then
    file:close()
  end
  return file ~= nil
end

local function from_path(path, tried)
  if not exists(path) then
    tried[#tried + 1] = path .. ": no such file"
    return nil
  end
  local library, why = from_file(path)
  tried[#tried + 1] = why
  return library
end

-- Debian has the libraries of /usr in a folder of the architecture.
local TRIPLETS = {
  x64 = "x86_64-linux-gnu", x86 = "i386-linux-gnu", arm64 = "aarch64-linux-gnu", arm = "arm-linux-gnueabihf",
}
local BESIDE = { "lib", "lib64", "lib/lua/5.1" } -- the last is a rock's
BESIDE[#BESIDE + 1] = TRIPLETS[ffi.arch] and "lib/" .. TRIPLETS[ffi.arch]

-- The one that was installed with this module, in PREFIX/share/lua/5.1: the loader may not know of it, since that takes
-- ldconfig, and what it does know of may be another version.
local function from_prefix(tried)
  local prefix = debug.getinfo(1, "S").source:match "^@(.*)share/lua/5%.1/gyre/clib%.lua$"
  if not prefix or not ("/" .. prefix):find "/$" then
    return nil
  end
  for _, folder in ipairs(BESIDE) do
    local library = from_path(prefix .. folder .. "/libgyre.so", tried)
    if library then
      return library
    end
  end
end

local function from_cpath(tried)
  for template in package.cpath:gmatch "[^;]+" do
    local path, substitutions = template:gsub("%?", "libgyre")
    local library = substitutions > 0 and from_path(path, tried)
    if library then
      return library
    end
  end
end

local function find()
  -- Someone who names a file means that file: another library found instead would only hide the mistake.
  local named = os.getenv "GYRE_LIB"
  if named and named ~= "" then
    local library, why = from_file(named)
    return library, { why and "GYRE_LIB=" .. why }
  end
  local tried = { "GYRE_LIB: not set" }
  local library
  library, tried[2] = from_host()
  library = library or from_prefix(tried) or from_cpath(tried)
  if not library then
    library, tried[#tried + 1] = from_file "gyre"
  end
  return library, tried
end

local function fail(kind, message)
  error(errors.new(kind, message), 0)
end

local function check(library)
  local has_abi, abi = pcall(function()
    return library.gyre_abi()
  end)
  if not has_abi then
    fail("abi", "gyre: the library found is not libgyre: " .. tostring(abi))
  end
  if abi ~= cdef.abi then
    fail("abi", ("gyre: libgyre has ABI %d, the Lua module was written for %d"):format(abi, cdef.abi))
  end
  for _, name in ipairs(cdef.structs) do
    local there, here = library.gyre_struct_size(name), ffi.sizeof("struct gyre_" .. name)
    if there ~= here then
      fail("abi", ("gyre: struct gyre_%s has %d bytes in libgyre, %d in lua/gyre/cdef.lua"):format(name, there, here))
    end
  end
  return library
end

local library, tried = find()
if not library then
  fail("system", "gyre: libgyre not found; tried\n\t" .. table.concat(tried, "\n\t"))
end

return check(library)
