-- Every page that a site's sitemap names, with its title. A sitemap may name other sitemaps.
--   gyre run examples/jobs/sitemap.lua proxies.txt https://shop.example/sitemap.xml titles.csv
local gyre = require "gyre"

return gyre.crawl {
  start = arg[2], pool = arg[1], out = arg[3] or "titles.csv", scope = "host", columns = { "url", "title" },
  priority = function(url) return url:find "%.xml$" and 1 or 0 end,
  page = function(page)
    if page.url:find "%.xml$" then
      for url in page.body:gmatch "<loc>%s*(.-)%s*</loc>" do page:follow((url:gsub("&amp;", "&"))) end
    else
      page:emit { url = page.url, title = page.title or "" }
    end
  end,
}
