-- Compositions: a strategy, where it picks, and who picks when nobody is there, as data. They can be written down, so
-- they travel in the segment like a name; the strategy `composite` carries them out.
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

--- What strategy.load() takes, with compositions made of the tables that describe them.
---@param value any
---@return any
function compose.part(value)
  if compose.is(value) then
    return compose.new(value)
  end
  return value
end

--- Composes: `{ where = { country = "US" }, "performance", fallback = "random" }`; other fields are options of the
--- strategy, as in `{ "session", over = "least-used" }`, and may be compositions themselves.
---@param spec table
---@return gyre.Composition
function compose.new(spec)
  if type(spec) ~= "table" then
    error("a composition is a table, not a " .. type(spec), 2)
  elseif getmetatable(spec) == Composition then
    return spec
  end
  local strategy = spec[1] ~= nil and spec[1] or spec.strategy
  if strategy == nil or spec[2] ~= nil then
    error("a composition names one strategy: { \"performance\", where = ..., fallback = ... }", 2)
  end
  if spec.options ~= nil and type(spec.options) ~= "table" then
    error("options of a composition are a table, not a " .. type(spec.options), 2)
  end
  local made = { strategy = compose.part(strategy), where = spec.where, options = {} }
  made.fallback = compose.part(spec.fallback)
  for name, value in pairs(spec.options or {}) do
    made.options[name] = compose.part(value)
  end
  for name, value in pairs(spec) do
    if type(name) == "string" and not FIELDS[name] then
      made.options[name] = compose.part(value)
    elseif type(name) ~= "string" and name ~= 1 then
      error("a composition has no field " .. tostring(name), 2)
    end
  end
  return setmetatable(made, Composition)
end

return compose
