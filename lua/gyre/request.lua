-- The options of requests: read once, into what the native side, the pool and the retry loop need; then a plan each.
local criteria = require "gyre.criteria"
local headers = require "gyre.headers"
local judge = require "gyre.judge"
local net = require "gyre.net"

local error, next, pairs, setmetatable, tostring, type = error, next, pairs, setmetatable, tostring, type
local find, lower, match, sub, upper = string.find, string.lower, string.match, string.sub, string.upper

local DEFAULT_TRIES = 3
local MAX_REDIRECTS = 10
local MAX_HOST = 255
local MAX_HOSTS = 4096

--- Options of pool:get(). What is not listed here is a field of the pool's request: exclude, strategy, metadata.
---@class gyre.GetOptions : gyre.Request
---@field method? string ["GET"]
---@field headers? table<string, string|number|string[]|false> false: leave out one that is sent by default
---@field body? string
---@field timeout? number seconds for one attempt [30]
---@field connect_timeout? number seconds of it until the request can be sent [10]
---@field tries? integer attempts in all, each through another proxy [3]
---@field max_body? integer bytes after decompression [32 MiB]
---@field follow? boolean redirects, at most 10 [true]
---@field judge? gyre.Judge whose word the verdict is, before the job's, the strategy's and the default [none]
---@field wait? number seconds to wait for a proxy that is free, or a host that asks for patience [timeout]
---@field verify? boolean the target's certificate [true]
---@field verify_proxy? boolean an https proxy's certificate [true]
---@field cacert? string file of certificates to trust, for both
---@field cookies? boolean keep and send them, by identity [with a session]
---@field isolate? boolean false: connections, TLS sessions and cookies are shared by all identities [true]
---@field http2? boolean offer HTTP/2 to https targets [true]
---@field local_dns? boolean look up names here for socks4 and socks5, not at the proxy [false]
---@field polite? gyre.Polite limits that all requests with it keep together [none]
---@field job? gyre.Job whose statistics the outcome goes to

local TYPES = {
  method = "string",
  headers = "table",
  body = "string",
  timeout = "number",
  connect_timeout = "number",
  tries = "number",
  max_body = "number",
  follow = "boolean",
  judge = "judge",
  wait = "number",
  verify = "boolean",
  verify_proxy = "boolean",
  cacert = "string",
  cookies = "boolean",
  isolate = "boolean",
  http2 = "boolean",
  local_dns = "boolean",
  polite = "table",
  job = "table",
}
local WHOLE = { tries = true, max_body = true }
local POSITIVE = { timeout = true, connect_timeout = true, tries = true }
-- Passed on as they are to net.terms().
local NATIVE = {
  "body", "timeout", "connect_timeout", "max_body", "verify", "verify_proxy", "cacert", "cookies", "isolate",
  "http2", "local_dns", "session",
}
-- Known methods, in capitals also when said in small letters. Asking twice is harmless where that is true (RFC 9110,
-- 9.2.2), so that another proxy may try after the target saw the request.
local IDEMPOTENT = {
  GET = true, HEAD = true, OPTIONS = true, PUT = true, DELETE = true, TRACE = true, POST = false, PATCH = false,
}

local request = {}

local function check(name, value, level)
  local wanted = TYPES[name]
  if wanted == "judge" then
    return -- compile() looks at it
  end
  if type(value) ~= wanted then
    error(("option '%s' must be a %s, not a %s"):format(name, wanted, type(value)), level + 1)
  end
  if wanted == "string" and name ~= "body" and find(value, "%z") then
    error(("option '%s' holds a NUL"):format(name), level + 1)
  end
  if wanted == "number" and not (value >= 0 and value < 2 ^ 53 and (value > 0 or not POSITIVE[name])) then
    error(("option '%s' must be a positive number"):format(name), level + 1)
  elseif WHOLE[name] and value % 1 ~= 0 then
    error(("option '%s' must be a whole number"):format(name), level + 1)
  elseif name == "polite" and type(value.admit) ~= "function" then
    error("option 'polite' must be what gyre.polite returns", level + 1)
  end
end

--- Whether a text may be a session's id. The pool refuses the others, for each request anew.
---@param text string
---@return boolean
function request.is_session_id(text)
  return find(text, "^[%w._:@-]+$") ~= nil and #text <= 128
end

local function copy_list(list)
  local copy = {}
  if type(list) == "table" then
    for i = 1, #list do
      copy[i] = list[i]
    end
  end
  return copy
end

local function method_of(options)
  local method = options.method or "GET"
  local capitals = upper(method)
  return IDEMPOTENT[capitals] ~= nil and capitals or method
end

local function terms_of(options, method, level)
  local said = { max_redirects = options.follow == false and 0 or MAX_REDIRECTS }
  for i = 1, #NATIVE do
    said[NATIVE[i]] = options[NATIVE[i]]
  end
  said.method, said.once = method ~= "GET" and method or nil, not IDEMPOTENT[method]
  if said.cookies == nil then
    said.cookies = options.session ~= nil
  end
  local job = options.job
  if said.isolate == nil and job and job.isolate == false then
    said.isolate = false
  end
  if options.headers then
    said.headers, said.cookie = headers.lines(options.headers, said.cookies, level + 1)
  end
  return net.terms(said), said.isolate == false
