-- Strategies against each other in virtual time: the real pool and the real strategies, with proxies made up by a model
-- or taken from a record. docs/sim.md describes both.
local engine = require "gyre.sim.engine"
local model = require "gyre.sim.model"
local scenario = require "gyre.sim.scenario"
local statistics = require "gyre.sim.statistics"

local error, ipairs, tostring, type = error, ipairs, tostring, type

local RECOVERY_FROM, RECOVERY_TO = 30, 60 -- seconds after a recovery in which the share is looked at

--- What to compare.
---@class gyre.sim.Entry
---@field name? string in the table [of the strategy]
---@field source string|gyre.Strategy name, path or table
---@field options? table of the strategy
---@field cap? string rate limit of each proxy, in place of the scenario's

--- One row of the result.
---@class gyre.sim.Row
---@field name string
---@field figures gyre.sim.Figures means over the seeds
---@field change table<string, number> of mean_ms and end_to_end_ms against the first row
---@field runs gyre.sim.Statistics[] a seed each
---@field recovery? number share of the proxies that recovered, 30 to 60 s later, as a multiple of the fair one

--- Means over the seeds; shares and rates from 0 to 1.
---@class gyre.sim.Figures
---@field mean_ms number latency of the attempts that succeeded; p50_ms, p95_ms, p99_ms likewise
---@field mean_sd_ms? number standard deviation of mean_ms between the seeds
---@field end_to_end_ms number from the arrival of a request to the end of its last attempt
---@field end_to_end_p99_ms number
---@field attempt_success number
---@field success number of requests, after all tries
---@field max_share number
---@field entropy number
---@field attempts number
---@field requests number
---@field starved number requests that found no proxy for 10 s
---@field waits number

local sim = { scenarios = scenario.list }

local function new_model(options, seed)
  if options.trace then
    return require("gyre.sim.trace").new(options, seed)
  end
  return model.new(options, seed)
end

local function recovery(run, options)
  local recovered = run.recovered
  if not recovered or #recovered == 0 or options.recover_at + RECOVERY_TO > options.duration then
    return nil
  end
  return run:fairness(recovered, options.recover_at + RECOVERY_FROM, options.recover_at + RECOVERY_TO)
end

local function run_entry(entry, given, name, seeds, stopping)
  local row = { name = entry.name or tostring(entry.source), runs = {} }
  local list, shares, counted = {}, 0, 0
  for i, seed in ipairs(seeds) do
    local options = scenario.options(name, given)
    options.cap = entry.cap or options.cap
    local made, err = new_model(options, seed)
    local run
    if made then
      options.duration = made.duration or options.duration
      run, err = engine.run(options, made, entry, seed, stopping)
    end
    if not run then
      return nil, err
    end
    run.recovered = made.recovered
    local share = recovery(run, options)
    if share then
      shares, counted = shares + share, counted + 1
    end
    row.runs[i], list[i] = run, run:figures()
  end
  row.figures = statistics.average(list)
  row.recovery = counted > 0 and shares / counted or nil
  return row
end

local function compare(rows)
  local base = rows[1] and rows[1].figures
  for _, row in ipairs(rows) do
    row.change = {}
    for _, name in ipairs { "mean_ms", "end_to_end_ms" } do
      if row.figures[name] and base[name] then
        row.change[name] = row.figures[name] / base[name] - 1
      end
    end
  end
  return rows
end

--- Runs every entry on the same seeds: the same proxies, the same arrivals. Options that cannot be raise.
---@param entries (string|gyre.sim.Entry)[] strategies; changes are against the first
---@param options? { scenario?: string, model?: gyre.sim.Options, seed?: integer, seeds?: integer,
--- stopping?: fun(): boolean } seed: the first [1]; seeds: how many [1]; stopping: asked now and then whether to stop
---@return gyre.sim.Row[]? rows
---@return gyre.Error? err of a strategy that cannot be used, or of a trace that cannot be read
---@return boolean? interrupted it was stopped: the rows are those that were through
function sim.run(entries, options)
  options = options or {}
  if type(entries) ~= "table" or #entries == 0 then
    error("sim.run takes a list of strategies", 2)
  end
  local seeds, rows = {}, {}
  for i = 1, options.seeds or 1 do
    seeds[i] = (options.seed or 1) + i - 1
  end
  for i, entry in ipairs(entries) do
    entry = type(entry) == "string" and { source = entry } or entry
    if entry.source == nil then
      error("an entry needs a source: a strategy's name, path or table", 2)
    end
    local row, err = run_entry(entry, options.model, options.scenario, seeds, options.stopping)
    if err and err.kind == "aborted" then
      return compare(rows), nil, true
    elseif not row then
      return nil, err
    end
    rows[i] = row
  end
  return compare(rows)
end

return sim
