-- Compositions: a strategy, where it picks, and who picks when nobody is there, as data. They can be written down, so
-- they travel in the segment like a name; the strategy `composite` carries them out.
local is_list = require("gyre.json").is_list

local error, pairs, tostring, type = error, pairs, tostring, type
local getmetatable, setmetatable = getmetatable, setmetatable

local FIELDS = { strategy = true, where = true, fallback = true, options = true }

---@class gyre.Composition
---@field strategy string|gyre.Strategy|gyre.Composition
---@field options table<string, any> of it
---@field where? gyre.Filter only from these
---@field fallback? string|gyre.Strategy|gyre.Composition picks from all where those are out

---@class gyre.strategy.compose
local compose = {}

local Composition = {}

local function describe(value)
  if type(value) == "table" then
    return value.name or (getmetatable(value) == Composition and tostring(value)) or "a table"
  end
  return tostring(value)
end

function Composition.__tostring(self)
  return "composition of " .. describe(self.strategy)
end

--- Whether a value is a composition, or a table that describes one: `{ "session", over = "least-used" }`.
---@param value any
---@return boolean
function compose.is(value)
  if type(value) ~= "table" then
    return false
  end
  return getmetatable(value) == Composition or (value[1] ~= nil or value.strategy ~= nil) and value.select == nil
    and value.steps == nil
end

local read

-- What is made of a table is made once, `made[table]`: tables may refer to themselves.

-- An option with the compositions in it made such. A list is one, though `{ "random" }` may be meant for a strategy:
-- strategy() takes it for that.
local function option(value, made)
  if type(value) ~= "table" then
    return value
  elseif made[value] then
    return made[value]
  elseif is_list(value) then
    local list = {}
    made[value] = list
    for i = 1, #value do
      list[i] = option(value[i], made)
    end
    return list
  end
  return compose.is(value) and read(value, made) or value
end

-- A strategy or a fallback.
local function part(value, made)
  if compose.is(value) then
    return read(value, made)
  end
  return value
end

local function add_options(own, spec, made)
  for name, value in pairs(spec.options or {}) do
    own[name] = option(value, made)
  end
  for name, value in pairs(spec) do
    if type(name) == "string" and not FIELDS[name] then
      own[name] = option(value, made)
    elseif type(name) ~= "string" and name ~= 1 then
      return "a composition has no field " .. tostring(name)
    end
  end
end

local function fill(own, spec, made)
  local strategy = spec[1] ~= nil and spec[1] or spec.strategy
  if strategy == nil or spec[2] ~= nil then
    return "a composition names one strategy: { \"performance\", where = ..., fallback = ... }"
  elseif spec.options ~= nil and type(spec.options) ~= "table" then
    return "options of a composition are a table, not a " .. type(spec.options)
  end
  local why, fault
  own.strategy, why = part(strategy, made)
  own.fallback, fault = part(spec.fallback, made)
  return why or fault or add_options(own.options, spec, made)
end

-- A composition, or nil and what is wrong with it.
function read(spec, made)
  if getmetatable(spec) == Composition or made[spec] then
    return made[spec] or spec
  end
  local own = setmetatable({ where = spec.where, options = {} }, Composition)
  made[spec] = own
  local why = fill(own, spec, made)
  if why then
    made[spec] = spec
    return nil, why
  end
  return own
end

--- What strategy.load() takes, with compositions made of the tables that describe them.
---@param source any
---@param options? table<string, any>
---@return any source nil: it is no composition
---@return any options_or_why
function compose.part(source, options)
  if not compose.is(source) then
    return source, options
  end
  local made, why = read(source, {})
  return made and "composite", made or why
end

--- Options as others can load them: with the compositions in them as data.
---@param options? table<string, any>
---@return table<string, any>?
function compose.options(options)
  local own, made = {}, {}
  for name, value in pairs(options or {}) do
    own[name] = option(value, made)
  end
  return own
end

--- Composes: `{ where = { country = "US" }, "performance", fallback = "random" }`; other fields are options of the
--- strategy, as in `{ "session", over = "least-used" }`, and may be compositions themselves.
---@param spec table
---@return gyre.Composition
function compose.new(spec)
  if type(spec) ~= "table" then
    error("a composition is a table, not a " .. type(spec), 2)
  end
  local made, why = read(spec, {})
  return made or error(why, 2)
end

return compose
