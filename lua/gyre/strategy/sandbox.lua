-- What a strategy that is not trusted can reach: pure Lua, and nothing that reaches files, processes, other modules, or
-- the globals of the program. What C does in one call no budget can stop, so that is bounded here by its size.
local random = require "gyre.random"

local error, getmetatable, ipairs, pairs, select, setmetatable, tostring, type = error, getmetatable, ipairs, pairs,
  select, setmetatable, tostring, type
local find, format, gsub, rep = string.find, string.format, string.gsub, string.rep
local concat = table.concat
local running, yield = coroutine.running, coroutine.yield

local MOST_BYTES = 2 ^ 20 -- of one text that a call makes
local MOST_STEPS = 1e8 -- that matching a pattern may take at worst
local MOST_PATTERN = 256

local BASIC = {
  "assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "select", "tonumber", "tostring", "type",
  "unpack", "xpcall", "_VERSION",
}
local STRING = { "byte", "char", "len", "lower", "reverse", "sub", "upper" }
local TABLE = { "insert", "maxn", "remove", "sort" }
local COROUTINE = { "create", "resume", "running", "status", "wrap" }
local OS = { "clock", "date", "difftime", "time" }

---@class gyre.strategy.sandbox
local sandbox = {}

local function pick(from, names)
  local picked = {}
  for _, name in ipairs(names) do
    picked[name] = from[name]
  end
  return picked
end

local function copy(from)
  local made = {}
  for name, value in pairs(from) do
    made[name] = value
  end
  return made
end

-- Lua's matcher tries every length of every repetition at every place: at most size ^ (repetitions + 1) steps.
local function check_pattern(subject, pattern)
  if type(subject) ~= "string" or type(pattern) ~= "string" then
    return -- the function itself says what is wrong
  elseif #pattern > MOST_PATTERN then
    error("a strategy's pattern has at most 256 bytes", 3)
  end
  local _, repetitions = gsub(gsub(pattern, "%%.", ""), "[*+?-]", "")
  if #subject > MOST_BYTES or (#subject + 1) ^ (repetitions + 1) > MOST_STEPS then
    error(format("the pattern may take too long on a text of %d bytes", #subject), 3)
  end
end

local function check_size(bytes)
  if bytes > MOST_BYTES then
    error("a strategy makes no text of more than a megabyte", 3)
  end
end

local function bound(call)
  return function(subject, pattern, ...)
    if type(subject) == "number" then
      subject = tostring(subject)
    end
    check_pattern(subject, pattern)
    return call(subject, pattern, ...)
  end
end

local strings = pick(string, STRING)

strings.match, strings.gmatch = bound(string.match), bound(string.gmatch)

function strings.find(subject, pattern, from, plain)
  if not plain then
    check_pattern(subject, pattern)
  else
    check_size(type(subject) == "string" and #subject or 0)
  end
  return find(subject, pattern, from, plain)
end

function strings.gsub(subject, pattern, replacement, most)
  check_pattern(subject, pattern)
  if type(replacement) == "string" and type(subject) == "string" then
    check_size((#subject + 1) * (#replacement + 1))
  end
  return gsub(subject, pattern, replacement, most)
end

function strings.rep(text, count, separator)
  if (type(text) == "string" or type(text) == "number") and type(count) == "number" then
    check_size((#tostring(text) + #tostring(separator or "")) * count)
  end
  return rep(text, count, separator)
end

function strings.format(form, ...)
  local bytes = type(form) == "string" and #form or 0
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    bytes = bytes + (type(value) == "string" and #value or 0)
  end
  check_size(bytes)
  return format(form, ...)
end

local tables = pick(table, TABLE)

function tables.concat(list, separator, from, to)
  local bytes, last = 0, to or (type(list) == "table" and #list) or 0
  for i = from or 1, last do
    local item = list[i]
    bytes = bytes + (type(item) == "string" and #item or 24) + #tostring(separator or "")
    if bytes > MOST_BYTES then
      check_size(bytes)
    end
  end
  return concat(list, separator, from, to)
end

-- Texts share one metatable with the whole program.
local function metatable_of(value)
  return type(value) == "table" and getmetatable(value) or nil
end

local function refuse_global(_, name)
  error(("a strategy must not assign the global '%s'"):format(tostring(name)), 2)
end

-- A strategy's own coroutines may yield; the one that select runs in is the program's.
local function coroutines()
  local own = pick(coroutine, COROUTINE)
  local made = setmetatable({}, { __mode = "k" })
  function own.create(body)
    local thread = coroutine.create(body)
    made[thread] = true
    return thread
  end
  function own.wrap(body)
    local thread = own.create(body)
    return function(...)
      local results = { coroutine.resume(thread, ...) }
      if not results[1] then
        error(results[2], 2)
      end
      return unpack(results, 2)
    end
  end
  function own.yield(...)
    if not made[running() or false] then
      error("a strategy must not yield", 2)
    end
    return yield(...)
  end
  return own
end

-- A generator of its own: math.random() and its seed are the program's.
local function mathematics(seed)
  local own, generator = copy(math), nil
  function own.random(low, high)
    generator = generator or random.new(seed)
    if low == nil then
      return generator:unit()
    elseif high == nil then
      low, high = 1, low
    end
    if low > high then
      error("bad interval", 2)
    end
    return low + generator:upto(high - low + 1) - 1
  end
  function own.randomseed(value)
    generator = random.new(value)
  end
  return own
end

--- What texts of a strategy have as methods while it runs: `("x"):rep(1e9)` reaches string.rep without its name.
sandbox.strings = strings

--- The globals of a strategy: read-only. One that is trusted has all of the program's.
---@param trusted boolean
---@param additions table further names
---@param seed? number of math.random
---@return table
function sandbox.environment(trusted, additions, seed)
  local names
  if trusted then
    names = setmetatable(copy(additions), { __index = _G })
  else
    names = pick(_G, BASIC)
    names.bit, names.math, names.os = copy(require "bit"), mathematics(seed), pick(os, OS)
    names.string, names.table, names.coroutine = copy(strings), copy(tables), coroutines()
    names.getmetatable, names.setmetatable = metatable_of, setmetatable
    for name, value in pairs(additions) do
      names[name] = value
    end
  end
  local environment = setmetatable({}, {
    __index = names, __newindex = refuse_global, __metatable = "read-only",
  })
  if not trusted then
    names._G = environment
  end
  return environment
end

return sandbox
