local cjson = require "cjson"
local gyre = require "gyre"
local list = require "gyre.list"
local random = require "gyre.random"

local FORMATS = {}

-- What each format does with host, port, user and password; the last two are made of any printable characters.
function FORMATS.url(host, port, user, password)
  local function encode(text)
    return (text:gsub("%W", function(c)
      return ("%%%02x"):format(c:byte())
    end))
  end
  return ("http://%s:%s@%s:%d"):format(encode(user), encode(password), host, port)
end

function FORMATS.without_scheme(...)
  return (FORMATS.url(...):gsub("^http://", ""))
end

function FORMATS.raw(host, port, user, password)
  return ("%s:%d:%s:%s"):format(host, port, user, password)
end

function FORMATS.csv(host, port, user, password)
  local function quote(text)
    return '"' .. text:gsub('"', '""') .. '"'
  end
  return ("%s,%d,%s,%s"):format(host, port, quote(user), quote(password))
end

function FORMATS.jsonl(host, port, user, password)
  return cjson.encode { host = host, port = port, user = user, password = password }
end

local HEADERS = { csv = "host,port,user,password\n" }
local ALPHABET = ":@#%=;,&/?+\"'\\[]{}~.-_ aZ09"

local function word(generator, alphabet)
  local letters = {}
  for i = 1, generator:upto(12) do
    local at = generator:upto(#alphabet)
    letters[i] = alphabet:sub(at, at)
  end
  return table.concat(letters)
end

-- The raw form has no way to write these: a user with ":", spaces, what reads as the start of attributes.
local function is_writable(format, user, password)
  if format ~= "raw" then
    return true
  end
  return not (user:find ":" or (user .. password):find " ")
end

local function credentials(pool)
  local found = {}
  for proxy in pool:each() do
    found[#found + 1] = pool:url(proxy.id, true)
  end
  return found
end

local function with_file(text, run)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  local value, err = run(path)
  os.remove(path)
  return value, err
end

local function open(text)
  return with_file(text, function(path)
    return gyre.open { proxies = path }
  end)
end

describe("gyre.list", function()
  for format, write in pairs(FORMATS) do
    it("keeps any credentials: " .. format, function()
      for seed = 1, 60 do
        local generator = random.new(seed)
        local lines, expected = {}, {}
        while #lines < 20 do
          local user, password = word(generator, ALPHABET), word(generator, ALPHABET)
          if is_writable(format, user, password) then
            local port = 1000 + #lines
            lines[#lines + 1] = write("192.0.2.7", port, user, password)
            local encoded = FORMATS.url("192.0.2.7", port, user, password):lower()
            expected[#expected + 1] = encoded:gsub("%%2[de]", { ["%2d"] = "-", ["%2e"] = "." })
              :gsub("%%[57][fe]", { ["%5f"] = "_", ["%7e"] = "~" })
          end
        end
        local pool, err = open((HEADERS[format] or "") .. table.concat(lines, "\n"))
        assert.is_nil(err and err.message)
        assert.equal(20, pool.loaded.loaded, pool.loaded.message)
        for i, url in ipairs(credentials(pool)) do
          assert.equal(expected[i], url:lower(), ("seed %d: %s"):format(seed, lines[i]))
        end
        pool:close()
      end
    end)
  end

  it("never repeats a password in what it says about a broken line", function()
    local secret = "Hunter2Secret"
    for seed = 1, 300 do
      local generator = random.new(seed)
      local names = { "url", "without_scheme", "raw", "csv", "jsonl" }
      local format = names[generator:upto(#names)]
      local text = FORMATS[format]("192.0.2.7", 80, "bob", secret)
      -- Damage it: a byte outside the secret goes, or another comes.
      local at = generator:upto(#text + 1)
      local inside = text:find(secret, 1, true)
      if at < inside or at > inside + #secret then
        local other = generator:upto(#ALPHABET)
        text = text:sub(1, at - 1) .. ALPHABET:sub(other, other) .. text:sub(at + generator:upto(2) - 1)
      end
      local pool, err = open((HEADERS[format] or "") .. text .. "\nno proxy at all")
      local said = err and err.message or pool.loaded.message
      assert.is_nil(said:find(secret, 1, true), ("seed %d: %s -> %s"):format(seed, text, said))
    end
  end)

  it("skips byte order mark, CRLF, blank lines and comments", function()
    local parsed = list.parse "\239\187\191# a list\r\n\r\n192.0.2.1:80\r\n  \r\n\t# more\r\n192.0.2.2:80\r\n"
    assert.equal(2, #parsed.entries)
    assert.equal(3, parsed.entries[1].line)
    assert.equal(6, parsed.entries[2].line)
    assert.same({}, parsed.lines)
    local rows = list.parse "\239\187\191# a list\r\nhost,port\r\n# x,y\r\n192.0.2.1,80\r\n"
    assert.equal("http://192.0.2.1:80", rows.entries[1].url)
    local objects = list.parse '# a list\r\n\r\n{"host":"192.0.2.1"}\r\n'
    assert.equal("http://192.0.2.1", objects.entries[1].url)
  end)

  it("tells a JSON array from an IPv6 address", function()
    assert.equal(2, #list.parse(' [ "192.0.2.1:80",\n {"host":"192.0.2.2"} ]\n').entries)
    assert.equal("http://[::1]:80", list.parse("[::1]:80").entries[1].url)
    assert.equal("http://[fe80::1]:80", list.parse("[fe80::1]:80").entries[1].url)
  end)

  it("keeps the empty cells at the ends of a line with tabs", function()
    local parsed = assert(list.parse "country\thost\tport\tregion\n\t192.0.2.1\t80\t\r\nde\t192.0.2.2\t80\tberlin\n")
    assert.same({}, parsed.lines)
    assert.equal("http://192.0.2.1:80", parsed.entries[1].url)
    assert.equal("berlin", parsed.entries[2].region)
  end)

  it("takes a country's code before its name", function()
    local parsed = assert(list.parse [[
[{"proxy_address":"192.0.2.1","port":80,"country_code":"US"},
 {"ip":"192.0.2.2","port":80,"country":"Germany","countryCode":"DE"},{"ip":"192.0.2.3","port":80,"country":"FR"}]
]])
    assert.same({ "US", "DE", "FR" },
      { parsed.entries[1].country, parsed.entries[2].country, parsed.entries[3].country })
  end)

  it("says where the list is in an object of JSON", function()
    for _, text in ipairs { '{"count":2,"results":[{"ip":"h","port":80}]}', '{\n "results": [\n "h:1"\n ]\n}' } do
      local parsed, err = list.parse(text)
      assert.is_nil(parsed)
      assert.matches("^one JSON object; a list is an array, such as its field 'results' %(jq %.results%), or an object",
        err.message)
    end
    assert.is_truthy(select(2, list.parse '{"error":"hunter2"}').message:find "^one JSON object")
    assert.is_nil(select(2, list.parse '{"error":"hunter2"}').message:find "hunter2")
    assert.equal(1, #assert(list.parse '{"host":"192.0.2.1","port":80}').entries)
  end)

  it("counts and names what it did not load", function()
    local pool = assert(open "192.0.2.1:80\n\n192.0.2.1:80\nnonsense\nhttp://192.0.2.1\n192.0.2.2:99999\n192.0.2.3:80")
    local report = pool.loaded
    assert.same({ 2, 2, 2, 0 }, { report.loaded, report.duplicates, report.invalid, report.known })
    assert.same({ 3, 4, 5, 6 }, { report.lines[1].line, report.lines[2].line, report.lines[3].line,
      report.lines[4].line })
    assert.equal("repeats line 1", report.lines[1].why)
    assert.matches("^loaded 2, 2 duplicates, 2 invalid: line 4: .+; line 6: .+", report.message)
  end)

  it("names lines that are wrong in the same way together", function()
    local _, err = gyre.open { proxies = { "h1", "h2 x:1", "h3", "h4" } }
    assert.matches("loaded 0, 4 invalid: items 1, 3, 4: no port; .+; item 2: a space inside the address$", err.message)
  end)

  it("names the first five invalid lines only, and counts the rest", function()
    local pool = assert(open("192.0.2.1:80\n" .. ("x\n"):rep(8)))
    assert.equal(8, #pool.loaded.lines)
    assert.matches("8 invalid: lines 2, 3, 4, 5, 6: .*; and 3 more$", pool.loaded.message)
    assert.is_nil(pool.loaded.message:find("line 7", 1, true))
  end)

  it("counts items of a JSON array and of a Lua table", function()
    local pool = assert(open '["192.0.2.1:80", 17, {"host":"192.0.2.2","asn":1,"speed":2}, {"url":5}]')
    assert.equal("loaded 2, ignored fields: asn speed, 2 invalid: item 2: neither text nor an object; "
      .. "item 4: the URL must be text", pool.loaded.message)
    pool = assert(gyre.open { proxies = { "192.0.2.1:80", 17, { host = "192.0.2.2" } } })
    assert.equal("loaded 2, 1 invalid: item 2: neither text nor an object", pool.loaded.message)
  end)

  it("refuses fields that mean nothing in a Lua table", function()
    local misspelt = { "192.0.2.1:80", { url = "http://192.0.2.2:80", contry = "de" } }
    local pool, err = gyre.open { proxies = misspelt }
    assert.is_nil(pool)
    assert.same({ "invalid", "the list of proxies: unknown field 'contry'" }, { err.kind, err.message })
    pool = assert(gyre.open { proxies = { "192.0.2.1:80", "192.0.2.3:80" } })
    assert.is_nil((pool:reload(misspelt)))
    assert.equal(2, #pool)
  end)

  it("takes the same proxy with other credentials, scheme or port for another one", function()
    local urls = { "http://a:1@h:80", "http://b:1@h:80", "http://a:2@h:80", "http://h:80", "socks5://h:80",
      "http://h:81" }
    local pool = assert(open(table.concat(urls, "\n")))
    assert.equal(6, #pool)
    assert.equal("loaded 6", pool.loaded.message)
  end)

  it("decodes percent-encoding once", function()
    local pool = assert(open "http://bob:%2541@h:80")
    assert.equal("http://bob:%2541@h:80", pool:url(pool:each()(pool).id, true))
  end)

  it("fails on what holds nothing usable", function()
    for text, message in pairs {
      [""] = ": the list is empty$",
      ["# only\n\n"] = ": the list is empty$",
      ["[]"] = ": the list is empty$",
      ["x\ny"] = ": the list holds no usable proxy: loaded 0, 2 invalid: lines 1, 2: ",
      ['["h:80",'] = "no JSON",
      ["\255\254h\0"] = "UTF%-16",
    } do
      local pool, err = open(text)
      assert.is_nil(pool)
      assert.equal("invalid", err.kind)
      assert.matches(message, err.message)
    end
  end)

  it("fails on files that cannot be read", function()
    for _, path in ipairs { "/nonexistent/list", "/" } do
      local pool, err = gyre.open { proxies = path }
      assert.is_nil(pool)
      assert.equal("system", err.kind)
      assert.matches("^" .. path, err.message)
    end
  end)

  it("says of a proxy that it is no file, without its credentials", function()
    local pool = gyre.open()
    for given, shown in pairs {
      ["http://anna:sekret@192.0.2.7:1"] = "http://192.0.2.7:1",
      ["anna:sekret@192.0.2.7:1"] = "192.0.2.7:1",
      ["192.0.2.7:1:anna:sekret"] = "192.0.2.7:1",
      ["https://anna:sekret@lists.example/all.txt"] = "https://lists.example/all.txt",
    } do
      for _, tried in ipairs { { gyre.open { proxies = given } }, { pool:reload(given) } } do
        assert.is_nil(tried[1])
        assert.equal("system", tried[2].kind)
        assert.equal(shown .. ": there is no such file: a list is a file, or in Lua a table of proxies",
          tried[2].message)
      end
    end
    pool:close()
  end)
end)
