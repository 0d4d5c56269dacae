-- A seedable random generator for views, so that a strategy's choices can be repeated and math.random stays the user's.
-- sfc32 of Chris Doty-Humphrey's PractRand: 128 bits of state, period at least 2^32.
local ffi = require "ffi"
local bit = require "bit"

local bor, bxor, lshift, rshift, tobit = bit.bor, bit.bxor, bit.lshift, bit.rshift, bit.tobit
local floor = math.floor

local GOLDEN = -1640531527 -- 2^32 / golden ratio, as int32: any odd start will do
local WARM_UP = 12 -- steps until the seed has reached every bit

---@class gyre.Random: ffi.cdata*
local methods = {}

local function step(self)
  local sum = tobit(self.a + self.b + self.counter)
  self.counter = tobit(self.counter + 1)
  self.a = bxor(self.b, rshift(self.b, 9))
  self.b = tobit(self.c + lshift(self.c, 3))
  self.c = tobit(bor(lshift(self.c, 21), rshift(self.c, 11)) + sum)
  return sum
end

--- A whole number from 1 to n, uniform to within n / 2^32.
---@param n integer
---@return integer
function methods.upto(self, n)
  return floor((step(self) + 2 ^ 31) * (n / 2 ^ 32)) + 1
end

--- A number from 0 up to, but not including, 1.
---@return number
function methods.unit(self)
  return (step(self) + 2 ^ 31) / 2 ^ 32
end

local Random = ffi.metatype(ffi.typeof "struct { int32_t a, b, c, counter; }", { __index = methods })

local function system_seed()
  local file = io.open("/dev/urandom", "rb")
  local bytes = file and file:read(6)
  if file then
    file:close()
  end
  if not bytes then
    return os.time() + os.clock() * 1e6
  end
  local seed = 0
  for i = 1, #bytes do
    seed = seed * 256 + bytes:byte(i)
  end
  return seed
end

---@class gyre.random
local random = {}

--- A generator.
---@param seed? number from the system when nil
---@return gyre.Random
function random.new(seed)
  seed = seed or system_seed()
  local made = Random(tobit(seed % 2 ^ 32), tobit(floor(seed / 2 ^ 32)), GOLDEN, 1)
  for _ = 1, WARM_UP do
    step(made)
  end
  return made
end

return random
