-- gyre pool stats, check, repair, reset: the pool as a whole.
local attach = require "gyre.cli.attach"
local exit = require "gyre.cli.exit"
local json = require "gyre.json"
local output = require "gyre.cli.output"
local tables = require "gyre.cli.table"

local ipairs = ipairs

local FIELDS = { "proxies", "eligible", "benched", "half_open", "disabled", "draining", "started", "completed",
  "succeeded", "failed", "aborted", "active", "bench_refused", "ban_refused", "ban_blamed", "sessions", "strategy" }

local function stats(args)
  local pool = attach.open(args.path)
  local sums = exit.check(pool:stats())
  sums.sessions = exit.check(pool:session_stats()).count
  sums.strategy = attach.strategy(pool).name
  if args.json then
    output.write(json.object(sums, FIELDS), "\n")
    return
  end
  local rows = {}
  for i, name in ipairs(FIELDS) do
    rows[i] = { name, type(sums[name]) == "number" and ("%.0f"):format(sums[name]) or sums[name] }
  end
  local lines = tables.lines({ "", "" }, rows, { true })
  output.write(table.concat(lines, "\n", 2), "\n")
end

local function check(args)
  local pool = attach.open(args.path)
  local sound, err = pool:check()
  if sound then
    output.say "sound"
    return
  elseif err.kind ~= "corrupt" then
    exit.check(nil, err)
  end
  exit.with(exit.SOME_FAILED, err.message)
end

local function repair(args)
  local pool = attach.open(args.path)
  local sound, err = pool:check()
  output.say(sound and "before: sound" or "before: " .. err.message)
  exit.check(pool:repair())
  exit.check(pool:check())
  output.say "after: sound"
end

local function reset(args)
  exit.check(attach.open(args.path):reset_counters())
end

return {
  {
    name = "stats",
    about = "sums over the pool",
    options = function(command)
      command:flag("--json", "As one JSON object.")
    end,
    run = stats,
  },
  { name = "check", about = "verify the segment; exit 1 when anything is unsound", run = check },
  { name = "repair", about = "mend the segment, and end what dead processes had in flight", run = repair },
  { name = "reset", about = "set all counters, averages and windows back", run = reset },
}
