-- verdicts.lua STEP PORT PROXY...: steps of tests/integration/test_verdicts.sh. Raises where something is not as it
-- should be. The hosts' names mean something to the proxies only.
local gyre = require "gyre"

local step, port = arg[1], arg[2]
local proxies = { select(3, unpack(arg)) }

local function open(options)
  options = options or {}
  options.proxies = proxies
  return assert(gyre.open(options))
end

local function url(host, path)
  return ("http://%s:%s/%s"):format(host, port, path)
end

local function bans(pool)
  local found = {}
  for ban in pool:bans() do
    found[#found + 1] = ban.host
  end
  table.sort(found)
  return table.concat(found, " ")
end

local function same(what, want, got)
  if want ~= got then
    error(("%s: want '%s', got '%s'"):format(what, tostring(want), tostring(got)), 2)
  end
end

local steps = {}

-- A 429 slows its host for everybody, for as long as it says, and costs no proxy anything.
function steps.throttle()
  local pool = open()
  local response = assert(pool:get(url("a.test", "retry/1")))
  same("verdict", "throttled", response.verdict)
  local delay = pool:host_delay "a.test"
  assert(delay > 0.5 and delay <= 1, delay)
  same("verdict at another host", "ok", assert(pool:get(url("b.test", ""))).verdict)
  local before = os.time()
  local err = select(2, pool:get(url("a.test", ""), { wait = 0.1 }))
  same("kind", "busy", err.kind)
  assert(err.retry_after > 0 and err.retry_after <= 1 and os.time() - before <= 1)
  same("verdict after the wait", "ok", assert(pool:get(url("a.test", ""))).verdict)
  same("no throttle left", 0, pool:host_delay "a.test")
  local at = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + 60):gsub(" ", "%%20")
  assert(pool:get(url("a.test", "retry/" .. at)))
  delay = pool:host_delay "a.test"
  assert(delay > 55 and delay <= 60, delay)
  same("bans", "", bans(pool))
end

