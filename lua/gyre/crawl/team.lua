-- The workers of a crawl: all take from one frontier. The first waits for the others at the end, and its report is
-- about all of them.
local cjson = require "cjson"
local json = require "gyre.json"
local net = require "gyre.net"
local workers = require "gyre.workers"

local ipairs, pairs = ipairs, pairs

local LOOK = 0.01 -- seconds between two looks at what the others do

local team = {
  number = workers.number,
  count = workers.count,
  fresh = workers.fresh,
  --- Worker 1: the others may begin.
  begin = workers.open,
  stop = workers.stop,
  stopped = workers.stopped,
}

--- How long a loop may sleep with nothing of its own to do: others change the frontier without a word.
---@param seconds number
---@return number
function team.patience(seconds)
  return team.count > 1 and seconds > LOOK and LOOK or seconds
end

-- A histogram as lists: its table of buckets has holes.
local function pack(histogram)
  local buckets = {}
  for bucket, count in pairs(histogram.buckets) do
    buckets[#buckets + 1] = { bucket, count }
  end
  return { count = histogram.count, sum = histogram.sum, top = histogram.top, buckets = buckets }
end

local function merge_histogram(into, packed)
  into.count, into.sum = into.count + packed.count, into.sum + packed.sum
  into.top = packed.top > into.top and packed.top or into.top
  for _, pair in ipairs(packed.buckets) do
    into.buckets[pair[1]] = (into.buckets[pair[1]] or 0) + pair[2]
  end
end

--- Another worker is done. Does not return.
---@param crawl table
function team.leave(crawl)
  local job, report, latencies = crawl.job, crawl.report, {}
  for id, histogram in pairs(job.latencies) do
    latencies[#latencies + 1] = { id, pack(histogram) }
  end
  local statuses = {}
  for name, count in pairs(report.statuses) do
    statuses[#statuses + 1] = { name, count }
  end
  local blamed = {}
  for host in pairs(job.blamed) do
    blamed[#blamed + 1] = host
  end
  workers.leave(json.encode {
    blamed = blamed, mixed = job.mixed or false,
    responses = job.responses, errors = job.errors, attempts = job.attempts, bytes = job.bytes,
    latency = pack(job.latency), latencies = latencies, statuses = statuses,
    script_errors = report.script_errors, reached = report.reached,
  })
end

local function merge(crawl, told, histogram)
  local job, report = crawl.job, crawl.report
  for _, name in ipairs { "responses", "errors", "attempts", "bytes" } do
    job[name] = job[name] + told[name]
  end
  merge_histogram(job.latency, told.latency)
  for _, pair in ipairs(told.latencies) do
    job.latencies[pair[1]] = job.latencies[pair[1]] or histogram.new()
    merge_histogram(job.latencies[pair[1]], pair[2])
  end
  for _, pair in ipairs(told.statuses) do
    report.statuses[pair[1]] = (report.statuses[pair[1]] or 0) + pair[2]
  end
  for _, host in ipairs(told.blamed) do
    job:blame(host)
  end
  job.mixed = job.mixed or told.mixed
  report.script_errors = report.script_errors + told.script_errors
  report.reached = report.reached or told.reached
end

--- Worker 1: waits for the others, and adds up what they have done.
---@param crawl table
function team.gather(crawl)
  local histogram = require "gyre.histogram"
  while workers.running(LOOK) > 0 do
    net.wake(net.current()) -- and no sleep: the first Ctrl-C would end each, and is not to end the waiting
    net.park() -- the loop turns: a second one is heard
  end
  for _, text in ipairs(workers.reports()) do
    merge(crawl, cjson.decode(text), histogram)
  end
end

return team
