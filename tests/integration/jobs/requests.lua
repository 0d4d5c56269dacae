-- requests.lua STEP ORIGIN PROXY...: what pool:get sends, and what it makes of the answer: a step of test_requests.sh.
local gyre = require "gyre"

local origin = arg[2]
local pool = assert(gyre.open { proxies = { unpack(arg, 3) }, max_proxies = 64 })

local function same(what, want, got)
  if want ~= got then
    error(("%s: want %s, got %s"):format(what, tostring(want), tostring(got)), 0)
  end
end

-- Method and body of the request that the origin echoes, and its head.
local function echoed(response)
  local head, body = response.body:match "^(.-)\r\n\r\n(.*)$"
  return head:match "^%S+" .. " " .. body, head:lower() .. "\r\n"
end

local steps = {}

-- What follows a redirect: RFC 9110, 15.4.
local FOLLOWING = {
  GET = { "GET ", "GET ", "GET ", "GET ", "GET " },
  POST = { "GET ", "GET ", "GET ", "POST body", "POST body" },
  PUT = { "PUT body", "PUT body", "GET ", "PUT body", "PUT body" },
  PATCH = { "PATCH body", "PATCH body", "GET ", "PATCH body", "PATCH body" },
  DELETE = { "DELETE ", "DELETE ", "GET ", "DELETE ", "DELETE " },
  PROPFIND = { "PROPFIND body", "PROPFIND body", "GET ", "PROPFIND body", "PROPFIND body" },
}

-- Each twice: what a redirect changes is not left behind for the next request.
function steps.redirects()
  for method, wants in pairs(FOLLOWING) do
    local body = wants[4]:match "body"
    local headers = { ["Content-Type"] = "text/mine", ["Content-Language"] = "de", ["X-Mine"] = "yes" }
    local options = { method = method, body = body, headers = headers }
    for i, status in ipairs { 301, 302, 303, 307, 308 } do
      for turn = 1, 2 do
        local what = ("%s %d, turn %d"):format(method, status, turn)
        local sent, head = echoed(assert(pool:get(("%s/redirect/%d/%s/echo"):format(origin, status, origin), options)))
        same(what, wants[i], sent)
        local kept = body ~= nil and not sent:find "^GET" or body == nil
        same(what .. ": Content-Type", kept, head:find("content-type: text/mine\r\n", 1, true) ~= nil)
        same(what .. ": Content-Language", kept, head:find("content-language: de\r\n", 1, true) ~= nil)
        same(what .. ": X-Mine", true, head:find("x-mine: yes\r\n", 1, true) ~= nil)
      end
    end
  end
  local head = assert(pool:get(("%s/redirect/303/%s/echo"):format(origin, origin), { method = "HEAD" }))
  same("HEAD 303", "200 ", head.status .. " " .. head.body)
  local kept = assert(pool:get(("%s/redirect/303/%s/echo"):format(origin, origin), { method = "PUT", follow = false }))
  same("not followed", 303, kept.status)
end

-- A connection that ends without an answer: libcurl by itself would ask again when it had been used before. The log of
-- the origin says what was sent.
function steps.once()
  local order = { method = "POST", body = "order" }
  for _, options in ipairs { order, { method = "POST" }, { method = "PATCH", body = "x" } } do
    same("before", 200, assert(pool:get(origin .. "/echo", options)).status)
    local response, err = pool:get(origin .. "/die?" .. options.method, options)
    same("response", nil, response)
    same("sent", true, err.sent)
    same("attempts", 1, err.attempts)
    same("kind, where, verdict", "protocol target target_bad", ("%s %s %s"):format(err.kind, err.where, err.verdict))
    same("message", nil, err.message:match "callback")
  end
  assert(pool:get(origin .. "/redirect/303/" .. origin .. "/echo", { method = "POST", body = "x" }))
end

-- Banned by what a redirect led to: the request before it was carried out, and is not sent again. Banned itself, it was
-- not.
function steps.moved()
  local options = { method = "POST", body = "order", judge = "strict", tries = 3 }
  local after, err = pool:get(("%s/redirect/303/%s/status/403"):format(origin, origin), options)
  same("after a redirect", "nil banned 1", ("%s %s %s"):format(tostring(after), err.kind, err.attempts))
  after, err = pool:get(origin:gsub("127.0.0.1", "localhost") .. "/status/403?itself", options) -- banned nobody yet
  same("itself", "nil banned 2", ("%s %s %s"):format(tostring(after), err.kind, err.attempts))
end

-- A proxy that wants other credentials has passed nothing on: another one may try, whatever the method.
function steps.refused()
  for _ = 1, 4 do
    local response = assert(pool:get(origin .. "/echo?refused", { method = "POST", body = "x", tries = 2 }))
    same("sent", "POST x", (echoed(response)))
  end
  local started = 0
  for proxy in pool:each() do started = started + proxy.started end
  assert(started > 4, "the proxy that refuses was never asked")
end

function steps.methods()
  for said, want in pairs { get = "GET ", post = "POST ", Delete = "DELETE ", patch = "PATCH ", Mine = "Mine ",
    ["M-SEARCH"] = "M-SEARCH ", ["X1!~"] = "X1!~ " } do
    same(said, want, (echoed(assert(pool:get(origin .. "/echo", { method = said })))))
  end
  same("head", "", assert(pool:get(origin .. "/bytes/10", { method = "head", timeout = 10 })).body)
  local options = { method = "BAD METHOD" }
  for turn = 1, 3 do -- not even by a handle that has seen it
    local response, err = pool:get(origin .. "/bad-method", options)
    same("response " .. turn, nil, response)
    same("kind", "invalid", err.kind)
  end
