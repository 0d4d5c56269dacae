-- gyre get URL...: one request after the other, with curl's letters.
local attach = require "gyre.cli.attach"
local common = require "gyre.cli.common"
local exit = require "gyre.cli.exit"
local gyre = require "gyre"
local input = require "gyre.cli.input"
local mask = require "gyre.mask"
local net = require "gyre.net"
local output = require "gyre.cli.output"
local write_out = require "gyre.cli.write_out"
local stream = require "gyre.stream"
local is_token = require("gyre.headers").is_token

local io, ipairs, tostring = io, ipairs, tostring

local get = { about = "fetch URLs through a proxy, with curl's letters" }

local LARGEST = 2 ^ 30 -- a response is held in memory
local TIMEOUT = 30 -- of pool:get
local GRACE = 1 -- seconds for which the limit of one try is longer than that of all

-- Appends to one list, in the order of the command line: the n-th -o or -O is for the n-th URL.
local function add_output(args, _, value)
  args.outputs = args.outputs or {}
  table.insert(args.outputs, value)
end

local function add_remote_name(args)
  add_output(args, nil, false)
end

-- What is sent, in the order of the command line.
local function add_data(is_binary)
  return function(args, _, text)
    args.parts = args.parts or {}
    table.insert(args.parts, { text = text, is_binary = is_binary })
  end
end

function get.options(parser)
  parser:argument("url", "Without a scheme it is http://."):args "+"
  common.pool(parser, true)
  common.request(parser)
  parser:option("-X --request", "The method."):argname "METHOD"
  parser:option("-d --data", "Sends this by POST; @FILE: what it holds, without line ends; @-: stdin.")
    :argname("DATA"):action(add_data(false)):count "*"
  parser:option("--data-binary", "Likewise, as it is."):argname("DATA"):action(add_data(true)):count "*"
  parser:flag("-I --head", "The headers only, by HEAD.")
  parser:flag("-i --include", "The headers before the body.")
  parser:option("-o --output", "Into this file."):argname("FILE"):action(add_output):count "*"
  parser:flag("-O --remote-name", "Into a file named as the URL's path ends."):action(add_remote_name):count "*"
  parser:flag("-f --fail", "A status from 400 on is a failure, and its body is not shown.")
  parser:flag("-s --silent", "No words about failures.")
  parser:flag("-S --show-error", "With -s: words about failures all the same.")
  parser:flag("-v --verbose", "Which proxy made which try, and what it brought, on stderr.")
  parser:option("-w --write-out", "Print this afterwards; @FILE: what it holds; see docs/cli.md for its variables.")
    :argname "FORMAT"
  common.add_number(parser, "-m --max-time", "Seconds for a URL, all tries together.", 0.001)
  parser:option("-e --referer", "Sends a Referer header."):argname "URL"
  parser:option("-b --cookie", "Sends these cookies: a=1; b=2."):argname "DATA"
  common.add_number(parser, "--max-filesize", "Bytes of a body at most [1 GiB].", 1, true)
end

-- A text, or @FILE.
local function text_of(text, option)
  if text:sub(1, 1) ~= "@" then
    return text
  end
  return input.text(text:sub(2), option), true
end

local function body_of(args)
  local texts = {}
  for i, part in ipairs(args.parts or {}) do
    local text, is_file = text_of(part.text, "--data")
    texts[i] = is_file and not part.is_binary and text:gsub("[\r\n%z]", "") or text
  end
  return texts[1] and table.concat(texts, "&") or nil
end

local function say_head(head)
  for line in head:gmatch "[^\r\n]+" do
    output.say("< ", line)
  end
end

-- A judge that judges nothing: it is asked about every try.
local function narrator(request, response, err)
  local who = request.proxy and tostring(request.proxy) or "direct"
  if response then
    output.say(("* try %d by %s: %d, %.0f ms"):format(request.attempt, who, response.status, response.ms))
    say_head(response.head)
  else
    output.say(("* try %d by %s: %s"):format(request.attempt, who, tostring(err)))
  end
  return nil
end

local function has_header(headers, name)
  for given in pairs(headers) do
    if given:lower() == name then
      return true
    end
  end
  return false
end

local function options_of(args)
  local options = common.get_options(args)
  options.body = body_of(args)
  if options.body and not has_header(options.headers, "content-type") then
    options.headers["Content-Type"] = "application/x-www-form-urlencoded"
  end
  if args.request and not is_token(args.request) then
    exit.usage(("option '--request': '%s' is no method"):format(args.request))
  end
  options.method = args.request or (args.head and "HEAD") or (options.body and "POST") or nil
  options.headers.Referer = options.headers.Referer or args.referer
  options.headers.Cookie = options.headers.Cookie or args.cookie
  common.check_headers(options.headers)
  options.max_body = args.max_filesize or LARGEST
  if args.max_time and args.max_time < (args.timeout or TIMEOUT) then
    options.timeout = args.max_time + GRACE
  end
  options.judge = args.verbose and narrator or nil
  return options
