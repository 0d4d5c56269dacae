-- gyre map FILE: many URLs at once, a record each.
local attach = require "gyre.cli.attach"
local common = require "gyre.cli.common"
local exit = require "gyre.cli.exit"
local gyre = require "gyre"
local input = require "gyre.cli.input"
local net = require "gyre.net"
local output = require "gyre.cli.output"
local records = require "gyre.cli.records"
local stream = require "gyre.stream"

local io, tostring = io, tostring

local map = { about = "fetch many URLs at once, with a record for each" }

local CONCURRENCY = 16

local FIELDS = { "line", "url", "status", "final_url", "content_type", "size", "ms", "attempts", "proxy", "verdict",
  "error", "message", "where", "file", "body" }

function map.options(parser)
  parser:argument("file", "A URL a line; - for stdin."):argname "FILE"
  common.pool(parser)
  common.request(parser)
  common.add_number(parser, "--concurrency", "Requests in flight at once [16].", 1, true)
  common.add_number(parser, "--per-host", "Of these, to one host, over all proxies [any number].", 1, true)
  common.add_number(parser, "--delay", "Seconds from one request to a host to the next [0].", 0)
  parser:option("--out", "Where the records go [stdout]."):argname "FILE"
  parser:option("--format", "Of the records [jsonl; csv when --out ends in .csv]."):choices { "jsonl", "csv" }
    :argname "FORMAT"
  parser:flag("--ordered", "In the order of the input, not as they finish.")
  parser:flag("--body", "The body in the record; for text.")
  parser:option("--bodies", "The body in a file of this folder, named by the number of the line; it is made.")
    :argname "FOLDER"
  parser:flag("-f --fail", "A status from 400 on is a failure.")
  parser:flag("-s --silent", "No progress, no summary.")
  common.add_number(parser, "--max-filesize", "Bytes of a body at most [32 MiB].", 1, true)
end

-- Of each item the number of its line, and the URL as it stands there; not in the item, whose fields are options of its
-- request.
local source_of = setmetatable({}, { __mode = "k" })

local BOM = "^\239\187\191"

-- The next URL of what has been read so far, and the number of its line.
local function next_url(reader, number)
  local text = reader:ready_line()
  while text do
    number = number + 1
    local url = (number == 1 and text:gsub(BOM, "") or text):match "^%s*(.-)%s*$"
    if url ~= "" and url:sub(1, 1) ~= "#" then
      return url, number
    end
    text = reader:ready_line()
  end
  return nil, number
end

-- An iterator for pool:map(). It never waits, since results would wait with it: `more` is to have more read.
local function items_of(reader, more)
  local number = 0
  return function()
    local url
    url, number = next_url(reader, number)
    if url then
      local item = { url = common.full_url(url) }
      source_of[item] = { line = number, url = url }
      return item
    elseif reader.why then
      exit.usage(reader.why)
    elseif reader.ended then
      return nil
    end
    more()
    return false
  end
end

local function open(path)
  local reader, why = input.open(path)
  if not reader then
    exit.usage(why)
  end
  return reader
end

-- How many there are, where that can be known beforehand: the file is read twice then.
local function count_urls(path)
  if path == "-" then
    return nil
  end
  local reader, count = open(path), 0
  if not reader:can_seek() then
    return nil
  end
  while not reader.ended do
    reader:fill()
    while next_url(reader, 0) do
      count = count + 1
    end
  end
  reader:close()
  if reader.why then
    exit.usage(reader.why)
  end
  return count
end

local function save_body(folder, line, body)
  local path = ("%s/%06d"):format(folder, line)
  local file, why = io.open(path, "wb")
  if not file then
    exit.with(exit.SOME_FAILED, why)
  end
  local written, reason = stream.write(file, body)
  local closed, late = file:close()
  if not written or not closed then
    exit.with(exit.SOME_FAILED, ("%s: %s"):format(path, reason or late))
  end
  return path
end

local function record_of(args, item, response, err)
  local source = source_of[item]
  local record = { line = source.line, url = source.url }
  if response then
    record.status, record.ms, record.attempts = response.status, response.ms, response.attempts
    record.verdict, record.size = response.verdict, #response.body
    record.content_type = response.headers["content-type"]
    record.proxy = response.proxy and tostring(response.proxy)
    record.final_url = response.url ~= item.url and response.url or nil
    record.body = args.body and response.body or nil
    record.file = args.bodies and save_body(args.bodies, source.line, response.body) or nil
  else
    record.error, record.message, record.where = err.kind, tostring(err), err.where
    record.status, record.attempts, record.verdict = err.status, err.attempts, err.verdict
  end
  return record
end

-- The options of pool:map(), with the job that counts.
local function map_options(args, strategy, job)
  local options = common.get_options(args)
  options.strategy, options.job = strategy, job
  options.concurrency = common.at_once(args.concurrency or CONCURRENCY)
  options.max_body, options.ordered = args.max_filesize, args.ordered
  if args.per_host or args.delay then
    options.polite = gyre.polite { per_host = args.per_host or 0, delay = args.delay }
  end
  return options
end

local function is_failure(args, response)
  return not response or (args.fail and response.status >= 400)
end

-- Requests them all. What has come is handed on before the next result is waited for.
local function work(args, reader, total, pool, options, out)
  local totals, job = { done = 0, failed = 0, by_proxy = 0 }, options.job
  local results
  local function read_more()
    reader:fill()
    results:wake()
  end
  results = pool:map(items_of(reader, function()
    net.spawn(true, read_more)
  end), options)
  for item, response, err in results do
    totals.done = totals.done + 1
    totals.failed = totals.failed + (is_failure(args, response) and 1 or 0)
    totals.by_proxy = totals.by_proxy + (err and (err.kind == "no_proxy" or err.where == "proxy") and 1 or 0)
    out:write(record_of(args, item, response, err))
    if not results:ready() then
      out:flush()
    end
    if not args.silent then
      job:progress(totals.done, total and total - totals.done or 0, totals.failed)
    end
  end
  return totals
end

function map.run(args)
  local pool, strategy = attach.chosen(args)
  local job = gyre.job { pool = pool, name = "map" }
  local total, reader = count_urls(args.file), open(args.file)
  job.line.total = total
  if args.bodies then
    output.make_folder(args.bodies, "--bodies")
  end
  local out = records.open(args.out, args.format, FIELDS)
  local totals = work(args, reader, total, pool, map_options(args, strategy, job), out)
  reader:close()
  out:close()
  if not args.silent then
    job:finish()
  end
  if gyre.stopping() then
    output.say(("gyre map: interrupted after %d"):format(totals.done))
    return exit.INTERRUPTED
  elseif totals.failed == 0 then
    return exit.ALL_GOOD
  end
  return totals.by_proxy == totals.done and exit.NO_PROXY or exit.SOME_FAILED
end

return map
