-- gyre check: do proxies work? A list once, or those of a pool in shared memory again and again.
local common = require "gyre.cli.common"
local exit = require "gyre.cli.exit"
local expect = require "gyre.cli.check.expect"

local check = { about = "test the proxies of a list, or watch those of a pool" }

local CONCURRENCY, TIMEOUT, INTERVAL, REFRESH = 50, 10, 30, 300

function check.options(parser)
  parser:argument("list", "A list of proxies: a file, or - for stdin. With --watch: also a URL, or !COMMAND.")
    :argname("LIST"):args "?"
  parser:option("--url", "What to fetch through each."):argname "URL"
  parser:option("--expect", "What comes back: a status (200, 2xx), text:WORDS in its body, or regex:PATTERN, as grep "
    .. "-E has it; any other word is looked for in the body, as a text. Several have to hold all [a status below 400].")
    :argname("WHAT"):count "*"
  common.add_number(parser, "--timeout", "Seconds for a request [10].", 0.001)
  common.add_number(parser, "--concurrency", "Proxies at once [50].", 1, true)

  parser:option("-o --live", "The live ones go into this file, as a list, mode 0600, with their credentials.")
    :argname "FILE"
  parser:option("--echo", "A URL that sends back the head of the request it got: tells how much each gives away of "
    .. "who asks."):argname "URL"
  parser:option("--my-address", "An address of ours, which no echo should hold; may be given again."):argname("ADDRESS")
    :count "*"
  common.add_number(parser, "--tries", "Requests by each before it is dead [1].", 1, true)
  parser:option("--out", "Where records go [stdout]."):argname "FILE"
  parser:option("--format", "Of records: jsonl, csv [words]."):choices({ "jsonl", "csv" }):argname "FORMAT"

  parser:flag("--watch", "Probe the proxies of a pool that are benched until a signal comes; what comes out of it is "
    .. "written to the pool.")
  parser:option("--pool", "With --watch: the pool."):argname "PATH"
  parser:flag("--all", "With --watch: those in use, too.")
  common.add_number(parser, "--interval", "With --watch: seconds between two probes of one, a fifth more or less [30].",
    0.05)
  common.add_number(parser, "--refresh", "With --watch: seconds between two readings of LIST [300].", 0.05)
  parser:flag("--direct", "With --watch: a URL of a list is fetched without a proxy.")
end

local function refuse(args, names, why)
  for _, name in ipairs(names) do
    local value = args[name:gsub("-", "_")]
    if value and (type(value) ~= "table" or #value > 0) then
      exit.usage(("option '--%s' %s"):format(name, why))
    end
  end
end

local function check_addresses(args)
  if not args.echo then
    refuse(args, { "my-address" }, "needs --echo")
  end
  for _, address in ipairs(args.my_address) do
    if address == "" then
      exit.usage "option '--my-address' is empty"
    end
  end
end

function check.run(args)
  if not args.url then
    exit.usage "--url says what to fetch through each proxy"
  end
  common.check_url(args.url, "option '--url'")
  if args.echo then
    common.check_url(args.echo, "option '--echo'")
  end
  local fault_of = expect.compile(args.expect)
  args.timeout, args.concurrency = args.timeout or TIMEOUT, common.at_once(args.concurrency or CONCURRENCY)
  if args.watch then
    refuse(args, { "live", "echo", "my-address", "tries", "out", "format" }, "is for lists, not for --watch")
    if not args.pool then
      exit.usage "--watch needs --pool PATH"
    end
    args.interval, args.refresh = args.interval or INTERVAL, args.refresh or REFRESH
    return require("gyre.cli.check.watch").run(args, fault_of)
  end
  refuse(args, { "pool", "all", "interval", "refresh", "direct" }, "needs --watch")
  if not args.list then
    exit.usage "no list was given"
  end
  check_addresses(args)
  args.tries = args.tries or 1
  return require("gyre.cli.check.once").run(args, fault_of)
end

return check
