-- One line of a plain list. Pure.
--
--     http://user:p%40ss@192.0.2.7:3128          a URL: percent-decoded, once
--     192.0.2.7:3128                             http
--     192.0.2.7:3128:user:p@ss                   http; user and password as they stand, nothing is decoded
--     user:p%40ss@192.0.2.7:3128                 a URL without its scheme: decoded like one
--     user:pass:192.0.2.7:3128 and 192.0.2.7:3128@user:p%40ss   the same two, the other way round: see swapped.lua
--
-- each with attributes, "#country=de&tags=cheap,slow&weight=2", or a comment after a space and "#". Where a form is
-- ambiguous: what begins with host:number: is host:port:user:password; and a "#" inside credentials starts the
-- attributes when one of their names and "=" follow it.
local entry = require "gyre.list.entry"
local swapped = require "gyre.list.swapped"

local escape = entry.escape_variables
local find, match, sub = string.find, string.match, string.sub

local line = {}

local HOST = "[%w%-%._~\128-\255]+"
local BRACKETED = "%[%x*:[%x:%.]*%]"
local EXPECTED = "expected a URL, host:port, host:port:user:password or user:password@host:port"
local COLUMNS = "columns, and no line above names them; the first line of such a list is like host,port,user,password"

local function is_url(text)
  return find(text, "^%a[%w+.-]*://") ~= nil
end

-- Host, port and the rest of host:port:user:password.
local function raw_parts(text)
  local host, port, rest = match(text, "^(" .. HOST .. "):(%d+):(.*)$")
  if not host then
    host, port, rest = match(text, "^(" .. BRACKETED .. "):(%d+):(.*)$")
  end
  return host, port, rest
end

-- The address, the text after the "#" that ends it, and whether a space stood before that "#". Any other "#" is a raw
-- one in the credentials: in host:port:user:password anywhere, in a URL before "@".
local function split(text, raw)
  local from = 1
  while true do
    local at = find(text, "#", from, true)
    if not at then
      return text
    end
    local spaced = find(sub(text, at - 1, at - 1), "%s") ~= nil
    local name = match(text, "^([%w_]+)=", at + 1)
    local attributes = name and entry.is_attribute(name)
    if spaced or attributes or not (raw or find(text, "@", at, true)) then
      return sub(text, 1, at - 1), sub(text, at + 1), spaced
    end
    from = at + 1
  end
end

local function raw_url(host, port, rest)
  local user, password = entry.split(rest)
  if user == "" or not password then
    return nil, "user or password is missing; " .. EXPECTED
  end
  return entry.url { host = host, port = port, user = user, password = password }
end

local function swapped_url(host, port, credentials, encoded)
  if encoded then
    return escape(("http://%s@%s:%s"):format(credentials, host, port))
  end
  return raw_url(host, port, credentials)
end

local function address_url(address)
  if find(address, "[,;]") and not find(address, "[:@]") then
    return nil, COLUMNS
  end
  if find(address, "%s") then
    return nil, "a space inside the address"
  end
  if is_url(address) then
    return escape(address)
  end
  local host, port, rest, encoded = swapped.parts(address)
  if host then
    return swapped_url(host, port, rest, encoded)
  end
  host, port, rest = raw_parts(address)
  if host then
    return raw_url(host, port, rest)
  end
  if not find(address, ":%d+$") then
    return nil, "no port; " .. EXPECTED
  end
  local bare = find(address, "^" .. HOST .. ":%d+$") or find(address, "^" .. BRACKETED .. ":%d+$")
  if bare or find(address, "@", 1, true) then
    return escape("http://" .. address)
  end
  return nil, EXPECTED
end

-- "# a comment" and "#country=de" after a space: only what looks like name=value is taken for attributes.
local function is_comment(text, spaced)
  return spaced and not find(text, "^[%w_]+=")
end

--- Reads one line; it is neither blank nor a comment.
---@param text string without line end
---@return gyre.list.Entry? entry
---@return string? why never holds a part of the line
function line.parse(text)
  text = match(text, "^%s*(.-)%s*$")
  if find(text, "%c") then
    return nil, find(text, "\t", 1, true) and COLUMNS or "a control character"
  end
  local raw = not is_url(text) and raw_parts(text) ~= nil
  local address, attributes, spaced = split(text, raw)
  local url, why = address_url(match(address, "^(.-)%s*$"))
  if not url then
    return nil, why
  end
  local result = { url = url }
  if attributes and not is_comment(attributes, spaced) then
    local read
    read, why = entry.read_attributes(attributes, result)
    if not read then
      return nil, why
    end
  end
  return result
end

return line
