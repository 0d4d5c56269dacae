-- Runs before the specs: from here on nothing may write a global that did not exist.
local function refuse(_, name)
  error(("write to the global '%s'"):format(tostring(name)), 2)
end

setmetatable(_G, { __newindex = refuse })
