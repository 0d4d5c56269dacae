-- The loop of a simulation: requests arrive, a real pool on a manual clock gives them proxies, the model says what
-- becomes of them, the pool learns the outcome, and what failed tries another proxy.
local ffi = require "ffi"
local gyre = require "gyre"
local errors = require "gyre.error"
local deadlines = require "gyre.sim.deadline"
local dice = require "gyre.sim.dice"
local heap = require "gyre.sim.heap"
local service = require "gyre.sim.service"
local statistics = require "gyre.sim.statistics"

local floor, huge, max, min = math.floor, math.huge, math.max, math.min

ffi.cdef [[
struct gyre_sim_request {
    double arrived, began;
    int32_t proxy, tries, client, ending, serial;
};
]]

-- What an event is about: the kind + 8 * an index. Those of requests are void once their serial has changed.
local SERVED, ENDS, CLIENT, QUEUE = 0, 1, 2, 3
-- How an attempt ends: served; refused by the proxy; not answered in time; a 403, a 429, a 5xx of the target.
local VERDICTS = { "ok", "proxy_bad", "proxy_bad", "banned", "throttled", "target_bad" }
local OVERDUE = 3
local FIRST_ROOM = 1024
local CLOCK_STEP = 0.001 -- seconds; the pool's clock has no finer ones
local PATIENCE = 10 -- seconds after its arrival in which a request waits for a proxy when none is to be had
local LOOK_EVERY = 0.05 -- seconds between two looks at those who wait
local ASK_EVERY = 1024 -- events between two questions whether to stop
local MOST_REFUSED = 4 -- of them in one look: who comes later in the queue waits on

---@class gyre.sim.Engine
local Engine = {}
Engine.__index = Engine

local function grow(self)
  local room = self.room * 2
  local requests = ffi.new("struct gyre_sim_request[?]", room)
  ffi.copy(requests, self.requests, self.room * ffi.sizeof "struct gyre_sim_request")
  self.requests, self.room = requests, room
  self.deadlines.requests = requests
  if self.service then
    self.service.requests = requests
  end
end

-- A place for a request: one that has ended, or a new one.
local function place(self)
  local free, n = self.free, #self.free
  if n > 0 then
    local r = free[n]
    free[n] = nil
    return r
  end
  local r = self.used
  if r == self.room then
    grow(self)
  end
  self.used = r + 1
  self.leases[r], self.excluded[r] = gyre.lease(), {}
  return r
end

local function set_clock(self, now)
  if now - self.clock >= CLOCK_STEP then
    self.clock = now
    self.pool:set_time(now)
  end
end

