-- Cheap proxies first. A second attempt, and a host that bans a cheap one just now, get a premium one.
return {
  name = "cheap-first",
  options = { cheap = "cheap", premium = "premium" }, -- tags
  configure = function(self, options)
    self.cheap, self.premium = options.cheap, options.premium
    self.banned, self.looked = {}, -1
  end,
  refresh = function(self, pool)
    self.pool = pool
  end,
  -- Hosts that ban a cheap proxy; looked up once a second, since the list may be long. The name of a host is "" until
  -- the next request has named it: then that may be the one.
  banning = function(self)
    local now = self.pool:time()
    if now - self.looked >= 1 then
      self.banned, self.looked = {}, now
      for ban in self.pool:bans() do
        for _, tag in ipairs(ban.proxy.tags) do
          self.banned[ban.host] = self.banned[ban.host] or tag == self.cheap
        end
      end
    end
    return self.banned
  end,
  select = function(self, view, request)
    local first, second = view:where { tags = self.cheap }, view:where { tags = self.premium }
    local banning = request.host and self:banning()
    if (request.attempt or 1) > 1 or (banning and (banning[request.host] or banning[""])) then
      first, second = second, first
    end
    return first:random() or second:random(), "neither cheap nor premium proxies are left"
  end,
}
