-- What matching one of Lua's patterns may take at worst. Its matcher tries each length of each repetition at each
-- place: with k of them, and a start anywhere, that is in as many ways as places can be chosen in order, of n bytes
-- C(n + k + 1, k + 1), and each way goes over the items up to the next repetition. An item costs a step, a set one for
-- each member, `%b` and `%1` one for each byte of the text; `?` doubles what follows.
local byte, find, sub = string.byte, string.find, string.sub

local MOST_READ = 256 -- patterns that are kept, as read
local SPECIAL = "[%^$*+?.([%%-]"

---@class gyre.strategy.Pattern
---@field plain boolean without anything special
---@field anchored boolean
---@field [integer] number steps of the items behind so many repetitions less one
---@field scans number[] the same of items that go over the text
---@field last number steps for each byte once, of a repetition at the end

local pattern = {}

local known, count = {}, 0

-- The last byte of the set that opens at `at`.
local function set_end(text, at)
  local i = at + 1
  if sub(text, i, i) == "^" then
    i = i + 1
  end
  repeat
    if sub(text, i, i) == "%" then
      i = i + 1
    end
    i = i + 1
  until i > #text or sub(text, i, i) == "]"
  return i
end

-- The item at `at`: its last byte, its steps, and whether it goes over the text; nil for steps: it cannot be repeated.
local function item(text, at)
  local char, following = sub(text, at, at), sub(text, at + 1, at + 1)
  if char == "%" then
    if following == "b" then
      return at + 3, 1, true, false
    elseif following == "f" then
      local last = set_end(text, at + 2)
      return last, last - at, false, false
    elseif find(following, "%d") then
      return at + 1, 1, true, false
    end
    return at + 1, 1, false, true
  elseif char == "[" then
    local last = set_end(text, at)
    return last, last - at, false, true
  end
  return at, 1, false, char ~= "(" and char ~= ")"
end

local function read(text)
  local made = { plain = not find(text, SPECIAL), anchored = byte(text, 1) == 94, scans = { 0 }, last = 0, 1 }
  local at, level, times = made.anchored and 2 or 1, 1, 1
  while at <= #text do
    local last, steps, scans, repeats = item(text, at)
    local sign = repeats and sub(text, last + 1, last + 1) or ""
    if sign == "?" then
      last, times = last + 1, times * 2
    elseif sign == "*" or sign == "+" or sign == "-" then
      last = last + 1
      if find(text, "^%)*$", last + 1) then -- what it takes is right, since nothing follows
        made.last = steps
      else
        level = level + 1
        made[level], made.scans[level] = times, 0
      end
    end
    made[level] = made[level] + steps * times
    made.scans[level] = made.scans[level] + (scans and times or 0)
    at = last + 1
  end
  return made
end

--- A pattern, as read.
---@param text string
---@return gyre.strategy.Pattern
function pattern.read(text)
  local made = known[text]
  if not made then
    if count >= MOST_READ then
      known, count = {}, 0
    end
    made = read(text)
    known[text], count = made, count + 1
  end
  return made
end

--- Steps at worst, of 2 ns or so, on a text of `size` bytes, in all its matches together.
---@param made gyre.strategy.Pattern
---@param size integer
---@param everywhere? boolean `^` is no anchor, as in gmatch
---@return number
function pattern.steps(made, size, everywhere)
  local anchored = made.anchored and not everywhere
  local starts = anchored and 0 or 1
  local ways = anchored and 1 or size + 1
  local total = made.last * size
  for i = 1, #made do
    if i > 1 then
      ways = ways * (size + i - 1 + starts) / (i - 1 + starts)
    end
    total = total + ways * (made[i] + made.scans[i] * size)
  end
  return total
end

return pattern
