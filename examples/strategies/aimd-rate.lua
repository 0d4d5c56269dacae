-- Learns how often each proxy may be used: a little more with every success, half of it after a 403 or 429 (additive
-- increase, multiplicative decrease, as TCP does). Whoever is due for the longest time is picked; when nobody is due
-- within `patience` seconds, nobody is.
return {
  name = "aimd-rate",
  options = { start = 2, most = 20, increase = 0.02, decrease = 0.5, patience = 0.5 }, -- requests a second
  configure = function(self, options)
    assert(options.start > 0 and options.most >= options.start, "start is above 0, most not below it")
    assert(options.decrease > 0 and options.decrease < 1, "decrease is between 0 and 1")
    for name, value in pairs(options) do
      self[name] = value
    end
    self.rates, self.due = {}, {} -- by id
  end,
  refresh = function(self, pool)
    self.pool = pool
  end,
  select = function(self, view)
    local due, now = self.due, self.pool:time()
    local picked = view:min(function(proxy)
      return due[proxy.id] or 0
    end)
    local since = due[picked.id] or 0
    if since > now + self.patience then
      return nil, "every proxy is at the rate that it has learned"
    end
    due[picked.id] = math.max(since, now) + 1 / (self.rates[picked.id] or self.start)
    return picked
  end,
  record = function(self, proxy, outcome)
    local rate = self.rates[proxy.id] or self.start
    if outcome.verdict == "banned" or outcome.verdict == "throttled" then
      self.rates[proxy.id] = math.max(rate * self.decrease, 0.01)
    elseif outcome.verdict == "ok" then
      self.rates[proxy.id] = math.min(rate + self.increase, self.most)
    end
  end,
}
