-- gyre tail: who was picked, by which strategy, from how many and why, as it happens on a pool in shared memory.
local attach = require "gyre.cli.attach"
local common = require "gyre.cli.common"
local exit = require "gyre.cli.exit"
local gyre = require "gyre"
local json = require "gyre.json"
local output = require "gyre.cli.output"

local format, ipairs, tostring = string.format, ipairs, tostring

local FIELDS = { "sequence", "time", "process", "strategy", "generation", "proxy", "url", "candidates", "reason",
  "session", "lost" }
local LOOK_EVERY = 0.1 -- seconds

local tail = { about = "follow the decisions on a pool: who was picked, by which strategy, from how many, why" }

function tail.options(parser)
  parser:option("--pool", "The pool."):argname "PATH":count(1)
  common.add_number(parser, "-n", "Begin with the last N that are kept; at most 4095 are [10].", 0, true):default "10"
    :show_default(false)
  parser:flag("--follow", "Go on with those to come, until Ctrl-C.")
  common.add_number(parser, "--sample", "Log this share of all decisions, 0 to 1, in every process on the pool: from "
    .. "now on, or with --follow while this runs. Without it what is set stays; a pool begins with 0.", 0, false, 1)
    :argname "SHARE"
  parser:flag("--json", "A JSON object a decision and line.")
end

-- A proxy without its credentials; one that was removed since has only its id.
local function url_of(pool, id)
  local proxy = id and pool:get(id)
  return proxy and tostring(proxy) or nil
end

local function line(decision)
  local whom = decision.url or (decision.proxy and format("proxy %.0f", decision.proxy)) or "nobody"
  local from = decision.candidates and format(" of %d", decision.candidates) or ""
  local session = decision.session and "  session " .. decision.session or ""
  return format("%10.3f  %-7d  %s/%d  %s%s  %s%s", decision.time, decision.process, decision.strategy,
    decision.generation, whom, from, decision.reason, session)
end

local function show(pool, decision, as_json)
  if decision.lost > 0 then
    output.say(format("gyre tail: %d decisions are lost: they were overwritten before this could read them",
      decision.lost))
  end
  decision.url = url_of(pool, decision.proxy)
  output.write(as_json and json.object(decision, FIELDS) or line(decision), "\n")
end

-- The last n of what the ring holds.
local function show_last(pool, next_decision, walk, args)
  local kept, first = {}, true
  for decision in next_decision, walk do
    if first then
      decision.lost, first = 0, false -- before the oldest that is kept: nobody missed them here
    end
    kept[#kept + 1] = decision
  end
  for i, decision in ipairs(kept) do
    if i > #kept - args.n then
      show(pool, decision, args.json)
    end
  end
end

local function follow(pool, check, next_decision, walk, as_json)
  while not gyre.stopping() do
    check()
    local any = false
    for decision in next_decision, walk do
      any = true
      show(pool, decision, as_json)
    end
    if any then
      output.flush()
    end
    gyre.sleep(LOOK_EVERY)
  end
end

-- Ctrl-C is how it is meant to end: exit code 0.
function tail.run(args)
  local pool, check = attach.open_to_watch(args.pool)
  local before = pool:log_share()
  if args.sample then
    exit.check(pool:log(args.sample))
  end
  local next_decision, walk = pool:decisions()
  show_last(pool, next_decision, walk, args)
  output.flush()
  if not args.follow then
    if (args.sample or before) == 0 then
      output.say "gyre tail: the log of this pool is off; --sample 1 switches it on"
    end
    return
  end
  if (args.sample or before) == 0 then
    output.say "gyre tail: the log of this pool is off: nothing will come before somebody switches it on"
  end
  local ran, why = pcall(follow, pool, check, next_decision, walk, args.json)
  if args.sample then
    pool:log(before)
  end
  pool:close()
  if not ran then
    error(why, 0)
  end
end

return tail