-- A ban is of one proxy by one host; another proxy tries.
function steps.ban()
  local pool = open()
  local seen = {}
  local function judge(asked, response)
    seen[#seen + 1] = asked.proxy.id
    same("host", "a.test", asked.host)
    return asked.attempt == 1 and response.status == 404 and "banned" or nil, 30
  end
  local response = assert(pool:get(url("a.test", "status/404"), { judge = judge }))
  same("attempts", 2, response.attempts)
  same("verdict", "ok", response.verdict)
  assert(seen[1] ~= seen[2])
  same("bans", "a.test", bans(pool))
  for ban in pool:bans() do
    same("who", seen[1], ban.proxy.id)
    assert(math.abs(ban.ends - pool:time() - 30) < 1)
  end
  for _ = 1, 6 do
    assert(assert(pool:get(url("a.test", ""))).proxy.id ~= seen[1])
  end
end

-- Of a redirect to another host that host is who bans, and who asks for patience.
function steps.redirect()
  local pool = open()
  assert(pool:get(url("a.test", "redirect/" .. url("b.test", "retry/60"))))
  same("delay of the host asked", 0, pool:host_delay "a.test")
  assert(pool:host_delay "b.test" > 55)
  local _, err = pool:get(url("a.test", "redirect/" .. url("c.test", "status/403")), { judge = "strict", tries = 1 })
  same("kind", "banned", err.kind)
  pool:get(url("c.test", ""))
  same("bans", "c.test", bans(pool))
end

-- The request's judge, then the job's, then the default; and what is no judge is refused at once.
function steps.precedence()
  local pool = open { breaker = { max_benched = 1 } }
  local job = gyre.job { pool = pool, judge = "lenient" }
  local function verdict(options)
    local response, err = pool:get(url("a.test", "status/500"), options)
    return (response or err).verdict or err.kind
  end
  same("default", "target_bad", verdict())
  same("the job's", "ok", verdict { job = job })
  same("the request's", "target_bad", verdict { job = job, judge = "default" })
  same("a table's", "banned", verdict { job = job, judge = { [500] = "banned" }, tries = 1 })
  same("none for this status", "ok", verdict { job = job, judge = { [404] = "banned" } })
  same("a function's nil", "ok", verdict { job = job, judge = function() end })
  local lenient = { name = "lenient", select = function(_, view) return view:random() end, judge = "lenient" }
  same("a strategy's word", "ok", verdict { strategy = lenient })
  local strategy = {
    name = "judging",
    select = function(_, view) return view:random() end,
    judge = function(self, asked, response)
      return response.status == 500 and asked.method == self.method and "banned" or nil
    end,
    method = "GET",
  }
  same("the strategy's", "banned", verdict { strategy = strategy, tries = 1 })
  same("the job's before the strategy's", "ok", verdict { strategy = strategy, job = job })
  same("the strategy's nil", "ok", assert(pool:get(url("a.test", ""), { strategy = strategy })).verdict)
  for _, bad in ipairs { "nonsense", 7, { [1] = 2 } } do
    local called, why = pcall(pool.get, pool, url("a.test", ""), { judge = bad })
    assert(not called and tostring(why):find("judge", 1, true), why)
    assert(not pcall(gyre.job, { pool = pool, judge = bad }))
  end
  local called, why = pcall(pool.get, pool, url("a.test", ""), { judge = function() return "fine" end })
  assert(not called and tostring(why):find("no verdict", 1, true), why)
  same("leases in flight", 0, pool:stats().active)
  local direct = assert(gyre.fetch(url("127.0.0.1", "status/500"), { proxy = "direct", judge = "lenient" }))
  same("of a fetch", "ok", direct.verdict)
end

-- A judge may think better of an error, too: the proxy is not at fault when it says so.
function steps.errors()
  local pool = open()
  for _ = 1, 6 do
    local _, err = pool:get(url("a.test", "reset"), { tries = 1, judge = function(_, _, err)
      same("default", "proxy_bad", err.verdict)
      return "target_bad"
    end })
    same("verdict", "target_bad", err.verdict)
  end
  same("failed", 0, pool:stats().failed)
end

-- Each attempt is through another proxy, and none is made that could do twice at the target what may be done once.
function steps.retry()
  for seed = 1, 20 do
    local pool = assert(gyre.open {
      proxies = { "http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3" }, strategy = "random", seed = seed,
    })
    local seen, proxies_seen = {}, 0
    local _, err = pool:get(url("a.test", ""), { tries = 3, judge = function(asked)
      proxies_seen = proxies_seen + (seen[asked.proxy.id] and 0 or 1)
      seen[asked.proxy.id] = true
    end })
    same("attempts", 3, err.attempts)
    same("proxies", 3, proxies_seen)
    pool:close()
  end
  local pool = open { strategy = "random" }
  local _, err = pool:get(url("a.test", "reset/post"), { method = "POST", body = "x" })
  same("attempts of a POST", 1, err.attempts)
  -- An answer of whoever it was says that it may have been there; unless it says that it was refused.
  for verdict, attempts in pairs { proxy_bad = 1, banned = 2 } do
    local judge = { [404] = verdict }
    _, err = open():get(url("a.test", "status/404"), { method = "POST", body = "x", judge = judge, tries = 2 })
    same("attempts of a POST that is " .. verdict, attempts, err.attempts)
    _, err = open():get(url("a.test", "status/404"), { method = "PUT", body = "x", judge = judge, tries = 2 })
    same("attempts of a PUT that is " .. verdict, 2, err.attempts)
  end
  _, err = pool:get(url("a.test", "reset/get"))
  same("attempts of a GET", 3, err.attempts)
end

-- A rule that takes every page for a ban: said aloud once, and nobody is benched.
function steps.blame()
  local pool = open()
  local job = gyre.job { pool = pool, judge = function() return "banned" end }
  for _ = 1, 10 do
    local _, err = pool:get(url("a.test", ""), { job = job, tries = 2 })
    same("kind", "banned", err.kind)
  end
  assert(pool:host_blamed "a.test" > 50)
  same("bans", "", bans(pool))
  same("blamed", 1, pool:stats().ban_blamed)
  same("the next is fine", "ok", assert(pool:get(url("a.test", ""))).verdict)
  assert(pool:stats().started < 16, "retried although the host is blamed")
  job:finish()
end

steps[step]()
