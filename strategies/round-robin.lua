-- The next eligible proxy after the last one picked, around. Between two picks of a proxy that stays eligible, every
-- other proxy that stays eligible is picked exactly once, by all threads and processes together. The default.
return { name = "round-robin", native = "round-robin",
  select = function(_, view) return view:round_robin() end,
}
