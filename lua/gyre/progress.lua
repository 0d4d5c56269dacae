-- The progress line on stderr: rewritten in place on a terminal, a plain line now and then elsewhere.
local net = require "gyre.net"
local terminal = require "gyre.terminal"

local error, io, setmetatable, tostring, type = error, io, setmetatable, tostring, type
local floor, max = math.floor, math.max

local STDERR = 2
local TERMINAL_INTERVAL, PLAIN_INTERVAL = 0.1, 5 -- seconds
local CLEAR = "\r\27[K"

--- A progress line. Calling it is cheap: it writes when its interval has passed.
---@class gyre.Progress
local Progress = {}
Progress.__index = Progress

local function clock(seconds)
  return ("%02d:%02d:%02d"):format(floor(seconds / 3600), floor(seconds / 60) % 60, floor(seconds) % 60)
end

local function total(self, done, queued)
  local given = self.total
  if type(given) == "function" then
    given = given()
  end
  return given or done + queued
end

local function line(self, now)
  local done, queued, failed = self.done, self.queued, self.failed
  local elapsed, lately = now - self.started, done - self.before
  local all = total(self, done, queued)
  local share = all > 0 and (" (%d%%)"):format(floor(100 * done / all)) or ""
  return ("%s%d of %d%s, %d failed, %.0f/s, %s%s"):format(
    self.name and self.name .. ": " or "", done, all, share, failed, lately / max(elapsed, 1e-3),
    clock(elapsed),
    self.total and lately > 0 and all > done and ", eta " .. clock(elapsed * (all - done) / lately) or ""
  )
end

local function write(self, now)
  local text = line(self, now)
  if self.in_place then
    io.stderr:write(CLEAR, text:sub(1, terminal.columns(STDERR) - 1))
  else
    io.stderr:write(text, "\n")
  end
  self.written, self.next = true, now + self.interval
end

--- Says how far the work is.
---@param done integer
---@param queued? integer still to do, those under way included [0]
---@param failed? integer of those done [0]
function Progress:update(done, queued, failed)
  self.done, self.queued, self.failed = done, queued or 0, failed or 0
  local now = net.now()
  if now >= self.next then
    write(self, now)
  end
end

--- Says how much was done before it began: that is no part of the rate.
---@param done integer
function Progress:resume(done)
  self.before = done
end

--- Takes the line away: what is printed next starts in column one.
function Progress:finish()
  if self.in_place and self.written then
    io.stderr:write(CLEAR)
  end
  self.written = false
end

local progress = {}

--- Starts a progress line.
--- It tells when the work will be done only if `total` is given: otherwise more may be found on the way.
---@param options? { total?: number|fun(): number, interval?: number, name?: string } total: of the work, when it is
--- known; interval: seconds between two lines [0.1 on a terminal, 5 elsewhere]
---@return gyre.Progress
function progress.new(options)
  options = options or {}
  if type(options) ~= "table" then
    error("gyre.progress takes a table, not a " .. type(options), 2)
  end
  local in_place = terminal.is_terminal(STDERR)
  local interval = options.interval or (in_place and TERMINAL_INTERVAL or PLAIN_INTERVAL)
  if type(interval) ~= "number" then
    error("interval must be a number of seconds, not " .. tostring(interval), 2)
  end
  local now = net.now()
  return setmetatable({
    name = options.name,
    total = options.total,
    interval = interval,
    in_place = in_place,
    started = now,
    next = now + interval,
    done = 0,
    before = 0,
    queued = 0,
    failed = 0,
  }, Progress)
end

return progress
