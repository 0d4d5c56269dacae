-- Calls into strategies: protected, and for guarded ones with a budget of time and with bounded methods of texts.
local guard = require "gyre.strategy.guard"
local sandbox = require "gyre.strategy.sandbox"

local pcall, tostring, xpcall = pcall, tostring, xpcall
local find, sub = string.find, string.sub
local traceback = debug.traceback

-- All texts share it with the whole program: while a strategy runs, their methods are the bounded ones.
local text_methods = getmetatable ""
local bounded = sandbox.strings

local OVER = "it ran past its time budget"

local confine = {}

-- LuaJIT cannot compile a return to the frame of a pcall in a trace that began inside it ("NYI: return to lower
-- frame"), and a function in which this fails often enough is never compiled again, nor is who calls it. So that only
-- this one returns there, it does not end with the call of the strategy; what that ends with may then be compiled.
local function run_select(made, view, request)
  local picked, why = made:select(view, request)
  return picked, why
end

local function finish(before, ran, ...)
  text_methods.__index = before
  local over = guard.finish()
  if ran and over then
    return false, OVER
  end
  return ran, ...
end

--- Like pcall().
---@param budget number|false milliseconds beyond the grant; false: the code is not guarded
---@param call function
---@return boolean ran
---@return any ...
function confine.call(budget, call, ...)
  if not budget then
    return pcall(call, ...)
  end
  local before = text_methods.__index
  guard.begin(budget)
  text_methods.__index = bounded
  return finish(before, pcall(call, ...))
end

-- The message is the first line; the way to it follows, as far as it is the strategy's own.
local function with_traceback(message)
  local text = traceback(tostring(message), 2)
  local caller = find(text, "\n[^\n]*%[C%][^\n]*\n[^\n]*gyre/choose%.lua")
  return caller and sub(text, 1, caller - 1) or text
end

--- Calls a strategy's select. On failure false, the message with its traceback, and whether it ran out of time.
---@param budget number|false
---@param made gyre.Strategy
---@param view gyre.View
---@param request gyre.Request
---@return boolean ran
---@return any picked
---@return any why
function confine.select(budget, made, view, request)
  if not budget then
    return xpcall(run_select, with_traceback, made, view, request)
  end
  local before = text_methods.__index
  guard.begin(budget)
  text_methods.__index = bounded
  local ran, picked, why = xpcall(run_select, with_traceback, made, view, request)
  text_methods.__index = before
  if guard.finish() then
    return false, ran and OVER or picked, true
  end
  return ran, picked, why
end

return confine
