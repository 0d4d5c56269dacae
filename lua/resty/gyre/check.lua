-- Arguments of what scripts in nginx call: a misuse raises at the caller, in the words of pool:get(), and before
-- anything is leased.
local criteria = require "gyre.criteria"

local error, pairs, pcall, tostring, type = error, pairs, pcall, tostring, type
local fill_criteria, names_fault = criteria.fill, criteria.names_fault

local MOST = 2 ^ 53
local CONNECT = { timeout = "number", connect_timeout = "number", verify = "boolean", session = "string",
  idle_timeout = "number" }
local FETCH = { method = "string", headers = "table", body = "string", max_body = "number", tries = "number",
  request = "table", judge = "function" }
for name, wanted in pairs(CONNECT) do
  FETCH[name] = wanted
end
local BALANCE = { tries = "number", authorization = "string" }
local POSITIVE = { timeout = true, connect_timeout = true }

local asked = criteria.new()

---@class gyre.nginx.check
local check = {}

local function number_fault(name, value)
  if name == "tries" then
    return not (value >= 1 and value < MOST and value % 1 == 0) and "a whole number from 1 on"
  end
  return not (value >= 0 and value < MOST and (value > 0 or not POSITIVE[name])) and "a positive number"
end

local function check_options(options, types, level)
  if type(options) ~= "table" then
    error("options are a table, not a " .. type(options), level + 1)
  end
  for name, value in pairs(options) do
    local wanted = types[name]
    if not wanted then
      error(("unknown option '%s'"):format(tostring(name)), level + 1)
    elseif type(value) ~= wanted then
      error(("option '%s' must be a %s, not a %s"):format(name, wanted, type(value)), level + 1)
    end
    local fault = wanted == "number" and number_fault(name, value)
    if fault then
      error(("option '%s' must be %s"):format(name, fault), level + 1)
    end
  end
end

local function check_url(url, level)
  if type(url) ~= "string" then
    error("a URL is a string, not a " .. type(url), level + 1)
  end
end

local function check_headers(headers, level)
  for name, value in pairs(headers) do
    if type(name) ~= "string" then
      error(("'%s' is no name of a header"):format(tostring(name)), level + 1)
    elseif type(value) ~= "string" and type(value) ~= "number" then
      error(("header '%s' must be a string, not a %s"):format(name, type(value)), level + 1)
    end
  end
end

--- What lease:connect() takes.
---@param url any
---@param options any
---@param level integer calls up, where a misuse raises
function check.connect(url, options, level)
  check_url(url, level + 1)
  if options ~= nil then
    check_options(options, CONNECT, level + 1)
  end
end

--- What gyre.fetch() takes.
---@param url any
---@param options any
---@param level integer
function check.fetch(url, options, level)
  check_url(url, level + 1)
  if options == nil then
    return
  end
  check_options(options, FETCH, level + 1)
  if options.headers then
    check_headers(options.headers, level + 1)
  end
  local request = options.request
  local fault = request and (names_fault(request) or fill_criteria(asked, request))
  if fault then
    error("option 'request': " .. fault, level + 1)
  end
end

--- What conn:request() takes.
---@param method any
---@param headers any
---@param body any
---@param max_body any
---@param level integer
function check.request(method, headers, body, max_body, level)
  if method ~= nil and type(method) ~= "string" then
    error("a method is a string, not a " .. type(method), level + 1)
  elseif headers ~= nil and type(headers) ~= "table" then
    error("headers are a table, not a " .. type(headers), level + 1)
  elseif body ~= nil and type(body) ~= "string" then
    error("a body is a string, not a " .. type(body), level + 1)
  elseif max_body ~= nil and (type(max_body) ~= "number" or number_fault("max_body", max_body)) then
    error("max_body is a number of bytes", level + 1)
  end
  if headers then
    check_headers(headers, level + 1)
  end
end

--- What gyre.balance() takes. It is asked for every request, so that it looks at no names but these.
---@param options any
---@param level integer
function check.balance(options, level)
  if options == nil then
    return
  elseif type(options) ~= "table" or (options.tries ~= nil and (type(options.tries) ~= "number"
    or number_fault("tries", options.tries))) or (options.authorization ~= nil
    and type(options.authorization) ~= "string")
  then
    check_options(options, BALANCE, level + 1)
  end
end

---@param limit any of proxies
---@param level integer
function check.limit(limit, level)
  if limit ~= nil and not (type(limit) == "number" and limit >= 0 and limit % 1 == 0) then
    error(("a limit is a number of proxies, not '%s' (a %s)"):format(tostring(limit), type(limit)), level + 1)
  end
end

--- pool:acquire() for a function of our own: what it raises, raises that function's caller. pcall costs compiled code
--- nothing.
---@param pool gyre.Pool
---@param request? gyre.Request
---@param level integer
---@return gyre.Lease? lease
---@return gyre.Error? err
function check.acquire(pool, request, level)
  local ran, lease, err = pcall(pool.acquire, pool, request)
  if not ran then
    error(lease, level + 1)
  end
  return lease, err
end

return check
