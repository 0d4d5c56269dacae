-- Percentiles of durations in constant memory: buckets that grow by 2 %, so that a percentile is right within 1 %.
local exp, floor, log, max, min, setmetatable = math.exp, math.floor, math.log, math.max, math.min, setmetatable

local SMALLEST = 0.01 -- milliseconds; what is below counts as this
local LARGEST = 1e8 -- about a day; likewise above
local GROWTH = log(1.02)

--- A histogram of milliseconds.
---@class gyre.Histogram
---@field count integer
---@field sum number
local Histogram = {}
Histogram.__index = Histogram

local histogram = {}

---@return gyre.Histogram
function histogram.new()
  return setmetatable({ count = 0, sum = 0, buckets = {}, top = 0 }, Histogram)
end

---@param ms number
function Histogram:add(ms)
  local bucket = floor(log(min(max(ms, SMALLEST), LARGEST) / SMALLEST) / GROWTH)
  self.buckets[bucket] = (self.buckets[bucket] or 0) + 1
  self.top = max(self.top, bucket)
  self.count = self.count + 1
  self.sum = self.sum + ms
end

--- The smallest duration that `share` of all do not exceed; nil when there are none.
---@param share number 0 to 1
---@return number? ms
function Histogram:percentile(share)
  local left = share * self.count
  for bucket = 0, self.top do
    left = left - (self.buckets[bucket] or 0)
    if left <= 0 and self.count > 0 then
      return SMALLEST * exp((bucket + 0.5) * GROWTH)
    end
  end
  return nil
end

---@return number? ms
function Histogram:mean()
  return self.count > 0 and self.sum / self.count or nil
end

return histogram
