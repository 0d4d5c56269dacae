-- leaks.lua STEP TARGET CACERT PROXY...: requests of several identities to one origin, for test_leaks.sh, which reads
-- the origin's log. The path says whose request it was: /page/IDENTITY.
local gyre = require "gyre"

local step, target, cacert = arg[1], arg[2], arg[3]
local proxies = { select(4, unpack(arg)) }
local ROUNDS = 3

local function url(name)
  return target .. "/page/" .. name
end

local function get(proxy, name, options)
  options = options or {}
  options.proxy, options.cacert = proxy, cacert
  local response = assert(gyre.fetch(url(name), options))
  assert(response.status == 200, response.status)
  return response
end

local steps = {}

-- Each identity in turn: what could be used again of the one before would be.
function steps.turns(options)
  for _ = 1, ROUNDS do
    for i, proxy in ipairs(proxies) do
      for _, session in ipairs { "a", "b" } do
        local own = { session = session, cookies = true }
        for name, value in pairs(options or {}) do own[name] = value end
        get(proxy, i .. session, own)
      end
    end
  end
end

function steps.turns_http1()
  steps.turns { http2 = false }
end

function steps.mixed()
  steps.turns { isolate = false }
end

-- New connections all the time, which only TLS sessions would link.
function steps.reconnect()
  steps.turns { http2 = false, headers = { Connection = "close" } }
end

-- Many requests at once on few connections.
function steps.multiplex()
  for i, proxy in ipairs(proxies) do
    get(proxy, i)
  end
  local tasks = {}
  for _ = 1, 8 do
    for i, proxy in ipairs(proxies) do
      tasks[#tasks + 1] = gyre.spawn(function()
        assert(get(proxy, i).http == "2")
      end)
    end
  end
  for _, each in ipairs(tasks) do
    each:join()
  end
end

-- Sessions of a pool: cookies stay with a session and its proxy.
function steps.sessions()
  local pool = assert(gyre.open { proxies = proxies })
  local one = gyre.session("one", { pool = pool, cacert = cacert })
  local two = gyre.session("two", { pool = pool, cacert = cacert })
  local proxy
  for _ = 1, ROUNDS do
    local response = assert(one:get(url "one"))
    assert(not proxy or proxy == response.proxy.id, "the session lost its proxy")
    proxy = response.proxy.id
    assert(one.proxy.id == proxy)
    assert(two:get(url "two"))
    assert(pool:get(url "none", { cacert = cacert }))
  end
  assert(one:close())
  assert(not one.proxy and not one:close())
  assert(one:get(url "again"))
  assert(not tostring(one):find("one", 1, true))
  for _, bad in ipairs { "", "a b", ("x"):rep(129), 7 } do
    assert(not pcall(gyre.session, bad, { pool = pool }))
  end
  assert(not pcall(gyre.session, "fine"))
  assert(pool:stats().active == 0)
end

-- More identities than there are descriptors.
function steps.many()
  for i = 1, 600 do
    get("direct", i, { session = "s" .. i })
  end
end

steps[step]()
