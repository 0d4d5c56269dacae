-- gyre pool use: another strategy, for everybody on the pool at once.
local attach = require "gyre.cli.attach"
local common = require "gyre.cli.common"
local exit = require "gyre.cli.exit"
local output = require "gyre.cli.output"

local ipairs = ipairs

local function options(command)
  command:argument("strategy", "A name, or the file of a strategy; without one: which is in use."):argname("STRATEGY")
    :args "?"
  command:option("-o --option", "One of its options, NAME=VALUE; VALUE is JSON, or else text. May be given again.")
    :argname("NAME=VALUE"):count "*"
  command:flag("--reload", "Read the one in use again, after its file was changed.")
end

local function given_options(args)
  local given = {}
  for _, pair in ipairs(args.option) do
    local name, written = pair:match "^([%w_]+)=(.*)$"
    if not name then
      exit.usage(("option '--option': '%s' is not NAME=VALUE"):format(pair))
    end
    given[name] = common.value_of(written)
  end
  return given
end

local function check(args)
  local given = args.strategy or #args.option > 0
  if args.reload and given then
    exit.usage "option '--reload' reads the file of the one in use again: neither STRATEGY nor --option goes with it"
  elseif given and not args.strategy then
    exit.usage "option '--option' needs the STRATEGY that it is for"
  end
end

local function run(args)
  check(args)
  local pool = attach.open(args.path, args.reload)
  if args.reload then
    exit.check(pool:reload_strategy())
  elseif args.strategy then
    exit.check(pool:use(args.strategy, given_options(args)))
  end
  local state = attach.strategy(pool)
  output.write(("%s, generation %d\n"):format(state.title, state.generation))
end

return { { name = "use", about = "another strategy, for everybody at once", options = options, run = run } }
