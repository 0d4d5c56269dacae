-- A recorded pool: requests come when they came, and a proxy answers as it answered around that time. A line a request,
-- as JSON objects or as CSV with a header:
--   time     seconds, from any origin
--   proxy    any name
--   ms       how long it took
--   verdict  ok, proxy_bad, banned, throttled, target_bad [ok]
--   attempt  2 and more: a retry, which tells of its proxy but is no arrival [1]
local csv = require "gyre.list.csv"
local dice = require "gyre.sim.dice"
local errors = require "gyre.error"
local model = require "gyre.sim.model"

local io, ipairs, pairs, pcall, setmetatable = io, ipairs, pairs, pcall, setmetatable
local tonumber, tostring, type = tonumber, tostring, type
local huge, min, max = math.huge, math.min, math.max

local ENDINGS = { ok = 1, proxy_bad = 2, banned = 4, throttled = 5, target_bad = 6 }
local NEIGHBOURS = 4 -- before and after the time, of the same proxy: one of them is what happens
local FIELDS = { time = true, proxy = true, ms = true, verdict = true, attempt = true }

---@class gyre.sim.Trace: gyre.sim.Model
---@field samples { time: number, seconds: number, ending: integer }[][] by proxy, in the order of time
---@field arrivals number[]
local Trace = {}
Trace.__index = Trace

--- When the next request arrives; infinity after the last.
function Trace:arrival()
  self.next = self.next + 1
  return self.arrivals[self.next] or huge
end

-- The first sample at or after a time.
local function find(samples, time)
  local low, high = 1, #samples + 1
  while low < high do
    local middle = (low + high - (low + high) % 2) / 2
    if samples[middle].time < time then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

--- As Model:meet(): one of the few records of this proxy that are next in time.
function Trace:meet(p, now)
  local samples = self.samples[p]
  local at = find(samples, now)
  local sample = samples[self.draws:whole(max(at - NEIGHBOURS, 1), min(at + NEIGHBOURS - 1, #samples))]
  return sample.ending, sample.seconds
end

Trace.list = model.list

local function fail(path, number, why)
  return nil, errors.new("invalid", ("%s, line %d: %s"):format(path, number, why))
end

local function decoder()
  local found, cjson = pcall(require, "cjson")
  return found and cjson.new().decode or nil
end

-- The fields of a line, by a header or out of an object.
local function fields(line, header, decode)
  if not header then
    local decoded, value = pcall(decode, line)
    if not decoded or type(value) ~= "table" then
      return nil, "no JSON object"
    end
    return value
  end
  local cells, why = csv.cells(line)
  if not cells or #cells ~= #header then
    return nil, why or ("%d cells under a header of %d"):format(#cells, #header)
  end
  local found = {}
  for i, name in ipairs(header) do
    found[name] = cells[i] ~= "" and cells[i] or nil
  end
  return found
end

local function check(found)
  for name in pairs(found) do
    if not FIELDS[name] then
      return nil, ("a field '%s'; known are time, proxy, ms, verdict, attempt"):format(tostring(name))
    end
  end
  local time, ms, verdict = tonumber(found.time), tonumber(found.ms), found.verdict or "ok"
  if not time or not ms or not (ms >= 0 and ms < 1e9) or not (time > -huge and time < huge) or found.proxy == nil then
    return nil, "it needs numbers time and ms, and a proxy"
  elseif not ENDINGS[verdict] then
    return nil, ("no verdict '%s'"):format(tostring(verdict))
  end
  return { time = time, seconds = ms / 1000, ending = ENDINGS[verdict], proxy = tostring(found.proxy),
    first = (tonumber(found.attempt) or 1) <= 1 }
end

local function read(path)
  local file, why = io.open(path, "rb")
  if not file then
    return nil, errors.new("system", why)
  end
  local records, number, header, decode = {}, 0, nil, nil
  for line in file:lines() do
    number = number + 1
    line = line:gsub("\r$", "")
    if number == 1 and not line:find "^%s*{" then
      header = csv.cells(line)
    elseif line ~= "" then
      decode = decode or (not header and decoder())
      local found, bad = fields(line, header, decode)
      if found then
        found, bad = check(found)
      end
      if not found then
        file:close()
        return fail(path, number, bad)
      end
      records[#records + 1] = found
    end
  end
  file:close()
  if #records == 0 then
    return fail(path, number, "no request in it")
  end
  return records
end

-- Records by proxy, and the times of arrival, from 0 on.
local function sort_out(records)
  table.sort(records, function(a, b)
    return a.time < b.time
  end)
  local samples, arrivals, numbers, start = {}, {}, {}, records[1].time
  for _, record in ipairs(records) do
    local p = numbers[record.proxy]
    if not p then
      p = #samples + 1
      numbers[record.proxy], samples[p] = p, {}
    end
    record.time = record.time - start
    samples[p][#samples[p] + 1] = record
    if record.first then
      arrivals[#arrivals + 1] = record.time
    end
  end
  return samples, arrivals
end

---@class gyre.sim.trace
local trace = {}

--- The model of a file. The seed draws among neighbouring records.
---@param options gyre.sim.Options
---@param seed integer
---@return gyre.sim.Trace? model
---@return gyre.Error? err
function trace.new(options, seed)
  local records, err = read(options.trace)
  if not records then
    return nil, err
  end
  local samples, arrivals = sort_out(records)
  return setmetatable({
    n = #samples, samples = samples, arrivals = arrivals, next = 0, changes = {}, recovered = {}, cap = options.cap,
    draws = dice.new(seed, 2), duration = records[#records].time + 1e-3,
  }, Trace)
end

return trace
