-- Lists of proxies: recognises the format, reads the entries, adds them to a pool, and says what became of each line.
--
--     loaded 412, 3 duplicates, 2 invalid: line 17: no port; line 20: unknown attribute ...
--
-- Formats: the plain lines of list/line.lua, CSV with a header, a JSON array, JSONL. A byte order mark, CRLF, blank
-- lines and comment lines that begin with "#" are skipped everywhere but inside a JSON array.
local csv = require "gyre.list.csv"
local errors = require "gyre.error"
local line = require "gyre.list.line"
local mask = require "gyre.mask"

local ipairs, select, type = ipairs, select, type
local find, format, gmatch, match, sub = string.find, string.format, string.gmatch, string.match, string.sub

local member -- loaded when something is added: reading a list needs no libgyre

local ROOM, MOST_ROOM = 65536, 1048576 -- proxies of a pool by default, and at most
local NAMED_INVALID = 5 -- how many invalid lines a message names; the report has all

--- What a list says, before anything is added.
---@class gyre.list.Parsed
---@field entries gyre.list.Entry[]
---@field lines gyre.list.Line[] what is wrong, in order
---@field ignored string[] names of columns or keys that mean nothing here, sorted
---@field source string? path it was read from
---@field unit "line"|"item" what `line` counts

--- A line that added nothing, and why.
---@class gyre.list.Line
---@field line integer
---@field kind "invalid"|"duplicate"
---@field why string never holds a part of the line

--- What became of a list.
---@class gyre.list.Report
---@field loaded integer proxies added
---@field known integer proxies that the segment had already, from other processes or an earlier run; updated
---@field duplicates integer entries that repeat an earlier one of the list
---@field invalid integer
---@field lines gyre.list.Line[] the duplicate and invalid ones, in order
---@field ignored string[] names of columns or keys that mean nothing here
---@field ids table<number, integer> ids of the proxies it names, and the line of each
---@field removed? integer by pool:reload()
---@field message string all of it in one line of text

---@class gyre.list
local list = {}

local function new_parsed(unit)
  return { entries = {}, lines = {}, ignored = {}, unit = unit }
end

