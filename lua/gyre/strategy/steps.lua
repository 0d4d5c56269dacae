-- Strategies made of others: `steps`, tried in order until one has somebody. Where all that they lead to is carried out
-- by the library, so is the whole, a call a step: plan() lays it out.
local C = require "gyre.clib"
local filter = require "gyre.filter"

local ipairs, next, type, unpack = ipairs, next, type, unpack

---@class gyre.strategy.Step
---@field [1] gyre.Strategy from strategy(source) in configure
---@field where? gyre.Filter only from these
---@field asked? true|table narrowed by what the request says of the fields that the strategy takes; a table says what
--- counts where the request says nothing

local steps = {}

local PICKERS = {
  ["round-robin"] = C.GYRE_PICK_ROUND_ROBIN,
  random = C.GYRE_PICK_RANDOM,
  ["least-used"] = C.GYRE_PICK_LEAST_USED,
  ["least-active"] = C.GYRE_PICK_LEAST_ACTIVE,
  best = C.GYRE_PICK_BEST,
  weighted = C.GYRE_PICK_WEIGHTED,
  hash = C.GYRE_PICK_HASH,
}
local TAKEN = { country = true, region = true }

steps.PICKERS = PICKERS

-- ---- by select ----

-- What a step asks for by the fields that its strategy takes; nil: nothing.
local function wanted_of(takes, request, asked)
  local wanted
  for _, field in ipairs(takes) do
    local value = request[field]
    if value == nil and asked ~= true then
      value = asked[field]
    end
    if value ~= nil then
      wanted = wanted or {}
      wanted[field] = value
    end
  end
  return wanted
end

-- Only a view that somebody is in is made: one choice may make 64.
local function narrowed(view, wanted)
  if not wanted then
    return view
  end
  return not view:is_empty(wanted) and view:where(wanted) or nil
end

--- The `select` of a strategy that has only steps.
---@param self gyre.Strategy
---@param view gyre.View
---@param request gyre.Request
---@return gyre.Proxy? picked
---@return string? why
function steps.select(self, view, request)
  local list, why = self.steps, nil
  for i = self.first and self:first(request, view) or 1, #list do
    local step = list[i]
    local candidates = narrowed(view, step.where)
    if candidates and step.asked and self.takes then
      candidates = narrowed(candidates, wanted_of(self.takes, request, step.asked))
    end
    if candidates then
      local part = step[1]
      local picked, reason = part:select(candidates, request)
      if picked then
        if part.select ~= steps.select then
          steps.picker = part -- whose record is called: see active.lua
        end
        return picked
      end
      why = reason or why
    end
  end
  return nil, why or "nobody in any step"
end

-- ---- hooks of the parts ----

local function is_made_of_steps(made)
  return made.steps ~= nil and made.select == steps.select
end

