-- What one would write without gyre: weighted round-robin in each worker's own memory, by weights of 1. The algorithm
-- is that of the Linux Virtual Server project: a current weight falls by the greatest common divisor each time the list
-- has
-- been gone through, and those at or above it are taken. It knows of no other worker, no failure and no load.
local round_robin = {}
local methods = {}
local metatable = { __index = methods }

function round_robin.new(n)
  local weights = {}
  for i = 1, n do
    weights[i] = 1
  end
  return setmetatable({ weights = weights, last = n, current = 1, highest = 1, gcd = 1 }, metatable)
end

function methods.next(self)
  local weights, last, current = self.weights, self.last, self.current
  while true do
    last = last + 1
    if last > #weights then
      last = 1
      current = current - self.gcd
      if current <= 0 then
        current = self.highest
      end
    end
    if weights[last] >= current then
      self.last, self.current = last, current
      return last
    end
  end
end

return round_robin
