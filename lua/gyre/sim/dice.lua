-- Random numbers of a simulation: streams of one seed that do not disturb each other, so that every strategy meets the
-- same proxies and the same arrivals.
local random = require "gyre.random"

local cos, exp, floor, log, pi, sqrt = math.cos, math.exp, math.floor, math.log, math.pi, math.sqrt

---@class gyre.sim.Dice
---@field source gyre.Random
local Dice = {}
Dice.__index = Dice

--- Uniform in [from, to).
function Dice:between(from, to)
  return from + (to - from) * self.source:unit()
end

--- A whole number from `from` to `to`.
function Dice:whole(from, to)
  return floor(from + (to - from + 1) * self.source:unit())
end

function Dice:chance(probability)
  return self.source:unit() < probability
end

--- Exponential, with this mean: the time to the next arrival of a Poisson process.
function Dice:exponential(mean)
  return -mean * log(1 - self.source:unit())
end

--- Log-normal around a median; sigma is the standard deviation of the logarithm. By G. Box and M. Muller, 1958.
function Dice:log_normal(median, sigma)
  local source = self.source
  local radius = sqrt(-2 * log(1 - source:unit()))
  return median * exp(sigma * radius * cos(2 * pi * source:unit()))
end

--- Puts a list in random order.
function Dice:shuffle(list)
  for i = #list, 2, -1 do
    local k = self.source:upto(i)
    list[i], list[k] = list[k], list[i]
  end
end

local dice = {}

--- The stream with a number of a seed.
---@param seed integer
---@param stream integer
---@return gyre.sim.Dice
function dice.new(seed, stream)
  return setmetatable({ source = random.new(seed * 64 + stream) }, Dice)
end

return dice
