-- What the end of an nginx request says of the proxy that carried it.
--
-- Only what is certain, as in the gyre program: 429, and 503 with Retry-After, are throttled; what the target
-- answers otherwise is no fault of the proxy. Bans look different on every site: complete the lease yourself for those.
local match = string.match
local tonumber = tonumber

local verdict = {}

--- Of a response that came through the proxy.
---@param status integer
---@param retry_after? string|number the header
---@return gyre.Verdict
---@return number? seconds the target asked for
function verdict.of_response(status, retry_after)
  if status == 407 then
    return "proxy_bad"
  elseif status == 429 or (status == 503 and retry_after) then
    return "throttled", tonumber(retry_after)
  elseif status >= 500 then
    return "target_bad"
  end
  return "ok"
end

-- What a list in nginx's $upstream_ variables says of the last attempt; nil when that is "-". A single number, the
-- usual
-- case, needs no string.match, which LuaJIT does not compile.
local function last(list)
  return tonumber(list) or tonumber(match(list, "([^%s,:]+)$"))
end

-- nginx made the status itself: nothing came from the proxy.
local function of_nginx(status)
  if status == 502 or status == 504 then
    return "proxy_bad"
  end
  return "aborted" -- the client left (499), or a script failed: it says nothing
end

--- Of a request in its log phase whose lease is still out.
---@param status integer ngx.status
---@param var table ngx.var
---@return gyre.Verdict
---@return number? retry_after seconds
---@return number? ms of the attempt; nil: there was no upstream, or nothing came from it
function verdict.of_request(status, var)
  local times = var.upstream_response_time
  if not times then -- no upstream: a script did the work
    if status >= 500 or status == 499 or status == 0 then
      return of_nginx(status)
    end
    return verdict.of_response(status)
  end
  if status >= 400 and not last(var.upstream_header_time) then
    return of_nginx(status)
  end
  local took = last(times)
  if status == 429 or status == 503 then
    return verdict.of_response(status, var.upstream_http_retry_after)
  end
  return verdict.of_response(status), nil, took and took * 1000
end

return verdict
