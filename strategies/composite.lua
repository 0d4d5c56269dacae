-- What gyre.compose builds: a strategy that picks from part of the pool, and another one for when nobody is there.
-- ProxyWhirl's composite, filters and then a selector, but a filter is an index that the library keeps.
-- strategy and its options: who picks. where: { country =, region =, tags =, state = }, from whom; empty: from all that
-- the request lets through. fallback: who picks, from all of these, when nobody of `where` is eligible; without one the
-- acquire fails. Compositions nest. Costs what its strategy does: where the library carries that out, a filter is part
-- of the same call. For proxies of several kinds in one pool. Not for countries that come with the request: it says
-- them itself.
local ORDER = { "country", "region", "tags", "state" }

local function words(where)
  local list = {}
  for _, field in ipairs(ORDER) do
    local value = where[field]
    if value ~= nil then
      list[#list + 1] = field .. "=" .. (type(value) == "table" and table.concat(value, ",") or tostring(value))
    end
  end
  return list[1] and " where " .. table.concat(list, " ") or ""
end

return { name = "composite",
  options = { strategy = "round-robin", options = {}, where = {}, fallback = false },
  configure = function(self, options)
    assert(type(options.where) == "table",
      ("where is a table of country, region, tags and state, not %s"):format(options.where))
    assert(type(options.options) == "table", ("options are a table, not %s"):format(options.options))
    local main = strategy(options.strategy, options.options)
    self.takes = main.takes
    self.steps = { { main, where = options.where } }
    self.title = (main.title or main.name) .. words(options.where)
    if options.fallback then
      local other = strategy(options.fallback)
      self.steps[2] = { other, asked = not other.takes }
      self.title = ("%s, else %s"):format(self.title, other.title or other.name)
    end
  end,
}