end

-- An origin that ends each connection after its answer and does not say so: now and then one is taken for alive.
-- That libcurl sends a GET again five times at most is for one request, not for all that its handle will ever make.
function steps.closing()
  for i = 1, 2000 do
    local response, err = pool:get(origin .. "/bytes/1", { tries = 1 })
    same("request " .. i .. ": " .. tostring(err), true, response ~= nil)
  end
end

-- Handles that are used with kept cookies and without in turn: with libcurl 7.88 each turn left a table of TLS sessions
-- behind, 1.4 KiB, which nobody had.
function steps.memory()
  local function pages()
    collectgarbage()
    collectgarbage()
    local file = assert(io.open "/proc/self/statm")
    local resident = file:read("*a"):match "^%d+ (%d+)"
    file:close()
    return tonumber(resident)
  end
  local function turns(count)
    for _ = 1, count do
      assert(pool:get(origin .. "/status/200", { cookies = true }))
      assert(pool:get(origin .. "/status/200", { cookies = false }))
    end
  end
  turns(500)
  local before = pages()
  turns(3000)
  local grown = (pages() - before) * 4
  assert(grown < 2048, grown .. " KiB more after 3,000 turns")
end

-- None of these is sent, in whatever part it would be understood otherwise.
function steps.urls()
  for _, url in ipairs { origin .. "/bad-url\0", origin .. "\0.example/bad-url", origin .. "/bad url",
    "http:///" .. origin:match "//(.*)" .. "/bad-url", "http://?bad-url", "http://#", "http://", "http:" .. origin,
    "" } do
    local response, err = pool:get(url)
    same(url, nil, response)
    same(url, "invalid local", err.kind .. " " .. err.where)
  end
  same("in flight", 0, pool:stats().active)
end

function steps.headers()
  local given = { ["X-Blank"] = "  ", ["X-Empty"] = "", ["X-Padded"] = "\t a b ", ["X-Two"] = { "1", 2 } }
  given.Accept = false
  local _, head = echoed(assert(pool:get(origin .. "/echo", { headers = given })))
  for line in ("x-blank:|x-empty:|x-padded: a b|x-two: 1|x-two: 2"):gmatch "[^|]+" do
    same(line, true, head:find("\r\n" .. line .. "\r\n", 1, true) ~= nil)
  end
  same("accept", nil, head:match "\r\naccept:")
  -- The length of a body is what it is, whatever the headers of another request were.
  for _, method in ipairs { "POST", "PUT", "GET" } do
    local body = method ~= "GET" and "body" or nil
    local copied = { ["content-LENGTH"] = 99 }
    local sent, told = echoed(assert(pool:get(origin .. "/echo", { method = method, body = body, headers = copied })))
    same("sent", method .. " " .. (body or ""), sent)
    same("length", body and "4" or nil, told:match "content%-length: (%d+)")
  end
end

-- Kept cookies and those of a header, in one line; the latter not for another origin, and not for the next request.
function steps.cookies()
  local options = { cookies = true, headers = { Cookie = "own=1" } }
  local other = origin:gsub("127%.0%.0%.1", "other.test")
  local function cookies(path, said)
    local lines = {}
    local _, head = echoed(assert(pool:get(origin .. path, said)))
    for line in head:gmatch "\r\n(cookie:[^\r]*)" do
      lines[#lines + 1] = line
    end
    return table.concat(lines, "|")
  end
  same("alone", "cookie: own=1", cookies("/echo", options))
  assert(pool:get(origin .. "/cookie/kept=2", { cookies = true }))
  same("both", "cookie: kept=2; own=1", cookies("/echo", options))
  local list = { cookies = true, headers = { cookie = { "a=1", "b=2" } } }
  same("list", "cookie: kept=2; a=1; b=2", cookies("/echo", list))
  same("kept", "cookie: kept=2", cookies("/echo", { cookies = true }))
  same("own", "cookie: own=1", cookies("/echo", { cookies = false, headers = options.headers }))
  same("same origin", "cookie: kept=2; own=1", cookies("/redirect/" .. origin .. "/echo", options))
  same("other origin", "", cookies("/redirect/" .. other .. "/echo", options))
  same("after that", "cookie: kept=2; own=1", cookies("/echo", options))
  same("other origin, kept off", "", cookies("/redirect/" .. other .. "/echo", { headers = options.headers }))
end

-- RFC 9110, 6.5.1: what comes behind the body is not taken for headers.
function steps.trailers()
  local response = assert(pool:get(origin .. "/trailer"))
  same("body", "body", response.body)
  same("type", "text/plain", response.headers["content-type"])
  same("late", nil, response.headers["x-late"])
  same("head", "\r\n\r\n", response.head:sub(-4))
end

-- An origin that ends a connection of HTTP/2 after ten requests. libcurl goes on to give such connections out; whoever
-- is given one shall not fail by it, least of all by something that is said to be wrong here.
function steps.goaway()
  local urls, good = {}, 0
  for i = 1, 400 do urls[i] = origin .. "/" .. i end
  for _, method in ipairs { "GET", "PUT", "POST" } do
    local options = { method = method, body = "body", concurrency = 40, tries = 1, verify = false }
    for _, response, err in pool:map(urls, options) do
      same(tostring(err), "target", response and "target" or err.where)
      good = good + (response and response.http == "2" and 1 or 0)
    end
  end
  if good < 1000 then
    error(good .. " of 1200 were answered", 0)
  end
end

steps[arg[1]]()
