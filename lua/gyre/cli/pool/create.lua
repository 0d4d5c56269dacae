-- gyre pool create: a segment, before anybody opens it.
local common = require "gyre.cli.common"
local exit = require "gyre.cli.exit"
local files = require "gyre.files"
local gyre = require "gyre"
local input = require "gyre.cli.input"
local list = require "gyre.list"
local output = require "gyre.cli.output"

local ipairs = ipairs

local NUMBERS = {
  { "max_proxies", "Proxies that fit [65536, or twice what LIST holds if that is more than these]." },
  { "max_sessions", "Sessions that fit [131072]." },
  { "max_leases", "Leases in flight that fit, 64 at least for each process [65536]." },
  { "max_bans", "Bans of a proxy by a host that fit [65536]." },
  { "window", "Length of the sliding window, seconds [3600]." },
  { "session_ttl", "Seconds after which an unused session is over [3600]." },
  { "lease_timeout", "Seconds after which a forgotten lease ends as aborted [300]." },
}

local function options(command)
  command:argument("list", "A file with proxies, or - for stdin."):argname("LIST"):args "?"
  command:option("--mode", "Permissions of the file, octal [0600].")
  command:option("--group", "Its group.")
  command:option("--strategy", "How a proxy is picked: a name, or the file of a strategy [round-robin].")
    :argname "NAME"
  for _, number in ipairs(NUMBERS) do
    common.add_number(command, "--" .. number[1]:gsub("_", "-"), number[2])
  end
end

local function fill(pool, parsed, strategy)
  local report, err = { message = "an empty pool", invalid = 0 }, nil
  if parsed then
    report, err = pool:reload(parsed)
  end
  if report and strategy then
    local used
    used, err = pool:use(strategy)
    return used and report, err
  end
  return report, err
end

local function run(args)
  if files.kind(args.path) then
    exit.usage(args.path .. " exists already")
  end
  local parsed = args.list and input.list(args.list)
  local given = { shared = args.path, group = args.group, mode = args.mode }
  for _, number in ipairs(NUMBERS) do
    given[number[1]] = args[number[1]]
  end
  if parsed and not given.max_proxies then
    given.max_proxies = list.room(parsed)
  end
  if args.mode and not args.mode:find "^0?[0-7][0-7][0-7]$" then
    exit.usage "--mode takes octal digits, like 0660"
  end
  local pool, why = gyre.open(given)
  if not pool then
    why.message = why.message:gsub("^option '([%w_]+)'", function(name) -- as it was typed
      return ("option '--%s'"):format(name:gsub("_", "-"))
    end)
    exit.check(nil, why)
  end
  local report, err = fill(pool, parsed, args.strategy)
  if not report then
    os.remove(args.path) -- of which nobody can know yet
    exit.check(nil, err)
  end
  output.say(report.message)
  return report.invalid > 0 and exit.SOME_FAILED or exit.ALL_GOOD
end

return { { name = "create", about = "make a pool, with the proxies of a list", options = options, run = run } }
