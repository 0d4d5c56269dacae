-- What is measured of one strategy: attempts, requests, and who carried them. What began in the warm-up does not count.
local ffi = require "ffi"
local histogram = require "gyre.histogram"

local exp, floor, log, max, min = math.exp, math.floor, math.log, math.max, math.min

local SLICES = 80 -- of the duration, in which shares are counted

---@class gyre.sim.Statistics
---@field latency gyre.Histogram of the attempts that succeeded, ms
---@field total gyre.Histogram of requests from arrival to the end of the last attempt, ms
---@field attempts integer
---@field attempts_ok integer
---@field requests integer
---@field requests_ok integer
---@field starved integer requests that ended because nobody could be had
---@field waits integer times that a request had to wait for a proxy
---@field shares ffi.cdata* attempts by proxy, from 1
---@field slices ffi.cdata* attempts by slice of time and proxy, warm-up included
local Statistics = {}
Statistics.__index = Statistics

--- An attempt begins.
function Statistics:begin(p, now)
  local slice = min(floor(now / self.width), SLICES - 1)
  local place = slice * (self.n + 1) + p
  self.slices[place] = self.slices[place] + 1
  if now >= self.from then
    self.shares[p] = self.shares[p] + 1
  end
end

--- An attempt that began at `began` ends.
function Statistics:attempt(began, now, ok)
  if began < self.from then
    return
  end
  self.attempts = self.attempts + 1
  if ok then
    self.attempts_ok = self.attempts_ok + 1
    self.latency:add((now - began) * 1000)
  end
end

--- A request that arrived at `arrived` ends.
function Statistics:request(arrived, now, ok)
  if arrived < self.from then
    return
  end
  self.requests = self.requests + 1
  self.requests_ok = self.requests_ok + (ok and 1 or 0)
  self.total:add((now - arrived) * 1000)
end

--- The largest share of one proxy, and the entropy of the shares: 1 when all are equal, 0 when one has everything.
---@return number share
---@return number entropy
function Statistics:concentration()
  local all, most, entropy = 0, 0, 0
  for p = 1, self.n do
    all = all + self.shares[p]
    most = max(most, self.shares[p])
  end
  for p = 1, self.n do
    local share = self.shares[p] / max(all, 1)
    entropy = entropy - (share > 0 and share * log(share) or 0)
  end
  return most / max(all, 1), self.n > 1 and entropy / log(self.n) or 1
end

--- The share of some proxies between two times, as a multiple of the fair one: 1 is what round-robin gives.
---@param list integer[]
---@param from number seconds
---@param to number
---@return number?
function Statistics:fairness(list, from, to)
  local theirs, all = 0, 0
  for slice = math.ceil(from / self.width), min(floor(to / self.width), SLICES) - 1 do
    local row = self.slices + slice * (self.n + 1)
    for p = 1, self.n do
      all = all + row[p]
    end
    for i = 1, #list do
      theirs = theirs + row[list[i]]
    end
  end
  return all > 0 and #list > 0 and theirs / all * self.n / #list or nil
end

--- The figures of a table's row.
---@return gyre.sim.Figures
function Statistics:figures()
  local latency, share, entropy = self.latency, self:concentration()
  return {
    attempts = self.attempts, requests = self.requests, starved = self.starved, waits = self.waits,
    mean_ms = latency:mean(), p50_ms = latency:percentile(0.5), p95_ms = latency:percentile(0.95),
    p99_ms = latency:percentile(0.99), end_to_end_ms = self.total:mean(),
    end_to_end_p99_ms = self.total:percentile(0.99),
    attempt_success = self.attempts > 0 and self.attempts_ok / self.attempts or nil,
    success = self.requests > 0 and self.requests_ok / self.requests or nil,
    max_share = share, entropy = entropy,
  }
end

---@class gyre.sim.statistics
local statistics = {}

--- For n proxies.
---@param n integer
---@param duration number seconds of arrivals
---@param warmup number seconds
---@return gyre.sim.Statistics
function statistics.new(n, duration, warmup)
  return setmetatable({
    n = n, from = warmup, width = duration / SLICES, latency = histogram.new(), total = histogram.new(),
    attempts = 0, attempts_ok = 0, requests = 0, requests_ok = 0, starved = 0, waits = 0,
    shares = ffi.new("double[?]", n + 1), slices = ffi.new("double[?]", (n + 1) * SLICES),
  }, Statistics)
end

--- The mean of the figures of several seeds, with the standard deviation of mean_ms as `mean_sd_ms`.
---@param list gyre.sim.Figures[]
---@return gyre.sim.Figures
function statistics.average(list)
  local mean = {}
  for name in pairs(list[1]) do
    local sum, n = 0, 0
    for _, figures in ipairs(list) do
      if figures[name] then
        sum, n = sum + figures[name], n + 1
      end
    end
    mean[name] = n > 0 and sum / n or nil
  end
  local squares = 0
  for _, figures in ipairs(list) do
    squares = squares + ((figures.mean_ms or 0) - (mean.mean_ms or 0)) ^ 2
  end
  mean.mean_sd_ms = #list > 1 and (squares / (#list - 1)) ^ 0.5 or nil
  return mean
end

--- The distribution of a histogram as points: milliseconds, and the share that took no longer.
---@param of gyre.Histogram
---@return { [1]: number, [2]: number }[]
function statistics.cumulative(of)
  local points, sum = {}, 0
  for bucket = 0, of.top do
    local here = of.buckets[bucket] or 0
    sum = sum + here
    if here > 0 then
      points[#points + 1] = { 0.01 * exp((bucket + 1) * log(1.02)), sum / of.count }
    end
  end
  return points
end

return statistics
