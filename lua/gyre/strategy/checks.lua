-- Puts the checks of guard.lua into the text of a chunk: behind the head of every loop and function, before every goto,
-- and where a statement begins behind a block that has one, or far from the last one. Each counts a step, and one for
-- each operator and call up to the next and from the one before. `a .. b` becomes a call, since what `..` does no check
-- can bound. All on the same line, so that line numbers stay.
local byte, find, format, match, sub = string.byte, string.find, string.format, string.match, string.sub
local concat, sort = table.concat, table.sort

-- What is put in: a check, and `a .. b` begun, with one more operand, and ended. A spec has others.
local MARKS = {
  check = " __gyre.left=__gyre.left-%d if __gyre.left<0 then __gyre:out() end ",
  open = "__gyre_join((", another = "),(", rest = "),__gyre_join((", close = "))", close_rest = ")",
}
local RESERVED = "^__gyre"
local FAR = 200 -- tokens
local FEW = 3 -- operators that are not worth a check
local MOST_OPERATORS = 2000 -- of a statement: on a text each may take long
local MOST_JOINED = 4 -- operands of one call

---@class gyre.strategy.checks
local checks = { MARKS = MARKS }

local function set(words)
  local made = {}
  for word in words:gmatch "%S+" do
    made[word] = true
  end
  return made
end

local KEYWORDS = set [[and break do else elseif end false for function if in local nil not or repeat return then true
  until while]]
-- Behind these an operand is complete, as behind names and values.
local ENDS = set "end true false nil ... ) ] }"
-- Here the operands of a `..` end: these bind less, or are no operators.
local LOOSE = set [[= < > ~ , ; :: and or break do else elseif for if in local repeat return then until while]]
local OPERATORS = set "+ - * / % ^ < > .. ("
local OPENS, CLOSES = set "( [ { function if do repeat", set ") ] } end until"
local BLOCKS = set "function if do repeat"
-- No statement begins with these.
local INSIDE = set "and or then do else elseif end in until"

-- ---- reading Lua ----

