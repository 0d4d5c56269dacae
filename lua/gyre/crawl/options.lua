-- The options of gyre.crawl: types, defaults, and what follows from them.
local criteria = require "gyre.criteria"
local errors = require "gyre.error"
local files = require "gyre.files"
local judge = require "gyre.judge"
local mask = require "gyre.mask"
local request = require "gyre.request"
local robots = require "gyre.robots"
local url = require "gyre.url"

local error, ipairs, pairs, tostring, type = error, ipairs, pairs, tostring, type
local concat, lower, match, sub = table.concat, string.lower, string.match, string.sub

--- What gyre.crawl takes.
---@class gyre.CrawlOptions
---@field start string|string[] where to begin
---@field pool gyre.Pool|string|table a pool, or what gyre.open's `proxies` takes, or options of gyre.open
---@field page fun(page: gyre.Page) called for each answer
---@field failed? fun(page: gyre.Page) called for a page that could not be had: page.error says why
---@field finish? fun(totals: table) called once, at the end
---@field scope? string|string[]|fun(url: string, page?: gyre.Page): boolean which URLs are followed: those that
--- begin with one of these; "host": on a host of `start`; "any" [in the folder of `start` and below]
---@field depth? integer links from `start` at most [any number]
---@field priority? number|fun(url: string, depth: integer, page?: gyre.Page): number higher is fetched sooner, among
--- the pages of a host [0]
---@field max_pages? integer pages, and then the crawl stops [any number]
---@field concurrency? integer pages at a time, in all [16]
---@field per_host? integer|false|{ active?: integer, delay?: number } requests to a host at a time, over all
--- proxies, and seconds from the start of one to the start of the next [2, and 0.5]; false: no limit
---@field per_proxy? integer|{ active?: integer, delay?: number } likewise of each proxy [no limit]
---@field per_proxy_host? integer|{ active?: integer, delay?: number } likewise of each proxy at each host [no limit]
---@field tries? integer proxies to try for a page [3]
---@field retries? integer times that a page which failed comes back [2]
---@field retry_errors? boolean also after an error in `page` [false]
---@field timeout? number seconds for one try [30]
---@field agent? string|false User-Agent; its first word is what robots.txt knows the crawl by; false: none
--- ["gyre/VERSION (crawler)"]
---@field robots? boolean obey robots.txt [true]
---@field headers? table<string, string> of every request
---@field request? table further options of pool:get(): country, tags, cacert, max_body, ...; none that the crawl has
--- or sets itself
---@field judge? gyre.Judge of pages
---@field out? string a file for the items, "-" for standard output ["-"]
---@field format? "jsonl"|"csv" [by the name of `out`, else jsonl]
---@field columns? string[] of a CSV [the fields of the first item, sorted]
---@field compress? "gzip"|"zstd"|"none" [by the name of `out`]
---@field rotate? number|string bytes after which another file is begun: 1000000, "100M" [never]
---@field state? string|false the file that remembers the crawl [`out` .. ".state", when `out` is a regular file];
--- false: none, a crawl that is cut short begins anew
---@field fresh? boolean start over [--fresh on the command line]
---@field sync? boolean each commit waits for the disk [false]
---@field name? string of the job, in the progress line

local TYPES = {
  start = "string table", pool = "string table cdata", page = "function", failed = "function", finish = "function",
  scope = "string table function", depth = "number", priority = "number function", max_pages = "number",
  concurrency = "number", per_host = "number boolean table",
  per_proxy = "number table", per_proxy_host = "number table", tries = "number", retries = "number",
  retry_errors = "boolean", timeout = "number", agent = "string boolean", robots = "boolean", headers = "table",
  request = "table", judge = "string table function", out = "string", format = "string", columns = "table",
  compress = "string", rotate = "number string", state = "string boolean", fresh = "boolean", sync = "boolean",
  name = "string",
}
-- Whole numbers, and the least each may be.
local LEAST = { depth = 0, max_pages = 1, concurrency = 1, tries = 1, retries = 0 }
local LARGEST = 2 ^ 31 - 1
local UNITS = { [""] = 1, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30 }
local FORMATS = { jsonl = true, csv = true }
local COMPRESSIONS = { gzip = true, zstd = true, none = true }
local ENDINGS = { gz = "gzip", zst = "zstd" }
-- Fields of `request` that are options of the crawl, and those that it sets.
local OPTIONS_TOO = { headers = true, judge = true, timeout = true, tries = true }
local SET_HERE = { follow = true, job = true, polite = true }
local OF_PAGES = { body = true, max_body = true, method = true } -- and not of robots.txt
local ACTIVE, DELAY = 2, 0.5
local MAX_DELAY = 86400

local options = {}

-- Misuse, at the caller of gyre.crawl: every function below is called by options.read() directly or one level down.
local function misuse(...)
  error(("gyre.crawl: " .. ...), 0)
