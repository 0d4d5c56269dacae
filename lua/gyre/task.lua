-- Tasks: coroutines that the gyre program resumes, so that calls look blocking. A task that raises ends the job: a
-- crawl must not lose pages quietly. Whoever wants to go on uses pcall inside.
local net = require "gyre.net"
local errors = require "gyre.error"

local error, select, setmetatable, type, unpack = error, select, setmetatable, type, unpack

--- A task, from gyre.spawn().
---@class gyre.Task
local Task = {}
Task.__index = Task

local task = {}

--- The error of what was cut short by Ctrl-C.
---@return gyre.Error
function task.aborted()
  return errors.new("aborted", "interrupted", { where = "local" })
end

local function finish(self, ...)
  self.count = select("#", ...)
  self.results = { ... }
  for i = 1, #self.waiters do
    net.wake(self.waiters[i])
  end
end

local function run(self, f, ...)
  finish(self, f(...))
end

--- Runs f(...) beside the caller, from the caller's next wait on. The job ends when every task has.
---@param f function
---@return gyre.Task
function task.spawn(f, ...)
  if type(f) ~= "function" then
    error("gyre.spawn takes a function, not a " .. type(f), 2)
  end
  local self = setmetatable({ waiters = {} }, Task)
  self.handle = net.spawn(false, run, self, f, ...)
  return self
end

--- Waits until the task has ended; returns what its function returned.
function Task:join()
  while not self.results do
    self.waiters[#self.waiters + 1] = net.current()
    net.park()
  end
  return unpack(self.results, 1, self.count)
end

--- Whether it has ended.
---@return boolean
function Task:done()
  return self.results ~= nil
end

--- Waits.
---@param seconds number
---@return true? slept
---@return gyre.Error? err kind aborted
function task.sleep(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= 1e9) then
    error("gyre.sleep takes a number of seconds", 2)
  end
  if net.sleep(seconds) then
    return true
  end
  return nil, task.aborted()
end

return task
