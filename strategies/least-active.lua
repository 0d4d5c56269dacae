-- The eligible proxy with the fewest leases in flight: who is slow gets less, without any average that could be wrong.
-- least_conn of nginx and leastconn of HAProxy without weights, counted over all threads and processes. O(1). For
-- requests of very different length, and proxies that suffer from many connections at once.
-- ties: "first" breaks them by slot, so that a quiet pool uses its first proxies only; "random" spreads them.
-- Not where some proxies fail at once: they always have the fewest, and draw most of the traffic. Use performance.
return { name = "least-active", native = "least-active",
  options = { ties = "random" },
  configure = function(self, options)
    assert(options.ties == "first" or options.ties == "random",
      ('ties are broken "first" or "random", not %s'):format(options.ties))
    self.random_ties = options.ties == "random"
  end,
  select = function(self, view) return view:least_active(self.random_ties) end,
}
