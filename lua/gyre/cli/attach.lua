-- Pools for verbs: an existing segment, or one of the verb's own from a list.
local exit = require "gyre.cli.exit"
local files = require "gyre.files"
local gyre = require "gyre"
local input = require "gyre.cli.input"
local mask = require "gyre.mask"
local output = require "gyre.cli.output"
local strategy = require "gyre.strategy"
local swap = require "gyre.swap"

local io = io

local attach = {}

-- Where the segment's strategy cannot be loaded (its file is gone, or is not for this user or container), who looks
-- after the pool can do so all the same, and give it another one.
local function without_strategy(path, err)
  output.say(err.message)
  return (exit.check(gyre.open { shared = path, strategy = "round-robin", local_only = true }))
end

--- Attaches a segment that exists. What is not there is an error: a mistyped path must not make an empty pool.
---@param path string
---@param to_pick? boolean its strategy is going to pick: one that cannot be loaded is an error, too
---@return gyre.Pool
function attach.open(path, to_pick)
  if (files.kind(path) or "file") ~= "file" then
    exit.usage(("no pool: %s is no regular file"):format(mask.place(path)))
  end
  local file, why = io.open(path, "rb")
  if not file then
    exit.usage("no pool: " .. mask.place(path) .. why:sub(#path + 1))
  end
  file:close()
  local pool, err = gyre.open { shared = path }
  if not pool and err.of_segment and not to_pick then
    return without_strategy(path, err)
  end
  return (exit.check(pool, err))
end

--- The same for a verb that goes on. The second result is to be called now and then: it ends the verb when the file has
--- been removed or replaced, since nobody else would use the one that is still open here.
---@param path string
---@return gyre.Pool pool
---@return fun() check
function attach.open_to_watch(path)
  local identity = files.identity(path)
  return attach.open(path), function()
    if files.identity(path) ~= identity then
      exit.usage(("the pool %s has been removed, or replaced by another one"):format(mask.place(path)))
    end
  end
end

--- The strategy of the segment, as this program has loaded it; or what the segment says of it, where others have
--- changed it since or it cannot be loaded.
---@param pool gyre.Pool
---@return { name: string, title: string, generation: integer }
function attach.strategy(pool)
  local said = exit.check(swap.said(pool.handle))
  local loaded = exit.check(pool:strategies())[1]
  if loaded.generation == said.generation then
    return loaded
  end
  return { name = said.name, title = said.name, generation = said.generation }
end

-- A pool of our own is as large as its list, and needs no more of anything than the verb has requests in flight.
local function own(parsed, wanted)
  local pool = exit.check(gyre.open { strategy = wanted, max_proxies = math.max(#parsed.entries, 64) })
  local report = exit.check(pool:reload(parsed))
  return pool, report
end

local function of_list(source, wanted)
  local parsed = input.list(source, "; -x takes a proxy")
  local pool, report = own(parsed, wanted)
  if report.invalid > 0 or report.duplicates > 0 then
    output.say(report.message)
  end
  return pool
end

-- A pool of the one proxy that -x names.
local function of_proxy(proxy, wanted)
  local pool = exit.check(gyre.open { strategy = wanted, max_proxies = 64 })
  local id, err = pool:add(proxy)
  if not id then
    exit.usage("-x: " .. err.message)
  end
  return pool
end

--- The pool that the options of common.pool() name, and the strategy that each request has to ask for: one in shared
--- memory is not changed by a single command.
---@param args table
---@param can_be_direct? boolean
---@return gyre.Pool? pool nil: direct, which was said
---@return string? strategy
function attach.chosen(args, can_be_direct)
  local direct = args.direct or (can_be_direct and args.proxy == "")
  local given = (args.proxies and 1 or 0) + (args.pool and 1 or 0) + (args.proxy and args.proxy ~= "" and 1 or 0)
    + (direct and 1 or 0)
  if given > 1 then
    exit.usage("--proxies, --pool, -x" .. (can_be_direct and " and --direct" or "")
      .. " exclude each other: each says how to go out")
  elseif given == 0 then
    exit.usage("say how to go out: by --proxies FILE, --pool PATH, -x URL" .. (can_be_direct and " or --direct" or ""))
  elseif direct then
    return nil
  elseif args.pool then
    local pool = attach.open(args.pool, not args.strategy)
    if args.strategy then
      exit.check(strategy.load(args.strategy)) -- each request will: what cannot be is told before the first
    end
    return pool, args.strategy
  elseif args.proxies then
    return of_list(args.proxies, args.strategy)
  end
  return of_proxy(args.proxy, args.strategy)
end

return attach