end

local function check_types(given)
  for name, value in pairs(given) do
    local wanted = TYPES[name]
    if not wanted then
      misuse(("unknown option '%s'"):format(tostring(name)))
    elseif not wanted:find(type(value), 1, true) then
      misuse(("option '%s' must be a %s, not a %s"):format(name, wanted:gsub(" ", " or a "), type(value)))
    end
    local least = LEAST[name]
    if least and not (value >= least and value <= LARGEST and value % 1 == 0) then
      misuse(("option '%s' must be a whole number from %d on"):format(name, least))
    end
  end
  if given.timeout and not (given.timeout > 0 and given.timeout < LARGEST) then
    misuse "option 'timeout' must be a number of seconds above 0"
  end
  for _, name in ipairs { "start", "pool", "page" } do
    if given[name] == nil then
      misuse(("option '%s' is missing"):format(name))
    end
  end
end

local function read_starts(start)
  local starts = type(start) == "string" and { start } or start
  local normal = {}
  for i, text in ipairs(starts) do
    if type(text) ~= "string" then
      misuse("option 'start' is a URL or a list of URLs")
    end
    local found, why = url.normalise(text)
    if not found then
      misuse(("the start %s: %s"):format(mask.url(text), why))
    end
    normal[i] = found
  end
  if #normal == 0 then
    misuse "option 'start' is empty"
  end
  return normal
end

