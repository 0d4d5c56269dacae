-- What a request asks of the core: from a table of fields to struct gyre_request.
--
-- The struct points into Lua strings, which LuaJIT's collector does not see: whatever it points to is held beside it.
-- Nothing in here makes garbage or leaves compiled code, but for lists of countries and tags, which are joined.
local ffi = require "ffi"

local C = require "gyre.clib"
local unknown_field = require("gyre.fields").unknown

local find, format, gsub, zero = string.find, string.format, string.gsub, ffi.fill
local tostring, type = tostring, type

--- What the caller knows of the request to come. A field of another name is a misuse; names are looked at in each of a
--- pool's first 1,000 requests and outcomes, then in 10 of 100.
---@class gyre.Request
---@field session? string sticky: the same proxy for the same id; 1 to 128 bytes of [A-Za-z0-9._:@-]
---@field host? string the target's host name: proxies that it banned are left out, and it may ask for patience
---@field country? string|string[] ISO codes, in order of preference: the first with an eligible proxy counts
---@field region? string
---@field tags? string|string[] the proxy has all of them
---@field exclude? number[] ids of proxies not to choose
---@field key? string of consistent-hash [host, then session]
---@field choices? integer of performance, 1 to 64: how many random proxies are compared
---@field random_ties? boolean least-used and least-active: break ties at random, not by slot
---@field min_success? number 0 to 1: leaves out whose success_rate is lower
---@field max_ms? number leaves out whose ema_ms is higher; who has none yet may serve
---@field state? gyre.EligibleState|gyre.EligibleState[] "closed": certainly no probe; "half_open": certainly one; both:
--- no matter
---@field priority? number for the strategy: tiered begins higher for a higher one
---@field attempt? integer which one it is, from 1 on; for the strategy: tiered begins higher after a failure
---@field strategy? string|gyre.Strategy|gyre.Composition for this request, instead of the pool's
---@field metadata? any for the strategy; gyre does not read it

---@alias gyre.EligibleState "closed"|"half_open"

local FIELDS = {
  session = true, host = true, country = true, region = true, tags = true, exclude = true, key = true,
  choices = true, random_ties = true, strategy = true, metadata = true, min_success = true, max_ms = true,
  priority = true, attempt = true, state = true,
}
local STATES = { closed = C.GYRE_CLOSED, half_open = C.GYRE_HALF_OPEN }
local NEVER = { open = true, draining = true, disabled = true }
local FIRST_ROOM = 16

--- A request in the core's form.
---@class gyre.Criteria
---@field cell ffi.cdata* `struct gyre_request`
---@field excluded ffi.cdata* the ids it points to
---@field room integer how many fit
---@field filtered boolean by country, region, tags or host

---@class gyre.criteria
local criteria = { STATES = STATES }

--- An empty one.
---@return gyre.Criteria
function criteria.new()
  return {
    cell = ffi.new("struct gyre_request", { size = ffi.sizeof "struct gyre_request" }),
    excluded = ffi.new("uint64_t[?]", FIRST_ROOM),
    room = FIRST_ROOM,
    filtered = false,
    session = false, host = false, country = false, region = false, tags = false, key = false,
  }
end

-- Why a value is no text that C reads whole (it stops at the first NUL byte), or nil.
local function text_fault(value, name)
  if type(value) ~= "string" then
    return format("%s must be text, not a %s", name, type(value))
  end
  if find(value, "\0", 1, true) then
    return name .. " holds a NUL byte"
  end
  return nil
end

--- Text, or a list of texts joined by commas.
---@param value any
---@param name string
---@return string? text
---@return string? fault
function criteria.list_text(value, name)
  if type(value) == "table" then
    for i = 1, #value do
      if type(value[i]) ~= "string" then
        return nil, name .. " must be text or a list of texts"
      end
    end
    value = table.concat(value, ",")
  elseif type(value) ~= "string" then
    return nil, name .. " must be text or a list of texts"
  end
  return value, text_fault(value, name)
end

