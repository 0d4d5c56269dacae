-- gyre sim: strategies against each other in virtual time. The simulator is gyre.sim; docs/sim.md describes the model.
local common = require "gyre.cli.common"
local exit = require "gyre.cli.exit"
local net = require "gyre.net"
local cli_options = require "gyre.cli.options"
local output = require "gyre.cli.output"
local scenario = require "gyre.sim.scenario"

local ipairs, pairs, pcall, tonumber = ipairs, pairs, pcall, tonumber

local BASE = "round-robin"

local sim = { about = "compare strategies in virtual time, on proxies that are made up or recorded" }

local function range(text)
  local least, most = text:match "^(%d+)%-(%d+)$"
  if text == "none" then
    return false
  elseif not least then
    return nil, ("a capacity is LEAST-MOST or none, not '%s'"):format(text)
  end
  return { tonumber(least), tonumber(most) }
end

local function ban(text)
  local requests, seconds, length = text:match "^(%d+)/([%d.]+)s/([%d.]+)s$"
  if not requests then
    return nil, ("a ban is REQUESTS/SECONDSs/SECONDSs, such as 40/10s/60s, not '%s'"):format(text)
  end
  return { requests = tonumber(requests), seconds = tonumber(seconds), length = tonumber(length) }
end

local function rate(text)
  if not text:find "^%d+/[%d.]*%a+$" then
    return nil, ("a limit is COUNT/[NUMBER]UNIT, such as 32/10s, not '%s'"):format(text)
  end
  return text
end

-- Name of the option, of the model's field, words for the help, what reads it when it is neither a number nor a text.
local MODEL = {
  { "--size", "proxies", "How many proxies [100]." },
  { "--median", "median", "Middle of their median latencies, ms [400]." },
  { "--sigma", "sigma", "How they differ: sd of ln median [0.5]." },
  { "--spread", "spread", "How the requests of one differ, likewise [0.35]." },
  { "--capacity", "capacity", "Requests at once at full speed, LEAST-MOST or none [2-8].", range },
  { "--refusing", "refusing", "So many proxies refuse at once [0]." },
  { "--stalling", "stalling", "So many never answer [0]." },
  { "--flaky", "flaky", "So many others fail now and then [0]." },
  { "--flaky-rate", "flaky_rate", "How often they do [0.3]." },
  { "--slowed", "slowed", "So many of the faster ones become slow [0]." },
  { "--slow-factor", "slow_factor", "By so much [6]." },
  { "--slow-at", "slow_at", "When, seconds [half of the duration]." },
  { "--recovering", "recovering", "So many of those recover [0]." },
  { "--recover-at", "recover_at", "When, seconds [three quarters]." },
  { "--ban", "ban", "Over 40 requests in 10 s a proxy gets 403 for 60 s: 40/10s/60s [none].", ban },
  { "--host", "host", "The target's name, so that bans are known to the pool [none]." },
  { "--limit", "cap", "Rate limit of every proxy, such as 32/10s [none].", rate },
  { "--rate", "rate", "Requests a second, at random times [180]." },
  { "--clients", "clients", "Instead: so many ask one after the other." },
  { "--think", "think", "Pause of a client, seconds [0.02]." },
  { "--duration", "duration", "Seconds in which requests arrive [400]." },
  { "--warmup", "warmup", "What begins before is not counted, seconds [10]." },
  { "--requests", "requests", "No more than so many." },
  { "--timeout", "timeout", "Seconds for an attempt [10]." },
  { "--tries", "tries", "Attempts, each through another proxy [3]." },
  { "--sessions", "sessions", "Requests belong to so many sessions [0]." },
  { "--trace", "trace", "A file of recorded requests instead of made-up proxies." },
}

local function scenarios()
  local names = {}
  for name in pairs(require("gyre.sim").scenarios) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

