-- Stops a strategy that would never return. LuaJIT does not look at debug hooks inside compiled code, so the check is
-- in the code: checks.lua puts it behind each loop head and function head and before each goto, and it counts. What C
-- does in one call is bounded by its size, in bounded.lua, and counted by its work: see guard.spend().
--
-- Every LOT steps the clock is looked at. A call is over that took longer than its budget, of the processor's time,
-- and more than GRANT steps, or ten times its budget with fewer: the objects of a large pool take their time. Then
-- every check raises, also inside pcall and coroutines, until the call is over.
--
-- What an operator other than `..` does with a text of a megabyte is a step like others, though a comparison takes
-- 0.05 ms and arithmetic 2: LOT of them take half a second before the clock is looked at. So do next() and pairs() on a
-- table that was large and is empty, and nothing bounds the memory that a strategy keeps from call to call.
local ffi = require "ffi"
local checks = require "gyre.strategy.checks"

local error, format, select, tonumber, type = error, string.format, select, tonumber, type
local metatable_of = debug.getmetatable

-- Under a name of our own: others may have declared it their way.
ffi.cdef [[int gyre_thread_clock(int clock, int64_t *time) asm("clock_gettime");]]

local LOT, SHORT_LOT = 250, 25
local GRANT = 1000000
local LONG = 10
local MOST_BYTES = 2 ^ 20 -- of one text that a call makes
local MOST_CODE = 2 ^ 18 -- bytes of a file
local SHORT = 256 -- bytes of a text that is not worth counting
local BYTES = 8 -- of a text that are worth a step
local MONOTONIC, THREAD_CPUTIME = 1, 3 -- of Linux
local BEFORE, BEHIND = "local __gyre,__gyre_join=... return function(...) ", "\nend"

---@class gyre.strategy.guard
local guard = { GRANT = GRANT, LOT = LOT, MOST_BYTES = MOST_BYTES, SHORT = SHORT, insert = checks.insert }

local now_cell = ffi.new "int64_t[2]"
local depth, over, budget, spent = 0, false, 10, 0 -- of the call under way
local began, began_cpu, lot = -1, -1, LOT

local function now_ms(clock)
  ffi.C.gyre_thread_clock(clock, now_cell)
  return tonumber(now_cell[0]) * 1e3 + tonumber(now_cell[1]) / 1e6
end

-- Is the time over, and when to look again: soon, until it is known whether the steps of this call are slow. The
-- processor's clock costs a call of the system; less time has never passed by the other.
local function look()
  local now = now_ms(MONOTONIC)
  if began < 0 then
    began = now
    return false, SHORT_LOT
  elseif now - began < budget / 10 then
    return false, LOT
  elseif began_cpu < 0 then
    began_cpu = now_ms(THREAD_CPUTIME)
    return false, SHORT_LOT
  elseif now - began < budget then
    return false, LOT
  end
  local taken = now_ms(THREAD_CPUTIME) - began_cpu
  return taken >= budget and (spent >= GRANT or taken >= LONG * budget), LOT
end

-- Called by a check whose lot is used up.
local function out_of_steps(steps, level)
  if depth == 0 then -- called by the program itself: its own affair
    steps.left = LOT
    return
  end
  spent = spent + lot - steps.left
  if not over then
    over, lot = look()
  end
  if over then
    steps.left = 0 -- the next check is here again
    error(format("it ran past its time budget of %g ms", budget), level or 2)
  end
  steps.left = lot
end

local steps = ffi.metatype("struct { int32_t left; }", { __index = { out = out_of_steps } })(LOT)

--- Begins a call of guarded code.
---@param milliseconds number
function guard.begin(milliseconds)
  steps.left = LOT
  depth, budget = depth + 1, milliseconds
  if began >= 0 then
    began, began_cpu, spent, lot, over = -1, -1, 0, LOT, false
  end
end

--- Ends it. Did it run past its budget, whatever it made of the error?
---@return boolean
function guard.finish()
  depth = depth - 1
  return over
end

--- Is such a call under way?
---@return boolean
function guard.is_running()
  return depth > 0
end

--- Counts what C is about to do, of a function that guarded code calls, in steps of 2 ns or so.
---@param count number up to 10^8
---@param level? integer where an error is: 2 is the caller [its caller]
function guard.spend(count, level)
  local left = steps.left - count
  steps.left = left
  if left < 0 then
    out_of_steps(steps, (level or 3) + 1)
  end
end
local spend = guard.spend

--- The same for a text that is read or made, of which there may be many.
---@param bytes number
function guard.spend_text(bytes)
  if bytes > SHORT then
    local left = steps.left - bytes / BYTES
    steps.left = left
    if left < 0 then
      out_of_steps(steps, 4)
    end
  end
end

-- ---- joining texts ----

local function check_operand(value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" then
    local metatable = metatable_of(value)
    if not (metatable and metatable.__concat) then
      error(format("attempt to concatenate a %s value", kind), 4)
    end
  end
end

local function size_of(value)
  if type(value) == "string" then
    return #value
  end
  check_operand(value)
  return 0
end

local function check_joined(bytes)
  if bytes > MOST_BYTES then
    error("a strategy makes no text of more than a megabyte", 3)
  end
  spend(bytes / BYTES, 4)
end

-- What `a .. b` and longer ones are in guarded code: up to four operands.
local function join(a, b, ...)
  local more = select("#", ...)
  local bytes = size_of(a) + size_of(b)
  if more == 0 then
    if bytes > SHORT then
      check_joined(bytes)
    end
    return a .. b
  end
  local c, d = ...
  bytes = bytes + size_of(c) + (more == 2 and size_of(d) or 0)
  if bytes > SHORT then
    check_joined(bytes)
  end
  if more == 1 then
    return a .. b .. c
  end
  return a .. b .. c .. d
end

--- Compiles text, with checks in it: a function without arguments, or nil and why.
---@param text string
---@param chunk_name string
---@return function?
---@return string? why
function guard.compile(text, chunk_name)
  if #text > MOST_CODE then
    return nil, format("a strategy has at most %d bytes", MOST_CODE)
  end
  -- What is wrong with the text is said of the text as it is: "t" keeps bytecode out.
  local sound, why = loadstring(text, chunk_name, "t")
  if not sound then
    return nil, why
  end
  local guarded
  guarded, why = checks.insert(text)
  if not guarded then
    return nil, why
  end
  -- A function of its own, in which all 200 local variables are the text's.
  local outer
  outer, why = loadstring(BEFORE .. guarded .. BEHIND, chunk_name, "t")
  if not outer then
    return nil, why .. ", two of which are for the checks against endless loops"
  end
  return outer(steps, join)
end

return guard
