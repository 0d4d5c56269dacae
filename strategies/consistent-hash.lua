-- The same proxy for the same key, without keeping anything: `key` of the request, or else its host or session. When
-- proxies come and go only their keys move. Jump hash (J. Lamping and E. Veach 2014) with several probes, and bounded
-- load (V. Mirrokni et al. 2016): a proxy with 1.25 times the mean in flight passes the key on. O(1). For caches behind
-- proxies, and stickiness of more clients than a session table holds; a session keeps its proxy more strictly.
return { name = "consistent-hash", native = "hash",
  select = function(_, view, request) return view:hash(request.key or request.host or request.session) end,
}
