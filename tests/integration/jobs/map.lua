-- map.lua ORIGIN PROXY...: pool:map: lazy, in either order, with options for each item, and nothing left when its loop
-- is left. Raises where something is not as it should be.
local gyre = require "gyre"

local origin = arg[1]
local pool = assert(gyre.open { proxies = { select(2, unpack(arg)) } })

local function same(what, want, got)
  if want ~= got then
    error(("%s: want '%s', got '%s'"):format(what, tostring(want), tostring(got)), 2)
  end
end

local function url(path)
  return origin .. path
end

local function settle()
  for _ = 1, 100 do
    if pool:stats().active == 0 then
      return
    end
    gyre.sleep(0.02)
  end
  error("leases in flight: " .. pool:stats().active, 2)
end

local function urls_of(delays)
  local list = {}
  for i, delay in ipairs(delays) do
    list[i] = url("/slow/" .. delay)
  end
  return list
end

local function order(options)
  local list, got = urls_of { 400, 10, 200 }, {}
  for item, response in pool:map(list, options) do
    same("status", 200, response.status)
    for i, each in ipairs(list) do
      if item == each then
        got[#got + 1] = i
      end
    end
  end
  return table.concat(got, " ")
end

same("as they finish", "2 3 1", order { concurrency = 3 })
same("in the order of the input", "1 2 3", order { concurrency = 3, ordered = true })
same("one at a time", "1 2 3", order { concurrency = 1 })

-- An input that has nothing yet holds up nothing, and is asked again when it says so.
for _, ordered in ipairs { false, true } do
  local given, got, results = 0, 0, nil
  results = pool:map(function()
    if given == 3 then
      return nil
    elseif given > got then
      gyre.spawn(function()
        gyre.sleep(0.05)
        results:wake()
      end)
      return false
    end
    given = given + 1
    return url "/"
  end, { concurrency = 4, ordered = ordered })
  for _, response in results do
    same("status", 200, response.status)
    got = got + 1
    same("the next is there", false, results:ready())
  end
  same("results", 3, got)
end

-- Pulled as the loop takes: never more ahead than may be in flight, however slow the loop is.
for _, ordered in ipairs { false, true } do
  local pulled, taken, most = 0, 0, 0
  local function input()
    pulled = pulled + 1
    most = math.max(most, pulled - taken)
    return pulled <= 40 and url "/" or nil
  end
  for _, response in pool:map(input, { concurrency = 4, ordered = ordered }) do
    same("status", 200, response.status)
    taken = taken + 1
    gyre.sleep(0.002)
  end
  same("taken", 40, taken)
  same("pulled ahead", 4, most)
end

-- Options of an item before those of all; the item comes back as it was.
local items = {
  { url = url "/status/404", tag = nil, judge = { [404] = "banned" }, tries = 1 },
  { url = url "/status/404" },
  url "/status/404",
}
local seen = 0
for item, response, err in pool:map(items, { concurrency = 1, judge = "lenient" }) do
  seen = seen + 1
  same("item", items[seen], item)
  same("verdict", seen == 1 and "banned" or "ok", response and response.verdict or err.kind)
end
same("items", 3, seen)

-- What fails is a result like any other.
local failures = 0
for _, response, err in pool:map({ url "/reset", url "/" }, { tries = 1 }) do
  failures = failures + (response and 0 or 1)
  same("kind", response == nil and "protocol" or nil, err and err.kind)
end
same("failures", 1, failures)

-- Left by break, and closed by hand: what is in flight is cancelled, no lease is left.
local started = pool:stats().started
for _, response in pool:map({ url "/", url "/hang", url "/hang", url "/hang" }, { concurrency = 4 }) do
  if response then
    break
  end
end
collectgarbage()
collectgarbage()
settle()
local results = pool:map({ url "/hang", url "/hang" }, { concurrency = 2 })
gyre.spawn(function()
  gyre.sleep(0.1)
  results:close()
end)
same("after close", nil, results())
settle()
same("leases", 6, pool:stats().started - started)

-- The same while the iterator waits: what it returns then is not asked for.
local asked = 0
results = pool:map(function()
  asked = asked + 1
  gyre.sleep(0.2)
  return url "/hang"
end, { concurrency = 4 })
gyre.spawn(function()
  gyre.sleep(0.1)
  results:close()
end)
same("after close in the iterator", nil, results())
same("asked for", 1, asked)
settle()

-- Woken while the iterator is still waiting to say that there is nothing yet.
asked = 0
results = pool:map(function()
  asked = asked + 1
  if asked == 1 then
    gyre.spawn(function()
      results:wake()
    end)
    gyre.sleep(0.1)
    return false
  end
  return asked == 2 and url "/" or nil
end)
same("after an early wake", 200, select(2, results()).status)
same("then", nil, results())

-- Results go to one task.
results = pool:map({ url "/", url "/" }, { concurrency = 1 })
local refused
gyre.spawn(function()
  gyre.sleep(0)
  refused = select(2, pcall(results))
end)
same("the first task's", 200, select(2, results()).status)
assert(tostring(refused):find "two tasks take results", refused)
results:close()
settle()

-- What the input or a judge raises is raised in the loop.
local function raises(input, options, text)
  local ran, why = pcall(function()
    for _ in pool:map(input, options) do end -- luacheck: ignore
  end)
  assert(not ran and tostring(why):find(text, 1, true), why)
  settle()
end
local pulls = 0
raises(function()
  pulls = pulls + 1
  return pulls < 3 and url "/hang" or error "the input ends badly"
end, { concurrency = 4 }, "the input ends badly")
raises({ url "/" }, { judge = function() error "no idea" end }, "no idea")
raises({ 7 }, nil, "an item is a URL")
raises({ {} }, nil, "an item is a URL")
raises({ { url = url "/", tries = "many" } }, nil, "option 'tries' must be a number")
for _, bad in ipairs { { concurrency = 0 }, { concurrency = "x" }, { ordered = 1 }, { timeout = "x" } } do
  assert(not pcall(pool.map, pool, {}, bad))
end
assert(not pcall(pool.map, pool, 7))
for _ in pool:map {} do
  error "nothing comes of nothing"
end
