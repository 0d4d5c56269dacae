-- Calls into strategies: protected, and for guarded ones with a budget of time and with bounded methods of texts. What
-- they raise becomes text before the call is over, since a metatable's __tostring is their code too.
local guard = require "gyre.strategy.guard"
local sandbox = require "gyre.strategy.sandbox"

local pcall, tostring, type, xpcall = pcall, tostring, type, xpcall
local find, gsub, sub = string.find, string.gsub, string.sub
local traceback = debug.traceback

-- All texts share it with the whole program: while a strategy runs, their methods are the bounded ones.
local text_methods = getmetatable ""
local bounded, lent = sandbox.strings, sandbox.lent

local OVER = "it ran past its time budget"
local MOST_MESSAGE = 2000 -- bytes; credentials are looked for in it, which takes the square of that

local confine = {}

-- LuaJIT cannot compile a return to the frame of a pcall in a trace that began inside it ("NYI: return to lower
-- frame"), and a function in which this fails often enough is never compiled again, nor is who calls it. So that only
-- this one returns there, it does not end with the call of the strategy; what that ends with may then be compiled.
local function run_select(made, view, request)
  local picked, why = made:select(view, request)
  return picked, why
end

--- What a guarded strategy returned, or left in its table, as text; nothing of its own is run for it.
---@param value any
---@return string
function confine.text(value)
  local kind = type(value)
  if kind == "string" or kind == "number" then
    return sub(value, 1, MOST_MESSAGE)
  elseif kind == "nil" or kind == "boolean" then
    return tostring(value)
  end
  return "a " .. kind
end

-- The same within the call, where its code may run.
local function said(message)
  if type(message) ~= "string" then
    message = tostring(message)
  end
  return confine.text(message)
end

local function why_over(message)
  return find(message, OVER, 1, true) and message or OVER
end

local function finish(before, ran, ...)
  text_methods.__index = before
  local over = guard.finish()
  if over then
    return false, ran and OVER or why_over((...))
  end
  return ran, ...
end

--- Like pcall(), but of guarded code an error is text.
---@param budget number|false milliseconds; false: the code is not guarded
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
  lent[1], lent[2], lent[3], lent[4] = ...
  return finish(before, xpcall(call, said, ...))
end

local HERE = "^" .. gsub(debug.getinfo(1, "S").short_src, "%p", "%%%0") .. ":%d+: "

-- The message is the first line; the way to it follows, as far as it is the strategy's own. One that ends with a call,
-- as `return view:hash(key)`, has left when that raises: then it would be of a line in here.
local function with_traceback(message)
  local text = traceback((gsub(tostring(message), HERE, "", 1)), 2)
  local caller = find(text, "\n[^\n]*gyre/strategy/confine%.lua")
  return caller and sub(text, 1, caller - 1) or text
end

local function said_with_traceback(message)
  return with_traceback(said(message))
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
  lent[1] = request
  local ran, picked, why = xpcall(run_select, said_with_traceback, made, view, request)
  text_methods.__index = before
  if guard.finish() then
    return false, ran and OVER or why_over(picked), true
  end
  return ran, picked, why
end

return confine