--- The same of countries, without spaces. An empty one would be any: one comma too many must not let requests out
--- through another country.
---@param value any
---@return string? text
---@return string? fault
function criteria.countries(value)
  local text, fault = criteria.list_text(value, "country")
  if fault or not text or not (find(text, ",", 1, true) or find(text, " ", 1, true)) then -- LuaJIT compiles no pattern
    return text, fault
  end
  text = gsub(text, "%s+", "")
  if find("," .. text .. ",", ",,", 1, true) then
    return nil, "country has an empty text in its list"
  end
  return text
end

local function state_fault(value)
  if type(value) ~= "string" then
    return format("state must be text or a list of texts, not a %s", type(value))
  elseif NEVER[value] then
    return format("state cannot be '%s': such a proxy is never eligible; it is 'closed' or 'half_open'", value)
  end
  return format("state cannot be '%s': it is 'closed' or 'half_open'", value)
end

--- The state that a text or a list of texts names; both states are no filter.
---@param value any
---@return gyre.EligibleState? state
---@return string? fault
function criteria.one_state(value)
  if type(value) ~= "table" then
    if STATES[value] then
      return value
    end
    return nil, state_fault(value)
  elseif value[1] == nil then
    return nil, "state names none: it is 'closed' or 'half_open'"
  end
  local one = value[1]
  for i = 1, #value do
    if not STATES[value[i]] then
      return nil, state_fault(value[i])
    elseif value[i] ~= one then
      one = nil
    end
  end
  return one
end

local function set_state(cell, request)
  local state, fault = request.state, nil
  cell.state = 0
  if state ~= nil then
    state, fault = criteria.one_state(state)
    if state then
      cell.state = STATES[state]
    end
  end
  return fault
end

local function make_room(self, count)
  local grown = ffi.new("uint64_t[?]", count * 2)
  ffi.copy(grown, self.excluded, self.cell.exclude_count * 8)
  self.excluded, self.room = grown, count * 2
end

local function set_exclude(self, exclude)
  if type(exclude) ~= "table" then
    return "exclude must be a list of ids"
  end
  local count = #exclude
  self.cell.exclude_count = 0
  if count > self.room then
    make_room(self, count)
  end
  local excluded = self.excluded
  for i = 1, count do
    local id = exclude[i]
    if type(id) ~= "number" or not (id >= 0 and id < 2 ^ 53 and id % 1 == 0) then
      return "exclude must be a list of ids"
    end
    excluded[i - 1] = id
  end
  self.cell.exclude = excluded
  self.cell.exclude_count = count
  return nil
end

-- session, host and key; the core judges what they hold.
local function set_names(self, cell, request)
  local session, host, key, fault = request.session, request.host, request.key, nil
  if session ~= nil then
    fault = text_fault(session, "session")
    self.session = session
  end
  if host ~= nil then
    fault = fault or text_fault(host, "host") or (find(host, "/", 1, true) and "host is a name or an address, no URL")
    self.host = host
    self.filtered = true
  end
  if key ~= nil then
    fault = fault or text_fault(key, "key")
    self.key = key
  end
  if fault == nil then
    cell.session, cell.host, cell.key = session, host, key
  end
  return fault
end

local function set_labels(self, cell, request)
  local country, region, tags, fault = request.country, request.region, request.tags, nil
  if country ~= nil then
    country, fault = criteria.countries(country)
    self.country = country
    self.filtered = true
  end
  if region ~= nil then
    fault = fault or text_fault(region, "region")
    self.region = region
    self.filtered = true
  end
  if tags ~= nil and fault == nil then
    tags, fault = criteria.list_text(tags, "tags")
    self.tags = tags
    self.filtered = true
  end
  if fault == nil then
    cell.country, cell.region, cell.tags = country, region, tags
  end
  return fault
end

