-- The functions of string and table that work in C, for a strategy that is not trusted. What C does in one call no
-- check can stop: a call that might take more than MOST_STEPS is refused, and so is a text of more than a megabyte; the
-- others count as steps, by what they may take at worst. Where C would call the strategy there is Lua instead: C would
-- recurse until the processor's stack is full, and its quicksort can be made to take n^2 steps.
local guard = require "gyre.strategy.guard"
local pattern = require "gyre.strategy.pattern"

local error, rawget, select, tonumber, tostring, type, unpack = error, rawget, select, tonumber, tostring, type, unpack
local find, gmatch, gsub, match, sub = string.find, string.gmatch, string.gsub, string.match, string.sub
local byte, format, rep = string.byte, string.format, string.rep
local concat, insert, remove = table.concat, table.insert, table.remove
local min = math.min
local metatable_of = debug.getmetatable
local spend, spend_text, MOST_BYTES, SHORT = guard.spend, guard.spend_text, guard.MOST_BYTES, guard.SHORT
local read_pattern, pattern_steps = pattern.read, pattern.steps

local MOST_STEPS = 1e7 -- 20 to 50 ms
local MOST_PATTERN = 256
local NUMBER = 512 -- bytes that format makes of a number at most
local ITEM = 24 -- and concat
local MOST_PLACE = 2 ^ 31 -- of a table

local strings, tables = {}, {}

-- Texts as the functions of C take them.
local function to_text(value)
  if type(value) == "number" then
    return tostring(value)
  end
  return value
end

local function check_size(bytes)
  if bytes > MOST_BYTES or bytes ~= bytes then
    error("a strategy makes no text of more than a megabyte", 3)
  end
end

-- ---- patterns ----

