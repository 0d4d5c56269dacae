-- The cheapest eligible proxy: free ones before paid ones, always, and nobody above max_cost. Among proxies of one
-- price `over` picks. A price is one that is there: who has none is an error or the fallback's (requires). ProxyWhirl's
-- cost-aware draws by 1 / cost instead, so its free ones lose now and then.
-- max_cost: dearer ones are never used. budget: what may be spent in all, in the unit of cost, counted for everybody on
-- the segment in the counter `cost-aware/NAME`, by the pick; when it is spent, only free ones serve. account: NAME; a
-- new name is a new budget, and pool:counter("cost-aware/NAME"):add(-x) pays in. A session keeps its proxy, whatever
-- has become cheaper, up to max_cost. Without a budget one call of the library for each price that is tried, nearly
-- always one; prices are looked up again when the pool changes, O(n log n). With a budget the same in Lua. For metered
-- proxies. Not for speed: the cheapest may be the slowest.
local function prices_of(pool, most)
  local seen, list = {}, {}
  for proxy in pool:each() do
    local cost = proxy.cost
    if cost and cost <= most and not seen[cost] then
      seen[cost] = true
      list[#list + 1] = cost
    end
  end
  table.sort(list)
  return list
end

-- "cost-aware/" and this are the name of a counter.
local function is_name(value)
  return type(value) == "string" and #value <= 36 and not value:find "%c"
end

-- Takes the price of a pick out of the budget, unless it is too much.
local function pays(self, proxy)
  local cost = proxy.cost or 0
  if cost == 0 then
    return true
  elseif assert(self.spent:add(cost)) <= self.budget then
    return true
  end
  self.spent:add(-cost)
  return false
end

local function record_within(self, proxy, outcome)
  self.over:record(proxy, outcome)
end

local function select_within(self, view, request)
  local why = "nobody within max_cost"
  for _, step in ipairs(self.steps) do
    if not view:is_empty(step.where) then
      local picked, reason = step[1]:select(view:where(step.where), request)
      if picked and pays(self, picked) then
        return picked
      elseif picked then -- what comes after it costs more
        return nil, "the budget is spent"
      end
      why = reason or why
    end
  end
  return nil, why
end

return { name = "cost-aware", requires = { "cost" },
  options = { max_cost = math.huge, budget = false, account = "default", over = "round-robin" },
  configure = function(self, options)
    local most, budget, account = options.max_cost, options.budget, options.account
    assert(type(most) == "number" and most >= 0, ("max_cost is a number from 0 on, not %s"):format(most))
    assert(budget == false or (type(budget) == "number" and budget >= 0),
      ("budget is a number from 0 on, not %s"):format(budget))
    assert(is_name(account),
      ("account is a name of up to 36 bytes without control characters, not '%s'"):format(account))
    self.most, self.budget, self.account, self.over = most, budget, account, strategy(options.over)
    self.takes = self.over.takes
    self.keep = { tags = ("cost<=%.17g"):format(most) }
    self.steps = { { self.over, where = self.keep } }
    self.select = budget and select_within or nil
    self.record = budget and self.over.record and record_within or nil
    self.title = "cost-aware over " .. (self.over.title or self.over.name)
  end,
  refresh = function(self, pool)
    local steps = {}
    for i, cost in ipairs(prices_of(pool, self.most)) do
      steps[i] = { self.over, where = { tags = ("cost=%.17g"):format(cost) } }
    end
    steps[#steps + 1] = { self.over, where = { tags = ("cost<=%.17g"):format(self.most) } }
    self.steps = steps
    self.spent = self.budget and pool:counter("cost-aware/" .. self.account)
  end,
}
