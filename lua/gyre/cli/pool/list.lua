-- gyre pool ls: the proxies of a pool.
local attach = require "gyre.cli.attach"
local exit = require "gyre.cli.exit"
local json = require "gyre.json"
local output = require "gyre.cli.output"
local tables = require "gyre.cli.table"

local ipairs, max, type = ipairs, math.max, type

local FIELDS = { "id", "url", "state", "country", "region", "tags", "weight", "cost", "max_active", "rate", "started",
  "completed", "succeeded", "failed", "aborted", "active", "ema_ms", "success_rate", "consecutive_failures", "bytes",
  "window", "idle", "benched", "expires_in" }
local HEAD = { "ID", "STATE", "ACTIVE", "STARTED", "FAILED", "SUCCESS", "EMA MS", "COUNTRY", "TAGS", "PROXY" }
local LEFT = { [2] = true, [8] = true, [9] = true, [10] = true }
local STATES = { "closed", "open", "half_open", "draining", "disabled" }

local list = {}

--- Everything about a proxy as a table; times are seconds from now. nil when it has just been removed.
---@param proxy gyre.Proxy
---@param now number pool time
---@return table?
function list.snapshot(proxy, now)
  local found = {}
  for _, name in ipairs(FIELDS) do
    if name ~= "idle" and name ~= "benched" and name ~= "expires_in" then
      found[name] = proxy[name]
    end
  end
  if not found.started then
    return nil
  end
  found.idle = proxy.last_used and max(now - proxy.last_used, 0) or nil
  found.benched = proxy.benched_until and max(proxy.benched_until - now, 0) or nil
  found.expires_in = proxy.expires and max(proxy.expires - now, 0) or nil
  return found
end

--- The state as a table shows it.
---@param found table a snapshot
---@return string
function list.state(found)
  if found.benched then
    return "open " .. tables.duration(found.benched)
  end
  return found.state
end

local function cells(found)
  return { ("%.0f"):format(found.id), list.state(found), ("%d"):format(found.active), ("%.0f"):format(found.started),
    ("%.0f"):format(found.failed), ("%.1f%%"):format(100 * found.success_rate), tables.milliseconds(found.ema_ms),
    found.country or "-", found.tags[1] and table.concat(found.tags, ",") or "-", found.url }
end

local function sort_by(all, field)
  local function key(found)
    local value = found[field]
    return type(value) == "number" and value or nil
  end
  table.sort(all, function(a, b) -- largest first; those without a value last
    local left, right = key(a), key(b)
    if left ~= right and left and right then
      return left > right
    elseif left ~= right then
      return left ~= nil
    end
    return a.id < b.id
  end)
end

local SORTS = { "id", "started", "failed", "active", "ema_ms", "success_rate", "bytes", "idle", "benched" }

local function options(command)
  command:flag("--json", "One JSON object a proxy and line.")
  command:option("--state", "Only these: " .. table.concat(STATES, ", ") .. "."):choices(STATES)
    :argname "STATE"
  command:option("--country", "Only those of this country.")
  command:option("--sort", "By this field, largest first: " .. table.concat(SORTS, ", ") .. "."):choices(SORTS)
    :argname "FIELD"
end

local function wanted(found, args)
  return (not args.state or found.state == args.state)
    and (not args.country or (found.country or ""):lower() == args.country:lower())
end

local function ls(args)
  local pool = attach.open(args.path)
  local now = exit.check(pool:time())
  local all, rows = {}, {}
  for proxy in pool:each() do
    local found = list.snapshot(proxy, now)
    if found and wanted(found, args) then
      all[#all + 1] = found
    end
  end
  if args.sort and args.sort ~= "id" then
    sort_by(all, args.sort)
  end
  for i, found in ipairs(all) do
    if args.json then
      output.write(json.object(found, FIELDS), "\n")
    else
      rows[i] = cells(found)
    end
  end
  if not args.json then
    output.write(table.concat(tables.lines(HEAD, rows, LEFT), "\n"), "\n")
  end
end

list[1] = { name = "ls", about = "the proxies, with counters and state", options = options, run = ls }

return list
