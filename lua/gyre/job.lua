-- Jobs: statistics, progress, output as JSON lines, and a summary at the end.
--     local job = gyre.job { pool = pool, out = "pages.jsonl", name = "crawl" }
--     local response, err = pool:get(url, { job = job })       -- or job:record(response, err)
--     job:emit { url = url, status = response.status }
--     job:progress(done, queued, failed)
--     job:finish()
local errors = require "gyre.error"
local histogram = require "gyre.histogram"
local html = require "gyre.html"
local json = require "gyre.json"
local judge = require "gyre.judge"
local net = require "gyre.net"
local progress = require "gyre.progress"
local stream = require "gyre.stream"
local summary = require "gyre.summary"

local error, io, pairs, setmetatable, tostring, type = error, io, pairs, setmetatable, tostring, type

---@class gyre.Job
local Job = {}
Job.__index = Job

local FIELDS = { pool = true, out = true, name = true, interval = true, judge = true, isolate = true }

local job = {
  --- Title and links of a page: gyre.html(body, base_url, content_type) -> { title =, links = { absolute, each once, in
  --- order } }. content_type: of the response, if it has one, for the encoding.
  html = html,
}

local function check(options)
  if type(options) ~= "table" or options.pool == nil then
    error("gyre.job takes a table with a pool", 3)
  end
  for name in pairs(options) do
    if not FIELDS[name] then
      error(("unknown option '%s'"):format(tostring(name)), 3)
    end
  end
  if options.isolate ~= nil and type(options.isolate) ~= "boolean" then
    error("option 'isolate' must be true or false", 3)
  end
  if options.judge ~= nil then
    local made, fault = judge.compile(options.judge)
    if not made then
      error("option 'judge': " .. fault, 3)
    end
  end
  if options.out ~= nil and type(options.out) ~= "string" then
    error("option 'out' must be a path", 3)
  end
end

local function open_output(path)
  local file, why = io.open(path, "wb")
  if not file then
    error(errors.new("system", why), 0)
  end
  file:setvbuf("full", 65536)
  return file
end

--- Starts a job. An output that cannot be written raises.
---@param options { pool: gyre.Pool, out?: string, name?: string, interval?: number, judge?: gyre.Judge,
--- isolate?: boolean } out: path of the output, which is overwritten [stdout]; judge, isolate: of the requests that are
--- given this job and say nothing else
---@return gyre.Job
function job.job(options)
  check(options)
  return setmetatable({
    pool = options.pool,
    out = options.out,
    judge = options.judge ~= nil and judge.compile(options.judge) or nil,
    isolate = options.isolate,
    blamed = {},
    output = options.out and open_output(options.out) or io.stdout,
    line = progress.new { name = options.name, interval = options.interval },
    started = net.now(),
    baseline = summary.baseline(options.pool),
    latency = histogram.new(),
    latencies = {},
    responses = 0,
    errors = 0,
    attempts = 0,
    bytes = 0,
  }, Job)
end

--- Counts the outcome of a request. pool:get() calls this itself when it is given `job`.
---@param response? gyre.Response
---@param err? gyre.Error
function Job:record(response, err)
  if not response then
    self.errors = self.errors + 1
    self.attempts = self.attempts + (err and err.attempts or 0)
    return
  end
  self.responses = self.responses + 1
  self.attempts = self.attempts + response.attempts
  self.bytes = self.bytes + response.bytes
  self.latency:add(response.ms)
  local id = response.proxy and response.proxy.id
  if id then
    local own = self.latencies[id] or histogram.new()
    self.latencies[id] = own
    own:add(response.ms)
  end
end

--- Takes back an error that record() has counted: nothing was sent.
function Job:uncount()
  self.errors = self.errors - 1
end

--- Remembers a host that refused most of the pool at once, for the summary. pool:get() calls this.
---@param host string
function Job:blame(host)
  self.blamed[host] = true
end

--- Shows how far the job is.
---@param done integer
---@param queued? integer
---@param failed? integer
function Job:progress(done, queued, failed)
  self.line:update(done, queued, failed)
end

--- Writes an object as one line of JSON; bytes that are no UTF-8 become U+FFFD. A line that cannot be written raises.
---@param object table
function Job:emit(object)
  local written, why = stream.write(self.output, json.encode(object), "\n")
  if not written then
    error(errors.new("system", "the output cannot be written: " .. why), 0)
  end
end

--- Closes the output and prints the summary on stderr. Again is harmless.
function Job:finish()
  if self.finished then
    return
  end
  self.finished = true
  self.line:finish()
  local closed, why = self.output[self.out and "close" or "flush"](self.output)
  self.elapsed = net.now() - self.started
  io.stderr:write(summary.of(self.pool, self), "\n", summary.totals(self), "\n")
  if not closed then
    error(errors.new("system", "the output cannot be written: " .. tostring(why)), 0)
  end
end

return job
