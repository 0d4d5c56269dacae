-- pool:map(): many requests at once, in a for loop. The input is pulled only as fast as the loop body takes results:
-- in flight and waiting to be taken are never more than `concurrency` together.
local net = require "gyre.net"

local error, getmetatable, pairs, setmetatable, type = error, getmetatable, pairs, setmetatable, type
local newproxy = newproxy

local DEFAULT_CONCURRENCY = 16

local map = {}

-- What the tasks hold. The object that the caller holds is another one, so that it is collected when the caller has
-- left the loop, and its finaliser can end the rest.
local State = {}
State.__index = State

local function read_input(input)
  if type(input) == "function" then
    return input
  end
  if type(input) ~= "table" then
    error("pool:map takes a list or an iterator, not a " .. type(input), 3)
  end
  local i = 0
  return function()
    i = i + 1
    return input[i]
  end
end

-- An item is a URL, or a table with one and options of its own.
local function read_item(item, shared)
  if type(item) == "string" then
    return item, shared
  end
  if type(item) ~= "table" or type(item.url) ~= "string" then
    error("pool:map: an item is a URL or a table with the field url, not a " .. type(item), 0)
  end
  local options = {}
  for name, value in pairs(shared) do
    options[name] = value
  end
  for name, value in pairs(item) do
    options[name] = value
  end
  options.url = nil
  return item.url, options
end

local function wake_consumer(state)
  if state.consumer then
    net.wake(state.consumer)
  end
end

local function run(state, item, url, options)
  local me = net.current()
  local ran, response, err = pcall(state.pool.get, state.pool, url, options)
  state.running[me] = nil
  state.in_flight = state.in_flight - 1
  if state.closed then
    return
  end
  state.last = state.last + 1
  state.done[state.last] = { item = item, response = ran and response or nil, err = err, raised = not ran and response }
  wake_consumer(state)
end

-- Pulls input and starts requests while there is room.
function State:fill()
  while not self.exhausted and not net.stopping() and self.in_flight + self.last - self.first < self.concurrency do
    local item = self.pull()
    if item == nil then
      self.exhausted = true
      return
    end
    local url, options = read_item(item, self.options)
    self.in_flight = self.in_flight + 1
    self.running[net.spawn(true, run, self, item, url, options)] = true
  end
end

-- The next result in the order they finish; nil when all are through.
function State:next()
  if self.closed then
    return nil
  end
  self:fill()
  while self.first == self.last do
    if self.in_flight == 0 then
      return nil
    end
    self.consumer = net.current()
    net.park()
    self.consumer = nil
    if self.closed then
      return nil
    end
  end
  self.first = self.first + 1
  local result = self.done[self.first]
  self.done[self.first] = nil
  if result.raised then
    self:close()
    error(result.raised, 0)
  end
  return result.item, result.response, result.err
end

function State:close()
  if self.closed then
    return
  end
  self.closed = true
  for running in pairs(self.running) do
    net.cancel(running)
  end
  wake_consumer(self)
end

-- A userdata: in Lua 5.1 only these have finalisers.
local function wrap(state)
  local object = newproxy(true)
  local meta = getmetatable(object)
  local methods = {
    close = function()
      state:close()
    end,
  }
  meta.__index = methods
  meta.__call = function()
    return state:next()
  end
  meta.__gc = methods.close
  return object
end

--- Requests every item of the input through the pool and yields them as they finish:
---     for item, response, err in pool:map(urls, { concurrency = 8 }) do ... end
--- Leaving the loop cancels the rest, at the latest when the result of this call is collected; :close() does it now.
---@param pool gyre.Pool
---@param input table|function a list or an iterator; items are URLs, or tables with `url` and options of their own
---@param options? gyre.GetOptions and concurrency [16]
---@return fun(): any, gyre.Response?, gyre.Error?
function map.new(pool, input, options)
  local shared = {}
  for name, value in pairs(options or {}) do
    shared[name] = value
  end
  local concurrency = shared.concurrency or DEFAULT_CONCURRENCY
  if type(concurrency) ~= "number" or concurrency < 1 then
    error("concurrency must be a number from 1 on", 2)
  end
  shared.concurrency = nil
  return wrap(setmetatable({
    pool = pool,
    pull = read_input(input),
    options = shared,
    concurrency = concurrency,
    in_flight = 0,
    running = {},
    done = {}, -- results first + 1 .. last
    first = 0,
    last = 0,
  }, State))
end

return map
