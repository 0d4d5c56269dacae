-- The eligible proxy with the fewest leases started since it joined. Exact, by all threads and processes together:
-- among proxies that stay eligible the counts differ by one at most. One that joins or comes back starts level with
-- the others, neither flooded to catch up, as by ProxyWhirl's least-used, nor starved. O(1) on the average. For proxies
-- paid or capped by the request.
-- ties: "first" breaks them by slot, "random" at random, so that the requests of one client do not go around in step.
-- Not for speed: who is slow gets as many as who is fast.
return { name = "least-used", native = "least-used",
  options = { ties = "first" },
  configure = function(self, options)
    assert(options.ties == "first" or options.ties == "random",
      ('ties are broken "first" or "random", not %s'):format(options.ties))
    self.random_ties = options.ties == "random"
  end,
  select = function(self, view) return view:least_used(self.random_ties) end,
}