function sim.options(parser)
  parser:argument("strategy", "Name or path[:OPTION=VALUE,...][@LIMIT], e.g. performance:choices=5 or"
    .. " performance@32/10s. Changes are against the first; without round-robin among them it comes first."):args "+"
  parser:option("--scenario", "A situation by name: " .. table.concat(scenarios(), ", ") .. ". What is given beside it"
    .. " comes before it."):choices(scenarios())
  for _, each in ipairs(MODEL) do
    local option = parser:option(each[1], each[3]):target(each[2]):argname "X"
    local least, most, whole = scenario.range(each[2])
    local convert = each[4] or least and cli_options.number(least, most, whole)
    if convert then
      option:convert(convert)
    end
  end
  parser:flag("--no-breaker", "Proxies that fail stay in use.")
  common.add_number(parser, "--seed", "The first seed [1].", 1, true):default "1":show_default(false)
  common.add_number(parser, "--seeds", "So many seeds; figures are means [1].", 1, true):default "1":show_default(false)
  parser:option("--plot", "Also draw this SVG file.")
  parser:flag("--json", "A JSON object a strategy and line.")
end

-- The options of 'tiers=["cheap","premium"],rest=false'.
local function strategy_options(text, word)
  local made, from = {}, 1
  while from <= #text + 1 do
    local name, at = text:match("^([^=,]+)=()", from)
    local given = name and (text:match("^%b[]", at) or text:match("^[^,]*", at))
    local stop = name and at + #given
    if not name or (stop <= #text and text:sub(stop, stop) ~= ",") then
      exit.usage(("'%s' in '%s' is no OPTION=VALUE"):format(text:match("^[^,]*", from), word))
    end
    made[name], from = common.value_of(given), stop + 1
  end
  return made
end

-- "performance:choices=5@32/10s" as an entry of sim.run().
local function entry(word)
  local made = { name = word, source = word }
  local before, limit = word:match "^(.+)@(%d+/%d*%a+)$"
  if before then
    made.source, made.cap = before, limit
  end
  local source, options = made.source:match "^(.+):([^:/]+=[^:]*)$"
  if source then
    made.source, made.options = source, strategy_options(options, word)
  end
  return made
end

local function entries(words)
  local list, based = {}, false
  for i, word in ipairs(words) do
    list[i] = entry(word)
    based = based or word == BASE
  end
  if not based then
    table.insert(list, 1, { name = BASE, source = BASE })
  end
  return list
end

local function read_model(args)
  local model = {}
  for _, each in ipairs(MODEL) do
    model[each[2]] = args[each[2]]
  end
  if args.no_breaker then
    model.breaker = false
  end
  return model
end

-- A field of the model is an option that may have another name.
local function as_typed(why)
  return (why:gsub("option '([%w_]+)'", function(field)
    for _, each in ipairs(MODEL) do
      if each[2] == field then
        return ("option '%s'"):format(each[1])
      end
    end
  end))
end

local function draw(path, rows)
  local file, why = io.open(path, "wb")
  if not file then
    exit.usage("--plot: " .. why)
  end
  local written
  written, why = file:write(require("gyre.sim.plot").svg(rows))
  if not written or not file:close() then
    exit.with(exit.SOME_FAILED, "--plot: " .. tostring(why))
  end
end

-- A simulation never waits: it lets the loop turn now and then, which takes notice of Ctrl-C.
local function stopping()
  return not net.sleep(0)
end

function sim.run(args)
  local list, model = entries(args.strategy), read_model(args)
  -- What cannot be is told before anything runs.
  local good, why = pcall(scenario.options, args.scenario, model)
  if not good then
    exit.usage(as_typed(why))
  end
  if args.plot then
    output.check_place(args.plot, "--plot")
  end
  local rows, _, interrupted = exit.check(require("gyre.sim").run(list,
    { scenario = args.scenario, model = model, seed = args.seed, seeds = args.seeds, stopping = stopping }))
  if args.plot and not interrupted then
    draw(args.plot, rows)
  end
  local report = require "gyre.sim.report"
  if #rows > 0 then
    output.write((args.json and report.json or report.text)(rows), "\n")
  end
  if interrupted then
    output.say(("gyre sim: interrupted; %d of %d strategies were through"):format(#rows, #list))
    return exit.INTERRUPTED
  end
end

return sim
