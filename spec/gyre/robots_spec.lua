local robots = require "gyre.robots"

-- Whether a crawler with this token may ask for a path.
local function allows(text, path, token)
  return (robots.parse(text, token or "examplebot"):allows(path))
end

describe("robots.txt", function()
  -- RFC 9309, 5.1
  local SIMPLE = [[
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
]]

  it("is read as in the RFC's first example", function()
    assert.is_false(allows(SIMPLE, "/x.gif"))
    assert.is_true(allows(SIMPLE, "/x.gif?y"))
    assert.is_false(allows(SIMPLE, "/example/page.html"))
    assert.is_true(allows(SIMPLE, "/publications/"))
    assert.is_true(allows(SIMPLE, "/other"))
    assert.is_false(allows(SIMPLE, "/", "foobot"))
    assert.is_true(allows(SIMPLE, "/example/page.html", "foobot"))
    assert.is_true(allows(SIMPLE, "/example/allowed.gif", "FooBot"))
    for _, token in ipairs { "barbot", "bazbot" } do
      assert.is_false(allows(SIMPLE, "/example/page.html", token))
      assert.is_true(allows(SIMPLE, "/example/", token))
      assert.is_true(allows(SIMPLE, "/x.gif", token)) -- the group for * is not theirs
    end
    assert.is_true(allows(SIMPLE, "/example/x.gif", "quxbot")) -- a group without rules
  end)

  it("lets the longest match decide, as in the RFC's second example", function()
    local text = "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n"
    assert.is_true(allows(text, "/example/page/x", "foobot"))
    assert.is_false(allows(text, "/example/page/disallowed.gif", "foobot"))
    assert.is_true(allows("User-agent: *\nDisallow: /a\nAllow: /a\n", "/a/b")) -- equally long: allowed
    assert.is_true(allows("User-agent: *\nAllow: /a\nDisallow: /a\n", "/a/b"))
  end)

  it("matches paths as the RFC's table says", function() -- 2.2.3, 2.2.2
    local function disallows(pattern, path)
      return not allows("User-agent: *\nDisallow: " .. pattern, path)
    end
    assert.is_true(disallows("/foo/bar?baz=quz", "/foo/bar?baz=quz"))
    assert.is_true(disallows("/foo/bar?baz=http://foo.bar", "/foo/bar?baz=http://foo.bar"))
    assert.is_true(disallows("/foo/bar/\227\131\132", "/foo/bar/%E3%83%84"))
    assert.is_true(disallows("/foo/bar/%E3%83%84", "/foo/bar/%E3%83%84"))
    assert.is_true(disallows("/foo/bar/%62%61%7A", "/foo/bar/baz"))
    assert.is_true(disallows("/a%3cd.html", "/a%3Cd.html"))
    assert.is_false(disallows("/a%2fb.html", "/a/b.html"))
    assert.is_true(disallows("/fish*", "/fish.html"))
    assert.is_true(disallows("/*.php", "/folder/any.php.file.html"))
    assert.is_false(disallows("/*.php", "/windows.PHP"))
    assert.is_true(disallows("/*.php$", "/folder/filename.php"))
    assert.is_false(disallows("/*.php$", "/filename.php?parameters"))
    assert.is_true(disallows("/fish*.php", "/fishheads/catfish.php?parameters"))
    assert.is_true(disallows("/a$b", "/a$b")) -- a dollar in the middle is one
    assert.is_true(disallows("/$", "/"))
    assert.is_false(disallows("/$", "/x"))
    assert.is_true(disallows("fish", "/fish")) -- a slash is missing
  end)

  it("finds special characters, encoded or not, where the RFC does", function() -- 2.2.3
    local function disallows(pattern, path)
      return not allows("User-agent: *\nDisallow: " .. pattern, path)
    end
    assert.is_true(disallows("/path/file-with-a-%2A.html", "/path/file-with-a-*.html"))
    assert.is_true(disallows("/path/file-with-a-%2a.html", "/path/file-with-a-%2A.html"))
    assert.is_false(disallows("/path/file-with-a-%2A.html", "/path/file-with-a-b.html"))
    assert.is_true(disallows("/path/foo-%24", "/path/foo-$"))
    assert.is_true(disallows("/path/foo-%24$", "/path/foo-$"))
    assert.is_false(disallows("/path/foo-$", "/path/foo-$x"))
    assert.is_true(disallows("/a$b", "/a%24b"))
    assert.is_true(disallows("/$$", "/$"))
    assert.is_true(disallows("/a*c", "/a*b*c"))
    assert.is_true(disallows("/search results/", "/search%20results/1")) -- what the normal form of a URL encodes
    assert.is_true(disallows("/{id}|\"x\"", "/%7Bid%7D%7C%22x%22"))
    assert.is_true(disallows("/100%/%4", "/100%25/%254"))
    assert.is_true(disallows("/q?a=[1]&b='c'", "/q?a=[1]&b='c'"))
  end)

  it("joins the groups of one crawler", function() -- 2.2.1
    local text = "User-agent: a\nDisallow: /1\nUser-agent: b\nDisallow: /2\nuser-AGENT: A/2.0 (x)\nDisallow: /3\n"
    assert.is_false(allows(text, "/1", "a"))
    assert.is_true(allows(text, "/2", "a"))
    assert.is_false(allows(text, "/3", "a"))
    assert.is_true(allows(text, "/3", "b"))
    assert.is_true(allows(text, "/1", "c")) -- nobody speaks of it
    assert.is_true(allows("User-agent: examplebot-news\nDisallow: /", "/")) -- another token
  end)

  it("tolerates what is found in the wild", function()
    local text = "\239\187\191# hello\r\nUSER-AGENT : * # all\r\n\r\n  disallow :  /x  # why\r\nNonsense\r\n: y\r\n"
      .. "Disallow\r\n"
    assert.is_false(allows(text, "/x"))
    assert.is_true(allows(text, "/y"))
    assert.is_false(allows("User-agent: *\rDisallow: /x", "/x"))
    assert.is_true(allows("User-agent: *\nDisallow:\n", "/x"))
    assert.is_true(allows("Disallow: /x\n", "/x")) -- of no group
    assert.is_false(allows("User-agent: *\nSitemap: http://h/s.xml\nUser-agent: b\nDisallow: /x\n", "/x"))
    assert.is_true(allows("User-agent: *\nDisallow: /", "/robots.txt"))
    assert.is_true(allows("<html>404</html>", "/x"))
  end)

  it("knows delays and sitemaps", function()
    local text = "Sitemap: http://h/1.xml\nUser-agent: *\nCrawl-delay: 2.5\nDisallow: /x\nUser-agent: b\n"
      .. "Crawl-delay: -1\nsitemap: http://h/2.xml\n"
    local rules = robots.parse(text, "a")
    assert.equal(2.5, rules.delay)
    assert.same({ "http://h/1.xml", "http://h/2.xml" }, rules.sitemaps)
    assert.is_nil(robots.parse(text, "b").delay)
    assert.is_nil(robots.parse("User-agent: *\nCrawl-delay: nan", "a").delay)
    assert.is_nil(robots.parse("User-agent: *\nCrawl-delay: 1e300", "a").delay)
    -- A delay is a rule: what comes after it is another group. The RFC knows no delays, and would join the two.
    assert.is_true(allows("User-agent: *\nCrawl-delay: 1\n\nUser-agent: badbot\nDisallow: /", "/x"))
  end)

  it("reads 500 KiB and no rule that the limit cuts", function()
    local line = "Disallow: /" .. ("a"):rep(88) .. "\n" -- 100 bytes
    local text = "User-agent: *\n" .. line:rep(5119) .. "Disallow: /just-inside\nDisallow: /" .. ("b"):rep(200)
    assert.is_false(allows(text, "/just-inside"))
    assert.is_true(allows(text, "/b"))
    assert.is_true(allows("User-agent: *\n" .. line:rep(5200) .. "Disallow: /outside\n", "/outside"))
  end)

  it("takes the token from a User-Agent", function()
    assert.equal("shopbot", robots.token "shopbot/2.1 (+https://shop.example)")
    assert.equal("my_shop-bot", robots.token "my_shop-bot")
    assert.is_nil(robots.token "(no token)")
  end)

  -- The rule for one pattern again, by trying every split: slow, and nothing to get wrong.
  local function naive(pattern, path)
    if pattern == "" then
      return true
    elseif pattern == "$" then
      return path == ""
    end
    local first = pattern:sub(1, 1)
    if first == "*" then
      return naive(pattern:sub(2), path) or (path ~= "" and naive(pattern, path:sub(2)))
    end
    return first == path:sub(1, 1) and naive(pattern:sub(2), path:sub(2))
  end

  it("agrees with a naive matcher, and never raises", function()
    local state = 12345
    local function random(n)
      state = (state * 16807) % 2147483647
      return state % n + 1
    end
    local alphabet = { "a", "b", "/", "*", "$", "ab", "**" }
    for _ = 1, 4000 do
      local pattern, path = "/", "/"
      for _ = 1, random(8) do
        pattern = pattern .. alphabet[random(#alphabet)]
      end
      for _ = 1, random(10) do
        path = path .. alphabet[random(3)]
      end
      local wanted = not naive(pattern:gsub("%$(.)", "\1%1"), path) -- only the last dollar is special
      assert.equal(wanted, allows("User-agent: *\nDisallow: " .. pattern, path), pattern .. " on " .. path)
    end
    local bytes = {
      "User-agent: ", "*", "\n", "\r", "Disallow: ", "Allow: ", "/", "%", "%4", "$", "\0", "\255", "#", ":",
    }
    for _ = 1, 1000 do
      local text = {}
      for i = 1, random(30) do
        text[i] = bytes[random(#bytes)]
      end
      robots.parse(table.concat(text), "a"):allows "/a%20b?\255"
    end
  end)

  it("is quick on hostile patterns", function()
    local text = "User-agent: *\nDisallow: /" .. ("*a"):rep(2000) .. "$"
    assert.is_true(allows(text, "/" .. ("a"):rep(4000) .. "b"))
  end)

  -- Seconds of processor time: the machine may have other things to do.
  local function cost(f)
    local began = os.clock()
    f()
    return os.clock() - began
  end

  it("is quick on lines of white space, and where the limit cuts a long one", function()
    local long, longer = (" "):rep(5000), (" "):rep(200000)
    for _, line in ipairs { long .. "x", "a" .. long .. "x", "Disallow: /a" .. longer .. "x" } do
      assert.is_true(cost(function()
        robots.parse("User-agent: *\n" .. line .. "\n", "a")
      end) < 5)
    end
    local cut = "User-agent: *\nDisallow: /x\n" .. ("a"):rep(499 * 1024) .. "\nDisallow: /y" .. ("y"):rep(4096)
    assert.is_true(cost(function()
      local rules = robots.parse(cut, "a")
      assert.is_false(rules:allows "/x")
      assert.is_true(rules:allows "/y")
    end) < 5)
  end)

  it("takes a rule once for a group that is named again and again", function()
    local agents = ("User-agent: *\nUser-agent: examplebot\n"):rep(8000)
    assert.equal(3, #robots.parse(agents .. ("Disallow: /x\n"):rep(3), "examplebot").rules)
  end)

  it("takes white space around names and values for nothing", function()
    assert.is_false(allows("\t User-agent\t:\t* \n \v disallow \f : /x\t \r\n", "/x"))
    assert.is_true(allows("User-agent: *\nDis\tallow: /x\nDis(allow: /x", "/x"))
    assert.is_true(allows("User-agent: *\nDisallow # : /x\n # Disallow: /x", "/x"))
  end)
end)
