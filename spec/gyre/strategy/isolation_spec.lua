-- What a strategy in a file cannot get hold of by way of the objects that it is given.
local pools = require "pools"
local write = require("strategy_file").write

-- A pool that follows a file with this text.
local function follows(text)
  local path = write(text)
  local pool = pools.open(4, { strategy = path })
  os.remove(path)
  return pool
end

-- What a strategy in a file makes of this, or the error.
local function tries(body)
  local pool = follows("return { name = 'spec', select = function(self, view, request) "
    .. "local _, made = pcall(function() " .. body .. " end) return nil, tostring(made) end }")
  local first = pool:each()(pool)
  local _, err = pool:acquire { metadata = { pool = "other" } }
  assert.equal("http", first.scheme) -- and the program's own objects are as they were
  assert.equal(0, first.started)
  return (tostring(err):match "picked none: (.*)"), pool
end

describe("gyre.strategy", function()
  it("gets no memory by way of a proxy", function()
    for _, attack in ipairs {
      "view[1].record = nil", "view[1].pool = 99", "view[1].slot = 3", "view[1].generation = 7", "view[1].place = 1e9",
      "view[1].core_id = 5", "view.n = 1e9", "view.number = 1",
    } do
      assert.matches("constant", (tries(attack)), attack)
    end
    local refusals = {
      ["return view[1].record[1]"] = "size of C type is unknown",
      ["return view[1].record[1e9].weight"] = "size of C type is unknown",
      ["return view[1].record.weight"] = "has no member",
      ["return view[1].record + 1"] = "attempt to",
      ["return #view[1].record"] = "attempt to",
    }
    for attack, refusal in pairs(refusals) do
      assert.matches(refusal, (tries(attack)), attack)
    end
    assert.equal("nil", (tries "return view[1e9]"))
    assert.equal("nil", (tries "return view[0]"))
  end)

  it("gets no pool by way of the one it sees", function()
    for _, name in ipairs { "each", "bans", "counters" } do
      assert.equal("function nil", (tries("local step, walk = view.pool:" .. name
        .. "() return type(step) .. ' ' .. tostring(walk)")), name)
    end
    assert.equal("4", (tries "local n = 0 for proxy in view.pool:each() do n = n + 1 end return n"))
    assert.matches("must not write 'number'", (tries "view.pool.number = 1"))
    assert.matches("must not write 'stats'", (tries "view.pool.stats = 1"))
    assert.equal("nil", (tries "return rawget(view.pool, 'number')"))
    assert.matches("takes the id of a proxy", (tries "return view.pool:get('http://192.0.2.1/')"))
  end)

  it("changes no class of the program", function()
    assert.equal("gyre.Counter", (tries "return getmetatable(view.pool:counter 'c')"))
    assert.matches("must not write 'add'", (tries "view.pool:counter('c').add = nil"))
    assert.matches("must not write 'pool'", (tries "view.pool:counter('c').pool = 1"))
    assert.equal("3", (tries "local c = view.pool:counter 'c' c:add(1) c:add(2) return c:get()"))
  end)

  it("looks at sessions, and does not end them", function()
    local pool = follows [[return { name = "spec", select = function(self, view, request)
      local session = view.pool:session "s1"
      if not session then return view:random() end
      local ran, why = pcall(function() return session:close() end)
      return nil, table.concat({ session.id, tostring(session.proxy == view.pool:get(session.proxy.id)),
        type(session.created), tostring(getmetatable(session)), tostring(ran), tostring(why) }, " ")
    end }]]
    assert(pool:acquire { session = "s1" }):ok()
    local _, err = pool:acquire()
    assert.matches("s1 true number gyre.Session false .*no 'close' of a session", tostring(err))
    assert.is_table(pool:session "s1")
  end)

  it("takes no counter that the host needs", function()
    local said, pool = tries [[for i = 1, 2000 do view.pool:counter("c" .. i):add(1) end]]
    assert.matches("256 counters at most", said)
    assert.equal(1, pool:counter("of the program"):add(1))
  end)

  it("narrows its view in any number of ways, one after the other", function()
    local pool = follows [[local n = 0
      return { name = "spec", select = function(self, view, request)
        n = n + 1
        assert(view:where { tags = "t" .. n }:is_empty())
        return view:where { state = "closed" }:random()
      end }]]
    for _ = 1, 1000 do
      assert(pool:acquire():ok())
    end
    local child = tries [[local views = {} for i = 1, 100 do views[i] = view:where { tags = "t" .. i } end]]
    assert.matches("64 ways at most", child)
  end)
end)
