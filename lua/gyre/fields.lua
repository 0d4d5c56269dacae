-- Refusing table fields that mean nothing: a misspelt field must not be ignored, and the tables are built for every
-- request.
--
-- To look at every name one walks through the table, which costs as much as four picks: most of all since LuaJIT then
-- has to build it in memory, and otherwise never builds one that is written where it is used. So the names are looked
-- at in each of a pool's first 1,000 tables, and then in 10 of 100. Which ones is decided by the multiples of the
-- golden ratio modulo 1, which spread evenly, and so do those of each k-th table (H. Weyl, 1916): however the calls of
-- a program alternate, each of its places is looked at as often as any other, and none goes unseen for long, since no
-- number is further from all fractions (A. Hurwitz, 1891): one that makes each k-th call, for 20 + 6 k of its own.
local next = next
local floor = math.floor

---@class gyre.fields
local fields = {}

local GOLDEN = 0.6180339887498949

--- Of the tables that come after the first 1,000.
fields.SHARE = 0.1
local SHARE = fields.SHARE

--- Where a pool's `phase` begins: it counts up to 0, and then goes around between 0 and 1.
fields.START = -1000

--- Whether the names in a pool's next table are to be looked at. Compiled code is better off asking before the table is
--- written: that is so while `phase` is below SHARE.
---@param pool { phase: number }
---@return boolean
function fields.due(pool)
  local phase = pool.phase
  if phase < 0 then
    pool.phase = phase + 1
    return true
  end
  local after = phase + GOLDEN
  pool.phase = after - floor(after)
  return phase < SHARE
end

--- The first field of a table that is not among the known ones, or nil.
---@param given table
---@param known table<string, true>
---@return any name
function fields.unknown(given, known)
  -- The first steps are written out: a loop in here would be a trace of its own, and the caller's loop leave for it.
  local name = next(given)
  if name == nil then
    return nil
  elseif not known[name] then
    return name
  end
  name = next(given, name)
  if name == nil then
    return nil
  elseif not known[name] then
    return name
  end
  name = next(given, name)
  while name ~= nil do
    if not known[name] then
      return name
    end
    name = next(given, name)
  end
  return nil
end

return fields