local function set_picking(cell, request)
  local choices, random_ties = request.choices, request.random_ties
  cell.choices, cell.random_ties = 0, 0
  if choices ~= nil then
    if type(choices) ~= "number" or not (choices >= 1 and choices <= 64 and choices % 1 == 0) then
      return "choices must be a whole number from 1 to 64"
    end
    cell.choices = choices
  end
  if random_ties ~= nil then
    if type(random_ties) ~= "boolean" then
      return "random_ties must be true or false"
    end
    cell.random_ties = random_ties and 1 or 0
  end
  return nil
end

-- What it asks of the proxy's record; priority and attempt are only checked.
local function set_limits(cell, request)
  local min_success, max_ms, attempt, priority = request.min_success, request.max_ms, request.attempt, request.priority
  cell.min_success, cell.max_ms = 0, 0
  if min_success ~= nil then
    if type(min_success) ~= "number" or not (min_success >= 0 and min_success <= 1) then
      return "min_success must be a number from 0 to 1"
    end
    cell.min_success = min_success
  end
  if max_ms ~= nil then
    if type(max_ms) ~= "number" or max_ms <= 0 or max_ms ~= max_ms then
      return "max_ms must be a number of milliseconds above 0"
    end
    cell.max_ms = max_ms
  end
  if attempt ~= nil and (type(attempt) ~= "number" or not (attempt >= 1 and attempt % 1 == 0)) then
    return "attempt must be a whole number from 1 on"
  end
  if priority ~= nil and (type(priority) ~= "number" or priority ~= priority) then
    return "priority must be a number"
  end
  return nil
end

local SIZE = ffi.sizeof "struct gyre_request"

--- Asks for nothing.
---@param self gyre.Criteria
function criteria.clear(self)
  zero(self.cell, SIZE)
  self.cell.size = SIZE
  self.filtered = false
end

--- What is wrong with the names of a request's fields: a misuse, to be raised.
---@param request table
---@return string? fault
function criteria.names_fault(request)
  local unknown = unknown_field(request, FIELDS)
  return unknown ~= nil and format("unknown request field '%s'", tostring(unknown)) or nil
end

--- Whether a request has a field of this name.
---@param name any
---@return boolean
function criteria.is_field(name)
  return FIELDS[name] ~= nil
end

--- Whether a request asks for nothing. Written out: where the request is written, compiled code knows its fields and
--- leaves all of this out.
---@param request table
---@return boolean
function criteria.is_empty(request)
  return request.session == nil and request.host == nil and request.country == nil and request.region == nil
    and request.tags == nil and request.exclude == nil and request.strategy == nil and request.key == nil
    and request.choices == nil and request.random_ties == nil and request.min_success == nil and request.max_ms == nil
    and request.state == nil and request.priority == nil and request.attempt == nil and request.metadata == nil
end

--- Takes over the fields of a request.
---@param self gyre.Criteria
---@param request table
---@return string? fault what is wrong with what they hold: a misuse, to be raised
function criteria.fill(self, request)
  local cell = self.cell
  self.filtered = false
  local fault = set_names(self, cell, request) or set_labels(self, cell, request) or set_picking(cell, request)
    or set_limits(cell, request) or set_state(cell, request)
  if request.exclude ~= nil then
    return fault or set_exclude(self, request.exclude)
  end
  cell.exclude_count = 0
  return fault
end

local trial = criteria.new()

--- What is wrong with what a request's fields hold, before anybody acquires by it.
---@param request table
---@return string? fault a misuse, to be raised
function criteria.fault(request)
  local fault = criteria.fill(trial, request)
  criteria.clear(trial)
  return fault
end

--- Leaves one proxy more out.
---@param self gyre.Criteria
---@param id number
function criteria.exclude(self, id)
  local cell = self.cell
  local count = cell.exclude_count
  if count == self.room then
    make_room(self, count + 1)
  end
  self.excluded[count] = id
  cell.exclude = self.excluded
  cell.exclude_count = count + 1
end

--- Whether the request excludes a proxy.
---@param self gyre.Criteria
---@param id number
---@return boolean
function criteria.excludes(self, id)
  for i = 0, self.cell.exclude_count - 1 do
    if self.excluded[i] == id then
      return true
    end
  end
  return false
end

return criteria