local function add_leaves(made, around, leaves)
  if leaves[made] then
    return
  end
  local recorders = around
  if made.record then
    recorders = { made, unpack(around) }
  end
  leaves[made] = recorders
  if is_made_of_steps(made) then
    for _, step in ipairs(made.steps) do
      add_leaves(step[1], recorders, leaves)
    end
  end
  leaves[#leaves + 1] = made
end

--- The strategies that a strategy made of steps may leave a pick to, itself among them, each with those that have a
--- `record` on the way to it, from the inside: `leaves[made]`, one table for all who have the same. In a list too, who
--- comes first before those around it.
---@param made gyre.Strategy
---@return table leaves
function steps.leaves(made)
  local leaves = {}
  add_leaves(made, {}, leaves)
  return leaves
end

--- The strategy whose judge counts: its own, or that of the first part that has one.
---@param made gyre.Strategy
---@return gyre.Strategy?
function steps.judging(made)
  if made.judge ~= nil then
    return made
  elseif made.steps ~= nil then
    for _, step in ipairs(made.steps) do
      local judging = steps.judging(step[1])
      if judging then
        return judging
      end
    end
  end
end

-- ---- checking ----

-- A filter in the form that costs nothing when it is used.
local function normal(where)
  local country, region, tags, state, fault = filter.read(where)
  if fault then
    return nil, fault
  elseif not (country or region or tags or state) then
    return nil
  end
  return { country = country, region = region, tags = tags, state = state }
end

local function check_step(step)
  if type(step) ~= "table" or type(step[1]) ~= "table" or type(step[1].select) ~= "function" then
    return "a step begins with a strategy, from strategy(name) in configure"
  end
  local fault
  if step.where ~= nil then
    step.where, fault = normal(step.where)
  end
  if type(step.asked) == "table" and not fault then
    step.asked, fault = normal(step.asked)
    step.asked = step.asked or true
  end
  return fault
end

--- Checks `steps`, `takes` and `keep`, and gives a strategy that has only steps its `select`.
---@param made gyre.Strategy
---@return string? fault
function steps.check(made)
  for _, field in ipairs(made.takes or {}) do
    if not TAKEN[field] then
      return "it can take country and region, not " .. tostring(field)
    end
  end
  if made.steps == nil then
    return
  elseif type(made.steps) ~= "table" or made.steps[1] == nil then
    return "steps must be a list"
  end
  for _, step in ipairs(made.steps) do
    local fault = check_step(step)
    if fault then
      return fault
    end
  end
  made.select = made.select or steps.select
end

-- ---- by the library ----

-- Both filters; nil when nobody can pass both.
local function merge(outer, inner)
  if not outer or not inner then
    return outer or inner or {}
  end
  local country, none = outer.country or inner.country, false
  if outer.country and inner.country then
    country = filter.common(outer.country, inner.country)
    none = country == ""
  end
  none = none or (outer.region and inner.region and outer.region ~= inner.region)
  none = none or (outer.state and inner.state and outer.state ~= inner.state)
  local tags = outer.tags and inner.tags and outer.tags .. "," .. inner.tags or outer.tags or inner.tags
  local state = outer.state or inner.state
  return not none and { country = country, region = outer.region or inner.region, tags = tags, state = state } or nil
end

local function with(drop, takes, asked)
  local made = { country = drop.country, region = drop.region }
  for _, field in ipairs(takes or {}) do
    made[field] = not asked or nil
  end
  return made
end

local function leaf(made, around)
  return {
    of = made,
    picker = PICKERS[made.native],
    choices = made.choices or 0,
    random_ties = made.random_ties and 1 or 0,
    min_success = made.min_success or 0,
    max_ms = made.max_ms or 0,
    key = made.key,
    where = around.where,
    drop = around.drop,
    default = around.default,
    keep = around.keep,
  }
end

local function lay_out(made, around, leaves, starts)
  if made.native then
    leaves[#leaves + 1] = leaf(made, around)
    return true
  elseif not made.steps or made.select ~= steps.select or (made.first and not starts) then
    return false
  end
  local keep = around.keep
  if made.keep then
    local fault
    keep, fault = normal(made.keep)
    keep = merge(around.where, keep)
    if fault or not keep then
      return false
    end
  end
  for i, step in ipairs(made.steps) do
    if starts then
      starts[i] = #leaves + 1
    end
    local inner = {
      where = merge(around.where, step.where), drop = with(around.drop, made.takes, step.asked), keep = keep,
      default = type(step.asked) == "table" and step.asked or around.default,
    }
    if inner.where and not lay_out(step[1], inner, leaves) then
      return false
    end
  end
  return true
end

---@class gyre.strategy.Leaf one call of the library
---@field of gyre.Strategy whose pick it is
---@field picker integer
---@field where gyre.filter.Wanted
---@field drop { country?: boolean, region?: boolean } fields of the request that do not narrow this step
---@field default? { country?: string, region?: string } what counts where the request says nothing
---@field keep? gyre.filter.Wanted a session keeps its proxy while that passes this

---@class gyre.strategy.Plan
---@field [integer] gyre.strategy.Leaf
---@field starts integer[] where each step of the strategy begins

--- The calls of the library that carry a strategy out, or nil when it takes Lua.
---@param made gyre.Strategy
---@return gyre.strategy.Plan?
function steps.plan(made)
  local leaves, starts = {}, {}
  local whole = lay_out(made, { where = {}, drop = {} }, leaves, starts)
  if not whole or #leaves == 0 then
    return nil
  end
  leaves.starts = starts
  return leaves
end

--- Is the plan one call that asks the same for every request?
---@param plan gyre.strategy.Plan
---@return boolean
function steps.is_fixed(plan)
  local only = plan[1]
  return plan[2] == nil and not only.key and not only.keep and not only.default and next(only.drop) == nil
end

--- Is the plan one plain call, with nothing but a picker to say?
---@param plan gyre.strategy.Plan
---@return boolean
function steps.is_simple(plan)
  local only = plan[1]
  return plan[2] == nil and next(only.where) == nil and steps.is_fixed(plan)
end

return steps
