-- Verdicts: how a request ended, said of the proxy that carried it and of the host that answered. Pure: it asks nothing
-- of a pool and sends nothing.
--
-- Who is asked, first to last, until one says something: the request's `judge`, the job's, the strategy's, the default.
-- Each of the first three is one word, a table from status to verdict, or a function.
local error, next, os, tonumber, tostring, type = error, next, os, tonumber, tostring, type
local floor, match = math.floor, string.match

--- What a judge is told of the request.
---@class gyre.Asked
---@field url string
---@field method string
---@field host string
---@field attempt integer from 1 on
---@field session? string
---@field proxy? gyre.Proxy

---@alias gyre.Judge
---| "default" 429, and 503 with Retry-After, are throttled; other 5xx target_bad; the rest ok
---| "lenient" as default, but nothing else that a target answers is anybody's fault: 5xx are ok
---| "strict" as default, and 401, 403, 451 and 999 mean that this proxy is banned
---| table<integer, gyre.Verdict> for some statuses; the others are the next judge's
---| fun(asked: gyre.Asked, response?: gyre.Response, err?: gyre.Error): gyre.Verdict?, number? nil: the next judge's;
--- the number is how many seconds to wait, with banned and throttled [what Retry-After says]

local judge = {}

local VERDICTS = {
  ok = true, banned = true, throttled = true, proxy_bad = true, target_bad = true, aborted = true,
}
local MONTHS = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12,
}
local DAY = 86400
local TIME = "(%d%d):(%d%d):(%d%d)"
local IMF_DATE = "^%a+, (%d%d) (%a%a%a) (%d%d%d%d) " .. TIME .. " GMT$"
local RFC850_DATE = "^%a+, (%d%d)%-(%a%a%a)%-(%d%d) " .. TIME .. " GMT$"
local C_DATE = "^%a+ (%a%a%a) ([ %d]%d) " .. TIME .. " (%d%d%d%d)$"

-- What a status says by itself. Only what is certain: bans look different on every site. A status without an entry is
-- looked up by its class.
local LENIENT = { [429] = "throttled" }
local DEFAULT = { [429] = "throttled", ["5"] = "target_bad" }
local STRICT = {
  [401] = "banned", [403] = "banned", [429] = "throttled", [451] = "banned", [999] = "banned", ["5"] = "target_bad",
}

local function by_status(statuses)
  return function(_, response, err)
    if not response then
      return err.verdict -- of src/net/classify.c: by codes and phases
    end
    local status = response.status
    if status == 503 and response.headers["retry-after"] then
      return "throttled"
    end
    return statuses[status] or (status >= 500 and statuses["5"]) or "ok"
  end
end

local NAMED = { default = by_status(DEFAULT), lenient = by_status(LENIENT), strict = by_status(STRICT) }

-- Days from 1970-01-01 of a date of the Gregorian calendar: H. Hinnant, "chrono-compatible low-level date algorithms".
local function days(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  local of_year = floor((153 * (month - 3) + 2) / 5) + day - 1
  return 365 * year + floor(year / 4) - floor(year / 100) + floor(year / 400) + of_year - 719468
end

local function seconds(year, month, day, hour, minute, second)
  local number = MONTHS[month]
  year, day, hour, minute, second = tonumber(year), tonumber(day), tonumber(hour), tonumber(minute), tonumber(second)
  if not number or day < 1 or day > 31 or hour > 23 or minute > 59 or second > 60 then
    return nil
  end
  return days(year, number, day) * DAY + hour * 3600 + minute * 60 + second
end

--- Reads a date of HTTP in any of its three forms (RFC 9110, 5.6.7).
---@param text string
---@return number? seconds since 1970
function judge.date(text)
  local day, month, year, hour, minute, second = match(text, IMF_DATE)
  if day then
    return seconds(year, month, day, hour, minute, second)
  end
  day, month, year, hour, minute, second = match(text, RFC850_DATE)
  if day then -- two digits: not more than 50 years ahead
    year = tonumber(year) + 2000
    year = year > tonumber(os.date "!%Y") + 50 and year - 100 or year
    return seconds(year, month, day, hour, minute, second)
  end
  month, day, hour, minute, second, year = match(text, C_DATE)
  return month and seconds(year, month, day, hour, minute, second)
end

--- How long the response asks to wait: its Retry-After, in seconds or as a date, which is read by the server's own
--- clock where it says what time it has.
---@param headers table<string, string>
---@return number? seconds above 0
function judge.retry_after(headers)
  local text = headers["retry-after"]
  if not text then
    return nil
  end
  local wait = match(text, "^%d+$") and tonumber(text)
  if not wait then
    local at = judge.date(text)
    local now = at and headers.date and judge.date(headers.date) or os.time()
    wait = at and at - now
  end
  return wait and wait > 0 and wait or nil
end

local function of_table(statuses)
  return function(_, response)
    return response and statuses[response.status]
  end
end

--- Makes a function of what an option `judge` may be.
---@param value gyre.Judge
---@return function? judge
---@return string? fault why it is none: a misuse, to be raised
function judge.compile(value)
  if type(value) == "function" then
    return value
  elseif type(value) == "string" then
    return NAMED[value], "there is no judge '" .. value .. "', only default, lenient and strict"
  elseif type(value) ~= "table" then
    return nil, "a judge is a word, a table or a function, not a " .. type(value)
  end
  local statuses = {}
  for status, verdict in next, value do -- without a metatable's __pairs, as OpenResty's LuaJIT has
    if type(status) ~= "number" or not VERDICTS[verdict] then
      return nil, "a table of verdicts has statuses as keys and verdicts as values"
    end
    statuses[status] = verdict
  end
  return of_table(statuses)
end

--- The verdict of the first judge that has one; nil in the list is passed over. Raises what a judge raises, and when
--- it returns what is no verdict.
---@param judges table functions in order, at 1 .. count
---@param count integer
---@param asked gyre.Asked
---@param response? gyre.Response
---@param err? gyre.Error
---@return gyre.Verdict verdict
---@return number? retry_after seconds; with banned and throttled only
function judge.decide(judges, count, asked, response, err)
  local verdict, wait
  for i = 1, count do
    local each = judges[i]
    if each then
      verdict, wait = each(asked, response, err)
      if verdict ~= nil then
        break
      end
    end
  end
  if verdict == nil then
    verdict, wait = NAMED.default(asked, response, err)
  end
  if not VERDICTS[verdict] then
    error(("judge returned '%s', which is no verdict"):format(tostring(verdict)), 0)
  end
  if verdict ~= "banned" and verdict ~= "throttled" then
    return verdict
  end
  if wait == nil then
    return verdict, response and judge.retry_after(response.headers)
  elseif type(wait) ~= "number" or not (wait >= 0 and wait < math.huge) then
    error(("judge returned '%s' as the seconds to wait"):format(tostring(wait)), 0)
  end
  return verdict, wait
end

return judge
