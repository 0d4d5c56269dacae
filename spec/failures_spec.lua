-- docs/failures.md names tests: they are there, by these words.
local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

it("every failure of docs/failures.md has its tests", function()
  local rows, named = 0, 0
  for row in read("docs/failures.md"):gmatch "\n(|[^\n]+)" do
    local tests = row:match "|([^|]*)|$"
    local before = named
    for path, words in tests:gmatch '`([^`]+)`: "([^"]+)"' do
      assert.is_truthy(read(path):find(words, 1, true), path .. " has no " .. words)
      named = named + 1
    end
    rows = rows + (named > before and 1 or 0)
  end
  assert.equal(16, rows)
  assert.is_true(named >= 30, named)
end)
