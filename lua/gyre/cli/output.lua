-- What a verb prints: data to stdout, words for people to stderr. stdout is data somebody relies on, so what cannot be
-- written ends the verb.
local exit = require "gyre.cli.exit"

local io, tostring = io, tostring

local output = {}

local function failed(why)
  why = tostring(why)
  -- Whoever read us has seen enough (`gyre pool ls | head`): no reason for words.
  exit.with(exit.SOME_FAILED, not why:find "Broken pipe" and "stdout: " .. why or nil)
end

--- Writes data.
---@param ... string|number
function output.write(...)
  local written, why = io.stdout:write(...)
  if not written then
    failed(why)
  end
end

--- Hands on what has been written so far.
function output.flush()
  local flushed, why = io.stdout:flush()
  if not flushed then
    failed(why)
  end
end

--- A line for people.
---@param ... string|number
function output.say(...)
  io.stderr:write(...)
  io.stderr:write "\n"
end

return output
