-- gyre run JOB.lua: what it takes. The program runs the file itself (src/cli/script.c): the arguments are the script's
-- but for these two options, which may stand anywhere before a "--".
local exit = require "gyre.cli.exit"

local run = { about = "run a job: a Lua script that makes requests through a pool" }

function run.options(parser)
  parser:argument("job", "A Lua file; it may return an exit code."):args "?"
  parser:option("--workers", "Threads, each with a Lua state of its own, on one crawl [1]."):argname "N"
  parser:flag("--fresh", "A crawl starts over, whatever its state says.")
  parser:argument("argument", "The script finds these in `arg`."):args "*"
  parser:epilog("--workers and --fresh may stand before the script's name and behind it; what follows a -- is the "
    .. "script's, whatever\nit is. With a script that does not call gyre.crawl they are an error.")
end

function run.run()
  exit.usage "no script given\nusage: gyre run JOB.lua [ARGUMENT]..."
end

return run
