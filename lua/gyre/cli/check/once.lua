-- gyre check LIST: every proxy of a list, once.
local anonymity = require "gyre.cli.check.anonymity"
local exit = require "gyre.cli.exit"
local gyre = require "gyre"
local histogram = require "gyre.histogram"
local input = require "gyre.cli.input"
local net = require "gyre.net"
local output = require "gyre.cli.output"
local probe = require "gyre.cli.check.probe"
local progress = require "gyre.progress"
local records = require "gyre.cli.records"
local request = require "gyre.request"

local debug, error, ipairs, math, pairs, tostring, xpcall = debug, error, ipairs, math, pairs, tostring, xpcall

local once = {}

local FIELDS = { "proxy", "live", "ms", "status", "anonymity", "error", "where", "message", "attempts" }

-- A limit of the list would make a proxy `busy` that is none: only its address matters here.
local function addresses(parsed)
  local bare = {}
  for name, value in pairs(parsed) do
    bare[name] = value
  end
  bare.entries = {}
  for i, entry in ipairs(parsed.entries) do
    bare.entries[i] = { url = entry.url, line = entry.line }
  end
  return bare
end

local function read(source)
  local parsed = input.list(source)
  local pool = exit.check(gyre.open { max_proxies = math.max(#parsed.entries, 64) })
  local report = exit.check(pool:reload(addresses(parsed)))
  if report.invalid > 0 or report.duplicates > 0 then
    output.say(report.message)
  end
  local ids = {}
  for proxy in pool:each() do
    ids[#ids + 1] = proxy.id
  end
  return pool, ids, parsed, report
end

-- Says how the proxy did; tries again what failed, as often as was asked for.
local function try(job, id)
  local response, err
  for number = 1, job.args.tries do
    if net.stopping() or job.raised then
      return nil
    end
    response, err = probe.run(job.pool, id, job.args.url, job.options)
    if response then
      return response, nil, number
    end
  end
  return nil, err, job.args.tries
end

-- What an origin that is no echo says of every proxy would look like the best.
local function ask_echo(job, id)
  local response = probe.run(job.pool, id, job.args.echo, job.echo_options)
  if not response then
    return "unknown"
  end
  local good = response.status >= 200 and response.status < 300
  return good and anonymity.of(response.body, job.echo_host, job.args.my_address) or "no echo"
end

local function record_of(job, id, response, err, attempts)
  local record = { proxy = tostring(job.pool:get(id)), live = response ~= nil, attempts = attempts }
  if response then
    record.ms, record.status = response.ms, response.status
    record.anonymity = job.args.echo and ask_echo(job, id) or nil
    return record
  end
  local answer = err.response
  record.error = answer and "unexpected" or err.kind
  record.where, record.status = err.where, answer and answer.status or err.status
  record.message = answer and job.fault_of(answer) or tostring(err)
  return record
end

local function words(record)
  if record.live then
    return ("live  %8.1f ms  %s%s"):format(record.ms, record.anonymity and ("%-11s  "):format(record.anonymity) or "",
      record.proxy)
  end
  local detail = record.error == "unexpected" and record.message or ""
  return ("dead  %11s  %s  %s"):format(record.error, record.proxy, detail)
end

local function count(job, record)
  local kind = record.live and "live" or record.error
  if record.live then
    job.live = job.live + 1
    job.latency:add(record.ms)
  else
    job.dead = job.dead + 1
    job.reasons[kind] = (job.reasons[kind] or 0) + 1
  end
  if record.anonymity then
    job.levels[record.anonymity] = (job.levels[record.anonymity] or 0) + 1
  end
end

local function finish_one(job, record)
  count(job, record)
  job.line:finish()
  if job.out then
    job.out:write(record)
    job.out:flush()
  else
    output.write((words(record):gsub("%s+$", "")), "\n")
    output.flush()
  end
  local done = job.live + job.dead
  job.line:update(done, #job.ids - done, job.dead)
end

local function worker(job)
  while not net.stopping() and not job.raised do
    job.next = job.next + 1
    local id = job.ids[job.next]
    if not id then
      return
    end
    local response, err, attempts = try(job, id)
    if response or (err and err.kind ~= "aborted") then
      job.good[id] = response ~= nil
      finish_one(job, record_of(job, id, response, err, attempts))
    end
  end
end

-- The way out of a verb, and what only the program can be blamed for, with where it was.
local function handler(raised)
  return exit.of(raised) and raised or debug.traceback(tostring(raised), 2)
end

-- What a worker raises ends the others, and is raised where they are waited for: in a task it would end the program.
local function work(job)
  local ran, raised = xpcall(worker, handler, job)
  if not ran then
    job.raised = job.raised or raised
    for _, each in ipairs(job.workers) do
      net.cancel(each.handle)
    end
  end
end

local function sorted_counts(counts)
  local names = {}
  for name in pairs(counts) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b)
    return counts[a] > counts[b] or (counts[a] == counts[b] and a < b)
  end)
  for i, name in ipairs(names) do
    names[i] = ("%d %s"):format(counts[name], name)
  end
  return table.concat(names, ", ")
end

local function say_summary(job)
  local reasons, levels = sorted_counts(job.reasons), sorted_counts(job.levels)
  output.say(("checked %d of %d in %.1f s: %d live, %d dead%s"):format(job.live + job.dead, #job.ids,
    net.now() - job.started, job.live, job.dead, reasons ~= "" and " (" .. reasons .. ")" or ""))
  if job.live > 0 then
    output.say(("latency: p50 %.1f ms, p95 %.1f ms, p99 %.1f ms"):format(job.latency:percentile(0.5),
      job.latency:percentile(0.95), job.latency:percentile(0.99)))
  end
  if levels ~= "" then
    output.say("anonymity: ", levels)
  end
end

local ATTRIBUTES = { "country", "region", "tags", "weight", "cost", "max_active", "rate", "ttl" }

local function line_of(entry)
  local attributes = {}
  for _, name in ipairs(ATTRIBUTES) do
    local value = entry[name]
    if value then
      value = type(value) == "number" and ("%.15g"):format(value) or require("gyre.list.entry").encode(value)
      attributes[#attributes + 1] = name .. "=" .. value
    end
  end
  return entry.url .. (attributes[1] and "#" .. table.concat(attributes, "&") or "")
end

-- The live ones, as lines of a list, in their order; with their credentials, so nobody else may read it.
local function write_live(job, path)
  local files = require "gyre.files"
  local lines = {}
  for _, entry in ipairs(job.parsed.entries) do
    local proxy = job.pool:find(entry.url)
    if proxy and job.good[proxy.id] and job.report.ids[proxy.id] == entry.line then
      lines[#lines + 1] = line_of(entry) .. "\n"
    end
  end
  exit.check(files.write_private(path, function(out)
    out(table.concat(lines))
  end))
end

--- Checks a list.
---@param args table
---@param fault_of fun(response: gyre.Response): string?
---@return integer code
function once.run(args, fault_of)
  if args.live then
    output.check_place(args.live, "--live")
  end
  local pool, ids, parsed, report = read(args.list)
  local job = {
    args = args, pool = pool, ids = ids, parsed = parsed, report = report, fault_of = fault_of,
    options = probe.options(fault_of, args.timeout, { follow = false }),
    echo_options = probe.options(function() end, args.timeout, { follow = false }),
    echo_host = args.echo and request.host(args.echo),
    workers = {}, next = 0, live = 0, dead = 0, reasons = {}, levels = {}, good = {}, latency = histogram.new(),
    line = progress.new { name = "check", total = #ids }, started = net.now(),
  }
  if args.format or (args.out and args.out ~= "-") then
    job.out = records.open(args.out, args.format, FIELDS)
  end
  for i = 1, math.min(args.concurrency, #ids) do
    job.workers[i] = gyre.spawn(work, job)
  end
  for _, each in ipairs(job.workers) do
    each:join()
  end
  job.line:finish()
  if job.raised then
    error(job.raised, 0)
  end
  if job.out then
    job.out:close()
  end
  if args.live then
    write_live(job, args.live)
  end
  say_summary(job)
  if net.stopping() then
    return exit.INTERRUPTED
  elseif job.dead == 0 then
    return exit.ALL_GOOD
  end
  return job.live == 0 and exit.NO_PROXY or exit.SOME_FAILED
end

return once
