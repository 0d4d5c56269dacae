-- gyre check --watch: probes the proxies of a pool in shared memory that are out, or all of them, again and again.
local attach = require "gyre.cli.attach"
local exit = require "gyre.cli.exit"
local net = require "gyre.net"
local output = require "gyre.cli.output"
local probe = require "gyre.cli.check.probe"
local source = require "gyre.cli.check.source"

local math, pairs, tostring = math, pairs, tostring
local min = math.min

local watch = {}

local JITTER = 0.2 -- of the interval, to both sides: probes of many proxies, and of many sidecars, spread out
local LOOK = 1 -- seconds between two looks at the states of all

local BENCHED = { open = true, half_open = true }
local ALL = { open = true, half_open = true, closed = true }

local function later(interval)
  return interval * (1 - JITTER + 2 * JITTER * math.random())
end

local function say_change(proxy, before, response, err)
  local after = proxy.state
  if after == before then
    return
  end
  local why = response and ("%.0f ms"):format(response.ms) or tostring(err)
  output.say(("%s %s: %s, was %s: %s"):format(os.date "%H:%M:%S", tostring(proxy), after, before, why))
end

-- A probe that got no lease (busy, or somebody else's probe is out) says nothing, and comes again in its turn.
local function probe_one(self, proxy)
  local before, id = proxy.state, proxy.id
  local response, err = probe.run(self.pool, id, self.url, self.options)
  self.running[id] = nil
  self.in_flight = self.in_flight - 1
  if response or err.attempts ~= nil or err.where then
    self.probed = self.probed + 1
    self.good = self.good + (response and 1 or 0)
    say_change(proxy, before, response, err)
  end
  if self.ending then
    net.wake(self.ending)
  end
end

-- When a proxy's next probe is due. The first ones are spread over the whole interval.
local function is_due(self, id, now)
  local due = self.due[id]
  if not due then
    self.due[id] = now + math.random() * self.interval
    return false
  end
  return due <= now
end

local function look(self)
  local now, seen = net.now(), {}
  for proxy in self.pool:each() do
    local id = proxy.id
    if self.wanted[proxy.state] then
      seen[id] = true
      if self.in_flight < self.concurrency and not self.running[id] and is_due(self, id, now) then
        self.due[id] = now + later(self.interval)
        self.running[id] = true
        self.in_flight = self.in_flight + 1
        net.spawn(false, probe_one, self, proxy)
      end
    end
  end
  for id in pairs(self.due) do
    if not seen[id] then
      self.due[id] = nil
    end
  end
end

local function refresh(self)
  local report, err = self.source:refresh()
  if net.stopping() and not report then
    return -- it was cut short
  elseif not report then
    output.say("the list: ", tostring(err), "; the pool stays as it is")
  elseif report.loaded > 0 or report.removed > 0 or report.invalid > 0 then
    output.say(("%s the list: %s"):format(os.date "%H:%M:%S", report.message))
  end
end

-- In a task of its own: a slow source holds no probe up.
local function keep_refreshing(self)
  refresh(self)
  while net.sleep(later(self.refresh)) do
    refresh(self)
  end
end

--- Watches until a signal ends it; probes under way are finished.
---@param args table
---@param fault_of fun(response: gyre.Response): string?
---@return integer code
function watch.run(args, fault_of)
  local pool, check = attach.open_to_watch(args.pool)
  local self = {
    pool = pool, url = args.url, interval = args.interval, concurrency = args.concurrency,
    wanted = args.all and ALL or BENCHED, options = probe.options(fault_of, args.timeout, { follow = false }),
    due = {}, running = {}, in_flight = 0, probed = 0, good = 0, refresh = args.refresh,
  }
  math.randomseed(os.time() + net.now() % 1 * 1e6)
  local refresher
  if args.list then
    self.source = source.new(self.pool, args.list, args.direct)
    refresher = net.spawn(false, keep_refreshing, self)
  end
  repeat
    check()
    look(self)
  until not net.sleep(min(LOOK, self.interval / 5))
  if refresher then
    net.cancel(refresher) -- a source that hangs must not hold up the end
  end
  while self.in_flight > 0 do
    self.ending = net.current()
    net.park()
  end
  output.say(("%d probes, %d as expected"):format(self.probed, self.good))
  return exit.ALL_GOOD
end

return watch
