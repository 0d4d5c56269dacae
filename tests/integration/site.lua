-- site.lua DIR N: writes a site of N pages under DIR/site/, linked so that every page can be reached from
-- index.html and most in several ways, and prints the paths a crawl of /site/ has to fetch, sorted.
--
-- Page i links to pages 2i and 2i + 1 (a tree), to its parent and to the start; in all the spellings a crawler
-- has to see through: relative, absolute path, "./", "../", with a fragment, twice. Traps: a page outside the
-- prefix, another host, mailto, an anchor without href, an image, a link that only stands in a comment.
local dir, count = arg[1], tonumber(arg[2])

local function path(i)
  if i == 1 then return "index.html" end
  return (i % 3 == 0 and "sub/" or "") .. ("p%d.html"):format(i)
end

local function link(from, to)
  local up = from % 3 == 0 and "../" or ""
  local spelling = to % 5
  if spelling == 0 then return "/site/" .. path(to) end
  if spelling == 1 then return "./" .. up .. path(to) end
  if spelling == 2 then return up .. path(to) .. "#part" end
  if spelling == 3 then return up .. "sub/../" .. path(to) end
  return up .. path(to)
end

local traps = [[
<a href="/outside.html">outside</a> <a href="http://other.invalid/site/x.html">other host</a>
<a href="mailto:a@b.invalid">mail</a> <a name="here">anchor</a> <a href="#here">here</a>
<img src="image.png" alt=""> <!-- <a href="never.html">comment</a> -->
]]

local function write(i)
  local links = { ('<a href="%s">start</a>'):format(link(i, 1)) }
  for _, to in ipairs { math.floor(i / 2), 2 * i, 2 * i + 1, 2 * i } do
    if to >= 1 and to <= count then
      links[#links + 1] = ('<a href="%s">page %d</a>'):format(link(i, to), to)
    end
  end
  local file = assert(io.open(dir .. "/site/" .. path(i), "w"))
  file:write(("<!DOCTYPE html><html><head><title>Page %d &amp; more</title></head><body>\n%s\n%s%s</body></html>\n")
    :format(i, table.concat(links, "\n"), traps, ("filler "):rep(i * 7 % 500)))
  file:close()
end

assert(os.execute(("mkdir -p '%s/site/sub'"):format(dir)) == 0)
local outside = assert(io.open(dir .. "/outside.html", "w"))
outside:write("<html><body>never fetched</body></html>\n")
outside:close()
local paths = {}
for i = 1, count do
  write(i)
  paths[i] = "/site/" .. path(i)
end
table.sort(paths)
print(table.concat(paths, "\n"))
