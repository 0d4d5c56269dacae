-- pool:map(): many requests at once, in a for loop. The input is pulled only as fast as the loop body takes results:
-- in flight and waiting to be taken are never more than `concurrency` together. Workers, tasks that are used again,
-- make the requests; the loop's own task pulls the input, so that what an iterator raises is raised there.
local ffi = require "ffi"
local jit = require "jit"
local net = require "gyre.net"
local request = require "gyre.request"

local error, getmetatable, ipairs, pairs, pcall, setmetatable, type = error, getmetatable, ipairs, pairs, pcall,
  setmetatable, type
local newproxy = newproxy
local floor, min = math.floor, math.min

local DEFAULT_CONCURRENCY = 16
local MOST = 2 ^ 30
local LONG = 3600 -- seconds

-- Not net.stopping() and net.wake(): for these, compiled code has to be left.
local is_stopping = ffi.cast("const int *", net.is_stopping)
local wake = ffi.cast("void (*)(void *)", net.wake_task)

local map = {}

-- function(pool, prepared, url) -> response | nil, err: set by http.lua, which needs this module.
local perform

--- Says how a request is made.
---@param f function
function map.performs(f)
  perform = f
end

-- What the tasks hold. The object that the caller holds is another one, so that it is collected when the caller has
-- left the loop, and its finaliser can end the rest.
local State = {}
State.__index = State

local function read_input(input, level)
  if type(input) == "function" then
    return input
  end
  if type(input) ~= "table" then
    error("pool:map takes a list or an iterator, not a " .. type(input), level + 1)
  end
  local i = 0
  return function()
    i = i + 1
    return input[i]
  end
end

-- An item is a URL, or a table with one and options of its own.
local function read_item(state, item)
  if type(item) == "string" then
    return item, state.prepared
  end
  if type(item) ~= "table" or type(item.url) ~= "string" then
    error("pool:map: an item is a URL or a table with the field url, not a " .. type(item), 0)
  end
  local options = {}
  for name, value in pairs(state.options) do
    options[name] = value
  end
  for name, value in pairs(item) do
    options[name] = value
  end
  options.url = nil
  return item.url, request.prepare(options, 3)
end

local function wake_consumer(state)
  local consumer = state.consumer
  if consumer then
    state.consumer = false -- once: what else it waits for afterwards is not ended by this
    wake(consumer)
  end
end

-- Where a result waits: a ring, since no more wait than may be in flight.
local function place_of(state, number)
  return (number - 1) % state.concurrency + 1
end

-- The result of a worker goes where it belongs, by the order of the input or of the ends, with the worker, who is not
-- idle before it is taken.
local function hand_in(state, worker, response, err, raised)
  worker.url = nil
  state.in_flight = state.in_flight - 1
  if state.closed then
    return
  end
  worker.response, worker.err, worker.raised = response, err, raised
  state.ended = state.ended + 1
  state.waiting = state.waiting + 1
  state.done[place_of(state, state.ordered and worker.number or state.ended)] = worker
  wake_consumer(state)
end

local function work_on(state, worker)
  while not state.closed do
    if worker.url then
      local response, err = perform(state.pool, worker.prepared, worker.url)
      hand_in(state, worker, response, err, nil)
    else
      net.park()
    end
  end
end

-- The pcall is around the loop: LuaJIT does not compile what returns through one that it did not see called.
local function work(state, worker)
  worker.task = net.current()
  while not state.closed do
    local ran, why = pcall(work_on, state, worker)
    if not ran then
      hand_in(state, worker, nil, nil, why)
    end
  end
end

