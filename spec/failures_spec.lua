-- docs/failures.md names tests: they are there, by these words.
local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- How a test is named in each kind of file.
local FORMS = { lua = 'it("%s', c = "\nstatic void %s(", sh = "\n%s() {" }

it("every failure of docs/failures.md has its tests", function()
  local rows, named = 0, 0
  for row in read("docs/failures.md"):gmatch "\n| ([^\n]+)" do
    local tests = row:match "|([^|]*)|$"
    local before = named
    for path, words in tests:gmatch '`([^`]+)`: "([^"]+)"' do
      local form = FORMS[path:match "%.(%a+)$"]:format(words)
      assert.is_truthy(read(path):find(form, 1, true), path .. " has no test " .. words)
      named = named + 1
    end
    assert.is_true(named > before or rows == 0, row)
    rows = rows + 1
  end
  assert.equal(1 + 22, rows) -- the head of the table; lines 1 to 21 and 28 of the list it came from
  assert.is_true(named >= 55, named)
end)
