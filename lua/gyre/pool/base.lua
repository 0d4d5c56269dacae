-- What the methods of pools share.
local status = require "gyre.status"

local error, tostring, type = error, tostring, type

local base = {}

--- The result of a method of a closed pool. What is no pool at all raises at the caller of the method: mostly it was
--- called with a dot.
---@param self any nil: of an object of a pool's, which has been looked at
---@return nil
---@return gyre.Error err
function base.closed(self)
  if self ~= nil and type(self) ~= "cdata" then
    error("a method of pools wants its pool: pool:method(...), with a colon", 3)
  end
  return nil, status.closed "the pool is closed"
end

--- The result for a code of the core that says nothing but whether it worked.
---@param code integer
---@return true?
---@return gyre.Error? err
function base.result(code)
  if code >= 0 then
    return true
  end
  return nil, status.error(code)
end

--- Raises at the caller of the method that calls this, unless `id` is one of a proxy.
---@param id any
function base.check_id(id)
  if type(id) ~= "number" or not (id >= 0 and id < 2 ^ 53 and id % 1 == 0) then
    local what = type(id) == "number" and tostring(id) or "a " .. type(id) -- a URL would show its password
    error("a proxy id is a whole number, not " .. what, 3)
  end
end

--- Likewise, unless `value` is text that C reads whole: it stops at the first NUL byte.
---@param value any
---@param what string
---@param level? integer so many calls up [3]
function base.check_text(value, what, level)
  if type(value) ~= "string" then
    error(("%s is text, not a %s"):format(what, type(value)), level or 3)
  end
  if value:find("\0", 1, true) then
    error(what .. " holds a NUL byte", level or 3)
  end
end

--- Likewise, unless `host` is the name or the address of one.
---@param host any
function base.check_host(host)
  base.check_text(host, "a host", 4)
  if host:find("/", 1, true) then
    error("a host is a name or an address, no URL", 3)
  end
end

--- Likewise, unless `value` is a number.
---@param value any
---@param what string
function base.check_number(value, what)
  if type(value) ~= "number" then
    error(("%s, not a %s"):format(what, type(value)), 3)
  end
end

return base
