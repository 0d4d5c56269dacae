-- At random, in proportion to success^2 / latency: a proxy half as fast gets half as much. ProxyWhirl's
-- performance-based is the same without success, by which a proxy that fails at once looks fast. A proxy without a
-- latency counts as one of the mean, below `floor` milliseconds all are alike. No load in flight and no memory of one
-- pick in the next, so even the slowest is used now and then. In Lua, O(n) a pick: sampling by A. J. Walker's table
-- would be made anew with every sample. For traffic that should favour speed and still reach everybody, with up to some
-- hundred proxies. Not for the lowest latency: performance is faster and cheaper.
return { name = "proportional",
  options = { floor = 1 },
  configure = function(self, options)
    local least = options.floor
    assert(type(least) == "number" and least > 0 and least < math.huge,
      ("floor is a number of milliseconds above 0, not %s"):format(least))
    self.mean, self.sum, self.known = 100, 0, 0
    self.weigh = function(proxy)
      local ema, success = proxy.ema_ms, proxy.success_rate
      if ema then
        self.sum, self.known = self.sum + ema, self.known + 1
      else
        ema = self.mean
      end
      return success * success / (ema > least and ema or least)
    end
  end,
  select = function(self, view)
    self.sum, self.known = 0, 0
    local picked = view:weighted(self.weigh)
    if self.known > 0 then
      self.mean = self.sum / self.known -- of this look, for who is unknown in the next
    end
    return picked
  end,
}
