-- luajit compiled.lua STRATEGY library|select: does a pick by this strategy compile, and what garbage does it leave?
-- One process each, since LuaJIT remembers for good what it failed to compile in other company. Prints four words:
-- whether acquire and complete become one compiled loop, what of them cannot be compiled ("-": nothing), bytes of
-- garbage a pick, and the share of its instructions that the interpreter runs all the same.
local gyre = require "gyre"
local rules = require "rules"
local traces = require "traces"

local name, by = arg[1], arg[2]
local OPTIONS = {
  tiered = { tiers = { "cheap", "premium" } }, composite = { where = { country = "de" }, fallback = "random" },
  session = { over = "least-used" }, geo = { any = true },
}
local REQUESTS = {
  geo = { country = "de" }, ["consistent-hash"] = { key = "cart-17" }, session = { session = "cart-17" },
  tiered = { attempt = 2 },
}

local function open(strategy, options)
  local list = {}
  for i = 1, 20 do
    list[i] = { url = "http://192.0.2." .. i, country = i % 2 == 0 and "de" or "us", cost = 1,
      tags = i % 3 == 0 and "cheap" or "premium" }
  end
  return assert(gyre.open { proxies = list, seed = 5, strategy = strategy, strategy_options = options })
end

local pool = by == "library" and open(name, OPTIONS[name]) or open(rules.in_lua(name, OPTIONS[name]))
local lease, request = gyre.lease(), REQUESTS[name]

local function round(n)
  for _ = 1, n or 1000 do
    assert(pool:acquire_into(lease, request)):ok(5)
  end
end

local compiled = traces.is_compiled(round)
local missing = table.concat(traces.not_implemented(round), ", ")
local garbage, interpreted = traces.garbage(round, 30000), traces.interpreted(round, 1000)
jit.off()
jit.flush()
print(tostring(compiled), (missing == "" and "-" or missing:gsub(" ", "_")), garbage,
  interpreted / traces.interpreted(round, 1000))
