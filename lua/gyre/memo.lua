-- What a template in a lease's credentials may need of the request it was taken by. A lease is plain data and holds no
-- Lua text: it has a number, and the texts of the last 65,536 numbers are kept here. Two stores a lease, no garbage.
local KEPT = 65536 -- as many leases as a pool has in flight by default
local NUMBERS = 2 ^ 32

local type = type
local match = string.match

local sessions, countries = {}, {}
local last = 0

local memo = {}

--- Keeps what a request says.
---@param session? string
---@param country? string|string[]
---@return integer number 1 to 2^32 - 1
function memo.keep(session, country)
  last = last % (NUMBERS - 1) + 1
  local at = last % KEPT
  sessions[at], countries[at] = session or false, country or false
  return last
end

-- The first of a list: of the countries asked for, the one that counts.
local function first(country)
  if type(country) == "table" then
    return country[1]
  end
  return match(country, "^[^,]+")
end

--- What was kept.
---@param number integer 0: nothing
---@return string? session
---@return string? country
function memo.recall(number)
  if number == 0 or (last - number) % NUMBERS >= KEPT then
    return nil
  end
  local at = number % KEPT
  return sessions[at] or nil, countries[at] and first(countries[at]) or nil
end

return memo
