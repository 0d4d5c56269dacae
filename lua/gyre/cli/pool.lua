-- gyre pool: looks at a pool in shared memory, and changes it, while others use it.
local PARTS = {
  "gyre.cli.pool.create",
  "gyre.cli.pool.list",
  "gyre.cli.pool.change",
  "gyre.cli.pool.use",
  "gyre.cli.pool.host",
  "gyre.cli.pool.state",
  "gyre.cli.pool.upkeep",
}

local pool = { about = "look at, change and mend a pool in shared memory, while others use it" }

local runs = {}

local EPILOG = [[
PATH is the file of a segment, usually on /dev/shm. A PROXY is named by its id (the first column of ls) or by its URL,
for which the password is not needed: the ids are listed when several have the same address. "-" reads from stdin.]]

-- A part is a list of { name, about, options = function(command), run = function(args) }.
function pool.options(parser)
  local commands = {}
  parser:command_target "command"
  parser:require_command(true)
  parser:epilog(EPILOG)
  for _, part in ipairs(PARTS) do
    for _, each in ipairs(require(part)) do
      local command = parser:command(each.name, each.about)
      command:add_help(false)
      command:flag("-h --help", "This text.")
      command:argument("path", "The pool."):argname "PATH"
      if each.options then
        each.options(command)
      end
      commands[each.name], runs[each.name] = command, each.run
    end
  end
  return commands
end

function pool.run(args)
  return runs[args.command](args)
end

return pool
