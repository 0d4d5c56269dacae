-- Filters of views: reading them, putting two together, and listing who passes one.
local ffi = require "ffi"
local C = require "gyre.clib"
local criteria = require "gyre.criteria"
local unknown_field = require("gyre.fields").unknown

local find, gmatch, lower, sub = string.find, string.gmatch, string.lower, string.sub
local tostring, type = tostring, type

local FIELDS = { country = true, region = true, tags = true, state = true }
local SIZE = ffi.sizeof "struct gyre_request"
local STATES = criteria.STATES

---@class gyre.filter
local filter = {}

-- The country the core is reading: nothing else might hold it.
local held = { country = "" }

-- A look of the core's that fills an array, one country after the other until somebody is found.
local function in_turn(look, handle, cell, country, into, most)
  local from, n = 1, 0
  while from and n <= 0 do
    local comma = find(country, ",", from, true)
    held.country = sub(country, from, comma and comma - 1 or -1)
    cell.country = held.country
    n = look(handle, cell, into, most)
    from = comma and comma + 1
  end
  cell.country = country
  return n
end

local function has_several(cell, country)
  return cell.country ~= nil and country and find(country, ",", 1, true)
end

--- gyre_list(), but of several countries only the first that has anyone: as picks do.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param cell ffi.cdata* `struct gyre_request`
---@param country string|false the text its country points to, if it has one
---@param slots ffi.cdata*
---@param room integer
---@return integer listed
function filter.list(handle, cell, country, slots, room)
  if has_several(cell, country) then
    return in_turn(C.gyre_list, handle, cell, country, slots, room)
  end
  return C.gyre_list(handle, cell, slots, room)
end

--- gyre_sample(), likewise.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param cell ffi.cdata* `struct gyre_request`
---@param country string|false the text its country points to, if it has one
---@param ids ffi.cdata*
---@param k integer
---@return integer found, or an error below 0
function filter.sample(handle, cell, country, ids, k)
  if has_several(cell, country) then
    return in_turn(C.gyre_sample, handle, cell, country, ids, k)
  end
  return C.gyre_sample(handle, cell, ids, k)
end

---@class gyre.Filter
---@field country? string|string[]
---@field region? string
---@field tags? string|string[] all of them
---@field state? gyre.EligibleState|gyre.EligibleState[]

--- The same without lists.
---@class gyre.filter.Wanted
---@field country? string
---@field region? string
---@field tags? string
---@field state? gyre.EligibleState

--- The parts of a filter, or what is wrong with it.
---@param wanted any
---@return string? country
---@return string? region
---@return string? tags
---@return gyre.EligibleState? state
---@return string? fault
function filter.read(wanted)
  if type(wanted) ~= "table" then
    return nil, nil, nil, nil, "a filter is a table, not a " .. type(wanted)
  end
  local unknown = unknown_field(wanted, FIELDS)
  if unknown ~= nil then
    return nil, nil, nil, nil, ("a view cannot be filtered by '%s'"):format(tostring(unknown))
  end
  local country, region, tags, state, fault = wanted.country, wanted.region, wanted.tags, wanted.state, nil
  if country ~= nil then
    country, fault = criteria.countries(country)
  end
  if tags ~= nil and not fault then
    tags, fault = criteria.list_text(tags, "tags")
  end
  if region ~= nil and type(region) ~= "string" then
    fault = fault or "region must be text"
  end
  if state ~= nil and not fault then
    state, fault = criteria.one_state(state)
  end
  return country, region, tags, state, fault
end

--- The countries of the second list that are in the first, in the second's order.
---@param allowed string
---@param wanted string
---@return string
function filter.common(allowed, wanted)
  local both, allow = {}, {}
  for country in gmatch(lower(allowed), "[^,]+") do
    allow[country] = true
  end
  for country in gmatch(wanted, "[^,]+") do
    if allow[lower(country)] then
      both[#both + 1] = country
    end
  end
  return table.concat(both, ",")
end
local common = filter.common

--- Makes `asked` ask for what passes both a request and a filter.
---@param asked gyre.Criteria
---@param request gyre.Criteria
---@param wanted gyre.filter.Wanted
---@param drop? { country?: boolean, region?: boolean } of the request's filter
---@return boolean none nothing can pass both
function filter.narrow(asked, request, wanted, drop)
  local cell, country, region, tags, state = asked.cell, wanted.country, wanted.region, wanted.tags, wanted.state
  local none = false
  ffi.copy(cell, request.cell, SIZE)
  if drop and drop.country then
    cell.country = nil
  end
  if drop and drop.region then
    cell.region = nil
  end
  if country and country ~= "" then
    if cell.country ~= nil and request.country ~= "" then
      country = common(request.country, country)
      none = country == ""
    end
    asked.country, cell.country = country, country
  else
    asked.country = request.country
  end
  if region and region ~= "" then
    none = none or (cell.region ~= nil and request.region ~= "" and request.region ~= region)
    asked.region, cell.region = region, region
  else
    asked.region = request.region
  end
  if tags and tags ~= "" then
    if cell.tags ~= nil and request.tags ~= "" then
      tags = request.tags .. "," .. tags
    end
    asked.tags, cell.tags = tags, tags
  else
    asked.tags = request.tags
  end
  if state then
    local number = STATES[state]
    none = none or (cell.state ~= 0 and cell.state ~= number)
    cell.state = number
  end
  return none
end

filter.NOTHING = {}

--- Takes fields out of what a request asks.
---@param asked gyre.Criteria
---@param fields string[] "country", "region"
function filter.drop(asked, fields)
  for i = 1, #fields do
    asked.cell[fields[i]] = nil
  end
end

return filter