end

-- Whose fault it is that a request was cut off, as codes and phases have it for --timeout: a proxy's, unless it had let
-- us through to the target; ours, while there was no proxy to be had.
local function blame(url, pool, err)
  if not pool then
    return "target"
  elseif not err.id then
    return "local"
  end
  local proxy = pool:get(err.id)
  local tunnelled = url:find "^[Hh][Tt][Tt][Pp][Ss]" or (proxy and proxy.scheme:find "^socks")
  return tunnelled and err.sent and "target" or "proxy"
end

-- All tries of a URL together get `seconds`. After a Ctrl-C nothing more is waited for here: options_of() has limited
-- the try that is under way.
local function within(seconds, url, pool, request)
  if not seconds then
    return request()
  end
  local work, expired = gyre.spawn(request), false
  net.spawn(true, function()
    if net.sleep(seconds) then
      expired = true
      net.cancel(work.handle)
    end
  end)
  local response, err = work:join()
  if err and expired then
    err.message = ("timeout: not within %g seconds"):format(seconds)
    err.kind, err.where = "timeout", blame(url, pool, err)
  end
  return response, err
end

local function file_name(url)
  local path = url:gsub("[?#].*", ""):match "^%a[%w+.-]*://[^/]+/(.*)$"
  local name = path and path:match "([^/]+)$"
  if not name then
    exit.usage(("option '-O': %s ends in no name of a file"):format(mask.url(url)))
  end
  return name == "-" and "./-" or name
end

local function write_file(path, ...)
  local file, why = io.open(path, "wb")
  if not file then
    exit.with(exit.SOME_FAILED, why)
  end
  local written, reason = stream.write(file, ...)
  local closed, late = file:close()
  if not written or not closed then
    exit.with(exit.SOME_FAILED, ("%s: %s"):format(path, reason or late))
  end
end

local function show(args, response, path)
  local head = (args.include or args.head) and response.head or ""
  if path == nil or path == "-" then
    output.write(head, response.body)
  else
    write_file(path, head, response.body)
  end
end

-- Whether the URL was fetched; and whether the failure is one of proxies.
local function fetch(args, url, pool, options, path)
  local response, err = within(args.max_time, url, pool, function()
    if pool then
      return pool:get(url, options)
    end
    return gyre.fetch(url, options)
  end)
  local why
  if response and args.fail and response.status >= 400 then
    why = ("the status is %d"):format(response.status)
  elseif response then
    show(args, response, path)
  else
    why = tostring(err)
  end
  if why and (not args.silent or args.show_error) then
    output.say("gyre get: ", mask.url(url), ": ", why)
  end
  if args.write_out then
    output.write(write_out.format(args.write_out, url, response, err))
  end
  return why == nil, err and (err.kind == "no_proxy" or err.where == "proxy")
end

local function fields_for(pool, strategy, options)
  if pool then
    options.strategy = strategy
    return options
  end
  options.proxy = "direct"
  for _, name in ipairs { "session", "country", "region", "tags", "state", "tries" } do
    if options[name] then
      exit.usage(("option '--%s' needs a pool"):format(name))
    end
  end
  return options
end

-- The URLs, and the files for them; what cannot be is told before the first request.
local function targets_of(args)
  local urls, paths = {}, {}
  for i, url in ipairs(args.url) do
    urls[i] = common.full_url(url)
    common.check_url(urls[i], "argument 'url'")
    paths[i] = args.outputs and args.outputs[i]
    if paths[i] == false then
      paths[i] = file_name(urls[i])
    end
  end
  return urls, paths
end

function get.run(args)
  local urls, paths = targets_of(args)
  local pool, strategy = attach.chosen(args, true)
  local failed, by_proxy = 0, 0
  args.write_out = args.write_out and text_of(args.write_out, "--write-out")
  local options = fields_for(pool, strategy, options_of(args))
  for i, url in ipairs(urls) do
    if gyre.stopping() then
      return exit.INTERRUPTED
    end
    local fetched, proxy_failed = fetch(args, url, pool, options, paths[i])
    failed = failed + (fetched and 0 or 1)
    by_proxy = by_proxy + (proxy_failed and 1 or 0)
  end
  if gyre.stopping() and failed > 0 then
    return exit.INTERRUPTED
  end
  return failed == 0 and exit.ALL_GOOD or by_proxy == #args.url and exit.NO_PROXY or exit.SOME_FAILED
end

return get
