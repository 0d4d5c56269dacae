-- By time of day: the first tier whose hours it is (UTC) and that has somebody. An hour range may go over midnight; one
-- from an hour to the same hour never is. Whoever has no tag of a tier serves when no tier does.
return {
  name = "office-hours",
  options = { tiers = { { tags = "premium", from = 8, to = 18 }, { tags = "cheap", from = 18, to = 8 } }, offset = 0 },
  configure = function(self, options)
    for i, tier in ipairs(options.tiers) do
      assert(tier.tags and tonumber(tier.from) and tonumber(tier.to), ("tier %d needs tags, from and to"):format(i))
    end
    self.tiers, self.offset = options.tiers, options.offset -- offset: hours east of UTC
  end,
  hour = function(self)
    return (os.date("!*t").hour + self.offset) % 24
  end,
  select = function(self, view)
    local hour = self:hour()
    for _, tier in ipairs(self.tiers) do
      local now = tier.from <= tier.to and hour >= tier.from and hour < tier.to
        or tier.from > tier.to and (hour >= tier.from or hour < tier.to)
      local picked = now and view:where({ tags = tier.tags }):least_active()
      if picked then
        return picked
      end
    end
    return view:least_active()
  end,
}
