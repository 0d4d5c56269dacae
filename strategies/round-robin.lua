-- The next eligible proxy after the last one picked, around. Between two picks of a proxy that stays eligible, every
-- other proxy that stays eligible is picked exactly once, by all threads and processes together. The default. As in
-- nginx, HAProxy and Envoy, but it starts anywhere (ingress-nginx#4023) and the turn is the segment's, not a worker's.
-- O(1); a gap of benched proxies is one step for 64 of them. For proxies that are alike, and requests that take about
-- as long. Not where proxies differ in speed: a slow one gets as many as a fast one. Use performance, or least-active.
return { name = "round-robin", native = "round-robin",
  select = function(_, view) return view:round_robin() end,
}
