-- The audit log of a segment: who was picked, by which strategy, from how many, and why.
local ffi = require "ffi"
local C = require "gyre.clib"
local base = require "gyre.pool.base"
local registry = require "gyre.registry"

local error, tonumber = error, tonumber
local closed = base.closed

local cursor_cell = ffi.new "uint64_t[1]"
local info = ffi.new("struct gyre_decision", { size = ffi.sizeof "struct gyre_decision" })
local written = ffi.new("struct gyre_decision", { size = ffi.sizeof "struct gyre_decision" })
local LAST = -1ULL
local STRATEGY_ROOM = ffi.sizeof(written.strategy) - 1
local REASON_ROOM = ffi.sizeof(written.reason) - 1

--- One decision. Never holds credentials or a session's id.
---@class gyre.Decision
---@field sequence number
---@field lost number so many before this one were overwritten unread
---@field time number pool time, seconds
---@field process integer pid
---@field strategy string
---@field proxy? number id; nil: nobody was picked, and `reason` says why
---@field candidates? integer how many could have been picked
---@field reason string
---@field session? string a hash of the session's id, 16 hexadecimal digits
---@field generation integer how often the segment's strategy had changed when this one came; 0: never, or it is not the
--- segment's: named by a request, or of one handle alone

local Pool = {}

--- Logs a share of all decisions on the segment, in all processes at once: 1 all, 0 none (how a segment starts).
---@param share number
---@return true? set
---@return gyre.Error? err
function Pool.log(self, share)
  base.check_number(share, "the share to log is a number from 0 to 1")
  if self.handle == nil then
    return closed(self)
  end
  return base.result(C.gyre_log_enable(self.handle, share))
end

--- The share of all decisions that is logged on the segment.
---@return number? share
---@return gyre.Error? err
function Pool.log_share(self)
  if self.handle == nil then
    return closed(self)
  end
  return C.gyre_log_share(self.handle)
end

local function decision()
  return {
    sequence = tonumber(info.sequence),
    lost = tonumber(info.lost),
    time = info.time,
    process = info.process,
    strategy = ffi.string(info.strategy),
    proxy = info.proxy ~= 0 and tonumber(info.proxy) or nil,
    candidates = info.candidates ~= 0 and info.candidates or nil,
    reason = ffi.string(info.reason),
    session = info.session ~= 0 and require("bit").tohex(info.session) or nil,
    generation = info.generation,
  }
end

local function next_decision(walk)
  local pool = registry.pools[walk.pool]
  cursor_cell[0] = walk.cursor
  if not pool then
    return nil
  end
  local found = C.gyre_log_read(pool.handle, cursor_cell, info) == 1
  walk.cursor = cursor_cell[0]
  return found and decision() or nil
end

--- `for decision in pool:decisions() do`: the last 4095 that were logged, oldest first. To follow the log, keep both
--- results, and call the first with the second again and again: nil means none yet.
---@param from? "oldest"|"now" ["oldest"]
---@return fun(walk: table): gyre.Decision?
---@return table walk
function Pool.decisions(self, from)
  if from ~= nil and from ~= "oldest" and from ~= "now" then
    error('decisions are read from "oldest" or from "now"', 2)
  end
  local walk = { pool = self.number, cursor = from == "now" and LAST or 0ULL }
  if from == "now" then
    next_decision(walk) -- finds the end
  end
  return next_decision, walk
end

---@class gyre.pool.log
local log = { methods = Pool }

--- Writes the decision of a strategy in Lua, if the log is on and this one is to be logged.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param name string of the strategy
---@param generation integer
---@param id? number the proxy picked
---@param candidates integer 0: not known
---@param reason string
---@param session? string the id of the request's session, of which only a keyed hash is logged
function log.write(handle, name, generation, id, candidates, reason, session)
  written.proxy = id or 0
  written.session = session and C.gyre_session_hash(handle, session) or 0
  written.candidates = candidates
  written.generation = generation
  ffi.copy(written.strategy, name:sub(1, STRATEGY_ROOM))
  ffi.copy(written.reason, reason:sub(1, REASON_ROOM))
  C.gyre_log_write(handle, written)
end

return log
