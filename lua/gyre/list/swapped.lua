-- Addresses with their parts the other way round, as some providers hand them out: user:password:host:port and
-- host:port@user:password. Used to read a list, and not to show a password where somebody typed one. Pure.
local find, match = string.find, string.match

local swapped = {}

local HOST = "^[%w%-_]+%.[%w%-%._]*%w$" -- with a dot: one word might as well be a user
local IPV4 = "^%d+%.%d+%.%d+%.%d+$"

local function is_host(text)
  return find(text, HOST) ~= nil
end

-- The other reading, user:password@host:port, is the usual one: it gives way only where it cannot be meant.
local function by_at(text)
  local host, port, credentials = match(text, "^([^:@]+):(%d+)@(.+)$")
  if not host or not is_host(host) then
    return nil
  end
  local other = match(credentials, "([^@]*)$")
  if find(host, IPV4) then -- hardly a user, and a port hardly a password
    if find(other, ":", 1, true) and not find(other, "^%[") and not find(other, "^[^:]*[%.~\128-\255][^:]*:%d+$") then
      return host, port, credentials
    end
  elseif find(other, "^[^:]+:.*%D") and not find(other, "^%[") then -- what is behind its colon is no port
    return host, port, credentials
  end
end

-- Likewise host:port:user:password.
local function by_colon(text)
  local credentials, host, port = match(text, "^([^@]+:[^@]*):([^:@]+):(%d+)$")
  if not host or not is_host(host) then
    return nil
  end
  local first = match(text, "^([^:]+):%d+:")
  if not first or (find(host, IPV4) and not find(first, ".", 1, true)) then
    return host, port, credentials
  end
end

--- The parts of such an address; nil when it is none.
---@param text string
---@return string? host
---@return string? port
---@return string? credentials user:password
---@return boolean? encoded they are percent-encoded, as before an "@"
function swapped.parts(text)
  if find(text, "[/%s]") or find(text, "^%[") then
    return nil
  end
  local host, port, credentials = by_at(text)
  if host then
    return host, port, credentials, true
  end
  host, port, credentials = by_colon(text)
  return host, port, credentials, false
end

return swapped
