-- By place: from the country and region that the request asks for, or else from those given here. Of several countries
-- the first that has anyone counts. ProxyWhirl's geo-targeted.
-- country, region: where a request says nothing. any = true: when nobody is there, anyone serves; without it the
-- acquire fails. over: who picks among them. Costs what `over` does: for native ones it is the same call of the
-- library. Requires a country of every proxy: one without is never found by place, and that should be noticed. For
-- targets that answer by country. Not needed for a plain request with `country`, which every strategy honours.
local function is_text(value)
  return type(value) == "string" and value:find "[^,%s]" ~= nil
end

local function is_list(value)
  if type(value) ~= "table" then
    return false
  end
  local n = 0
  for _ in pairs(value) do
    n = n + 1
  end
  for i = 1, n do
    if not is_text(value[i]) then
      return false
    end
  end
  return n > 0
end

return { name = "geo", requires = { "country" }, takes = { "country", "region" },
  options = { country = false, region = false, any = false, over = "round-robin" },
  configure = function(self, options)
    local country, region = options.country, options.region
    assert(country == false or is_text(country) or is_list(country),
      ("country is one or a list of them, not '%s'"):format(country))
    assert(region == false or is_text(region), ("region is text, not '%s'"):format(region))
    assert(type(options.any) == "boolean", ("any is true or false, not %s"):format(options.any))
    local over = strategy(options.over)
    self.title = "geo over " .. (over.title or over.name)
    self.steps = { { over, asked = { country = country or nil, region = region or nil } } }
    if options.any then
      self.steps[2] = { over }
    end
  end,
}
