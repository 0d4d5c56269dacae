-- At random, in proportion to each proxy's weight; weight 0 is never picked. By an alias table (A. J. Walker 1977, as
-- in M. D. Vose 1991), made anew when proxies or weights change: O(1). For proxies of different capacity or price.
-- by = "success" weighs by the success rate instead, another number of proxies by that, and who has none is not picked:
-- in Lua, O(n) a pick (M. T. Chao 1982). Not for latency: weights do not learn. Use performance, or proportional.
local NUMBERS = {
  weight = true, success = true, success_rate = true, started = true, active = true, completed = true,
  succeeded = true, failed = true, aborted = true, ema_ms = true, consecutive_failures = true, last_used = true,
  bytes = true, cost = true, max_active = true, benched_until = true, expires = true,
}

return { name = "weighted", native = "weighted",
  options = { by = "weight" },
  configure = function(self, options)
    local by = options.by
    assert(NUMBERS[by], ('by is "weight", "success" or another number of proxies, such as "cost", not %s'):format(by))
    self.by = by == "success" and "success_rate" or by ~= "weight" and by or nil
    self.native = self.by == nil and "weighted" or nil
  end,
  select = function(self, view)
    local picked = view:weighted(self.by)
    return picked, not picked and "nobody has a " .. (self.by or "weight") .. " above 0" or nil
  end,
}