local function note_ignored(parsed, names)
  for _, name in ipairs(names) do
    if not parsed.ignored[name] then
      parsed.ignored[name] = true -- a set beside the sequence, taken away in finish()
      parsed.ignored[#parsed.ignored + 1] = name
    end
  end
end

local function take(parsed, number, found, why, unknown)
  if not found then
    parsed.lines[#parsed.lines + 1] = { line = number, kind = "invalid", why = why }
    return
  end
  found.line = number
  parsed.entries[#parsed.entries + 1] = found
  if unknown then
    note_ignored(parsed, unknown)
  end
end

local function finish(parsed)
  for _, name in ipairs(parsed.ignored) do
    parsed.ignored[name] = nil
  end
  table.sort(parsed.ignored)
  return parsed
end

-- Lines that say something: number, text, and text with the tabs at its ends, which may stand for empty cells.
local function lines_of(text)
  local number, next_line = 0, gmatch(text, "([^\n]*)\n?")
  return function()
    while true do
      local content = next_line()
      if not content then
        return nil
      end
      number = number + 1
      local whole = match(content, "^ *(.-)[ \r]*$")
      content = match(whole, "^%s*(.-)%s*$")
      if content ~= "" and sub(content, 1, 1) ~= "#" then
        return number, content, whole
      end
    end
  end
end

local function parse_items(items)
  local json = require "gyre.list.json"
  local parsed = new_parsed "item"
  for number, item in ipairs(items) do
    take(parsed, number, json.entry(item))
  end
  return finish(parsed)
end

local function parse_lines(text)
  local parsed = new_parsed "line"
  local read, columns, separator
  for number, content, whole in lines_of(text) do
    local first = not read
    if first then
      columns, separator = csv.header(whole)
      read = columns and csv.parse or sub(content, 1, 1) == "{" and require("gyre.list.json").parse or line.parse
    end
    if not (first and columns) then
      take(parsed, number, read(separator == "\t" and whole or content, columns, separator))
    end
  end
  return finish(parsed)
end

--- Reads the text of a list.
---@param text string
---@return gyre.list.Parsed? parsed
---@return gyre.Error? err when the text as a whole is no list
function list.parse(text)
  if find(text, "^\255\254") or find(text, "^\254\255") then
    return nil, errors.new("invalid", "the list is UTF-16; it must be UTF-8")
  end
  text = text:gsub("^\239\187\191", "")
  -- "[" also begins an IPv6 address; a JSON item begins with a quote, an object or another array.
  if find(text, '^%s*%[%s*["{%[%]]') then
    local items, why = require("gyre.list.json").array(text)
    if not items then
      return nil, errors.new("invalid", why)
    end
    return parse_items(items)
  end
  if find(text, "^%s*{") then
    local why = require("gyre.list.json").whole(text)
    if why then
      return nil, errors.new("invalid", why)
    end
  end
  return parse_lines(text)
end

--- Whether a text is a proxy or a URL, and no name that anybody gives a file.
---@param text string
---@return boolean
function list.is_proxy(text)
  return find(text, "://", 1, true) ~= nil or line.parse(text) ~= nil
end

local function read_file(path)
  local file, why = io.open(path, "rb")
  if not file then
    local no_file = list.is_proxy(path)
    if no_file then
      why = mask.place(path) .. ": there is no such file: a list is a file, or in Lua a table of proxies"
    end
    return nil, errors.new("system", why, { no_file = no_file })
  end
  local text
  text, why = file:read "*a"
  file:close()
  if not text then
    return nil, errors.new("system", path .. ": " .. why)
  end
  return text
end

-- A table is written by the caller: what means nothing in it is a slip, and not a column more of somebody's export.
local function read_table(items)
  local parsed = parse_items(items)
  local name = parsed.ignored[1]
  if name then
    return nil, errors.new("invalid", format("the list of proxies: unknown field '%s'", name))
  end
  return parsed
end

--- Reads a list from a file, or takes one that is a Lua table of URLs and tables of fields, where unknown fields are
--- errors.
---@param source string|table path or list
---@return gyre.list.Parsed? parsed
---@return gyre.Error? err with `no_file` when the path is a proxy
function list.read(source)
  if type(source) == "table" then
    return read_table(source)
  end
  local text, err = read_file(source)
  if not text then
    return nil, err
  end
  local parsed
  parsed, err = list.parse(text)
  if not parsed then
    err.message = source .. ": " .. err.message
    return nil, err
  end
  parsed.source = source
  return parsed
end

--- The `max_proxies` of a new pool for a list: nil where the default does, else twice as many as are in the list, so
--- that others can join before these leave.
---@param parsed gyre.list.Parsed
---@return integer?
function list.room(parsed)
  local entries = #parsed.entries
  return entries > ROOM and math.min(2 * entries, MOST_ROOM) or nil
end

local function count(number, noun)
  return format("%d %s%s", number, noun, number == 1 and "" or "s")
end

-- The first of them by number, those that are wrong in the same way together.
local function name_invalid(report, unit)
  local reasons, numbers, count_named = {}, {}, 0
  for _, at in ipairs(report.lines) do
    if at.kind == "invalid" and count_named < NAMED_INVALID then
      count_named = count_named + 1
      if not numbers[at.why] then
        reasons[#reasons + 1], numbers[at.why] = at.why, {}
      end
      numbers[at.why][#numbers[at.why] + 1] = at.line
    end
  end
  local named = {}
  for i, why in ipairs(reasons) do
    named[i] = format("%s%s %s: %s", unit, numbers[why][2] and "s" or "", table.concat(numbers[why], ", "), why)
  end
  if report.invalid > NAMED_INVALID then
    named[#named + 1] = format("and %d more", report.invalid - NAMED_INVALID)
  end
  return table.concat(named, "; ")
end

local function message_of(report, unit)
  local parts = { format("loaded %d", report.loaded) }
  if report.known > 0 then
    parts[#parts + 1] = format("%d known already", report.known)
  end
  if report.duplicates > 0 then
    parts[#parts + 1] = count(report.duplicates, "duplicate")
  end
  if report.ignored[1] then
    parts[#parts + 1] = "ignored fields: " .. table.concat(report.ignored, " ")
  end
  if report.invalid > 0 then
    parts[#parts + 1] = format("%d invalid: %s", report.invalid, name_invalid(report, unit))
  end
  return table.concat(parts, ", ")
end

-- Adds one entry; true when the pool cannot take any further one.
local function add(handle, found, report, first)
  local id, err = member.add(handle, found)
  if id then
    report.loaded = report.loaded + 1
    first[id] = found.line
    return nil
  end
  if err.kind == "invalid" then
    report.lines[#report.lines + 1] = { line = found.line, kind = "invalid", why = err.message }
  elseif err.kind ~= "exists" then
    return err
  elseif first[err.id] then
    report.duplicates = report.duplicates + 1
    local why = format("repeats %s %d", report.unit, first[err.id])
    report.lines[#report.lines + 1] = { line = found.line, kind = "duplicate", why = why }
  else
    -- The list is the latest word on labels and limits of a proxy that outlived its last reading.
    report.known = report.known + 1
    first[err.id] = found.line
    return select(2, member.update(handle, err.id, found))
  end
end

local function by_line(a, b)
  return a.line < b.line
end

--- Adds everything a list holds to a pool.
---@param handle ffi.cdata* `struct gyre_pool *`
---@param parsed gyre.list.Parsed
---@param make_room? fun(ids: table<number, integer>, at: integer): boolean is called when the pool is full, once: with
--- the ids so far, and the place of the entry that found no room; whether there may be some now
---@return gyre.list.Report? report
---@return gyre.Error? err when no entry is usable, or the pool cannot take them
function list.load(handle, parsed, make_room)
  member = member or require "gyre.member"
  local report = { loaded = 0, known = 0, duplicates = 0, lines = {}, ignored = parsed.ignored, unit = parsed.unit }
  for i, bad in ipairs(parsed.lines) do
    report.lines[i] = bad
  end
  local first = {} -- id -> line of its first entry
  for i, found in ipairs(parsed.entries) do
    local err = add(handle, found, report, first)
    if err and err.kind == "full" and make_room then
      if make_room(first, i) then
        err = add(handle, found, report, first)
      end
      make_room = nil
    end
    if err then
      return nil, err
    end
  end
  report.invalid = #report.lines - report.duplicates
  table.sort(report.lines, by_line)
  report.message = message_of(report, parsed.unit)
  report.unit = nil
  report.ids = first
  if report.loaded + report.known == 0 then
    local empty = report.invalid == 0 and "the list is empty" or "the list holds no usable proxy: " .. report.message
    return nil, errors.new("invalid", parsed.source and parsed.source .. ": " .. empty or empty)
  end
  return report
end

return list
