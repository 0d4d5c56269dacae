-- The best of a few distinct random proxies by latency * (in flight + 1) / success^2 / weight: "the power of d choices"
-- (M. Mitzenmacher 2001). Latency and success are averages of what was seen, drawn to the pool's own with age, and an
-- unknown proxy counts as a good one: so it explores by itself, newcomers are not flooded, and no proxy gets more than
-- choices / n of the requests. O(choices). For speed, where proxies differ; with `rate` on proxies that get banned when
-- they are used too often. Up to 8 proxies are all compared.
return { name = "performance", native = "best",
  options = { choices = 3 },
  configure = function(self, options)
    local choices = options.choices
    assert(type(choices) == "number" and choices >= 1 and choices <= 64 and choices % 1 == 0,
      "choices is a whole number from 1 to 64")
    self.choices = choices
  end,
  select = function(self, view) return view:best(self.choices) end,
}