local function check_steps(steps, subject, level)
  if steps > MOST_STEPS then
    error(format("the pattern may take too long on a text of %d bytes", #subject), level)
  end
  spend(steps, level + 1)
end

-- Not of texts: the function itself says what is wrong.
local function check_pattern(subject, wanted, everywhere)
  if type(subject) ~= "string" or type(wanted) ~= "string" then
    return
  elseif #wanted > MOST_PATTERN then
    error("a strategy's pattern has at most 256 bytes", 3)
  end
  check_steps(pattern_steps(read_pattern(wanted), #subject, everywhere), subject, 4)
end

function strings.match(subject, wanted, from)
  subject, wanted = to_text(subject), to_text(wanted)
  check_pattern(subject, wanted)
  return match(subject, wanted, from)
end

-- At its end an iterator would look through the rest again and again.
function strings.gmatch(subject, wanted)
  subject, wanted = to_text(subject), to_text(wanted)
  check_pattern(subject, wanted, true)
  local step = gmatch(subject, wanted)
  local over = false
  local function pass(...)
    over = (...) == nil
    return ...
  end
  return function()
    if not over then
      return pass(step())
    end
  end
end

function strings.find(subject, wanted, from, plain)
  subject, wanted = to_text(subject), to_text(wanted)
  if type(subject) == "string" and type(wanted) == "string" then
    if plain or (#wanted <= MOST_PATTERN and read_pattern(wanted).plain) then
      if #subject > SHORT then -- by memchr and memcmp
        check_steps(#subject * (4 + #wanted / 64), subject, 3)
      end
    else
      check_pattern(subject, wanted)
    end
  end
  return find(subject, wanted, from, plain)
end

-- What a match is replaced by: the first capture or the match itself goes into a table, all captures to a function.
local function replacement_of(replacement, subject, first, last, ...)
  if not first then
    return nil
  end
  local value
  if select("#", ...) == 0 then
    local whole = sub(subject, first, last)
    if type(replacement) == "table" then
      value = replacement[whole]
    else
      value = replacement(whole)
    end
  elseif type(replacement) == "table" then
    value = replacement[(...)]
  else
    value = replacement(...)
  end
  if not value then
    value = sub(subject, first, last)
  elseif type(value) ~= "string" and type(value) ~= "number" then
    error("invalid replacement value (a " .. type(value) .. ")", 4)
  end
  return first, last, tostring(value)
end

local function replace(subject, wanted, replacement, most)
  local parts, at, n, bytes = {}, 1, 0, #subject
  local anchored = byte(wanted, 1) == 94
  while n < most do
    local first, last, value = replacement_of(replacement, subject, find(subject, wanted, at))
    if not first then
      break
    end
    n, bytes = n + 1, bytes + #value
    check_size(bytes)
    spend(1 + #value / 8)
    parts[#parts + 1] = sub(subject, at, first - 1)
    parts[#parts + 1] = value
    at = last + 1
    if last < first then -- of nothing: on by a byte
      parts[#parts + 1] = sub(subject, first, first)
      at = first + 1
    end
    if anchored or at > #subject + 1 then
      break
    end
  end
  parts[#parts + 1] = sub(subject, at)
  return concat(parts), n
end

function strings.gsub(subject, wanted, replacement, most)
  subject, wanted, replacement = to_text(subject), to_text(wanted), to_text(replacement)
  check_pattern(subject, wanted)
  if type(subject) == "string" and type(wanted) == "string" then
    if type(replacement) == "table" or type(replacement) == "function" then
      return replace(subject, wanted, replacement, tonumber(most) or #subject + 1)
    elseif type(replacement) == "string" then
      local bytes = (#subject + 1) * (#replacement + 1)
      if find(replacement, "%", 1, true) then
        bytes = bytes * 4 -- "%1" may be a place, of seven digits
      end
      check_size(bytes)
      spend_text(bytes)
    end
  end
  return gsub(subject, wanted, replacement, most)
end

-- ---- texts ----

strings.len, strings.char = string.len, string.char

local function reading(call)
  return function(text, from, to)
    if type(text) == "string" and #text > SHORT then
      spend_text(#text)
    end
    return call(text, from, to)
  end
end

strings.byte, strings.sub = reading(byte), reading(sub)

local function making(call)
  return function(text)
    if type(text) == "string" and #text > SHORT then
      spend(#text / 2) -- a byte at a time
    end
    return call(text)
  end
end

strings.lower, strings.upper, strings.reverse = making(string.lower), making(string.upper), making(string.reverse)

function strings.rep(text, count, separator)
  text, separator, count = to_text(text), to_text(separator), tonumber(count) or count
  if type(text) == "string" and type(count) == "number" and count > 0 then
    local bytes = (#text + (type(separator) == "string" and #separator or 0)) * count
    check_size(bytes)
    if #text == 0 then
      count = min(count, MOST_BYTES) -- C would count them
    end
    spend_text(bytes)
  end
  return rep(text, count, separator)
end

-- Of one of the values: what it is as text, and how many bytes that has at most.
local function formed(value)
  local kind = type(value)
  if kind == "string" then
    return value, 4 * #value -- "%q" of zeros
  elseif kind == "table" and metatable_of(value) then
    value = tostring(value)
    return value, type(value) == "string" and 4 * #value or NUMBER
  end
  return value, NUMBER
end

local function format_all(form, n, ...)
  if n == 1 then
    local value, size = formed((...))
    check_size(#form + size)
    spend_text(#form + size)
    return format(form, value)
  end
  local values, bytes = { ... }, #form
  for i = 1, n do
    local size
    values[i], size = formed(values[i])
    bytes = bytes + size
  end
  check_size(bytes)
  spend(bytes / 8)
  return format(form, unpack(values, 1, n))
end

function strings.format(form, ...)
  form = to_text(form)
  if type(form) ~= "string" then
    return format(form, ...)
  end
  return format_all(form, select("#", ...), ...)
end

-- ---- tables ----

local function length(list)
  return type(list) == "table" and #list or 0
end

-- C would fill all places from there up to 1.
local function check_place(place)
  if not (place >= 1 and place < MOST_PLACE) then
    error("bad argument #2 to 'insert' (position out of bounds)", 3)
  end
end

function tables.insert(list, ...)
  if select("#", ...) > 1 then
    check_place(tonumber((...)) or 1)
    spend(length(list))
  end
  return insert(list, ...)
end

function tables.remove(list, ...)
  if select("#", ...) > 0 then
    spend(length(list))
  end
  return remove(list, ...)
end

-- It goes through all that the table has room for, which nobody knows.
function tables.maxn(list)
  spend(guard.LOT)
  return table.maxn(list)
end

function tables.concat(list, separator, from, to)
  separator, from, to = to_text(separator), tonumber(from) or 1, tonumber(to) or length(list)
  if type(list) == "table" then
    local between, bytes = type(separator) == "string" and #separator or 0, 0
    for i = from, to do
      local value = rawget(list, i)
      bytes = bytes + between + (type(value) == "string" and #value or ITEM)
      check_size(bytes)
    end
    spend(bytes / 8 + 1)
  end
  return concat(list, separator, from, to)
end

local function is_less(one, other)
  if type(one) == "string" and type(other) == "string" then
    spend_text(min(#one, #other))
  end
  return one < other
end

local function merge(from, into, low, middle, high, before)
  local i, k = low, middle
  for place = low, high - 1 do
    if i < middle and (k >= high or not before(from[k], from[i])) then
      into[place], i = from[i], i + 1
    else
      into[place], k = from[k], k + 1
    end
  end
end

-- Merges from below. The list changes at the end, so that an error leaves it as it was.
local function sort(list, n, before)
  local from, into, width = {}, {}, 1
  for i = 1, n do
    from[i] = list[i]
  end
  while width < n do
    for low = 1, n, 2 * width do
      local high = min(low + 2 * width, n + 1)
      spend(high - low)
      merge(from, into, low, min(low + width, n + 1), high, before)
    end
    from, into, width = into, from, 2 * width
  end
  for i = 1, n do
    list[i] = from[i]
  end
end

function tables.sort(list, before)
  if type(list) ~= "table" then
    error(format("bad argument #1 to 'sort' (table expected, got %s)", type(list)), 2)
  elseif before ~= nil and type(before) ~= "function" then
    error(format("bad argument #2 to 'sort' (function expected, got %s)", type(before)), 2)
  end
  spend(#list)
  sort(list, #list, before or is_less)
end

return { strings = strings, tables = tables }
