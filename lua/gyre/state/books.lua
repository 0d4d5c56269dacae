-- The books of one proxy, between the core's struct and what stands in a file. Times in a file are ages and times left,
-- in seconds; `elapsed` more have passed when it is read.
local ffi = require "ffi"
local C = require "gyre.clib"
local status = require "gyre.status"

local error, max, tonumber, type = error, math.max, tonumber, type

local struct = ffi.new("struct gyre_books", { size = ffi.sizeof "struct gyre_books" })
local NOTES = 8
local MOST, MOST_32 = 2 ^ 62, 2 ^ 32 - 1

local books = {}

local STATES = { [C.GYRE_CLOSED] = "closed", [C.GYRE_OPEN] = "open", [C.GYRE_HALF_OPEN] = "half_open",
  [C.GYRE_DRAINING] = "draining", [C.GYRE_DISABLED] = "disabled" }
local NUMBERS = {}
for number, name in pairs(STATES) do
  NUMBERS[name] = number
end
local COUNTS = { "succeeded", "failed", "aborted", "bytes", "level", "opened", "consecutive_failures", "rate_used" }
local NARROW = { opened = true, consecutive_failures = true, rate_used = true }

-- In the order in which they are written.
books.FIELDS = { "state", "succeeded", "failed", "aborted", "bytes", "ema_ms", "success_rate", "consecutive_failures",
  "used_ago", "sampled_ago", "bench_left", "opened", "level", "unplaced", "rate_used", "window" }

local function known(value)
  if value == value and value >= 0 then
    return value
  end
  return nil
end

--- Reads the books of a proxy.
---@param handle ffi.cdata*
---@param id number
---@return table? found
---@return gyre.Error? err
function books.get(handle, id)
  local code = C.gyre_books_get(handle, id, struct)
  if code ~= 0 then
    return nil, status.error(code)
  end
  local found = {
    state = STATES[struct.state],
    success_rate = struct.success_rate,
    ema_ms = known(struct.ema_ms),
    used_ago = known(struct.used_ago),
    sampled_ago = known(struct.sampled_ago),
    bench_left = known(struct.bench_left),
    unplaced = struct.unplaced ~= 0,
    window = {},
  }
  for _, name in ipairs(COUNTS) do
    found[name] = tonumber(struct[name])
  end
  for i = 1, struct.notes do
    local note = struct.note[i - 1]
    found.window[i] = { ago = note.ago, started = note.started, succeeded = note.succeeded, failed = note.failed }
  end
  return found
end

--- A number of a record that was read from a file; misuse raises a text that names the field.
---@param record table
---@param name string
---@param default? number when it is not there
---@return number
function books.number(record, name, default)
  local value = record[name]
  if value == nil then
    value = default
  end
  if type(value) ~= "number" then
    error(("'%s' is no number"):format(name), 0)
  end
  return value
end

-- The same of a count, which the struct must hold unchanged: whole, and not below 0 but for the level.
local function whole(record, name, most, default)
  local value = books.number(record, name, default)
  if not (value >= (name == "level" and -MOST or 0) and value <= most) or value % 1 ~= 0 then
    error(("'%s' is no count"):format(name), 0)
  end
  return value
end

local function aged(record, name, elapsed)
  local age = books.number(record, name, -1)
  return age >= 0 and age + elapsed or -1
end

local function set_notes(window, elapsed)
  if type(window) ~= "table" or #window > NOTES then
    error("'window' is no list of at most 8 notes", 0)
  end
  struct.notes = #window
  for i, note in ipairs(window) do
    if type(note) ~= "table" then
      error("'window' holds what is no note", 0)
    end
    local to = struct.note[i - 1]
    to.ago = books.number(note, "ago") + elapsed
    to.started = whole(note, "started", MOST_32)
    to.succeeded = whole(note, "succeeded", MOST_32)
    to.failed = whole(note, "failed", MOST_32)
  end
end

--- Writes the books of a proxy. What the record lacks is as in a new proxy; a field of a wrong type raises a text.
---@param handle ffi.cdata*
---@param id number
---@param record table
---@param elapsed number seconds since it was read
---@param period number of the proxy's rate, seconds; 0: none
---@return gyre.Error? err
function books.set(handle, id, record, elapsed, period)
  local state = NUMBERS[record.state or "closed"]
  if not state then
    error("'state' is none", 0)
  end
  struct.state = state
  for _, name in ipairs(COUNTS) do
    struct[name] = whole(record, name, NARROW[name] and MOST_32 or MOST, 0)
  end
  struct.ema_ms = record.ema_ms and books.number(record, "ema_ms") or 0 / 0
  struct.success_rate = books.number(record, "success_rate", 1)
  struct.used_ago = aged(record, "used_ago", elapsed)
  struct.sampled_ago = aged(record, "sampled_ago", elapsed)
  local left = books.number(record, "bench_left", -1)
  struct.bench_left = left >= 0 and max(left - elapsed, 0) or -1
  struct.unplaced = record.unplaced and 1 or 0
  if elapsed >= period then
    struct.rate_used = 0
  end
  set_notes(record.window or {}, elapsed)
  local code = C.gyre_books_set(handle, id, struct)
  return code ~= 0 and status.error(code) or nil
end

return books
