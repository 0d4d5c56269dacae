-- Any eligible proxy, each with the same chance, as `random` of nginx, HAProxy and Envoy. Nothing is shared between
-- picks, so it scales best over threads; the counts of n picks differ by about their square root. O(1).
-- bag = true: without replacement, as from a shuffled bag that is filled again when it is empty: each proxy once a
-- round, in an order that differs from round to round, by all threads and processes together. That is the fewest leases
-- with ties at random, so who joins or comes back is level with the others. For even use that nobody can foresee. Not
-- where proxies differ in speed or price.
return { name = "random", native = "random",
  options = { bag = false },
  configure = function(self, options)
    assert(type(options.bag) == "boolean", ("bag is true or false, not %s"):format(options.bag))
    self.bag = options.bag
    if self.bag then
      self.native, self.random_ties = "least-used", true
    end
  end,
  select = function(self, view)
    if self.bag then
      return view:least_used(true)
    end
    return view:random()
  end,
}
