-- The same proxy for the same key, without keeping anything: `key` of the request, or else its host or session. When
-- proxies come and go only their keys move. Jump hash (J. Lamping and E. Veach 2014) with several probes, and bounded
-- load (V. Mirrokni et al. 2016): a proxy with 1.25 times the mean in flight passes the key on. O(1). For caches behind
-- proxies, and stickiness of more clients than a session table holds. Not for logins: a session keeps its proxy more
-- strictly. by: "key", "host" or "session" hashes that field only; "any" the first of them that the request has.
local FIELDS = { any = true, key = true, host = true, session = true }

return { name = "consistent-hash", native = "hash",
  options = { by = "any" },
  configure = function(self, options)
    assert(FIELDS[options.by], ('by is "any", "key", "host" or "session", not %s'):format(options.by))
    self.key = options.by ~= "any" and options.by or nil
  end,
  select = function(self, view, request)
    local key = self.key and request[self.key]
    if not self.key then
      key = request.key or request.host or request.session
    end
    if key == nil then
      return nil, "the request has no " .. (self.key or "key, host or session")
    end
    return view:hash(key)
  end,
}
