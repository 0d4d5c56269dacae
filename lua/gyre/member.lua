-- Adding and changing proxies: entries of a list, or tables of fields, as the core takes them.
local ffi = require "ffi"
local C = require "gyre.clib"
local entry = require "gyre.list.entry"
local errors = require "gyre.error"
local line = require "gyre.list.line"
local status = require "gyre.status"

local error, ipairs, pairs, tonumber, tostring, type = error, ipairs, pairs, tonumber, tostring, type

local id_out = ffi.new "uint64_t[1]"

---@class gyre.member
local member = {}

local LABELS = { "country", "region", "tags", "rate" }
local UPDATABLE = { country = true, region = true, tags = true, rate = true, weight = true, cost = true,
  max_active = true, ttl = true }

-- C reads a text up to its first NUL byte: what came after would vanish silently.
local function has_nul(found)
  if found.url and found.url:find("%z") then
    return true
  end
  for _, name in ipairs(LABELS) do
    if found[name] and found[name]:find("%z") then
      return true
    end
  end
  return false
end

-- The strings stay referenced by `found`, which outlives the call the spec is for.
local function spec_of(found)
  local spec = ffi.new("struct gyre_proxy_spec", { size = ffi.sizeof "struct gyre_proxy_spec" })
  spec.url = found.url
  spec.country, spec.region, spec.tags, spec.rate = found.country, found.region, found.tags, found.rate
  if found.weight then
    spec.weight, spec.has_weight = found.weight, 1
  end
  if found.cost then
    spec.cost, spec.has_cost = found.cost, 1
  end
  if found.max_active then
    spec.max_active, spec.has_max_active = found.max_active, 1
  end
  if found.ttl then
    spec.ttl, spec.has_ttl = found.ttl, 1
  end
  return spec
end

--- Adds an entry of a list.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param found gyre.list.Entry
---@return number? id
---@return gyre.Error? err kind "exists" carries the `id` it has
function member.add(handle, found)
  if has_nul(found) then
    return nil, errors.new("invalid", "a NUL byte in a proxy")
  end
  id_out[0] = 0
  local code = C.gyre_pool_add(handle, spec_of(found), id_out)
  if code == 0 then
    return tonumber(id_out[0])
  end
  return nil, status.error(code, code == C.GYRE_EEXISTS and { id = tonumber(id_out[0]) } or nil)
end

--- The proxy of an entry; nil when it is not in the pool.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param found gyre.list.Entry
---@return number? id
function member.find(handle, found)
  if not has_nul(found) and C.gyre_pool_find(handle, found.url, id_out) == 0 then
    return tonumber(id_out[0])
  end
end

--- Changes what an entry says beside its URL.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param id number
---@param found gyre.list.Entry
---@return true? changed
---@return gyre.Error? err
function member.update(handle, id, found)
  if has_nul(found) then
    return nil, errors.new("invalid", "a NUL byte in a label")
  end
  local spec = spec_of(found)
  spec.url = nil
  local code = C.gyre_pool_update(handle, id, spec)
  if code == 0 then
    return true
  end
  return nil, status.error(code)
end

--- An entry from what pool:add() takes: a line of a list, or a table of fields. Unknown fields raise.
---@param value string|table
---@param level integer where misuse is reported, as for error()
---@return gyre.list.Entry? found
---@return gyre.Error? err
function member.entry(value, level)
  if type(value) == "string" then
    local found, why = line.parse(value)
    return found, why and errors.new("invalid", why)
  end
  if type(value) ~= "table" then
    error("a proxy is a URL or a table of fields, not a " .. type(value), level + 1)
  end
  local found, why, unknown = entry.from_fields(value)
  if unknown then
    error(("unknown proxy field '%s'"):format(unknown[1]), level + 1)
  end
  return found, why and errors.new("invalid", why)
end

--- An entry from what pool:update() takes: labels and rate, where "" clears, weight, cost, max_active
--- and ttl, seconds from now. Misuse raises.
---@param fields table
---@param level integer
---@return gyre.list.Entry
function member.changes(fields, level)
  if type(fields) ~= "table" then
    error("changes are a table of fields, not a " .. type(fields), level + 1)
  end
  for name in pairs(fields) do
    if not UPDATABLE[name] then
      error(("unknown field '%s', or one that cannot change"):format(tostring(name)), level + 1)
    end
  end
  local found, why = entry.labels(fields)
  if not found then
    error(why, level + 1)
  end
  return found
end

return member
