-- Making a pool hold what a list holds, while others use it.
local base = require "gyre.pool.base"
local list = require "gyre.list"
local member = require "gyre.member"

local error, pairs, type = error, pairs, type

local Pool = {}

local function remove_others(self, ids, former)
  local gone = {}
  for proxy in self:each() do
    local id = proxy.id
    if not ids[id] and (not former or former[id]) then
      gone[#gone + 1] = id
    end
  end
  local removed = 0
  for i = 1, #gone do
    removed = removed + (self:remove(gone[i]) and 1 or 0)
  end
  return removed
end

-- Who is named by a list: those that it has loaded, and those of the entries from `at` on who are there already.
local function named_by(handle, parsed, ids, at)
  local named = {}
  for id in pairs(ids) do
    named[id] = true
  end
  for i = at, #parsed.entries do
    local id = member.find(handle, parsed.entries[i])
    if id then
      named[id] = true
    end
  end
  return named
end

--- Makes the pool hold what a list holds: adds what is new, updates what it says of the others, and removes what it
--- does not name, or of that only what is in `former`. A proxy whose line did not change keeps its counters, health,
--- sessions and leases. A list that cannot be read, or holds no usable proxy, changes nothing. Others are removed when
--- all of the list is there, or before where the pool has no room for both.
---@param source string|table path or list, as gyre.open's `proxies`; or what gyre.list.parse() returned
---@param former? table<number, any> ids of report.ids of an earlier call: whoever else is in the pool stays
---@return gyre.list.Report? report with `removed`
---@return gyre.Error? err
function Pool.reload(self, source, former)
  if type(source) ~= "string" and type(source) ~= "table" then
    error("a list is a path or a table, not a " .. type(source), 2)
  end
  local parsed, err = source, nil
  if type(source) == "string" or not source.entries then
    parsed, err = list.read(source)
  end
  if not parsed then
    return nil, err
  end
  if self.handle == nil then
    return base.closed(self)
  end
  local removed, report = 0
  report, err = list.load(self.handle, parsed, function(ids, at)
    removed = remove_others(self, named_by(self.handle, parsed, ids, at), former)
    return removed > 0
  end)
  if not report then
    return nil, err
  end
  report.removed = removed + remove_others(self, report.ids, former)
  if report.removed > 0 then
    report.message = ("%s, removed %d"):format(report.message, report.removed)
  end
  return report
end

return Pool
