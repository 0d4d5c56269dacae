-- At random, in proportion to each proxy's weight; weight 0 is never picked. By an alias table (A. J. Walker 1977, as
-- in M. D. Vose 1991), made anew when proxies or weights change: O(1). For proxies of different capacity or price.
-- by = "success" weighs by the success rate instead, another word by that field of proxies: in Lua, O(n) a pick.
-- Not for latency: weights do not learn. Use performance, or proportional.
return { name = "weighted", native = "weighted",
  options = { by = "weight" },
  configure = function(self, options)
    assert(type(options.by) == "string", "by is \"weight\", \"success\" or a field of proxies")
    self.by = options.by == "success" and "success_rate" or options.by ~= "weight" and options.by or nil
    self.native = self.by == nil and "weighted" or nil
  end,
  select = function(self, view) return view:weighted(self.by) end,
}
