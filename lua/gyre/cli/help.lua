-- gyre help [VERB [COMMAND]]
local exit = require "gyre.cli.exit"
local output = require "gyre.cli.output"

local help = { about = "what verbs there are, or what one of them takes" }

function help.options(parser)
  parser:argument("verb", "One of them."):args "?"
  parser:argument("command", "One of its commands, where it has some."):args "?"
end

function help.run(args)
  local cli = require "gyre.cli"
  if not args.verb then
    output.write(cli.help())
    return
  end
  local verb = cli.verb(args.verb)
  if not verb then
    exit.usage(("no verb '%s'; gyre help lists them"):format(args.verb))
  end
  local parser, commands = cli.parser(args.verb, verb)
  if args.command and not commands[args.command] then
    exit.usage(("gyre %s has no command '%s'"):format(args.verb, args.command))
  end
  output.write((commands[args.command] or parser):get_help(), "\n")
end

return help
