-- By place: from the country and region that the request asks for, or else from those given here. Of several countries
-- the first that has anyone counts.
-- country, region: where a request says nothing. any = true: when nobody is there, anyone serves; without it the
-- acquire fails. over: who picks among them. Costs what `over` does: for native ones it is the same call of the
-- library. Requires a country of every proxy: one without is never found by place, and that should be noticed. For
-- targets that answer by country. Not needed for a plain request with `country`, which every strategy honours.
return { name = "geo", requires = { "country" }, takes = { "country", "region" },
  options = { country = false, region = false, any = false, over = "round-robin" },
  configure = function(self, options)
    assert(type(options.any) == "boolean", "any is true or false")
    local over = strategy(options.over)
    self.title = "geo over " .. (over.title or over.name)
    self.steps = { { over, asked = { country = options.country or nil, region = options.region or nil } } }
    if options.any then
      self.steps[2] = { over }
    end
  end,
}
