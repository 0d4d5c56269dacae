-- What the JIT compiler makes of a function.
local attach = require("jit").attach

local traces = {}

-- The compiler's heuristics are partly random (hash of addresses, penalties): code that can be compiled may still fail
-- to be at first.
local ATTEMPTS = 60

local function compiles_once(hot)
  local traceinfo = require("jit.util").traceinfo
  local compiled, ours = false, {}
  local function see(what, number, func)
    if what == "start" then
      ours[number] = func == hot
    elseif what == "stop" and ours[number] and traceinfo(number).linktype == "loop" then
      compiled = true
    end
  end
  jit.flush()
  attach(see, "trace")
  hot()
  attach(see)
  return compiled
end

--- Whether the loop in `hot`, with all it calls, can become one compiled loop.
---@param hot fun()
---@return boolean
function traces.is_compiled(hot)
  for _ = 1, ATTEMPTS do
    if compiles_once(hot) then
      return true
    end
  end
  return false
end

--- What of `run`, once warm, the compiler cannot compile at all: the messages.
---@param run fun()
---@return string[]
function traces.not_implemented(run)
  local vmdef = require "jit.vmdef"
  local seen = {}
  local function see(what, _, _, _, code, detail)
    local message = what == "abort" and vmdef.traceerr[code] or ""
    if message:find "NYI" and not message:find "return to lower frame" then -- that is another trace's to compile
      seen[#seen + 1] = message:find("%", 1, true) and message:format(tostring(detail)) or message
    end
  end
  jit.flush()
  attach(see, "trace")
  run()
  run()
  attach(see)
  return seen
end

--- Instructions of Lua's that the interpreter runs in each of `n` rounds of `run`, once warm: hooks are not called in
--- compiled code.
---@param run fun(n: integer)
---@param n integer
---@return number
function traces.interpreted(run, n)
  local count = 0
  run(n)
  debug.sethook(function() count = count + 1 end, "", 1)
  run(n)
  debug.sethook()
  return count / n
end

--- Bytes of garbage that each of `n` rounds of `run` leaves, once warm.
---@param run fun(n: integer)
---@param n integer
---@return number
function traces.garbage(run, n)
  run(n)
  collectgarbage()
  collectgarbage "stop"
  local before = collectgarbage "count"
  run(n)
  local grown = collectgarbage "count" - before
  collectgarbage "restart"
  return grown * 1024 / n
end

return traces
