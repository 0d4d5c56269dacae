-- What becomes of a strategy that fails: it is counted, told, and after several failures in a row put to rest. And how
-- its functions are called, so that no error and no endless loop of theirs gets further.
local C = require "gyre.clib"
local confine = require "gyre.strategy.confine"
local mask = require "gyre.mask"

local error, pcall = error, pcall
local gsub, sub = string.gsub, string.sub

local TELL_EVERY = 10 -- seconds between two reports on one strategy; what comes between is counted
local COUNTER = "fallback "
local COUNTER_ROOM = 47 - #COUNTER

---@class gyre.trouble
local trouble = {}

--- Counts of a strategy, per handle: `raised`, `wrong` (returned what is not in its view), `overran` (its time),
--- `missing` (metadata), `resting` (tripped): requests that its fallback served; `trips`; `record` and `judge`: errors
--- of these.
---@return table<string, integer>
function trouble.new_counts()
  return { raised = 0, wrong = 0, overran = 0, missing = 0, resting = 0, trips = 0, record = 0, judge = 0 }
end

local function to_stderr(message)
  io.stderr:write("gyre: ", message, "\n")
end

--- Tells whoever listens (gyre.open's `logger`, else the standard error), at most every ten seconds for one strategy.
---@param state gyre.State
---@param at_work { name: string, told?: number, untold?: integer }
---@param message string
function trouble.tell(state, at_work, message)
  local now = os.time()
  if at_work.told and now - at_work.told < TELL_EVERY and now >= at_work.told then
    at_work.untold = (at_work.untold or 0) + 1
    return
  end
  local more = at_work.untold and (" (%d more since the last report)"):format(at_work.untold) or ""
  at_work.told, at_work.untold = now, nil
  -- A logger that fails must not take the request with it.
  pcall(state.logger or to_stderr, mask.text(("strategy '%s': %s%s"):format(at_work.name, message, more)))
end

--- Counts a request that a strategy did not serve. In the segment too, under "fallback NAME", for everybody to see.
---@param state gyre.State
---@param handle ffi.cdata*
---@param at_work gyre.strategy.Active
---@param kind string
function trouble.count(state, handle, at_work, kind)
  local counts = at_work.counts
  counts[kind] = counts[kind] + 1
  C.gyre_counter_add(handle, COUNTER .. gsub(sub(at_work.name, 1, COUNTER_ROOM), "%c", "?"), 1, nil)
  if kind == "missing" and counts.missing == 1 then
    local message = at_work.missing and at_work.missing.message or "needs session: a request has none"
    trouble.tell(state, at_work, (gsub(message, "^strategy '[^']*':? ", "")))
  end
end

--- A failure of select: counted, told with its traceback; after several in a row the strategy rests.
---@param state gyre.State
---@param handle ffi.cdata*
---@param at_work gyre.strategy.Active
---@param kind "raised"|"wrong"|"overran"
---@param message string
function trouble.failed(state, handle, at_work, kind, message)
  trouble.count(state, handle, at_work, kind)
  at_work.row, at_work.failure = at_work.row + 1, kind
  if at_work.row >= state.trip_after then
    at_work.tripped, at_work.wary = C.gyre_pool_time(handle) + state.trip_rest, true
    at_work.counts.trips = at_work.counts.trips + 1
    at_work.told = nil
    message = ("%s\nit failed %d times in a row and rests for %g seconds"):format(message, at_work.row, state.trip_rest)
  end
  trouble.tell(state, at_work, message)
end

--- The rest of a tripped strategy is over: one more failure, and it rests again. A select that yielded before it and
--- has not come back is given up.
---@param at_work gyre.strategy.Active
function trouble.forgive(at_work)
  at_work.tripped, at_work.row, at_work.picking = false, at_work.row - 1, false
end

--- Calls another of its functions, and raises what that raises.
---@param state gyre.State
---@param at_work gyre.strategy.Active
---@param call function
---@return any ...
function trouble.call(state, at_work, call, ...)
  local budget = at_work.loaded.guarded and state.budget
  local ran, first, second = confine.call(budget, call, ...)
  if not ran then
    error(first, 0)
  end
  return first, second
end

return trouble
