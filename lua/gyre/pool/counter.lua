-- Counters by name, shared by everybody on the segment: what strategies keep beyond one Lua state.
local ffi = require "ffi"
local C = require "gyre.clib"
local base = require "gyre.pool.base"
local registry = require "gyre.registry"
local status = require "gyre.status"

local setmetatable = setmetatable
local closed = base.closed

local value_cell = ffi.new "double[1]"
local cursor_cell = ffi.new "uint64_t[1]"
local info = ffi.new("struct gyre_counter", { size = ffi.sizeof "struct gyre_counter" })

--- A counter.
---@class gyre.Counter
---@field name string
local Counter = {}
Counter.__index = Counter

--- Adds; exact for whole numbers up to 2^53. The first addition makes the counter. No garbage: `count:add(1)` may stand
--- on a hot path, when the counter is kept.
---@param delta? number [1]
---@return number? value
---@return gyre.Error? err kinds: invalid, full, closed
function Counter.add(self, delta)
  if delta == nil then
    delta = 1
  end
  base.check_number(delta, "a counter adds a number")
  local pool = registry.pools[self.pool]
  if not pool then
    return closed()
  end
  local code = C.gyre_counter_add(pool.handle, self.name, delta, value_cell)
  if code ~= 0 then
    return nil, status.error(code)
  end
  return value_cell[0]
end

--- Its value; 0 before the first addition.
---@return number? value
---@return gyre.Error? err
function Counter.get(self)
  local pool = registry.pools[self.pool]
  if not pool then
    return closed()
  end
  local code = C.gyre_counter_get(pool.handle, self.name, value_cell)
  if code == C.GYRE_ENOT_FOUND then
    return 0
  elseif code ~= 0 then
    return nil, status.error(code)
  end
  return value_cell[0]
end

local Pool = {}

--- The counter with a name, which is the same for everybody on the segment.
---@param name string 1 to 47 bytes
---@return gyre.Counter
function Pool.counter(self, name)
  base.check_text(name, "the name of a counter")
  return setmetatable({ pool = self.number, name = name }, Counter)
end

local function next_counter(walk)
  local pool = registry.pools[walk.pool]
  cursor_cell[0] = walk.cursor
  if not pool or C.gyre_counter_next(pool.handle, cursor_cell, info) ~= 1 then
    return nil
  end
  walk.cursor = cursor_cell[0]
  return ffi.string(info.name), info.value
end

--- `for name, value in pool:counters() do`.
---@return fun(walk: table): string?, number?
---@return table walk
function Pool.counters(self)
  return next_counter, { pool = self.number, cursor = 0ULL }
end

return Pool
