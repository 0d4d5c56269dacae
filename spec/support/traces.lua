-- What the JIT compiler makes of a function.
local attach = require("jit").attach

local traces = {}

-- Runs `hot` and returns whether a loop that begins in it was compiled as a loop, and how many attempts to compile
-- anything there were.
local function watch(hot)
  local traceinfo = require("jit.util").traceinfo
  local compiled, attempts, ours = false, 0, {}
  local function see(what, number, func)
    if what == "start" then
      attempts = attempts + 1
      ours[number] = func == hot
    elseif what == "stop" and ours[number] and traceinfo(number).linktype == "loop" then
      compiled = true
    end
  end
  attach(see, "trace")
  hot()
  attach(see)
  return compiled, attempts
end

local WARM_UP = 5 -- runs until the paths taken now and then have been compiled too

--- Whether the loop in `hot` becomes one compiled loop, and stays in it: once warm nothing further is compiled.
---@param hot fun()
---@return boolean compiled
---@return integer later attempts to compile something in a run after the warm-up
function traces.is_compiled(hot)
  jit.flush()
  local compiled = watch(hot)
  for _ = 2, WARM_UP do
    compiled = watch(hot) or compiled
  end
  local _, later = watch(hot)
  return compiled, later
end

return traces