-- The request is over: its place is free, its client thinks.
local function close(self, r, now, ok)
  local request, excluded = self.requests[r], self.excluded[r]
  self.statistics:request(request.arrived, now, ok)
  for i = #excluded, 1, -1 do
    excluded[i] = nil
  end
  self.free[#self.free + 1] = r
  if request.client > 0 then
    self.events:push(now + self.options.think, CLIENT + 8 * request.client, 0)
  end
end

local function describe(self, r)
  local request = self.request
  request.exclude = self.requests[r].tries > 0 and self.excluded[r] or nil
  request.session = self.sessions[r]
  return request
end

-- Asks the pool for a proxy and sends the request through it. False when none is to be had.
local function try(self, r, now)
  set_clock(self, now)
  local request, events = self.requests[r], self.events
  local lease = self.pool:acquire_into(self.leases[r], describe(self, r))
  if not lease then
    return false
  end
  local p = self.places[lease.id]
  self.statistics:begin(p, now)
  request.proxy, request.began, request.tries = p, now, request.tries + 1
  local ending, seconds = self.model:meet(p, now)
  request.ending = ending
  if ending == 1 and self.service then
    self.deadlines:add(now + self.options.timeout, r, request.serial)
    self.service:enter(p, now, seconds, r, request.serial)
    return true
  end
  if seconds >= self.options.timeout then
    seconds, request.ending = self.options.timeout, OVERDUE
  end
  events:push(now + seconds, ENDS + 8 * r, request.serial)
  return true
end

-- First come, first served: nobody passes those who wait.
local function send(self, r, now)
  if self.head <= self.tail or not try(self, r, now) then
    if self.head > self.tail then
      self.events:push(now + LOOK_EVERY, QUEUE, 0)
    end
    self.statistics.waits = self.statistics.waits + 1
    self.tail = self.tail + 1
    self.queue[self.tail] = r
  end
end

-- Whether a request of the queue is done with: it has been sent, or has waited too long.
local function leaves_queue(self, r, now)
  if now - self.requests[r].arrived < PATIENCE then
    return try(self, r, now)
  end
  self.statistics.starved = self.statistics.starved + 1
  close(self, r, now, false)
  return true
end

-- A look at those who wait, from the first on. Some may have to stay where those behind them need not: of other
-- sessions, or with other proxies behind them.
local function serve_queue(self, now)
  local queue, refused, at = self.queue, self.refused, self.head
  local kept = 0
  while at <= self.tail and kept < MOST_REFUSED do
    local r = queue[at]
    queue[at] = nil
    if not leaves_queue(self, r, now) then
      kept = kept + 1
      refused[kept] = r
    end
    at = at + 1
  end
  for i = kept, 1, -1 do
    at = at - 1
    queue[at] = refused[i]
  end
  self.head = at
  if self.head <= self.tail then
    self.events:push(now + LOOK_EVERY, QUEUE, 0)
  end
end

-- An attempt has ended; one that failed is made again while there are tries.
local function finish(self, r, now, ending)
  set_clock(self, now)
  local request, lease = self.requests[r], self.leases[r]
  request.serial = request.serial + 1
  local began, ok = request.began, ending == 1
  local ms = (now - began) * 1000
  self.statistics:attempt(began, now, ok)
  if ok then
    lease:ok(ms)
    return close(self, r, now, true)
  end
  lease:fail(VERDICTS[ending], ms)
  if request.tries >= self.options.tries then
    return close(self, r, now, false)
  end
  local excluded = self.excluded[r]
  excluded[#excluded + 1] = lease.id
  return send(self, r, now)
end

local function arrive(self, now, client)
  local r = place(self)
  local request = self.requests[r]
  request.arrived, request.tries, request.client = now, 0, client
  if self.options.sessions > 0 then
    self.sessions[r] = "session-" .. self.arrivals:whole(1, self.options.sessions)
  end
  self.left = self.left - 1
  return send(self, r, now)
end

local function give_up(self, now)
  local r = self.deadlines:request()
  local p = self.requests[r].proxy
  finish(self, r, now, OVERDUE)
  self.service:leave(p, now)
end

local function happen(self, now, what, version)
  local kind, index = what % 8, floor(what / 8)
  if kind == SERVED then
    local r = self.service:ended(index, now, version)
    if r then
      finish(self, r, now, 1)
      self.service:go_on(index, now)
    end
  elseif kind == CLIENT then
    if now < self.options.duration and self.left > 0 then
      arrive(self, now, index)
    end
  elseif kind == QUEUE then
    serve_queue(self, now)
  elseif self.requests[index].serial == version then
    finish(self, index, now, self.requests[index].ending)
  end
end

-- When the next arrives, from outside or out of the model's record.
local function plan_arrival(self, now)
  local options, next = self.options, huge
  if options.rate then
    next = now + self.arrivals:exponential(1 / options.rate)
  elseif not options.clients then
    next = self.model:arrival()
  end
  return next < options.duration and self.left > 0 and next or huge
end

local function change(self, now)
  local changes = self.model.changes
  while changes[self.change] and changes[self.change].at <= now do
    changes[self.change].run()
    self.change = self.change + 1
  end
end

--- Runs until everything that arrived has ended, or until `stopping`, which is asked now and then, says so.
---@param stopping? fun(): boolean
---@return boolean interrupted
function Engine:run(stopping)
  local events, model = self.events, self.model
  local arrival, steps = plan_arrival(self, 0), 0
  while true do
    steps = steps + 1
    if stopping and steps % ASK_EVERY == 0 and stopping() then
      return true
    end
    local event = events.count > 0 and events.items[1].at or huge
    local deadline = self.deadlines:next()
    local now = min(event, arrival, deadline)
    if now == huge then
      return false
    end
    local changes = model.changes[self.change]
    if changes and changes.at <= now then
      change(self, now)
    end
    if now == event then
      local what, version = events.items[1].what, events.items[1].version
      events:pop()
      happen(self, now, what, version)
    elseif now == deadline then
      give_up(self, now)
    else
      arrive(self, now, 0)
      arrival = plan_arrival(self, now)
    end
  end
end

local function open_pool(options, model, strategy, seed)
  return gyre.open {
    proxies = model:list(), strategy = strategy.source, strategy_options = strategy.options, clock = "manual",
    seed = seed, max_proxies = max(model.n, 64), breaker = not options.breaker and { failures = 2 ^ 31 } or nil,
  }
end

-- Which proxy of the model has an id of the pool.
local function number_proxies(pool, list)
  local places = {}
  for p, entry in ipairs(list) do
    places[assert(pool:find(entry.url)).id] = p
  end
  return places
end

---@class gyre.sim.engine
local engine = {}

--- One strategy on one seed.
---@param options gyre.sim.Options
---@param model gyre.sim.Model
---@param strategy { source: string|gyre.Strategy, options?: table }
---@param seed integer
---@param stopping? fun(): boolean
---@return gyre.sim.Statistics? statistics
---@return gyre.Error? err kind aborted when it was stopped
function engine.run(options, model, strategy, seed, stopping)
  local pool, err = open_pool(options, model, strategy, seed)
  if not pool then
    return nil, err
  end
  local events = heap.new()
  local self = setmetatable({
    options = options, model = model, pool = pool, events = events, arrivals = dice.new(seed, 3), clock = 0, change = 1,
    statistics = statistics.new(model.n, options.duration, options.warmup), left = options.requests or huge,
    requests = ffi.new("struct gyre_sim_request[?]", FIRST_ROOM), room = FIRST_ROOM, used = 0, free = {}, leases = {},
    excluded = {}, sessions = {}, request = { host = options.host }, places = number_proxies(pool, model:list()),
    queue = {}, refused = {}, head = 1, tail = 0, -- requests that wait for a proxy
  }, Engine)
  self.deadlines = deadlines.new(self.requests)
  if model.capacities then
    self.service = service.new(model.capacities, events, SERVED)
    self.service.requests = self.requests
  end
  for client = 1, options.clients or 0 do
    events:push(self.arrivals:between(0, options.think), CLIENT + 8 * client, 0)
  end
  local interrupted = self:run(stopping)
  local found = self.statistics
  found.pool = pool:stats()
  pool:close()
  if interrupted then
    return nil, errors.new("aborted", "interrupted")
  end
  return found
end

return engine
