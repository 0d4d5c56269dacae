-- Templates in user names and passwords, as providers' gateways want them: one proxy of the list, and the request says
-- which country and whose session.
--
--     customer-X{-cc-%country}{-sessid-%session:hex8}
--
--   %country %region   the proxy's labels; country also what the request asks for, where the label is "*"
--   %session           the request's session, hashed into an alphabet and a length: hex alpha alnum num, 1 to 64
--                      characters [alnum12]; the same for the same session, everywhere and always
--   %country:lower     likewise :upper
--   {...}              goes when a variable in it has no value; outside of braces such a variable is empty text
--   %%country          the text "%country". What is no variable is text: passwords with % and braces mean themselves
local bit = require "bit"
local entry = require "gyre.list.entry"

local concat, tonumber = table.concat, tonumber
local bxor, rshift = bit.bxor, bit.rshift
local byte, find, lower, match = string.byte, string.find, string.lower, string.match
local sub, upper = string.sub, string.upper

local template = {}

local VARIABLES = entry.VARIABLES
local LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
local ALPHABETS = { hex = DIGITS .. "abcdef", num = DIGITS, alpha = LETTERS, alnum = LETTERS .. DIGITS }
local DEFAULT_ALPHABET, DEFAULT_LENGTH, MAX_LENGTH = "alnum", 12, 64
local PER_WORD = 8 -- characters taken from 64 bits: 41 bits of the largest alphabet, so that the rest leaves no bias

local function hash(text)
  local h = 0xcbf29ce484222325ULL -- FNV-1a
  for i = 1, #text do
    h = bxor(h, byte(text, i) + 0ULL) * 0x100000001b3ULL
  end
  return h
end

-- S. Vigna, splitmix64: the next state, and the output.
local function next_word(state)
  state = state + 0x9e3779b97f4a7c15ULL
  local z = bxor(state, rshift(state, 30)) * 0xbf58476d1ce4e5b9ULL
  z = bxor(z, rshift(z, 27)) * 0x94d049bb133111ebULL
  return state, bxor(z, rshift(z, 31))
end

--- Hashes a text into so many characters of an alphabet.
---@param text string
---@param alphabet string "hex", "num", "alpha" or "alnum"
---@param length integer
---@return string
function template.hash(text, alphabet, length)
  local characters = ALPHABETS[alphabet]
  local state, word = hash(text), nil
  local out = {}
  for i = 1, length do
    if (i - 1) % PER_WORD == 0 then
      state, word = next_word(state)
    end
    local at = tonumber(word % #characters) + 1
    word = word / #characters
    out[i] = sub(characters, at, at)
  end
  return concat(out)
end

-- What stands after the name, and how long that is.
local function session_text(value, text, from)
  local alphabet, digits = match(text, "^:(%l+)(%d+)", from)
  local length = tonumber(digits)
  if not ALPHABETS[alphabet] or length < 1 or length > MAX_LENGTH then
    return template.hash(value, DEFAULT_ALPHABET, DEFAULT_LENGTH), 0
  end
  return template.hash(value, alphabet, length), 1 + #alphabet + #digits
end

local function label_text(value, text, from)
  if find(text, "^:upper", from) then
    return upper(value), 6
  elseif find(text, "^:lower", from) then
    return lower(value), 6
  end
  return value, 0
end

-- The next variable, or "%%" before its name: where it begins and ends, its name, and whether it is text.
local function next_variable(text, from)
  while true do
    local first, last, double, name = find(text, "%%(%%?)(%l+)", from)
    if not first then
      return nil
    elseif VARIABLES[name] then
      return first, last, name, double ~= ""
    end
    from = last + 1
  end
end

-- The text with its variables' values; and whether any had none, and whether there were any.
local function substitute(text, lookup)
  local out, from, missing, any = {}, 1, false, false
  while true do
    local first, last, name, is_text = next_variable(text, from)
    if not first then
      out[#out + 1] = sub(text, from)
      return concat(out), missing, any
    end
    any = true
    out[#out + 1] = sub(text, from, first - 1)
    from = last + 1
    local value = not is_text and lookup(name)
    if is_text then
      out[#out + 1] = "%" .. name
    else
      local shown, used = (name == "session" and session_text or label_text)(value or "", text, from)
      out[#out + 1] = value and shown or ""
      missing = missing or not value
      from = from + used
    end
  end
end

--- Fills in a template.
---@param text string
---@param lookup fun(name: string): string? the value of "session", "country" or "region"
---@return string
function template.expand(text, lookup)
  local out, from = {}, 1
  while true do
    local first, last = find(text, "{[^{}]*}", from)
    out[#out + 1] = substitute(sub(text, from, (first or 0) - 1), lookup)
    if not first then
      return concat(out)
    end
    local inside, missing, any = substitute(sub(text, first + 1, last - 1), lookup)
    if not any then
      inside = "{" .. inside .. "}"
    end
    out[#out + 1] = (not any or not missing) and inside or ""
    from = last + 1
  end
end

--- Fills in the templates in the credentials of a proxy's URL, which are percent-encoded before and after. One without
--- templates is returned as it is.
---@param url string
---@param lookup fun(name: string): string?
---@return string
function template.url(url, lookup)
  local scheme, credentials, rest = match(url, "^(%w+://)([^@]*)(@.*)$")
  if not credentials then
    return url
  end
  local user, password = match(credentials, "^([^:]*):?(.*)$")
  local decoded_user, decoded_password = entry.decode(user), entry.decode(password)
  if not next_variable(decoded_user, 1) and not next_variable(decoded_password, 1) then
    return url
  end
  user = entry.encode(template.expand(decoded_user, lookup))
  if find(credentials, ":", 1, true) then
    user = user .. ":" .. entry.encode(template.expand(decoded_password, lookup))
  end
  return scheme .. user .. rest
end

return template
