-- Any eligible proxy, each with the same chance. Nothing is shared between picks, so it scales best over threads; the
-- counts of n picks differ by about their square root.
return { name = "random", native = "random",
  select = function(_, view) return view:random() end,
}