end

local function compiled(value, level)
  if value == nil then
    return nil
  end
  local made, fault = judge.compile(value)
  return made or error("option 'judge': " .. fault, level + 1)
end

local hosts, host_count = {}, 0 -- of what URLs seen of late begin with; false: none

local function host_of(url)
  local authority = match(url, "^%a[%w+.-]*://([^/?#]*)")
  if not authority then
    return false
  end
  local rest = match(authority, "@([^@]*)$") or authority
  local host = lower(match(rest, "^%[([^%]]*)%]") or match(rest, "^[^:]*"))
  return #host > 0 and #host <= MAX_HOST and host
end

local function learn(beginning)
  if host_count >= MAX_HOSTS then
    hosts, host_count = {}, 0
  end
  host_count = host_count + 1
  hosts[beginning] = host_of(beginning)
  return hosts[beginning]
end

--- The host of a URL, in lower case and without brackets; nil when it has none that the pool could take.
---@param url string
---@return string?
function request.host(url)
  -- Up to the first slash after "http://x" or further on: the authority is in it whole. LuaJIT compiles this, and no
  -- pattern.
  local slash = find(url, "/", 9, true)
  local beginning = slash and sub(url, 1, slash) or url
  local known = hosts[beginning]
  if known == nil then
    known = learn(beginning)
  end
  return known or nil
end

--- The first option that there is not, if any.
---@param options table
---@return any name
function request.unknown(options)
  for name in pairs(options) do
    if not TYPES[name] and not criteria.is_field(name) then
      return name
    end
  end
  return nil
end

-- Calls in a loop mostly say the same: what was said last, of text, numbers and truth values only, and what came of it.
-- To read it anew, and have libcurl told of it anew, takes a tenth of a request.
local last, last_count, last_prepared = {}, -1, nil

local function is_said_again(options)
  local count = 0
  for name, value in pairs(options) do
    if last[name] ~= value then
      return false
    end
    count = count + 1
  end
  return count == last_count
end

local function remember(options, prepared)
  local copy, count = {}, 0
  for name, value in pairs(options) do
    local kind = type(value)
    if (kind ~= "string" and kind ~= "number" and kind ~= "boolean") or name == "body" then
      return prepared
    end
    copy[name], count = value, count + 1
  end
  last, last_count, last_prepared = copy, count, prepared
  return prepared
end

local function fields_of(options, level)
  local fields, unknown = {}, request.unknown(options)
  if unknown ~= nil then
    error(("unknown option '%s'"):format(tostring(unknown)), level + 1)
  end
  for name, value in pairs(options) do
    if TYPES[name] then
      check(name, value, level + 1)
    else
      fields[name] = value
    end
  end
  local fault = next(fields) ~= nil and criteria.fault(fields)
  if fault then
    error(fault, level + 1)
  end
  return fields
end

--- Reads options once, for any number of requests; misuse raises `level` calls up.
---@param options? gyre.GetOptions
---@param level integer
---@return table prepared not to be changed: it may be that of others who said the same
function request.prepare(options, level)
  options = options or {}
  if type(options) ~= "table" then
    error("options are a table, not a " .. type(options), level + 1)
  elseif is_said_again(options) then
    return last_prepared
  end
  local fields = fields_of(options, level + 1)
  local method = method_of(options)
  local terms, mixed = terms_of(options, method, level + 1)
  local prepared = {
    method = method,
    idempotent = IDEMPOTENT[method] or false,
    terms = terms,
    mixed = mixed,
    fields = fields, -- host and exclude are those of whichever request acquires
    own_host = fields.host,
    own_exclude = fields.exclude,
    session = fields.session,
    tries = options.tries or DEFAULT_TRIES,
    timeout = options.timeout or 30,
    wait = options.wait or options.timeout or 30,
    judge = compiled(options.judge, level + 1),
    job = options.job,
    polite = options.polite,
  }
  prepared.plan = { __index = prepared }
  return remember(options, prepared)
end

--- One request by prepared options; misuse raises `level` calls up.
---@param prepared table
---@param url string
---@param level integer
---@return table plan what was prepared, and url, host, exclude
function request.plan(prepared, url, level)
  if type(url) ~= "string" then
    error("a URL is a string, not a " .. type(url), level + 1)
  end
  local host = prepared.own_host
  if host == nil then
    host = request.host(url)
  end
  local plan = { url = url, host = host, exclude = prepared.own_exclude }
  setmetatable(plan, prepared.plan)
  return plan
end

--- Leaves one proxy more out of the next attempts.
---@param plan table
---@param id number
function request.exclude(plan, id)
  if plan.exclude == plan.own_exclude then
    plan.exclude = copy_list(plan.exclude)
  end
  plan.exclude[#plan.exclude + 1] = id
end

return request
