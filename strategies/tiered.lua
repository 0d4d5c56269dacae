-- By rank: from the first tier that has an eligible proxy, e.g. cheap ones before premium ones. A proxy that is at a
-- limit is not eligible, so a tier that is full spills over to the next. As APISIX's priorities (balancer/priority.lua)
-- and HAProxy's backup servers; the escalation is that of Crawlee's tieredProxyUrls, but by request, not by host.
-- tiers: tags, best first, e.g. { "cheap", "premium" }; no comparisons of costs. rest = true: proxies with none of the
-- tags come last; false: never. over: who picks within a tier.
-- escalate = false: begin with the first tier always; otherwise - attempt 2 of a request begins with the second tier,
-- and so on: what was banned or failed below is not asked again; - priority 1 begins one tier higher, 2 two; - a
-- session whose proxy its host has banned begins above that proxy's tier; but never above the last one: the rest serve
-- only when that has nobody, and then it may be anyone. A session keeps its proxy in whatever tier that is. A call of
-- the library for each tier that is tried, nearly always one. For pools of different quality or price by tags. Not for
-- prices as numbers: use cost-aware.
local function place_of(tiers, proxy)
  for _, tag in ipairs(proxy.tags or {}) do
    for place, tier in ipairs(tiers) do
      if tag == tier then
        return place
      end
    end
  end
  return 0
end

local function is_banned(pool, proxy, host)
  for ban in pool:bans() do
    if ban.proxy.id == proxy.id and (ban.host == host or ban.host == "") then -- "": not named yet
      return true
    end
  end
  return false
end

-- Text that the core takes for one tag: not for several, and not for a comparison.
local function is_tag(value)
  return type(value) == "string" and value:find "^%S" and value:find "%S$" and not value:find "[%c,]"
    and not value:lower():find "^cost[<=>]"
end

return { name = "tiered",
  options = { tiers = {}, rest = true, over = "round-robin", escalate = true },
  configure = function(self, options)
    assert(type(options.tiers) == "table", ("tiers is a list of tags, not %s"):format(options.tiers))
    assert(type(options.rest) == "boolean", ("rest is true or false, not %s"):format(options.rest))
    assert(type(options.escalate) == "boolean", ("escalate is true or false, not %s"):format(options.escalate))
    assert(options.rest or options.tiers[1], "rest = false without tiers: nobody could serve")
    local over, count = strategy(options.over), 0
    self.takes, self.keep, self.escalate, self.steps, self.tiers = over.takes, {}, options.escalate, {}, {}
    for _ in pairs(options.tiers) do
      count = count + 1
    end
    for i = 1, count do
      local tag = options.tiers[i]
      assert(is_tag(tag), ("tiers is a list of tags without gaps, and number %d, '%s', is none"):format(i, tag))
      self.tiers[i] = tag:lower()
      self.steps[i] = { over, where = { tags = tag } }
    end
    if options.rest then
      self.steps[#self.steps + 1] = { over }
    end
    self.title = ("tiered %s over %s"):format(table.concat(options.tiers, ","), over.title or over.name)
  end,
  refresh = function(self, pool)
    self.pool = pool
  end,
  first = function(self, request)
    local last, place = math.max(1, #self.tiers), 1 -- the rest are nobody's escalation
    if not self.escalate then
      return 1
    end
    if request.session and request.host then
      local session = self.pool:session(request.session)
      if session and is_banned(self.pool, session.proxy, request.host:lower()) then
        place = place_of(self.tiers, session.proxy) + 1
      end
    end
    place = math.max(place, (request.attempt or 1) + (request.priority or 0))
    return math.max(1, math.min(math.floor(place), last))
  end,
}
