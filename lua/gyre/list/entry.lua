-- One proxy of a list: from named fields (a CSV row, a JSON object, a Lua table) to what the core takes. Pure.
--
-- No reason given in here repeats a value: it could be a password in the wrong column.
local type, tonumber, tostring, pairs, ipairs = type, tonumber, tostring, pairs, ipairs
local byte, find, format, gsub, lower, match, sub = string.byte, string.find, string.format, string.gsub, string.lower,
  string.match, string.sub

--- A proxy to be: a URL with percent-encoded credentials, and what the list says about it.
---@class gyre.list.Entry
---@field url string scheme://[user[:password]@]host[:port]
---@field country? string ISO 3166 code
---@field region? string
---@field tags? string comma separated
---@field weight? number
---@field cost? number in the user's unit, per request
---@field max_active? integer leases in flight at once; 0: no limit
---@field rate? string "40/10s": never more leases in any period so long
---@field ttl? number seconds from when it is added until it is removed; 0: never
---@field line? integer where it stood in the list

local entry = {}

-- Column and key names that lists in the wild use, in lower case and with "_" for spaces and dashes, and ours for them.
local NAMES = {
  url = "url", proxy = "url", server = "url",
  scheme = "scheme", protocol = "scheme", type = "scheme",
  host = "host", hostname = "host", ip = "host", address = "host", ip_address = "host", proxy_address = "host",
  port = "port",
  user = "user", username = "user", login = "user",
  password = "password", pass = "password",
  country = "country", country_code = "code", countrycode = "code", region = "region", tags = "tags",
  weight = "weight", cost = "cost", max_active = "max_active", rate = "rate", ttl = "ttl",
}

local TEXT = { country = true, region = true, tags = true, rate = true }
local NUMBER = { weight = true, cost = true, max_active = true, ttl = true }
local ATTRIBUTES = "country, region, tags, weight, cost, max_active, rate, ttl"

--- What a template in user or password may hold after a per cent sign: see gyre.template.
entry.VARIABLES = { session = true, country = true, region = true }
-- And what after its name.
local CASES = { "^upper", "^lower" }
local SPECS = { session = { "^hex%d", "^alpha%d", "^alnum%d", "^num%d" }, country = CASES, region = CASES }

--- Our name for a column or key, or nil.
---@param name string
---@return string?
function entry.canonical(name)
  return NAMES[gsub(lower(name), "[ %-]", "_")]
end

local function escape(char)
  return format("%%%02X", byte(char))
end

--- Percent-encodes everything but RFC 3986 unreserved characters.
---@param text string
---@return string
function entry.encode(text)
  return (gsub(text, "[^%w%-%._~]", escape))
end

local function unescape(hex)
  return string.char(tonumber(hex, 16))
end

--- Decodes percent-encoding once.
---@param text string
---@return string
function entry.decode(text)
  return (gsub(text, "%%(%x%x)", unescape))
end

