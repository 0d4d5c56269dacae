-- What a target learns from a proxy, by an origin that sends back the head of the request it got: as text, in JSON, or
-- as a CGI program sees it (HTTP_VIA = ...):
--   transparent   the address of the client: in a header that forwards it, or anywhere, if the address was said
--   anonymous     that there is a proxy, and not whose request it is
--   elite         nothing
-- Only what comes by http:// can tell: inside of a tunnel no proxy changes anything.
local ipairs = ipairs

local anonymity = {}

local FORWARDING = { "x-forwarded-for", "x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "cf-connecting-ip",
  "x-originating-ip", "forwarded" }
local TELLING = { "via", "proxy-connection", "x-proxy-id", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port",
  "x-forwarded-server", "x-cache", "x-bluecoat-via", "x-proxyuser-ip", "proxy-agent" }

-- Where the values of a header are in an echoed head; in JSON they may be a list.
local function values(name)
  return '%f[%w-]' .. name:gsub("%-", "%%-") .. '"?%s*[:=]%s*%[?%s*"?([^"\r\n]*)'
end

-- The value of a header in an echoed head, in lower case; nil when it did not arrive.
local function header(echoed, name)
  return echoed:match(values(name))
end

-- In lower case, and headers named as they were sent.
local function normal(body)
  return (body:lower():gsub("%f[%w_]http_([%w_]+)", function(name)
    return name:gsub("_", "-")
  end))
end

-- Whether it has the header that every request has.
local function is_head(echoed, host)
  for value in echoed:gmatch(values "host") do
    if value:sub(1, #host) == host and not value:find("^[%w.-]", #host + 1) then
      return true
    end
  end
  return false
end

local function holds_address(value)
  return value:find "%d+%.%d+%.%d+%.%d+" or value:find "%x*:%x*:%x+"
end

--- How much the echo of a request gives away.
---@param body string
---@param host string that the request was for, in lower case, without its port and brackets
---@param own_addresses string[] addresses of this machine, if they are known
---@return "transparent"|"anonymous"|"elite"|nil level nil: the body does not hold the head of the request
function anonymity.of(body, host, own_addresses)
  local echoed, tells = normal(body), false
  for _, address in ipairs(own_addresses) do
    if echoed:find(address:lower(), 1, true) then
      return "transparent"
    end
  end
  if not is_head(echoed, host) then
    return nil
  end
  for _, name in ipairs(FORWARDING) do
    local value = header(echoed, name)
    if value and holds_address(value) then
      return "transparent"
    end
    tells = tells or value ~= nil
  end
  for _, name in ipairs(TELLING) do
    tells = tells or header(echoed, name) ~= nil
  end
  return tells and "anonymous" or "elite"
end

return anonymity
