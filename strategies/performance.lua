-- The best of a few distinct random proxies by latency * (in flight + 1) / success^2 / weight: "the power of d choices"
-- (M. Mitzenmacher 2001). Latency and success are averages of what was seen, drawn to the pool's own with age, and an
-- unknown proxy counts as a good one: so it explores by itself, newcomers are not flooded, and no proxy gets more than
-- choices / n of the requests. O(choices). For speed, where proxies differ. With `rate` on proxies that get banned when
-- they are used too often: chasing the fastest drives them into bans. Up to 8 proxies are all compared.
-- choices: how many. min_success, max_ms: who is below or above is not considered at all, if a request says nothing
-- else. Not for even use: use least-used.
local function in_range(value, low, high)
  return type(value) == "number" and value >= low and value <= high
end

return { name = "performance", native = "best",
  options = { choices = 3, min_success = 0, max_ms = 0 },
  configure = function(self, options)
    local choices = options.choices
    assert(in_range(choices, 1, 64) and choices % 1 == 0,
      ("choices is a whole number from 1 to 64, not %s"):format(choices))
    assert(in_range(options.min_success, 0, 1),
      ("min_success is a number from 0 to 1, not %s"):format(options.min_success))
    assert(in_range(options.max_ms, 0, 1e9),
      ("max_ms is a number of milliseconds, 0 for none, not %s"):format(options.max_ms))
    self.choices, self.min_success, self.max_ms = choices, options.min_success, options.max_ms
  end,
  select = function(self, view) return view:best(self.choices, self.min_success, self.max_ms) end,
}
