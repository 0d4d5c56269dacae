-- Options that verbs share: the same name and meaning in each of them. Letters are curl's.
local exit = require "gyre.cli.exit"
local input = require "gyre.cli.input"
local mask = require "gyre.mask"
local net = require "gyre.net"
local cli_options = require "gyre.cli.options"
local output = require "gyre.cli.output"
local request = require "gyre.request"
local strategy_text = require "gyre.strategy.text"
local is_token = require("gyre.headers").is_token

local ipairs, math, pairs, type = ipairs, math, pairs, type

local common = {}

--- Adds an option that takes a number.
---@param parser table of argparse
---@param names string
---@param about string
---@param least? number [0]
---@param whole? boolean
---@param most? number [2^53 - 1]
---@return table option
function common.add_number(parser, names, about, least, whole, most)
  return parser:option(names, about):argname("N"):convert(cli_options.number(least, most, whole))
end

local number = common.add_number

--- The value of a strategy's option. 3, true, "x", ["a"] are what JSON says; anything else is the text it is.
---@param written string
---@return any
function common.value_of(written)
  local read = strategy_text.read("[" .. written .. "]")
  if read and #read == 1 then
    return read[1]
  end
  return written
end

--- A URL as people write it, without a scheme: that is http then.
---@param text string
---@return string
function common.full_url(text)
  return text:find "^%a[%w+.-]*://" and text or "http://" .. text
end

--- Ends the verb when a text is no URL that could be asked for. The message shows no credentials.
---@param url string
---@param what string where it was given
function common.check_url(url, what)
  if not url:find "^[Hh][Tt][Tt][Pp][Ss]?://" or not request.host(url) or url:find "[%c ]" then
    exit.usage(("%s: '%s' is no http:// or https:// URL"):format(what, mask.url(url)))
  end
end

--- So many requests at once as are wanted, or as the descriptors allow, which is said.
---@param wanted integer
---@return integer
function common.at_once(wanted)
  if wanted > net.most_at_once then
    local words = "%d at once, not %d: the limit of open files (ulimit -n) allows no more"
    output.say(words:format(net.most_at_once, wanted))
  end
  return math.min(wanted, net.most_at_once)
end

--- Where proxies come from; `direct`: the verb can go without.
function common.pool(parser, direct)
  parser:option("--proxies", "A list of proxies: a file, or - for stdin; its forms are in docs/lists.md.")
    :argname "FILE"
  parser:option("--pool", "A pool in shared memory, which others use too."):argname "PATH"
  parser:option("-x --proxy", "This proxy only." .. (direct and ' "" goes out without one, as --direct does.' or ""))
    :argname "URL"
  if direct then
    parser:flag("--direct", "Without a proxy. Nothing goes out directly unless this says so.")
  end
  parser:option("--strategy", "How a proxy is picked: a name, or the file of a strategy."):argname "NAME"
end

--- Which proxy a request wants, how it is tried, and what is sent.
function common.request(parser)
  parser:option("--session", "The same proxy for the same id."):argname "ID"
  parser:option("--country", "ISO code; several by comma, in order of preference."):argname "CODE"
  parser:option("--region", "Only proxies of this region."):argname "REGION"
  parser:option("--tags", "Only proxies that have all of these, comma separated."):argname "TAGS"
  parser:option("--state", "Only proxies in this state: a closed one is nobody's probe, a half_open one always is.")
    :choices { "closed", "half_open" }
  number(parser, "--tries", "Proxies to try [3].", 1, true)
  number(parser, "--timeout", "Seconds for one try [30].", 0.001)
  number(parser, "--connect-timeout", "Seconds of it until the request can be sent [10].", 0.001)
  parser:option("-H --header", 'A header, "Name: value"; "Name:" leaves one out, "Name;" sends an empty one.')
    :argname("LINE"):count "*"
  parser:option("-A --user-agent", "Who it says it is."):argname "NAME"
  parser:flag("-L --location", "Follow redirects, 10 at most.")
  parser:flag("-k --insecure", "Do not verify certificates, the target's and the proxy's.")
  parser:option("--cacert", "File of certificates to trust."):argname "FILE"
end

local function read_header_file(path, lines)
  for line in input.text(path, "--header"):gmatch "[^\n]+" do
    if line:find "%S" then
      lines[#lines + 1] = line:gsub("\r$", "")
    end
  end
end

--- Headers for pool:get() from lines as curl's -H takes them, @FILE included.
---@param given string[]
---@return table<string, any>
function common.headers(given)
  local lines, headers = {}, {}
  for _, line in ipairs(given) do
    if line:sub(1, 1) == "@" then
      read_header_file(line:sub(2), lines)
    else
      lines[#lines + 1] = line
    end
  end
  for _, line in ipairs(lines) do
    local name, value = line:match "^([^:;%s]+):%s*(.-)%s*$"
    if not name then
      name, value = line:match "^([^:;%s]+);%s*$", nil
    end
    if not name then
      exit.usage(("option '-H': '%s' is no header"):format(line:match "^[^:]*"))
    elseif value == "" then
      headers[name] = false
    elseif headers[name] then
      headers[name] = type(headers[name]) == "table" and headers[name] or { headers[name] }
      table.insert(headers[name], value or "")
    else
      headers[name] = value or ""
    end
  end
  return headers
end

--- Ends the verb when headers could not be sent.
---@param headers table<string, any>
function common.check_headers(headers)
  for name, given in pairs(headers) do
    if not is_token(name) then
      exit.usage(("'%s' is no name of a header"):format(name))
    end
    for _, value in ipairs(type(given) == "table" and given or { given }) do
      if value and value:find "[\r\n]" then
        exit.usage(("the header '%s' holds a line end"):format(name))
      end
    end
  end
end

--- What pool:get() takes, from the options of common.request().
---@param args table
---@return table
function common.get_options(args)
  local headers = common.headers(args.header)
  if args.user_agent then
    headers["User-Agent"] = args.user_agent ~= "" and args.user_agent or false
  end
  common.check_headers(headers)
  if args.session and not request.is_session_id(args.session) then
    exit.usage "option '--session': an id is 1 to 128 bytes of [A-Za-z0-9._:@-]"
  end
  local options = {
    session = args.session,
    country = args.country,
    region = args.region,
    tags = args.tags,
    state = args.state,
    tries = args.tries,
    timeout = args.timeout,
    connect_timeout = args.connect_timeout,
    headers = headers,
    follow = args.location or false,
    cacert = args.cacert,
  }
  if args.insecure then
    options.verify, options.verify_proxy = false, false
  end
  return options
end

return common