local function new_worker(state)
  local worker = {
    item = false, url = false, prepared = false, number = 0, task = false, -- all places at once
    response = false, err = false, raised = false,
  }
  worker.task = net.spawn(true, work, state, worker)
  state.workers[#state.workers + 1] = worker
  return worker
end

-- Hands an item to a worker that is idle, or to a new one.
local function assign(state, item, url, prepared)
  local count = state.idle_count
  local worker = count > 0 and state.idle[count] or new_worker(state)
  state.pulled = state.pulled + 1
  state.in_flight = state.in_flight + 1
  worker.item, worker.url, worker.prepared, worker.number = item, url, prepared, state.pulled
  if count > 0 then
    state.idle_count = count - 1
    wake(worker.task)
  end
end

local function pull(state)
  local item = state.pull()
  if not item then
    return item
  end
  return item, read_item(state, item)
end

local function may_start(state)
  return not state.exhausted and not state.dry and not state.closed and is_stopping[0] == 0
    and state.in_flight + state.waiting < state.concurrency
end

-- Pulls an item and starts its request. What the iterator raises ends the map, and is raised here.
local function start(state)
  state.dry = true -- before it is asked: what wakes it meanwhile is not lost
  local ran, item, url, prepared = pcall(pull, state)
  if not ran then
    state:close()
    error(item, 0)
  elseif item == false then
    return
  end
  state.dry = false
  if item == nil then
    state.exhausted = true
  elseif not state.closed then -- by another task, while the iterator waited
    assign(state, item, url, prepared)
  end
end

local function fill(state)
  while may_start(state) do
    start(state)
  end
end

-- Takes the result that waits at a place. Its worker is idle from now on.
local function take(state, at)
  local worker = state.done[at]
  local item, response, err, raised = worker.item, worker.response, worker.err, worker.raised
  worker.item, worker.response, worker.err, worker.raised = nil, nil, nil, nil
  state.done[at] = false
  state.taken, state.waiting, state.idle_count = state.taken + 1, state.waiting - 1, state.idle_count + 1
  state.idle[state.idle_count] = worker
  if raised then
    state:close()
    error(raised, 0)
  end
  return item, response, err
end

-- Starts what there is room for. Returns where the next result lies; nil: it is still to come; false: there is none.
local function look(state)
  if may_start(state) then
    start(state)
    if may_start(state) then -- the first time; then there is room for one: a loop here would end a trace
      fill(state)
    end
  end
  local at = place_of(state, state.taken + 1)
  if state.closed then
    return false
  elseif state.done[at] then
    return at
  end
  return (state.in_flight > 0 or (state.dry and is_stopping[0] == 0)) and nil
end

local function wait(state)
  if state.consumer then
    error("two tasks take results from one pool:map", 0)
  end
  state.consumer = net.current()
  if state.in_flight > 0 then
    net.park()
  else
    net.park(LONG) -- for the input only: an interrupt ends a wait that has an end
  end
  state.consumer = false
end

-- The next result; nil when all are through.
function State:next()
  local at = look(self)
  while at == nil do
    wait(self)
    at = look(self)
  end
  if not at then
    self:close() -- the workers have nothing to wait for
    return nil
  end
  return take(self, at)
end

-- These two are left to the interpreter. Compiled code ends where a task is parked, and what comes after is compiled
-- from there on, through the caller's loop and up to here again: often as a new trace each round, hundreds of them.
jit.off(State.next)
jit.off(wait)

-- The input may have items again.
function State:wake()
  self.dry = false
  wake_consumer(self)
end

-- Whether the next result is there already.
function State:ready()
  return (self.done[place_of(self, self.taken + 1)] or false) ~= false
end

function State:close()
  if self.closed then
    return
  end
  self.closed = true
  for _, worker in ipairs(self.workers) do
    net.cancel(worker.task)
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
    wake = function()
      state:wake()
    end,
    ready = function()
      return state:ready()
    end,
  }
  meta.__index = methods
  meta.__call = function()
    return state:next()
  end
  meta.__gc = methods.close
  return object
end

local function take_concurrency(options, level)
  local concurrency = options.concurrency or DEFAULT_CONCURRENCY
  if type(concurrency) ~= "number" or concurrency < 1 or concurrency ~= concurrency then
    error("concurrency must be a number from 1 on", level + 1)
  end
  concurrency = floor(min(concurrency, MOST))
  if options.ordered ~= nil and type(options.ordered) ~= "boolean" then
    error("ordered must be true or false", level + 1)
  end
  local ordered = options.ordered
  options.concurrency, options.ordered = nil, nil
  return concurrency, ordered
end

--- Requests every item of the input through the pool and yields them as they finish:
---     for item, response, err in pool:map(urls, { concurrency = 8 }) do ... end
--- An iterator that has nothing yet returns false, and :wake() has it asked again: results are not held up by an input
--- that is waited for. :ready() says whether the next result is there already.
--- Leaving the loop cancels the rest, at the latest when the result of this call is collected; :close() does it now.
---@param pool gyre.Pool
---@param input table|function a list or an iterator; items are URLs, or tables with `url` and options of their own
---@param options? gyre.GetOptions and concurrency [16]; ordered: yield in the order of the input [false]
---@return fun(): any, gyre.Response?, gyre.Error?
function map.new(pool, input, options)
  if options ~= nil and type(options) ~= "table" then
    error("options are a table, not a " .. type(options), 2)
  end
  local shared = {}
  for name, value in pairs(options or {}) do
    shared[name] = value
  end
  local concurrency, ordered = take_concurrency(shared, 2)
  return wrap(setmetatable({
    pool = pool,
    pull = read_input(input, 2),
    options = shared,
    prepared = request.prepare(shared, 2),
    concurrency = concurrency,
    ordered = ordered,
    exhausted = false,
    dry = false, -- the input has nothing yet
    in_flight = 0,
    pulled = 0,
    ended = 0,
    taken = 0,
    waiting = 0, -- ended and not taken
    consumer = false, -- the task that waits for the next result
    done = {}, -- workers whose results wait, by place_of(); false: none
    workers = {},
    idle = {},
    idle_count = 0,
  }, State))
end

return map
