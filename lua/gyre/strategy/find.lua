-- Where the text of a strategy comes from: a path, or a name that is looked for: as it is written, with "-" for "_" or
-- "_" for "-", and then, some have an older one, under that.
local errors = require "gyre.error"

local ipairs, tostring, type = ipairs, tostring, type

---@class gyre.strategy.Source
---@field name? string by which everybody finds it; nil: by path
---@field path? string
---@field text string
---@field chunk string name of the chunk, for messages
---@field builtin boolean it is one of ours, and trusted

local find = {}

local ALIASES = {
  ["performance-based"] = "proportional", ["session-persistence"] = "session", ["geo-targeted"] = "geo",
}

-- What there is in strategies/; composite is what compositions become.
local BUILT_IN = "round-robin, random, weighted, least-used, least-active, performance, proportional, consistent-hash, "
  .. "session, geo, cost-aware, tiered"

local function fail(message, ...)
  return nil, errors.new("strategy", message:format(...))
end

-- The names that a file may have that is asked for by this one, the first that there is counts. ALIASES last: a user's
-- own performance-based.lua is that, and not ours.
local function spellings(name)
  local dashed, lined, list, known = name:gsub("_", "-"), name:gsub("-", "_"), {}, {}
  for _, spelling in ipairs { name, dashed, lined, ALIASES[dashed] or name } do
    if not known[spelling] then
      known[spelling] = true
      list[#list + 1] = spelling
    end
  end
  return list
end

--- Whether this is a path rather than a name.
---@param source string
---@return boolean
function find.is_path(source)
  return source:find("/", 1, true) ~= nil or source:find "%.lua$" ~= nil
end

-- Directories of the built-ins: beside lua/ in the source tree, beside share/lua/5.1 when installed; beside this
-- module in a rock; where the Debian package has them when the modules come from somewhere else (opm).
local function own_directories()
  local root = debug.getinfo(1, "S").source:match "^@(.*)gyre/strategy/find%.lua$"
  if not root then
    return {}
  end
  root = root == "" and "./" or root
  return {
    root .. "../strategies", root .. "../../gyre/strategies", root .. "gyre/strategies",
    "/usr/local/share/gyre/strategies", "/usr/share/gyre/strategies",
  }
end

local function user_directories()
  local found = {}
  for directory in (os.getenv "GYRE_STRATEGY_PATH" or ""):gmatch "[^:;]+" do
    found[#found + 1] = directory
  end
  return found
end

--- The content of a file.
---@param path string
---@return string? text
---@return string? why
function find.read(path)
  local file, why = io.open(path, "rb")
  if not file then
    return nil, why
  end
  local text
  text, why = file:read "*a"
  file:close()
  return text, why
end

local function in_directories(directories, file_name, tried)
  for _, directory in ipairs(directories) do
    local path = directory .. "/" .. file_name
    local text = find.read(path)
    if text then
      return text, path
    end
    tried[#tried + 1] = "\n\tno file " .. path
  end
end

-- A file of exactly this name: the user's, or ours, or one of the program's.
local function by_spelling(name, tried)
  local file_name = name .. ".lua"
  local text, path = in_directories(user_directories(), file_name, tried)
  if text then
    return { name = name, path = path, text = text, chunk = "@" .. path, builtin = false }
  end
  text, path = in_directories(own_directories(), file_name, tried)
  if text then
    return { name = name, path = path, text = text, chunk = "@" .. path, builtin = true }
  end
  local embedded = package.loaded["gyre.embedded"]
  text = embedded and embedded[name]
  if type(text) == "string" then
    return { name = name, text = text, chunk = "=strategies/" .. file_name, builtin = true }
  elseif embedded then
    tried[#tried + 1] = "\n\tno file of the program: strategies/" .. file_name
  end
end

local function by_name(name)
  local tried = {}
  for _, spelling in ipairs(spellings(name)) do
    local found = by_spelling(spelling, tried)
    if found then
      return found
    end
  end
  return fail("no strategy '%s'; built in are %s; a file of yours is named by its path, ./%s.lua%s", name, BUILT_IN,
    name, table.concat(tried))
end

--- Finds and reads a strategy.
---@param source string name or path
---@return gyre.strategy.Source? found
---@return gyre.Error? err
function find.source(source)
  if type(source) ~= "string" then
    return fail("a strategy is a name, a path or a table, not %s (a %s)", tostring(source), type(source))
  elseif find.is_path(source) then
    local text, why = find.read(source)
    if not text then
      return fail("%s", why)
    end
    return { path = source, text = text, chunk = "@" .. source, builtin = false }
  elseif not source:find "^[%w_-]+$" then
    return fail("'%s' is no name of a strategy", source)
  end
  return by_name(source)
end

return find
