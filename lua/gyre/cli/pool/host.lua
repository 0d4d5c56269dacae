-- gyre pool sessions, bans: who is bound to a proxy, and who is shut out by a host.
local attach = require "gyre.cli.attach"
local exit = require "gyre.cli.exit"
local json = require "gyre.json"
local output = require "gyre.cli.output"
local select_proxy = require "gyre.cli.pool.select"
local tables = require "gyre.cli.table"

local duration = tables.duration
local ipairs, max, pairs, tostring = ipairs, math.max, pairs, tostring

local function print_table(head, rows, left)
  output.write(table.concat(tables.lines(head, rows, left), "\n"), "\n")
end

-- ---- sessions ----

local SESSION = { "id", "proxy", "url", "age", "idle", "expires_in" }
local SESSION_HEAD = { "SESSION", "AGE", "IDLE", "EXPIRES IN", "ID", "PROXY" }

local function session_options(command)
  command:flag("--json", "One JSON object a session and line.")
  command:option("--close", "End this one; may be given again."):argname("ID"):count "*"
  command:flag("--close-all", "End all.")
  command:flag("--stats", "Sums only, as one JSON object.")
end

local function list_sessions(pool, as_json)
  local now, rows = pool:time(), {}
  for session in pool:sessions() do
    local found = {
      id = session.id,
      proxy = session.proxy.id,
      url = tostring(session.proxy),
      age = max(now - session.created, 0),
      idle = max(now - session.last_used, 0),
      expires_in = max(session.expires - now, 0),
    }
    if as_json then
      output.write(json.object(found, SESSION), "\n")
    else
      rows[#rows + 1] = { found.id, duration(found.age), duration(found.idle), duration(found.expires_in),
        ("%.0f"):format(found.proxy), found.url }
    end
  end
  if not as_json then
    print_table(SESSION_HEAD, rows, { true, [6] = true })
  end
end

local function close_sessions(pool, ids)
  for _, id in ipairs(ids) do
    exit.check(exit.check(pool:session(id), "no such session"):close())
  end
  return #ids
end

local function sessions(args)
  local pool = attach.open(args.path)
  if args.close_all then
    output.say(("closed %d"):format(exit.check(pool:close_sessions())))
  elseif #args.close > 0 then
    output.say(("closed %d"):format(close_sessions(pool, args.close)))
  elseif args.stats then
    output.write(json.encode(exit.check(pool:session_stats())), "\n")
  else
    list_sessions(pool, args.json)
  end
end

-- ---- bans ----

local BAN = { "proxy", "url", "host", "ends_in", "strikes", "judged" }
local BAN_HEAD = { "HOST", "ENDS IN", "STRIKES", "BY", "ID", "PROXY" }

local function ban_options(command)
  command:flag("--json", "One JSON object a ban and line.")
  command:option("--host", "Only this host's.")
  command:option("--lift", 'Lift the bans of this proxy, or of all ("all"); with --host only that host\'s.')
    :argname "PROXY"
end

local function lift(pool, args)
  if args.lift ~= "all" then
    return exit.check(pool:unban(select_proxy.ids(pool, { args.lift })[1], args.host))
  elseif args.host then
    return exit.check(pool:unban(nil, args.host))
  end
  local lifted, ids = 0, {}
  for ban in pool:bans() do
    ids[ban.proxy.id] = true
  end
  for id in pairs(ids) do
    lifted = lifted + exit.check(pool:unban(id))
  end
  return lifted
end

local function list_bans(pool, host, as_json)
  local now, rows = pool:time(), {}
  for ban in pool:bans() do
    if not host or ban.host == host:lower() then
      local found = { proxy = ban.proxy.id, url = tostring(ban.proxy), host = ban.host,
        ends_in = max(ban.ends - now, 0), strikes = ban.strikes, judged = ban.judged }
      if as_json then
        output.write(json.object(found, BAN), "\n")
      else
        rows[#rows + 1] = { ban.host ~= "" and ban.host or "?", duration(found.ends_in), tostring(ban.strikes),
          ban.judged and "verdict" or "hand", ("%.0f"):format(found.proxy), found.url }
      end
    end
  end
  if not as_json then
    print_table(BAN_HEAD, rows, { true, [4] = true, [6] = true })
  end
end

local function bans(args)
  local pool = attach.open(args.path)
  if args.lift then
    output.say(("lifted %d"):format(lift(pool, args)))
  else
    list_bans(pool, args.host, args.json)
  end
end

return {
  { name = "sessions", about = "sticky sessions: list, close", options = session_options, run = sessions },
  { name = "bans", about = "proxies that a host refuses: list, lift", options = ban_options, run = bans },
}
