-- The verbs of the gyre program. src/cli/script.c calls main().
--
-- A verb is a module gyre.cli.NAME that returns
--   about    one line for `gyre help`
--   options  function(parser): adds its options and arguments to an argparse parser (lua-argparse is part of the
--            program); may return its commands by name, when it has any
--   run      function(args, argv) -> exit code, or nothing for 0. A task, so calls that wait may be made. It gets out
--            from anywhere by gyre.cli.exit
-- and a line in VERBS. Letters mean what they mean in curl; what verbs share has the same long name everywhere:
-- --proxies --pool --strategy --session --country --concurrency --per-host --tries --timeout --out --state.
local argparse = require "argparse"
local exit = require "gyre.cli.exit"
local mask = require "gyre.mask"
local options = require "gyre.cli.options"
local output = require "gyre.cli.output"

local debug, ipairs, pairs, tostring, xpcall = debug, ipairs, pairs, tostring, xpcall

local VERBS = { "run", "get", "map", "check", "pool", "top", "tail", "sim", "repl", "bench", "help" }

local FOOTER = [[

Exit status: 0 all good, 1 some failed, 2 usage or script error, 3 no usable proxy, 4 interrupted, state saved.
Ctrl-C lets requests in flight finish; a second one stops at once.

Environment
  GYRE_LUA_PATH       directory of Lua modules to use instead of the built-in ones
  GYRE_STRATEGY_PATH  directories to look for strategies in first, separated by ":" or ";"
  GYRE_COREDUMP=1     allow core dumps and debuggers; a dump may hold credentials
  NO_COLOR            no colours

Pages such as docs/cli.md are in share/doc/gyre below the prefix that gyre is installed in, and in its source.]]

local cli = {}

--- The verb with this name, or nil.
---@param name string
---@return table?
function cli.verb(name)
  for _, known in ipairs(VERBS) do
    if known == name then
      return require("gyre.cli." .. name)
    end
  end
  return nil
end

--- The text of `gyre help`.
---@return string
function cli.help()
  local lines = { "usage: gyre VERB [OPTION]... [ARGUMENT]...", "       gyre help VERB", "       gyre --version", "" }
  for _, name in ipairs(VERBS) do
    lines[#lines + 1] = ("  %-12s %s"):format(name, cli.verb(name).about)
  end
  return table.concat(lines, "\n") .. "\n" .. FOOTER .. "\n"
end

--- The parser of a verb, and those of its commands.
---@param name string
---@param verb table
---@return table parser
---@return table<string, table> commands
function cli.parser(name, verb)
  local parser = argparse("gyre " .. name, verb.about)
  parser:add_help(false) -- argparse's own ends the process
  parser:flag("-h --help", "This text.")
  function parser.error(current, message) -- `current` may be a command's
    message = message:gsub("^(unknown option '%-.').*", "%1") -- every letter is as near to another as the next
    exit.usage(message .. "\n" .. current:get_usage())
  end
  local commands = verb.options(parser) or {}
  options.finish(parser)
  for _, command in pairs(commands) do
    options.finish(command)
  end
  return parser, commands
end

local function wants_help(argv)
  for _, argument in ipairs(argv) do
    if argument == "--" then
      return false
    elseif argument == "--help" or argument == "-h" then
      return true
    end
  end
  return false
end

local function run(name, verb, argv)
  local parser, commands = cli.parser(name, verb)
  if wants_help(argv) then -- before parsing: what is required is not when one asks for help
    output.write((commands[argv[1]] or parser):get_help(), "\n")
    return exit.ALL_GOOD
  end
  local words = options.glue_negatives(commands[argv[1]] or parser, argv)
  local code = verb.run(parser:parse(words), argv)
  output.flush()
  return code
end

-- Mistakes in the program keep their traceback.
local function handler(raised)
  return exit.of(raised) and raised or debug.traceback(tostring(raised), 2)
end

--- Runs a verb.
---@param name? string
---@return integer code
function cli.main(name, ...)
  if name == nil then
    output.say "gyre: no verb given; gyre help lists them"
    return exit.USAGE
  end
  if name == "--help" or name == "-h" then
    name = "help"
  end
  local verb = cli.verb(name)
  if not verb then
    output.say(("gyre: no verb '%s'; gyre help lists them"):format(name))
    return exit.USAGE
  end
  local ran, result = xpcall(run, handler, name, verb, { ... })
  if ran then
    return result or exit.ALL_GOOD
  end
  local code, message = exit.of(result)
  if not code then
    error(result, 0)
  end
  if message then
    output.say("gyre ", name, ": ", mask.text(message)) -- whatever was given, and to which option
  end
  return code
end

return cli
