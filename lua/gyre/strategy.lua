-- Finding, loading and checking strategies. The contract is in strategies/README.md.
local C = require "gyre.clib"
local errors = require "gyre.error"

local error, ipairs, pairs, pcall, tostring, type = error, ipairs, pairs, pcall, tostring, type

--- A rule that picks a proxy from a view.
---@class gyre.Strategy
---@field name string
---@field native? gyre.Native the core picks; `select` is then used only by other strategies
---@field choices? integer of a native "best", where a request does not say: how many are compared [3]
---@field random_ties? boolean of a native "least-used" and "least-active", likewise
---@field requires? gyre.Metadata[] what every proxy must have
---@field options? table<string, any> defaults; the only options it takes
---@field configure? fun(self: gyre.Strategy, options: table) error() in here rejects the strategy
---@field select fun(self: gyre.Strategy, view: gyre.View, request: gyre.Request): gyre.Proxy?, string?
---@field record? fun(self: gyre.Strategy, proxy: gyre.Proxy, outcome: gyre.Outcome)

---@alias gyre.Native "round-robin"|"random"|"least-used"|"least-active"|"best"|"weighted"|"hash"
---@alias gyre.Metadata "latency"|"country"|"region"|"cost"|"weight"

local strategy = {}

local PICKERS = {
  ["round-robin"] = C.GYRE_PICK_ROUND_ROBIN,
  random = C.GYRE_PICK_RANDOM,
  ["least-used"] = C.GYRE_PICK_LEAST_USED,
  ["least-active"] = C.GYRE_PICK_LEAST_ACTIVE,
  best = C.GYRE_PICK_BEST,
  weighted = C.GYRE_PICK_WEIGHTED,
  hash = C.GYRE_PICK_HASH,
}
local METADATA = { latency = true, country = true, region = true, cost = true, weight = true }
-- Parts of the contract that nothing heeds yet: a strategy that counts on one must not run without it.
local UNSUPPORTED = { "judge", "fallback" }
local FUNCTIONS = { "configure", "record" }

local function fail(message, ...)
  return nil, errors.new("strategy", message:format(...))
end

-- Directories with strategies: the user's, beside lua/ in the source tree, beside share/lua/5.1 when installed.
local function directories()
  local found = {}
  for directory in (os.getenv "GYRE_STRATEGY_PATH" or ""):gmatch "[^:;]+" do
    found[#found + 1] = directory
  end
  local root = debug.getinfo(1, "S").source:match "^@(.*)gyre/strategy%.lua$"
  if root then
    root = root == "" and "./" or root
    found[#found + 1] = root .. "../strategies"
    found[#found + 1] = root .. "../../gyre/strategies"
  end
  return found
end

local function read(path)
  local file, why = io.open(path, "rb")
  if not file then
    return nil, why
  end
  local text
  text, why = file:read "*a"
  file:close()
  return text, why
end

-- Source text and chunk name of a strategy by name.
local function find(name)
  local file_name, tried = name:gsub("_", "-") .. ".lua", {}
  for _, directory in ipairs(directories()) do
    local path = directory .. "/" .. file_name
    local text = read(path)
    if text then
      return text, "@" .. path
    end
    tried[#tried + 1] = "\n\tno file " .. path
  end
  local embedded = package.loaded["gyre.embedded"]
  local text = embedded and embedded[file_name:sub(1, -5)]
  if text then
    return text, "=strategies/" .. file_name
  end
  return fail("no strategy '%s':%s", name, table.concat(tried))
end

local function refuse_global(_, name)
  error(("a strategy must not assign the global '%s'"):format(tostring(name)), 2)
end

-- Runs the text of a strategy; what it returns is its own, and its globals are read-only.
local function evaluate(text, chunk_name)
  local chunk, why = loadstring(text, chunk_name)
  if not chunk then
    return fail("%s", why)
  end
  setfenv(chunk, setmetatable({}, { __index = _G, __newindex = refuse_global }))
  local ran, made = pcall(chunk)
  if not ran then
    return fail("%s", tostring(made))
  end
  if type(made) ~= "table" then
    return fail("%s returns a %s; a strategy is a table", chunk_name:sub(2), type(made))
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
  for _, field in ipairs(made.requires) do
    if not METADATA[field] then
      return fail("strategy '%s': it requires '%s', which no proxy has", made.name, tostring(field))
    end
  end
  return true
end

--- Checks that a table is a strategy.
---@param made table
---@return gyre.Strategy? strategy
---@return gyre.Error? err
function strategy.check(made)
  if type(made.name) ~= "string" then
    return fail "a strategy needs a name"
  end
  if type(made.select) ~= "function" then
    return fail("strategy '%s' has no function select(self, view, request)", made.name)
  end
  for _, field in ipairs(FUNCTIONS) do
    if made[field] ~= nil and type(made[field]) ~= "function" then
      return fail("strategy '%s': %s must be a function", made.name, field)
    end
  end
  for _, field in ipairs(UNSUPPORTED) do
    if made[field] ~= nil then
      return fail("strategy '%s': %s is not supported yet", made.name, field)
    end
  end
  if made.native ~= nil and not PICKERS[made.native] then
    return fail("strategy '%s': there is no native picker '%s'", made.name, tostring(made.native))
  end
  local ok, err = check_requires(made)
  return ok and made, err
end

local function configure(made, options)
  local merged = {}
  for name, default in pairs(made.options or {}) do
    merged[name] = default
  end
  for name, value in pairs(options or {}) do
    if merged[name] == nil then
      return fail("strategy '%s' has no option '%s'", made.name, tostring(name))
    end
    merged[name] = value
  end
  if not made.configure then
    return made
  end
  local configured, why = pcall(made.configure, made, merged)
  if not configured then
    return fail("strategy '%s': %s", made.name, tostring(why))
  end
  return made
end

local function load(source)
  if type(source) == "table" then
    return source
  end
  local text, chunk_name
  if source:find("/", 1, true) or source:find "%.lua$" then
    local why
    text, why = read(source)
    if not text then
      return fail("%s", why)
    end
    chunk_name = "@" .. source
  elseif not source:find "^[%w_-]+$" then
    return fail("'%s' is no name of a strategy", source)
  else
    text, chunk_name = find(source)
    if not text then
      return nil, chunk_name
    end
  end
  return evaluate(text, chunk_name)
end

--- Loads, checks and configures a strategy.
---@param source string|gyre.Strategy a name ("-" and "_" are the same in it), a path (with "/" or ".lua"), or a table
---@param options? table<string, any>
---@return gyre.Strategy? strategy
---@return gyre.Error? err
function strategy.load(source, options)
  local made, err = load(source)
  if made then
    made, err = strategy.check(made)
  end
  if not made then
    return nil, err
  end
  return configure(made, options)
end

--- The number of the core's picker that a strategy names, or nil.
---@param made gyre.Strategy
---@return integer?
function strategy.picker(made)
  return PICKERS[made.native]
end

return strategy
