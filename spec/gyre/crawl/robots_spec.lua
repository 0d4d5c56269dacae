-- The parsed rules that a worker keeps. What the module has from the program is made here.
local robots = require "gyre.robots"

describe("the rules of a worker", function()
  local HOST_ONLY = { "gyre.net", "gyre.url", "gyre.crawl.robots" }
  local before, module, now, asked, text, crawl = {}, nil, nil, nil, nil, nil

  before_each(function()
    for _, name in ipairs(HOST_ONLY) do
      before[name], package.loaded[name] = package.loaded[name], nil
    end
    now, asked, text = 1000, 0, "User-agent: *\nDisallow: /old"
    package.loaded["gyre.net"] = { now = function() return now end }
    package.loaded["gyre.url"] = {}
    module = require "gyre.crawl.robots"
    local frontier = {}
    function frontier.robots_text()
      asked = asked + 1
      return 200, text
    end
    crawl = {
      frontier = frontier, robots_cache = {}, robots_cached = 0,
      token_rules = function(body) return robots.parse(body, "examplebot") end,
    }
  end)

  after_each(function()
    for _, name in ipairs(HOST_ONLY) do
      package.loaded[name] = before[name]
    end
  end)

  local function allows(origin, path)
    return module.allows(crawl, origin, origin .. path)
  end

  it("are read once, and again when another worker may have been told new ones", function()
    assert.is_false(allows("http://a.example", "/old"))
    text = "User-agent: *\nDisallow: /new"
    now = now + 599
    assert.is_true(allows("http://a.example", "/new"))
    assert.equal(1, asked)
    now = now + 1
    assert.is_true(allows("http://a.example", "/old"))
    assert.is_false(allows("http://a.example", "/new"))
    assert.equal(2, asked)
    assert.equal(1, crawl.robots_cached)
  end)

  it("are forgotten when new ones are coming", function()
    assert.is_true(allows("http://a.example", "/new"))
    text = "User-agent: *\nDisallow: /new"
    module.forget(crawl, "http://a.example")
    module.forget(crawl, "http://b.example")
    assert.equal(0, crawl.robots_cached)
    assert.is_false(allows("http://a.example", "/new"))
  end)

  it("are those of 256 origins at most", function()
    for i = 1, 257 do
      allows(("http://%d.example"):format(i), "/")
    end
    assert.equal(1, crawl.robots_cached)
    allows("http://257.example", "/")
    assert.equal(257, asked)
  end)
end)