local function begins_with(prefixes)
  return function(text)
    for i = 1, #prefixes do
      if sub(text, 1, #prefixes[i]) == prefixes[i] then
        return true
      end
    end
    return false
  end
end

local function map(list, change)
  local changed = {}
  for i = 1, #list do
    changed[i] = change(list[i])
  end
  return changed
end

local function folder(text)
  return match(text, "^%a+://[^?]*/")
end

local function origin(text)
  return match(text, "^%a+://[^/]+/")
end

local function prefix(text)
  if type(text) ~= "string" or not text:find "^https?://" then
    misuse('option \'scope\' is "host", "any", a function, or beginnings of URLs: http://...')
  end
  return url.normalise(text) or text
end

local function read_scope(scope, starts)
  if type(scope) == "function" then
    return scope
  elseif scope == "any" then
    return function()
      return true
    end
  elseif scope == "host" then
    return begins_with(map(starts, origin))
  elseif scope == nil then
    return begins_with(map(starts, folder))
  elseif type(scope) == "table" and scope[1] == nil then
    misuse "option 'scope' names no URL: nothing would be followed"
  end
  return begins_with(map(type(scope) == "string" and { scope } or scope, prefix))
end

local function read_per_host(given)
  if given == false then
    return { active = 0, delay = 0, off = true }
  elseif type(given) ~= "table" then
    given = { active = type(given) == "number" and given or nil }
  end
  for name in pairs(given) do
    if name ~= "active" and name ~= "delay" then
      misuse(("option 'per_host' has no field '%s'"):format(tostring(name)))
    end
  end
  local active, delay = given.active or ACTIVE, given.delay or DELAY
  if type(active) ~= "number" or not (active >= 1 and active <= LARGEST and active % 1 == 0) then
    misuse "option 'per_host': requests at a time are a whole number from 1 on"
  elseif type(delay) ~= "number" or not (delay >= 0 and delay <= MAX_DELAY) then
    misuse "option 'per_host': delay is a number of seconds, a day at most"
  end
  return { active = active, delay = delay }
end

local function read_size(given)
  local size = given
  if type(given) == "string" then
    local number, unit = match(given, "^(%d+)([KMG]?)$")
    size = number and tonumber(number) * UNITS[unit]
  end
  if given ~= nil and not (size and size >= 1) then
    misuse "option 'rotate' is a number of bytes, or like 500K, 100M, 2G"
  end
  return size
end

local function check_columns(columns)
  local seen = {}
  if columns and columns[1] == nil then
    misuse "option 'columns' is a list of names, and has none"
  end
  for _, name in ipairs(columns or {}) do
    if type(name) ~= "string" or seen[name] then
      misuse(("option 'columns' is a list of names, each once, and '%s' is none"):format(tostring(name)))
    end
    seen[name] = true
  end
end

-- Format and compression, by option or by the end of the name.
local function read_output(given)
  local out = given.out or "-"
  if out == "" then
    misuse 'option \'out\' is empty: it names a file, or is "-" for standard output'
  end
  local place = out == "-" and "device" or files.place(out)
  if place == "folder" then
    misuse(("the output %s is a folder"):format(out))
  elseif place == "device" and out ~= "-" and given.rotate then
    misuse(("option 'rotate' is for files, and the output %s is none"):format(out))
  end
  local stem, ending = match(out, "^(.*)%.(%w+)$")
  local compress = given.compress or ENDINGS[ending] or "none"
  if ENDINGS[ending] then
    ending = match(stem, "%.(%w+)$")
  end
  local format = given.format or (ending == "csv" and "csv" or "jsonl")
  if not FORMATS[format] then
    misuse(("option 'format' is jsonl or csv, not '%s'"):format(format))
  elseif not COMPRESSIONS[compress] then
    misuse(("option 'compress' is gzip, zstd or none, not '%s'"):format(compress))
  elseif given.columns and format ~= "csv" then
    misuse "option 'columns' is for a CSV"
  end
  check_columns(given.columns)
  return { out = out, place = place, format = format, compress = compress, columns = given.columns,
    rotate = read_size(given.rotate) }
end

-- Beside a device or a pipe, which nobody can go on writing where it was, a state has no place unless it was given one.
local function read_state(given, output)
  local state = given.state
  if state == nil then
    state = output.place == "file" and output.out .. ".state"
  elseif state == "" then
    misuse "option 'state' is empty: it is a path, or false"
  elseif state == true then
    misuse "option 'state' is a path, or false"
  end
  return state or nil
end

local function read_agent(given)
  local agent = given.agent
  if agent == nil then
    agent = ("gyre/%s (crawler)"):format(require("gyre").version)
  elseif agent == true or agent == "" then
    misuse "option 'agent' is a text, or false"
  end
  if agent and agent:find "[%c]" then
    misuse "option 'agent' holds a control character"
  end
  return agent, agent and robots.token(agent)
end

local function headers(given, agent)
  local all = { ["User-Agent"] = agent }
  for name, value in pairs(given.headers or {}) do
    all[name] = value
  end
  return all
end

local function check_judge(given)
  if given.judge ~= nil then
    local made, fault = judge.compile(given.judge)
    if not made then
      misuse("option 'judge': " .. fault)
    end
  end
end

-- Two of them would be sent, and robots.txt read for the one that pages are not asked for by.
local function check_headers(given)
  for name in pairs(given.headers or {}) do
    if type(name) == "string" and lower(name) == "user-agent" then
      misuse("option 'headers' must not have '" .. name .. "': that is the option 'agent'")
    end
  end
end

local function check_request(given)
  for name in pairs(given.request or {}) do
    if OPTIONS_TOO[name] then
      misuse(("option 'request' must not have '%s': that is an option of gyre.crawl itself"):format(name))
    elseif SET_HERE[name] then
      misuse(("option 'request' must not have '%s': the crawl sets it"):format(name))
    end
  end
end

-- What pool:get() is given for pages.
local function page_request(given, agent)
  local all = { tries = given.tries, timeout = given.timeout, judge = given.judge, headers = headers(given, agent) }
  for name, value in pairs(given.request or {}) do
    all[name] = value
  end
  return all
end

-- And for robots.txt: through the same proxies, but neither judged nor asked for as the job's pages are.
local function robots_request(given, agent)
  local all = { tries = given.tries, timeout = given.timeout, judge = "default", headers = { ["User-Agent"] = agent } }
  for name, value in pairs(given.request or {}) do
    if not OF_PAGES[name] then
      all[name] = value
    end
  end
  return all
end

--- Reads the options of a crawl; misuse raises `level` calls up.
---@param given gyre.CrawlOptions
---@return table settings
function options.read(given)
  if type(given) ~= "table" then
    misuse("it takes a table of options, not a " .. type(given))
  end
  check_types(given)
  check_judge(given)
  check_headers(given)
  check_request(given)
  local starts = read_starts(given.start)
  local output = read_output(given)
  local agent, token = read_agent(given)
  return {
    given = given,
    starts = starts,
    job = concat(starts, " "),
    in_scope = read_scope(given.scope, starts),
    per_host = read_per_host(given.per_host),
    output = output,
    state = read_state(given, output),
    agent = agent,
    token = token,
    robots = given.robots ~= false,
    page_request = page_request(given, agent),
    robots_request = robots_request(given, agent),
    concurrency = given.concurrency or 16,
    retries = given.retries or 2,
    depth = given.depth or -1,
    max_pages = given.max_pages or 0,
  }
end

--- Looks at what pool:get() will be given, before anything begins; misuse raises `level` calls up.
---@param settings table
---@param level integer
function options.check_request(settings, level)
  local unknown = request.unknown(settings.page_request)
  local fault = unknown ~= nil and ("there is no option '%s'"):format(tostring(unknown))
    or criteria.fault(settings.page_request)
  if fault then
    error(("gyre.crawl: option 'request': %s"):format(fault), level + 1)
  end
  request.prepare(settings.page_request, level + 1)
end

--- The error of a crawl that cannot begin.
---@param why string
---@return gyre.Error
function options.error(why)
  return errors.new("system", why)
end

return options