local function escape_variable(percents, name)
  if entry.VARIABLES[name] then
    return ("%25"):rep(#percents) .. name
  end
end

local function is_spec(name, text, from)
  for _, pattern in ipairs(SPECS[name] or {}) do
    if find(text, pattern, from) then
      return true
    end
  end
end

--- Splits "user:password" at its first colon that belongs to no variable ("%session:hex8").
---@param text string
---@return string user
---@return string? password
function entry.split(text)
  local from = 1
  while true do
    local at = find(text, ":", from, true)
    if not at then
      return text
    end
    if not is_spec(match(sub(text, 1, at - 1), "%%(%l+)$"), text, at + 1) then
      return sub(text, 1, at - 1), sub(text, at + 1)
    end
    from = at + 1
  end
end

--- Encodes the per cent signs and colons of variables in a URL whose author left them as they are: none of their names
--- begins like a percent-encoded byte, so that nothing else can be meant.
---@param url string
---@return string
function entry.escape_variables(url)
  local scheme, credentials, rest = match(url, "^(%w+://)([^@]*)(@.*)$")
  if not credentials or not find(credentials, "%%%l") then
    return url
  end
  local user, password = entry.split(credentials)
  user = gsub(gsub(user, "(%%+)(%l+)", escape_variable), ":", "%%3A")
  password = password and ":" .. gsub(password, "(%%+)(%l+)", escape_variable) or ""
  return scheme .. user .. password .. rest
end

local function url_host(host)
  if find(host, "^[%w%-%._~\128-\255]+$") then
    return host
  end
  local address = match(host, "^%[(.*)%]$") or host
  if find(address, "^%x*:%x*:[%x:%.]*$") then
    return "[" .. address .. "]"
  end
  return nil, "the host is none"
end

local function url_port(port)
  local number = tonumber(port)
  if not number or number % 1 ~= 0 or number < 1 or number > 65535 then
    return nil, "the port is no number from 1 to 65535"
  end
  return number
end

--- A proxy URL from its parts, none of them encoded.
---@param parts { scheme?: string, host: string, port?: string|number, user?: string, password?: string }
---@return string? url
---@return string? why
function entry.url(parts)
  local host, why = url_host(parts.host)
  if not host then
    return nil, why
  end
  local credentials, port = "", ""
  if parts.user then
    credentials = entry.encode(parts.user)
    if parts.password then
      credentials = credentials .. ":" .. entry.encode(parts.password)
    end
    credentials = credentials .. "@"
  elseif parts.password then
    return nil, "a password without a user"
  end
  if parts.port then
    port, why = url_port(parts.port)
    if not port then
      return nil, why
    end
    port = format(":%d", port)
  end
  return lower(parts.scheme or "http") .. "://" .. credentials .. host .. port
end

-- "host:port" and "user:password@host:port" are URLs that lack their scheme.
local function with_scheme(url, scheme)
  if find(url, "^%a[%w+.-]*://") then
    if scheme then
      return nil, "a scheme beside a URL that has one"
    end
    return entry.escape_variables(url)
  end
  return entry.escape_variables(lower(scheme or "http") .. "://" .. url)
end

local function complete_url(parts)
  if parts.host then
    if parts.url then
      return nil, "both a URL and a host"
    end
    return entry.url(parts)
  end
  if not parts.url then
    return nil, "neither a URL nor a host"
  end
  if parts.port then
    return nil, "both a URL and a port"
  end
  local url, why = with_scheme(parts.url, parts.scheme)
  if not url or not (parts.user or parts.password) then
    return url, why
  end
  if not parts.user then
    return nil, "a password without a user"
  end
  if find(url, "@", 1, true) then
    return nil, "credentials beside a URL that has some"
  end
  local scheme, rest = match(url, "^(.-://)(.*)$")
  local password = parts.password and ":" .. entry.encode(parts.password) or ""
  return scheme .. entry.encode(parts.user) .. password .. "@" .. rest
end

local function join_tags(tags)
  for _, tag in ipairs(tags) do
    if type(tag) ~= "string" then
      return nil, "tags must be text or a list of texts"
    end
  end
  return table.concat(tags, ",")
end

local function plain(name, value)
  if name == "tags" and type(value) == "table" then
    return join_tags(value)
  end
  if type(value) ~= "string" and type(value) ~= "number" then
    return nil, name .. " must be text or a number"
  end
  if name == "url" and type(value) ~= "string" then
    return nil, "the URL must be text"
  end
  if NUMBER[name] then
    local number = tonumber(value)
    if not number then
      return nil, name .. " is no number"
    end
    if name == "max_active" and (number % 1 ~= 0 or number < 0 or number > 4294967295) then
      return nil, "max_active is no whole number"
    end
    return number
  end
  return tostring(value)
end

-- What means "nothing said": JSON's null, and empty text except as a password.
local function absent(name, value)
  return type(value) == "userdata" or (value == "" and name ~= "password")
end

--- An entry from named fields.
---@param fields table<string, any>
---@return gyre.list.Entry? entry
---@return string? why when there is no entry; values are never repeated
---@return string[]? unknown names of fields that mean nothing here
function entry.from_fields(fields)
  local parts, unknown = {}, nil
  for key, value in pairs(fields) do
    local name = type(key) == "string" and entry.canonical(key)
    if not name then
      unknown = unknown or {}
      unknown[#unknown + 1] = tostring(key)
    elseif not absent(name, value) then
      if parts[name] ~= nil then
        return nil, name .. " is given twice"
      end
      local why
      parts[name], why = plain(name, value)
      if why then
        return nil, why
      end
    end
  end
  local url, why = complete_url(parts)
  if not url then
    return nil, why
  end
  local result = { url = url }
  for name in pairs(TEXT) do
    result[name] = parts[name]
  end
  for name in pairs(NUMBER) do
    result[name] = parts[name]
  end
  result.country = parts.code or parts.country -- a code beside "United States"
  return result, nil, unknown
end

--- The part of an entry that can change later, from named fields; "" stays, it clears a label.
---@param fields table<string, any> only names of attributes
---@return gyre.list.Entry? entry without URL
---@return string? why
function entry.labels(fields)
  local result = {}
  for name, value in pairs(fields) do
    local why
    result[name], why = plain(name, value)
    if why then
      return nil, why
    end
  end
  return result
end

--- Whether a name may stand in the attributes after '#'.
---@param name string
---@return boolean
function entry.is_attribute(name)
  return TEXT[name] or NUMBER[name] or false
end

--- Reads "country=de&tags=cheap,slow&weight=2" into `target`.
---@param text string
---@param target gyre.list.Entry
---@return boolean? ok
---@return string? why
function entry.read_attributes(text, target)
  for pair in text:gmatch "[^&]+" do
    local name, value = match(pair, "^([%w_]+)=(.*)$")
    if not name or not entry.is_attribute(name) then
      return nil, "unknown attribute (there are " .. ATTRIBUTES .. ")"
    end
    if target[name] ~= nil then
      return nil, name .. " is given twice"
    end
    local why
    target[name], why = plain(name, entry.decode(value))
    if why then
      return nil, why
    end
  end
  return true
end

return entry
