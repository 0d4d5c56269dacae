-- Refusing table fields that mean nothing, at little cost: a misspelt field must not be ignored, and the tables are
-- built for every request.
local next = next

---@class gyre.fields
local fields = {}

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
