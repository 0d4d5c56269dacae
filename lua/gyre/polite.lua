-- Limits on how much is asked of whom, on three axes: a host over all proxies, a proxy, and a proxy at one host. Given
-- to any number of requests:
--     local polite = gyre.polite { per_host = 2, delay = 0.5 }
--     for item, response, err in pool:map(urls, { polite = polite }) do ... end
-- A host that answers 429 or 503 is asked more slowly by itself, and not before its Retry-After has passed.
local errors = require "gyre.error"
local gates = require "gyre.gate"
local judge = require "gyre.judge"
local net = require "gyre.net"

local error, getmetatable, math, pairs, setmetatable = error, getmetatable, math, pairs, setmetatable
local tostring, type = tostring, type
local remove = table.remove

local FIELDS = { per_host = true, delay = true, per_proxy = true, per_proxy_host = true, share = true }
local LARGEST, LONGEST = 2 ^ 31 - 1, 86400
-- Looked at again after this long when it is not known for how long: a place may be given up by another thread.
local LOOK_AGAIN = 0.05

--- Limits, for the option `polite` of requests.
---@class gyre.Polite
local Polite = {}
Polite.__index = Polite

local function misuse(text, ...)
  error("gyre.polite: " .. text:format(...), 4)
end

-- A limit: a number of requests at a time, or { active =, delay = }.
local function read(name, given, delay)
  if given == nil and delay == nil then
    return nil
  end
  local limit = type(given) == "table" and given or { active = given }
  for field in pairs(limit) do
    if field ~= "active" and field ~= "delay" then
      misuse("'%s' has no field '%s'", name, tostring(field))
    end
  end
  local active, wait = limit.active or 0, limit.delay or delay or 0
  if type(active) ~= "number" or not (active >= 0 and active <= LARGEST and active % 1 == 0) then
    misuse("'%s': requests at a time are a whole number, 0 for any", name)
  elseif type(wait) ~= "number" or not (wait >= 0 and wait <= LONGEST) then
    misuse("'%s': a delay is a number of seconds, a day at most", name)
  end
  return { active = active, delay = wait }
end

local function gate_of(limit, share)
  if limit then
    limit.share = share
    return gates.new(limit)
  end
end

--- Makes limits.
---@param given { per_host?: integer|table, delay?: number, per_proxy?: integer|table, per_proxy_host?: integer|table }
--- each a number of requests at a time, or { active =, delay = }: and seconds from the start of one to the start of the
--- next. `delay` is per_host's.
---@return gyre.Polite
local function new(given)
  if type(given) ~= "table" then
    misuse("it takes a table, not a %s", type(given))
  end
  for name in pairs(given) do
    if not FIELDS[name] then
      misuse("unknown option '%s'", tostring(name))
    end
  end
  local share = given.share
  return setmetatable({
    hosts = gate_of(read("per_host", given.per_host, given.delay), share and share .. " host"),
    proxies = gate_of(read("per_proxy", given.per_proxy), share and share .. " proxy"),
    pairs = gate_of(read("per_proxy_host", given.per_proxy_host), share and share .. " pair"),
    waiting = {},
  }, Polite)
end

-- Waits at the head of a host's queue.
local function wait_for_turn(self, host)
  while true do
    local wait = self.hosts:enter(host)
    if wait == 0 then
      return net.now()
    elseif not net.park(math.min(wait, wait == math.huge and LOOK_AGAIN or 3600)) then
      return nil
    end
  end
end

local function leave_queue(self, host, queue)
  remove(queue, 1)
  if queue[1] then
    net.wake(queue[1])
  else
    self.waiting[host] = nil
  end
end

--- Waits until a host may be asked, in the order of coming.
---@param host string
---@return number? began to be given to leave()
---@return gyre.Error? err kind aborted: interrupted
function Polite:enter(host)
  if not self.hosts then
    return net.now()
  end
  local queue, me = self.waiting[host], net.current()
  if queue then
    queue[#queue + 1] = me
  else
    queue = { me }
    self.waiting[host] = queue
  end
  while queue[1] ~= me do
    if not net.park(3600) then
      for i = 2, #queue do
        if queue[i] == me then
          remove(queue, i)
          break
        end
      end
      return nil, errors.new("aborted", "interrupted", { where = "local" })
    end
  end
  local began = wait_for_turn(self, host)
  leave_queue(self, host, queue)
  if not began then
    return nil, errors.new("aborted", "interrupted", { where = "local" })
  end
  return began
end

--- What an answer says of the host's mood.
---@param response? gyre.Response
---@return "fine"|"slower"|"nothing"
---@return number? retry_after seconds
local function mood(response)
  if not response then
    return "nothing"
  elseif response.verdict == "throttled" or response.status == 429 or response.status == 503 then
    return "slower", judge.retry_after(response.headers)
  end
  return "fine"
end

--- A request that entered has ended.
---@param host string
---@param began number
---@param response? gyre.Response
---@param err? gyre.Error
function Polite:leave(host, began, response, err)
  if not self.hosts then
    return
  end
  local answer, retry_after = mood(response)
  if err and (err.attempts or 0) == 0 then
    answer = "undone"
  end
  self.hosts:leave(host, began, answer, retry_after)
  local queue = self.waiting[host]
  if queue and queue[1] then
    net.wake(queue[1])
  end
end

local function pair(id, host)
  return ("%.0f %s"):format(id, host or "")
end

--- Whether a proxy may be used now, for a host. When it may it counts as in use until release().
---@param id number of the proxy
---@param host? string
---@return number seconds 0: it may; infinite: when one of its requests has ended
function Polite:admit(id, host)
  local wait = self.proxies and self.proxies:enter(pair(id)) or 0
  if wait > 0 then
    return wait
  end
  wait = self.pairs and self.pairs:enter(pair(id, host)) or 0
  if wait > 0 and self.proxies then
    self.proxies:leave(pair(id), net.now(), "undone")
  end
  return wait
end

--- Whether admit() ever says no.
---@return boolean
function Polite:limits_proxies()
  return self.proxies ~= nil or self.pairs ~= nil
end

--- A proxy that was admitted is free again.
function Polite:release(id, host)
  if self.proxies then
    self.proxies:leave(pair(id), 0, "nothing")
  end
  if self.pairs then
    self.pairs:leave(pair(id, host), 0, "nothing")
  end
end

local function is(value)
  return getmetatable(value) == Polite
end

return { polite = new, mood = mood, is = is }