-- The end of a long bracket that begins at `at`, or nil.
local function long_end(text, at)
  local level = match(text, "^%[(=*)%[", at)
  if not level then
    return nil
  end
  local _, last = find(text, "]" .. level .. "]", at + #level + 2, true)
  return last or #text
end

local function quoted_end(text, at)
  local quote, i = sub(text, at, at), at + 1
  while true do
    local stop = find(text, "[\\\n" .. quote .. "]", i)
    if not stop then
      return #text
    end
    local char = sub(text, stop, stop)
    if char == "\\" then
      -- \z skips white space; \<line end> may be two characters
      local _, last = find(text, "^z%s*", stop + 1)
      i = last and last + 1 or stop + (sub(text, stop + 1, stop + 2) == "\r\n" and 3 or 2)
    else
      return stop -- a bare line end is an error that the compiler will name
    end
  end
end

local function comment_end(text, at)
  return long_end(text, at + 2) or (find(text, "\n", at, true) or #text + 1) - 1
end

local function number_end(text, at)
  local _, last = find(text, "^0[xX][%x.]*[pP][+-]?%d*[%w_]*", at)
  if not last then
    _, last = find(text, "^0[xX][%w.]*", at)
  end
  if not last then
    _, last = find(text, "^[%d.]*[eE][+-]?[%w]*", at)
  end
  if not last then
    _, last = find(text, "^[%d.]+%w*", at)
  end
  return last
end

-- The next token from `at` on: kind, first and last byte. Kinds: "word", "mark", "value"; nil at the end.
local function next_token(text, at)
  while true do
    local first = find(text, "[^%s]", at)
    if not first then
      return nil
    end
    local code = byte(text, first)
    if code == 45 and byte(text, first + 1) == 45 then -- "--"
      at = comment_end(text, first) + 1
    elseif find(text, "^[%a_\128-\255]", first) then
      local _, last = find(text, "^[%w_\128-\255]+", first)
      return "word", first, last
    elseif code == 34 or code == 39 then
      return "value", first, quoted_end(text, first)
    elseif code == 91 and long_end(text, first) then
      return "value", first, long_end(text, first)
    elseif find(text, "^%.?%d", first) then
      return "value", first, number_end(text, first)
    else
      local _, last = find(text, "^%.%.%.?", first)
      if not last then
        _, last = find(text, "^::", first)
      end
      return "mark", first, last or first
    end
  end
end

-- `goto` is a word like others unless a name follows, where a statement can begin.
local NOT_BEFORE_STATEMENT = {
  ["="] = true, ["("] = true, ["{"] = true, [","] = true, ["["] = true, ["."] = true, [":"] = true, ["+"] = true,
  ["-"] = true, ["*"] = true, ["/"] = true, ["%"] = true, ["^"] = true, [".."] = true, ["<"] = true, [">"] = true,
  ["~"] = true, ["#"] = true, ["return"] = true, ["and"] = true, ["or"] = true, ["not"] = true, ["in"] = true,
  ["if"] = true, ["elseif"] = true, ["while"] = true, ["until"] = true, ["local"] = true, ["function"] = true,
}

local function is_goto(text, before, last)
  local kind, first, stop = next_token(text, last + 1)
  return kind == "word" and not KEYWORDS[sub(text, first, stop)] and not NOT_BEFORE_STATEMENT[before]
end

-- ---- inserting ----

-- `skip` bytes of the text make room.
local function put(edits, at, text, skip)
  local edit = { at = at, text = text, skip = skip or 0, order = #edits, operators = 0 }
  edits[#edits + 1] = edit
  return edit
end

-- The checks, each with the operators that follow it.
local function weigh(list)
  local behind = list[0].operators
  for i = 1, #list do
    local check = list[i]
    if not check.optional or check.operators > FEW then
      check.text = format(MARKS.check, 1 + behind + check.operators)
    end
    behind = check.operators
  end
end

-- The expression of a frame ends with the byte `last`. `..` binds to the right: the last operands are joined first.
local function join(edits, frame, last)
  local signs = frame.signs
  if signs then
    local close = MARKS.close
    put(edits, frame.start, MARKS.open)
    for i = 1, #signs do
      if i % (MOST_JOINED - 1) == 0 and i < #signs then
        put(edits, signs[i], MARKS.rest, 2)
        close = close .. MARKS.close_rest
      else
        put(edits, signs[i], MARKS.another, 2)
      end
    end
    put(edits, last + 1, close)
  end
  frame.signs, frame.start = nil, nil
end

local function by_place(one, other)
  return one.at < other.at or (one.at == other.at and one.order < other.order)
end

local function apply(text, from, edits)
  local parts = {}
  sort(edits, by_place)
  for i = 1, #edits do
    local edit = edits[i]
    parts[#parts + 1] = sub(text, from, edit.at - 1)
    parts[#parts + 1] = edit.text
    from = edit.at + edit.skip
  end
  parts[#parts + 1] = sub(text, from)
  return concat(parts)
end

-- Behind a byte order mark and a line for the shell.
local function first_byte(text)
  local at = sub(text, 1, 3) == "\239\187\191" and 4 or 1
  if sub(text, at, at) == "#" then
    at = find(text, "\n", at, true) or #text + 1
  end
  return at
end

-- Where an expression ends that has a `..`: at the end of its bracket, at what binds less, where a statement begins.
-- Each open bracket and block has a frame: where its expression began, and the places of the `..` in it.
local function enter(frames, edits, frame, token)
  local word, first = token.word, token.first
  if token.begins or LOOSE[word] or CLOSES[word] then
    join(edits, frame, token.ended)
  end
  if CLOSES[word] then
    local checked = frame.checks
    frame = frames[#frames] or { block = true }
    if checked then
      frame.checks, token.closed = true, true
    end
    frames[#frames] = nil
    if word == "until" then
      frame.start = nil
    end
    return frame
  elseif word == ".." then
    frame.signs = frame.signs or {}
    frame.signs[#frame.signs + 1] = first
  elseif not frame.start and not LOOSE[word] then
    frame.start = first
  end
  if OPENS[word] then
    frames[#frames + 1] = frame
    return { block = BLOCKS[word] }
  end
  return frame
end

--- Puts the checks into the text of a chunk.
---@param text string
---@return string? guarded
---@return string? why
function checks.insert(text)
  local from = first_byte(text)
  local edits, frames, frame = {}, {}, { block = true }
  local before, complete, in_head = "", false, false
  local token = { ended = from - 1 }
  local list = { [0] = { operators = 0 } }
  local near, operators = 0, 0 -- tokens since the last check, operators of the statement
  local at = from
  while true do
    local kind, first, last = next_token(text, at)
    if not kind then
      break
    end
    local word = kind ~= "value" and sub(text, first, last) or ""
    local here
    token.word, token.first = word, first
    token.begins = kind == "word" and complete and word ~= "and" and word ~= "or"
    local in_block = frame.block
    frame = enter(frames, edits, frame, token)
    near = near + 1
    local starts = in_block and (token.begins or before == ";") and not INSIDE[word]
    if starts then
      operators = 0
      if near > FAR or token.closed then
        here = first
      end
    end
    local optional = here and near <= FAR
    if OPERATORS[word] and (complete or word == "-") then
      operators = operators + 1
      list[#list].operators = list[#list].operators + 1
      if operators > MOST_OPERATORS then
        return nil, "a strategy has at most 2000 operators in one statement"
      end
    end
    if kind == "word" then
      if find(word, RESERVED) then
        return nil, "names that begin with __gyre are reserved"
      elseif word == "function" then
        in_head = true
      elseif word == "do" or word == "repeat" then
        here, optional = last + 1, false
      elseif word == "goto" and is_goto(text, before, last) then
        here, kind, optional = first, "goto", false
      end
    elseif in_head and word == ")" then
      in_head, here, optional = false, last + 1, false
    end
    if here then
      local check = put(edits, here, "")
      check.optional = optional
      list[#list + 1] = check
      near, token.closed, frame.checks = 0, false, true
    end
    complete = kind == "value" or ENDS[word] or (kind == "word" and not KEYWORDS[word])
    before, at, token.ended = word, last + 1, last
  end
  join(edits, frame, token.ended)
  weigh(list)
  return apply(text, from, edits)
end

return checks
