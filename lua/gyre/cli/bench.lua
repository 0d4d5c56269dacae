-- gyre bench: the benchmarks of the core. They are a program of their own, linked with libgyre.so as a user's is, since
-- what is to be measured is a call of the library; it lies beside gyre in a build, or where it was installed.
local ffi = require "ffi"
local exit = require "gyre.cli.exit"
local output = require "gyre.cli.output"

local io, ipairs, os, tostring = io, ipairs, os, tostring

ffi.cdef [[
long readlink(const char *path, char *buffer, size_t size);
int execv(const char *path, char *const argv[]);
]]

local bench = { about = "measure acquire and complete on this machine" }

function bench.options(parser)
  parser:flag("--quick", "Shorter, less exact.")
  parser:flag("--strict", "Exit 1 when a promise is not kept.")
  parser:option("--only", "This part only."):argname "PART"
  parser:epilog "GYRE_BENCH names the program, where it is neither beside gyre nor in libexec/gyre."
end

local function own_folder()
  local buffer = ffi.new "char[4096]"
  local size = tonumber(ffi.C.readlink("/proc/self/exe", buffer, 4096))
  return size > 0 and ffi.string(buffer, size):match "^(.*)/" or "."
end

local function exists(path)
  local file = io.open(path, "rb")
  return file and file:close()
end

local function find()
  local folder = own_folder()
  local tried = { folder .. "/bench", folder .. "/../libexec/gyre/bench" }
  local named = os.getenv "GYRE_BENCH"
  if named and named ~= "" then
    tried = { named }
  end
  for _, path in ipairs(tried) do
    if exists(path) then
      return path
    end
  end
  exit.usage("the benchmarks are not here: built with -DBUILD_TESTING=ON they are; looked for "
    .. table.concat(tried, " and "))
end

function bench.run(args)
  local path = find()
  local words = { path, args.quick and "--quick" or nil }
  words[#words + 1] = args.strict and "--strict" or nil
  words[#words + 1] = args.only and "--only" or nil
  words[#words + 1] = args.only
  local argv = ffi.new("const char *[?]", #words + 1) -- ends in NULL
  for i, word in ipairs(words) do
    argv[i - 1] = word
  end
  output.flush()
  ffi.C.execv(path, ffi.cast("char *const *", argv))
  exit.usage(("%s cannot be run: errno %s"):format(path, tostring(ffi.errno())))
end

return bench
