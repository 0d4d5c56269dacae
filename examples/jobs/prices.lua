-- A price monitor: products of a shop's listing pages as a CSV, by XPath; runs again tomorrow with the same command.
--   gyre run examples/jobs/prices.lua proxies.txt https://shop.example/products/ prices.csv
local gyre = require "gyre"

return gyre.crawl {
  start = arg[2], pool = arg[1], out = arg[3] or "prices.csv", fresh = true,
  columns = { "date", "name", "price", "url" },
  agent = "pricebot/1.0 (+https://monitor.example/bot)",
  page = function(page)
    for _, item in ipairs(page:xpath "//*[contains(concat(' ', @class, ' '), ' product ')]") do
      page:emit {
        date = os.date "!%Y-%m-%d",
        name = item:xpath "normalize-space(.//*[@class='name'])",
        price = tonumber(item:xpath("string(.//*[@class='price'])"):match "%d+%.?%d*"),
        url = page.url,
      }
    end
    page:follow(page:xpath "//a[@rel='next']/@href")
  end,
}
