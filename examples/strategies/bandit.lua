-- Thompson sampling (W. Thompson, 1933) that looks at what is in flight: of k random proxies the best by a success rate
-- drawn from what is known of it, over its latency times the requests it has. Without the last factor all requests
-- that are under way at once would go to the same proxy, before anything is learned from the first.
local UNKNOWN_MS = 50 -- who has never answered is tried soon, but not by everybody at once

-- From Beta(good + 1, bad + 1), by the normal distribution with its mean and variance.
local function draw(good, bad)
  local a, b = good + 1, bad + 1
  local mean, deviation = a / (a + b), math.sqrt(a * b / ((a + b) ^ 2 * (a + b + 1)))
  local normal = math.sqrt(-2 * math.log(1 - math.random())) * math.cos(2 * math.pi * math.random())
  return math.max(mean + deviation * normal, 0.001)
end

return {
  name = "bandit",
  options = { k = 8 },
  configure = function(self, options)
    assert(options.k >= 2, "k is at least 2")
    self.k = options.k
  end,
  select = function(self, view)
    local best, highest
    for _, proxy in ipairs(view:sample(self.k)) do
      local success = draw(proxy.succeeded, proxy.failed)
      local score = success ^ 2 / ((proxy.ema_ms or UNKNOWN_MS) * (proxy.active + 1))
      if not best or score > highest then
        best, highest = proxy, score
      end
    end
    return best
  end,
}
