-- gyre pool save, load: the whole state as JSON, across machines and layouts of segments.
local attach = require "gyre.cli.attach"
local exit = require "gyre.cli.exit"
local files = require "gyre.files"
local gyre = require "gyre"
local output = require "gyre.cli.output"
local save_state = require "gyre.state.save"
local load_state = require "gyre.state.load"
local terminal = require "gyre.terminal"

local function save_options(command)
  command:argument("file", "Where to; it gets mode 0600, since it holds the credentials. - is stdout."):argname "FILE"
  command:flag("--no-credentials", "Without them; then it can only be loaded into a pool that has the proxies.")
end

local function save(args)
  local pool = attach.open(args.path)
  if args.file == "-" then
    if not args.no_credentials and terminal.is_terminal(1) then
      exit.usage "the state holds credentials, and stdout is a terminal; name a file, or add --no-credentials"
    end
    save_state.write(pool, not args.no_credentials, output.write)
    return
  end
  exit.check(pool:save(args.file, { credentials = not args.no_credentials }))
  output.say(("saved %d proxies"):format(#pool))
end

local function load_options(command)
  command:argument("file", "What save wrote."):argname "FILE"
end

-- A pool that is not there is made with the sizes and settings of the one that was saved: then the second result is
-- true.
local function target(path, state)
  if files.kind(path) then
    return attach.open(path), false
  end
  local given = load_state.options(state)
  given.shared = path
  return exit.check(gyre.open(given)), true
end

local function load(args)
  local state = exit.check(load_state.read(args.file))
  local pool, made = target(args.path, state)
  local report, err = load_state.apply(pool, state)
  if not report then
    if made then
      os.remove(args.path) -- of which nobody can know yet
    end
    exit.check(nil, err)
  end
  output.say(("loaded %d proxies, %d sessions, %d bans, %d throttles"):format(report.proxies, report.sessions,
    report.bans, report.throttles))
end

return {
  { name = "save", about = "write the whole state to a file, as JSON", options = save_options, run = save },
  { name = "load", about = "put a saved state into a pool; one that is not there is made", options = load_options,
    run = load },
}
