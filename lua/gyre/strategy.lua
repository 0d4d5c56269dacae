-- Loading strategies: finding, compiling in a world of their own, checking, configuring. The contract is in
-- strategies/README.md.
local compose = require "gyre.strategy.compose"
local confine = require "gyre.strategy.confine"
local errors = require "gyre.error"
local files = require "gyre.files"
local find = require "gyre.strategy.find"
local guard = require "gyre.strategy.guard"
local judge = require "gyre.judge"
local options_text = require "gyre.strategy.text"
local sandbox = require "gyre.strategy.sandbox"
local steps = require "gyre.strategy.steps"

local error, ipairs, next, pairs, pcall, setmetatable, tostring, type = error, ipairs, next, pairs, pcall, setmetatable,
  tostring, type
local metatable_of = debug.getmetatable

--- A rule that picks a proxy from a view.
---@class gyre.Strategy
---@field name string
---@field title? string says more than the name, e.g. what a composition is made of
---@field native? gyre.Native the core picks; `select` is then used only by other strategies
---@field choices? integer of a native "best", where a request does not say: how many are compared [3]
---@field random_ties? boolean of a native "least-used" and "least-active", likewise
---@field min_success? number likewise, of any native one
---@field max_ms? number likewise
---@field key? "key"|"host"|"session" of a native "hash": which field of the request is the key [the first it has]
---@field requires? gyre.Metadata[] what every proxy, or for "session" every request, must have
---@field fallback? string|gyre.Strategy serves where `requires` is not met, and when it fails [the pool's]
---@field options? table<string, any> defaults; the only options it takes
---@field configure? fun(self: gyre.Strategy, options: table) error() in here rejects the strategy
---@field refresh? fun(self: gyre.Strategy, pool: table) when it is put to work, and when proxies or labels changed
---@field steps? gyre.strategy.Step[] tried in order until one has somebody; instead of `select`
---@field first? fun(self: gyre.Strategy, request: gyre.Request, view?: gyre.View): integer the step to begin with [1]
---@field takes? string[] "country", "region": its view is not narrowed by these, it looks at the request itself
---@field keep? table a filter: a session keeps its proxy while that passes it, whatever step would be the first
---@field select? fun(self: gyre.Strategy, view: gyre.View, request: gyre.Request): gyre.Proxy?, string?
---@field record? fun(self: gyre.Strategy, proxy: gyre.Proxy, outcome: gyre.Outcome)
---@field judge? fun(self: gyre.Strategy, asked: gyre.Asked, response?: gyre.Response, err?: gyre.Error): gyre.Verdict?,
--- number? or a word, or a table from status to verdict: see judge.lua

---@alias gyre.Native "round-robin"|"random"|"least-used"|"least-active"|"best"|"weighted"|"hash"
---@alias gyre.Metadata "latency"|"country"|"region"|"cost"|"weight"|"session"

--- How to load.
---@class gyre.strategy.How
---@field trusted? boolean files have all of the program, and no checks against endless loops
---@field seed? number of math.random() in strategies
---@field budget? number milliseconds that the file, and configure, may take [10]

--- What is known of a loaded strategy beside its table.
---@class gyre.strategy.Loaded
---@field judging? gyre.Strategy whose `judge` counts: itself, or a part of it
---@field judge? function when that is a word or a table
---@field guarded boolean some of its code is: every call of it goes by confine.lua
---@field nested gyre.Strategy[] strategies it asked for
---@field files gyre.strategy.Source[] what was read for it
---@field name? string by which other processes load it; nil: they cannot, and `local_why` says why
---@field options? string the same of its options
---@field local_why? string

local strategy = {}

local METADATA = { latency = true, country = true, region = true, cost = true, weight = true, session = true }
local FUNCTIONS = { "configure", "record", "refresh", "first", "select" }
local LOCKED = { __metatable = "gyre.Strategy" }
local MOST_DEEP = 8
local MOST_ASKED = 64
local BUDGET = 10

-- What is being loaded: nested loads add to it.
---@class gyre.strategy.Loading : gyre.strategy.Loaded, gyre.strategy.How
---@field depth integer
---@field asked integer how many strategies files have asked for
local loading

local function fail(message, ...)
  return nil, errors.new("strategy", message:format(...))
end

-- The program reads the table of a strategy outside of its calls, so that it must not have a metatable of the
-- strategy's making, now or later. False: it has.
local function lock(made)
  local metatable = metatable_of(made)
  if metatable == nil then
    setmetatable(made, LOCKED)
  end
  return metatable == nil or metatable == LOCKED
end

local load_part

-- What strategies know as strategy(source, options): another one, to be asked by select(view, request).
local function nested(source, options)
  if not loading then
    error("strategies are asked for in configure, not later", 2)
  end
  local own = guard.is_running()
  if own then
    -- Each has a budget of its own.
    loading.asked = loading.asked + 1
    if loading.asked > MOST_ASKED then
      error(("a strategy asks for %d others at most"):format(MOST_ASKED), 2)
    end
  end
  local made, err = load_part(source, options)
  if not made then
    error(err.message, 0)
  elseif own and not lock(made) then
    error("a table with a metatable is no strategy", 2)
  end
  loading.nested[#loading.nested + 1] = made
  return made
end

-- Runs the text of a strategy; what it returns is its own.
local function evaluate(source)
  local trusted = source.builtin or loading.trusted or false
  local chunk, why
  if trusted then
    chunk, why = loadstring(source.text, source.chunk)
  else
    chunk, why = guard.compile(source.text, source.chunk)
  end
  if not chunk then
    return fail("%s", why)
  end
  setfenv(chunk, sandbox.environment(trusted, { strategy = nested }, loading.seed))
  if not trusted then
    loading.guarded = true
  end
  local ran, made = confine.call(not trusted and loading.budget, chunk)
  if not ran then
    return fail("%s", tostring(made))
  end
  if type(made) ~= "table" then
    return fail("%s returns a %s; a strategy is a table", source.chunk:sub(2), type(made))
  elseif not trusted and not lock(made) then
    return fail("%s returns a table with a metatable, which a strategy has not", source.chunk:sub(2))
  end
  return made
end

local function check_requires(made)
  if made.requires == nil then
    return true
  end
  if type(made.requires) ~= "table" then
    return fail("strategy '%s': requires must be a list", made.name)
  end
  for _, field in next, made.requires do -- without a metatable's __ipairs, as OpenResty's LuaJIT has
    if not METADATA[field] then
      return fail("strategy '%s': it requires '%s', which no proxy has", made.name, confine.text(field))
    end
  end
  return true
end

-- What can be said before it is configured.
local function check(made)
  if type(made.name) ~= "string" then
    return fail "a strategy needs a name"
  end
  for _, field in ipairs(FUNCTIONS) do
    if made[field] ~= nil and type(made[field]) ~= "function" then
      if field == "select" then
        return fail("strategy '%s' has no function select(self, view, request)", made.name)
      end
      return fail("strategy '%s': %s must be a function", made.name, field)
    end
  end
  if made.options ~= nil and type(made.options) ~= "table" then
    return fail("strategy '%s': options must be a table of defaults", made.name)
  end
  return check_requires(made)
end

-- A judge that is no function of its own.
local function check_judge(made, judging)
  local compiled, fault = judge.compile(judging.judge)
  if not compiled then
    return fail("strategy '%s': judge: %s", made.name, confine.text(fault))
  end
  loading.judge = compiled
  return made
end

-- The fallback is loaded when it is needed; whether it can be found is said now.
local function fallback_fault(made)
  local source = made.fallback
  if source == nil or type(source) == "table" then
    return nil
  elseif type(source) ~= "string" then
    return "a strategy is a name, a path or a table, not a " .. type(source)
  end
  local _, err = find.source(source)
  return err and err.message
end

local function check_steps(made)
  local fault = steps.check(made)
  return fault, not fault and steps.judging(made) or nil
end

local function check_configured(made)
  if type(made.name) ~= "string" then
    return fail "a strategy needs a name"
  elseif made.title ~= nil and type(made.title) ~= "string" then
    return fail("strategy '%s': title must be text", made.name)
  end
  local ran, fault, judging = confine.call(loading.guarded and loading.budget, check_steps, made)
  if fault then
    return fail("strategy '%s': %s", made.name, ran and fault or tostring(fault))
  elseif type(made.select) ~= "function" then
    return fail("strategy '%s' has no function select(self, view, request)", made.name)
  elseif made.native ~= nil and not steps.PICKERS[made.native] then
    return fail("strategy '%s': there is no native picker '%s'", made.name, confine.text(made.native))
  end
  local fault_of_fallback = fallback_fault(made)
  if fault_of_fallback then
    return fail("strategy '%s': its fallback: %s", made.name, fault_of_fallback)
  end
  loading.judge, loading.judging = nil, judging -- not those of a part of it
  if judging and type(judging.judge) ~= "function" then
    return check_judge(made, judging)
  end
  return made
end

local function configure(made, options)
  local merged = {}
  if options ~= nil and type(options) ~= "table" then
    return fail("strategy '%s': options are a table, not %s (a %s)", made.name, tostring(options), type(options))
  end
  for name, default in next, made.options or {} do
    merged[name] = default
  end
  for name, value in pairs(options or {}) do
    if merged[name] == nil then
      return fail("strategy '%s' has no option '%s'", made.name, tostring(name))
    end
    merged[name] = value
  end
  if made.configure then
    local configured, why = confine.call(loading.guarded and loading.budget, made.configure, made, merged)
    if not configured then
      return fail("strategy '%s': %s", made.name, tostring(why))
    end
  end
  return check_configured(made)
end

-- A table of the user's, or the file of a name or path.
local function get(source)
  if type(source) == "table" then
    return source
  end
  local found, err = find.source(source)
  if not found then
    return nil, err
  end
  loading.files[#loading.files + 1] = found
  return evaluate(found)
end

function load_part(source, options)
  source, options = compose.part(source, options)
  if source == nil then
    return fail("%s", options)
  elseif loading.depth >= MOST_DEEP then
    return fail("strategies are nested more than %d deep", MOST_DEEP)
  end
  loading.depth = loading.depth + 1
  local made, err = get(source)
  local sound
  if made then
    sound, err = check(made)
  end
  if sound then
    made, err = configure(made, options)
  end
  loading.depth = loading.depth - 1
  if err then
    return nil, err
  end
  return made
end

-- How other processes can load the same, if they can.
local function describe(source, options, found)
  source, options = compose.part(source, options)
  if type(source) == "table" then
    found.local_why = "a strategy given as a table cannot be loaded by other processes"
    return
  end
  local text, why = options_text.write(compose.options(options))
  if not text then
    found.local_why = ("options with %s cannot be sent to other processes"):format(why)
    return
  end
  found.name = find.is_path(source) and files.absolute(source) or found.files[1].name
  found.options = text
end

--- Loads, checks and configures a strategy.
---@param source string|gyre.Strategy|gyre.Composition a name, a path (with "/" or ".lua"), a table, or a composition
---@param options? table<string, any>
---@param how? gyre.strategy.How
---@return gyre.Strategy? strategy
---@return gyre.strategy.Loaded|gyre.Error loaded or why not
function strategy.load(source, options, how)
  how = how or {}
  local outer = loading
  loading = {
    depth = 0, asked = 0, guarded = false, nested = {}, files = {},
    trusted = how.trusted, seed = how.seed, budget = how.budget or BUDGET,
  }
  local found = loading
  local called, made, err = pcall(load_part, source, options)
  loading = outer
  if not called then
    return fail("%s", tostring(made))
  elseif not made then
    return nil, err
  end
  describe(source, options, found)
  return made, found
end

--- Is what was read for a strategy still what its files hold?
---@param loaded gyre.strategy.Loaded
---@return boolean
function strategy.is_current(loaded)
  for _, file in ipairs(loaded.files) do
    if file.path then
      local text = find.read(file.path)
      if text and text ~= file.text then
        return false
      end
    end
  end
  return true
end

--- Takes what the files hold now for read, though it could not be used.
---@param loaded gyre.strategy.Loaded
function strategy.accept(loaded)
  for _, file in ipairs(loaded.files) do
    file.text = file.path and find.read(file.path) or file.text
  end
end

return strategy
