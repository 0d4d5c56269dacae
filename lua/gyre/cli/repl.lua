-- gyre repl: Lua line by line, with a pool at hand. Calls that wait work, and other tasks go on meanwhile.
local attach = require "gyre.cli.attach"
local common = require "gyre.cli.common"
local exit = require "gyre.cli.exit"
local gyre = require "gyre"
local input = require "gyre.cli.input"
local json = require "gyre.json"
local output = require "gyre.cli.output"
local terminal = require "gyre.terminal"

local debug, getmetatable, ipairs, loadstring, pairs = debug, getmetatable, ipairs, loadstring, pairs
local select, tostring, type, xpcall = select, tostring, type, xpcall

local repl = { about = "Lua line by line, with a pool at hand" }

local STDIN, STDOUT = 0, 1

function repl.options(parser)
  common.pool(parser)
  parser:option("-e", "Run this and end; may be given again."):argname("CODE"):count "*"
end

-- ---- evaluation ----

-- What a value looks like: tables one level deep, everything else as it prints.
local function shown(value)
  if type(value) ~= "table" or getmetatable(value) then
    return tostring(value)
  end
  local parts = {}
  for _, item in ipairs(value) do
    parts[#parts + 1] = type(item) == "string" and json.text(item) or tostring(item)
  end
  for key, item in pairs(value) do
    if type(key) ~= "number" or key < 1 or key > #value or key % 1 ~= 0 then
      parts[#parts + 1] = tostring(key) .. " = " .. (type(item) == "string" and json.text(item) or tostring(item))
    end
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

-- A line of what a chunk returned; nil when that is nothing.
local function line_of(...)
  local count, texts = select("#", ...), { ... }
  for i = 1, count do
    texts[i] = shown(texts[i])
  end
  return count > 0 and table.concat(texts, "\t") .. "\n" or nil
end

-- Without the frames below the chunk, which are this program's.
local function traceback(raised)
  return (debug.traceback(tostring(raised), 2):gsub("\n[^\n]*gyre/cli/repl%.lua:.*", ""))
end

-- A chunk; or nil, why, and whether more lines may complete it. An expression is its value, after a "=" as well.
local function compile(text)
  text = text:gsub("^%s*=", "")
  local chunk = loadstring("return " .. text, "=repl")
  if chunk then
    return chunk
  end
  local why
  chunk, why = loadstring(text, "=repl")
  return chunk, why, why and why:find "'<eof>'%s*$" ~= nil
end

local function evaluate(text)
  local chunk, why = compile(text)
  if not chunk then
    output.say(why)
    return false
  end
  local ran, result = xpcall(function()
    return (line_of(chunk())) -- values that raise when they are to be shown are an error of the line, too
  end, traceback)
  if not ran then
    output.say(result)
    return false
  end
  output.write(result or "")
  output.flush()
  return true
end

-- Reads lines until they are a chunk. nil at the end.
local function read_chunk(reader, prompt)
  local text
  while true do
    prompt(text and ">> " or "> ")
    local line = reader:line()
    if not line then
      return text
    end
    text = text and text .. "\n" .. line or line
    local _, _, more = compile(text)
    if not more then
      return text
    end
  end
end

local function greet(pool)
  output.say(("gyre %s, %s. %s; gyre, pool and print are there. Ctrl-D ends."):format(gyre.version, jit.version,
    pool and tostring(pool) or "No pool"))
end

function repl.run(args)
  local pool, strategy
  if args.proxies or args.pool or args.proxy then
    if args.proxies == "-" then
      exit.usage "--proxies - would read what you are to type"
    end
    pool, strategy = attach.chosen(args)
    if strategy then
      exit.check(pool:use(strategy, nil, { local_only = true }))
    end
  end
  _G.gyre, _G.pool = gyre, pool
  for _, code in ipairs(args.e) do
    if not evaluate(code) then
      return exit.USAGE
    end
  end
  if #args.e > 0 then
    return exit.ALL_GOOD
  end
  local interactive, failed = terminal.is_terminal(STDIN) and terminal.is_terminal(STDOUT), false
  local reader = input.open "-"
  local function prompt(text)
    if interactive then
      output.write(text)
      output.flush()
    end
  end
  if interactive then
    greet(pool)
  end
  local text = read_chunk(reader, prompt)
  while text do
    failed = not evaluate(text) or failed
    text = read_chunk(reader, prompt)
  end
  return failed and not interactive and exit.USAGE or exit.ALL_GOOD
end

return repl
