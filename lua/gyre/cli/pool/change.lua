-- gyre pool add, rm, update, drain, disable, enable, reload: changes of membership, in force for everybody at once.
local attach = require "gyre.cli.attach"
local common = require "gyre.cli.common"
local exit = require "gyre.cli.exit"
local input = require "gyre.cli.input"
local list = require "gyre.list"
local output = require "gyre.cli.output"
local select_proxy = require "gyre.cli.pool.select"

local io, ipairs = io, ipairs

local function names_proxies(command)
  command:argument("proxy", "Id or URL; - reads them from stdin."):argname("PROXY"):args "+"
end

local function count(number, done)
  output.say(("%s %d"):format(done, number))
end

-- What is meant as the name of a file: a path, or a word that has nothing of a proxy's address.
local function is_name(text)
  return text:find "^[^:@{%[]*/" or not text:find "[:@]"
end

-- What a source holds: stdin, a file, or the one proxy that the text is.
local function read(source)
  if source == "-" then
    return input.list(source)
  end
  local file, why = io.open(source, "rb")
  if file then
    file:close()
    return input.list(source)
  elseif is_name(source) then
    exit.usage(why .. "; a proxy is a URL or host:port")
  end
  return (exit.check(list.parse(source)))
end

local function add(args)
  local pool = attach.open(args.path)
  local parsed, invalid = {}, 0
  for i, source in ipairs(args.source) do
    parsed[i] = read(source)
  end
  for _, each in ipairs(parsed) do
    local report = exit.check(list.load(pool.handle, each))
    output.say(report.message)
    invalid = invalid + report.invalid
  end
  return invalid > 0 and exit.SOME_FAILED or exit.ALL_GOOD
end

local function reload(args)
  local pool = attach.open(args.path)
  local report = exit.check(pool:reload(input.list(args.list)))
  output.say(report.message)
  return report.invalid > 0 and exit.SOME_FAILED or exit.ALL_GOOD
end

-- A command that does one thing to each proxy named.
local function each_proxy(method, done)
  return function(args)
    local pool = attach.open(args.path)
    local ids = select_proxy.ids(pool, args.proxy)
    for _, id in ipairs(ids) do
      exit.check(pool[method](pool, id))
    end
    count(#ids, done)
  end
end

-- As the core has them.
local MOST = { weight = (2 - 2 ^ -23) * 2 ^ 127, cost = 2 ^ 53 - 1, max_active = 2 ^ 23 - 2, ttl = 1e7 }
local CHANGES = { "country", "region", "tags", "rate", "weight", "cost", "max_active", "ttl" }
local ABOUT = {
  country = "ISO code; an empty one clears it, as with the next three.",
  region = "Any text.",
  tags = "Comma separated.",
  rate = "Never more leases than this, e.g. 40/10s.",
  weight = "For weighted picks; 0 excludes.",
  cost = "For a request, in your unit.",
  max_active = "Leases in flight at once; 0: no limit.",
  ttl = "Seconds from now until it is removed; 0: never.",
}

local function update_options(command)
  names_proxies(command)
  for _, name in ipairs(CHANGES) do
    local option = "--" .. name:gsub("_", "-")
    if MOST[name] then
      common.add_number(command, option, ABOUT[name], 0, name == "max_active", MOST[name])
    else
      command:option(option, ABOUT[name])
    end
  end
end

-- What the core says of a label or a rate begins with its name.
local function name_option(err)
  err.message = err.message:gsub("^invalid argument: (%l+) ", function(name)
    return ABOUT[name] and ("option '--%s': "):format(name)
  end)
end

local function update(args)
  local pool = attach.open(args.path)
  local changes, any = {}, false
  for _, name in ipairs(CHANGES) do
    changes[name] = args[name]
    any = any or args[name] ~= nil
  end
  if not any then
    exit.usage "nothing to change was given; gyre help pool update lists the options"
  end
  local ids = select_proxy.ids(pool, args.proxy)
  for _, id in ipairs(ids) do
    local updated, err = pool:update(id, changes)
    if not updated then
      name_option(err)
      exit.check(nil, err)
    end
  end
  count(#ids, "updated")
end

local function add_options(command)
  local about = "A file with a list, - for a list on stdin, or one proxy. A password in an argument can be seen in "
    .. "the list of processes for a moment, and stays in the shell's history: prefer the other two."
  command:argument("source", about):argname("LIST"):args "+"
end

local function reload_options(command)
  command:argument("list", "A file with a list, or - for stdin."):argname "LIST"
end

return {
  { name = "add", about = "add proxies", options = add_options, run = add },
  { name = "rm", about = "remove proxies and wipe their credentials", options = names_proxies,
    run = each_proxy("remove", "removed") },
  { name = "update", about = "change labels, weight, cost and limits", options = update_options, run = update },
  { name = "drain", about = "no new lease for these; those in flight finish", options = names_proxies,
    run = each_proxy("drain", "draining") },
  { name = "disable", about = "take out until enabled", options = names_proxies,
    run = each_proxy("disable", "disabled") },
  { name = "enable", about = "end drain, disable and any bench", options = names_proxies,
    run = each_proxy("enable", "enabled") },
  { name = "reload", about = "make the pool hold what a list holds: add, update, remove", options = reload_options,
    run = reload },
}
