-- usage.lua: returns a function: CPU seconds of this process, user and system; its peak resident memory, KiB.
local ffi = require "ffi"

ffi.cdef [[
struct bench_rusage { long user[2], system[2], maxrss, others[13]; };
int getrusage(int who, struct bench_rusage *usage);
]]

local function seconds(t)
  return tonumber(t[0]) + tonumber(t[1]) / 1e6
end

return function()
  local u = ffi.new "struct bench_rusage"
  ffi.C.getrusage(0, u)
  return seconds(u.user) + seconds(u.system), tonumber(u.maxrss)
end
