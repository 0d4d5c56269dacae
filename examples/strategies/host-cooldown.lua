-- A proxy that has just visited a host rests from that host for a while; other hosts may have it meanwhile. Each Lua
-- state counts by itself.
local HOSTS = 1000 -- remembered; then all is forgotten

return {
  name = "host-cooldown",
  options = { seconds = 5 },
  configure = function(self, options)
    assert(options.seconds > 0, "seconds is above 0")
    self.seconds, self.visits, self.hosts = options.seconds, {}, 0
  end,
  refresh = function(self, pool)
    self.pool = pool
  end,
  visits_of = function(self, host)
    if not self.visits[host] then
      if self.hosts >= HOSTS then
        self.visits, self.hosts = {}, 0
      end
      self.visits[host], self.hosts = {}, self.hosts + 1
    end
    return self.visits[host]
  end,
  select = function(self, view, request)
    local visits, now = self:visits_of(request.host or ""), self.pool:time()
    local longest = view:min(function(proxy) -- who was there the longest time ago, or never
      return visits[proxy.id] or -1
    end)
    local last = visits[longest.id]
    if last and now - last < self.seconds then
      return nil, ("everybody has been at %s within %g seconds"):format(request.host or "it", self.seconds)
    end
    visits[longest.id] = now
    return longest
  end,
}
