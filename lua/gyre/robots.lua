-- robots.txt as RFC 9309 has it. Pure: text in, rules out.
--     local rules = robots.parse(text, "shopbot")
--     rules:allows "/private/x?y"      rules.delay      rules.sitemaps
local byte, find, gsub, lower, match = string.byte, string.find, string.gsub, string.lower, string.match
local format, sub = string.format, string.sub
local setmetatable, tonumber = setmetatable, tonumber

-- What a crawler has to read at least (2.5), and all that this one reads: bytes.
local LIMIT = 500 * 1024
local BOM = "\239\187\191"
local MAX_RULES = 20000

--- What a site allows one crawler.
---@class gyre.Robots
---@field delay? number Crawl-delay, seconds
---@field sitemaps string[] URLs, of the whole file
local Robots = {}
Robots.__index = Robots

local robots = {}

-- Percent-encodings in one spelling (2.2.2): what needs none is written out, others have upper-case digits. A per cent
-- sign that encodes nothing stands for itself, as in the normal form of URLs.
local function unescape(digits)
  if #digits < 2 then
    return "%25" .. digits
  end
  local code = tonumber(digits, 16)
  local char = string.char(code)
  if find(char, "[%w%-._~]") and code < 128 then
    return char
  end
  return "%" .. digits:upper()
end

local function escape(char)
  return format("%%%02X", byte(char))
end

-- What no URL may hold is encoded: a rule that has a space or a brace means the URL that has it so.
local function canonical(text)
  if find(text, "[^%w%-._~!&'()+,;=:@/?%[%]*$]") then
    text = gsub(text, "%%(%x?%x?)", unescape)
    text = gsub(text, "[^%w%-._~!&'()+,;=:@/?%[%]*$%%]", escape)
  end
  return text
end

-- In a path the two special characters are encoded, as in a rule that means themselves (2.2.3)...
local function canonical_path(path)
  return (gsub(canonical(path), "[*$]", escape))
end

-- ...and in a rule a "$" that is not its end stands for itself.
local function canonical_pattern(pattern)
  pattern = canonical(pattern)
  return gsub(sub(pattern, 1, -2), "%$", "%%24") .. sub(pattern, -1)
end

-- Whether a pattern, in which "*" is any text and a "$" at the end is the end, matches the beginning of a path. One
-- place to come back to is enough: a later star can take over whatever an earlier one could match.
local function matches(pattern, path)
  local at, from = 1, 1
  local star, star_from
  local anchored = byte(pattern, -1) == 36
  local last = anchored and #pattern - 1 or #pattern
  while true do
    local char = at <= last and byte(pattern, at) or nil
    if char == 42 then
      star, star_from = at, from
      at = at + 1
    elseif char and char == byte(path, from) then
      at, from = at + 1, from + 1
    elseif not char and (not anchored or from > #path) then
      return true
    elseif star and star_from <= #path then
      star_from = star_from + 1
      at, from = star + 1, star_from
    else
      return false
    end
  end
end

--- Whether the crawler may ask for a path, with its query: the longest rule that matches decides, and of two equally
--- long ones the one that allows (2.2.2).
---@param path string beginning with "/"
---@return boolean allowed
---@return string? rule that decided
function Robots:allows(path)
  if path == "/robots.txt" then
    return true
  end
  path = canonical_path(path)
  local allowed, length, decided = true, -1, nil
  for i = 1, #self.rules do
    local rule = self.rules[i]
    if (rule.length > length or (rule.length == length and rule.allow)) and matches(rule.pattern, path) then
      allowed, length, decided = rule.allow, rule.length, rule.pattern
    end
  end
  return allowed, decided
end

-- Without the white space around it. One pattern for both ends would look at a long run of spaces from each of them.
local function trim(text)
  local from = find(text, "%S")
  return from and match(text, "^.*%S", from) or ""
end

-- A line as name, value; nil when it says nothing.
local function read_line(line)
  line = sub(line, 1, (find(line, "#", 1, true) or 0) - 1)
  local colon = find(line, ":", 1, true)
  local name = colon and trim(sub(line, 1, colon - 1))
  if name and not find(name, "[^%w%-_ ]") then
    return lower(name), trim(sub(line, colon + 1))
  end
end

-- What is collected for one user agent: rules of all its groups together (2.2.1).
local function new_group()
  return { rules = {} }
end

local function add_rule(groups, allow, value)
  if value == "" then
    return -- an empty Disallow disallows nothing
  end
  local pattern = canonical_pattern(value)
  if not find(pattern, "^[/*]") then
    pattern = "/" .. pattern
  end
  for i = 1, #groups do
    local rules = groups[i].rules
    if #rules < MAX_RULES then
      rules[#rules + 1] = { allow = allow, pattern = pattern, length = #pattern }
    end
  end
end

local function set_delay(groups, value)
  local delay = tonumber(value)
  if delay and delay >= 0 and delay < 2 ^ 31 then
    for i = 1, #groups do
      groups[i].delay = groups[i].delay or delay
    end
  end
end

-- Which group a User-agent line means: a product token is compared up to its first character that is none.
local function group_of(value, token, ours, others)
  local named = lower(match(value, "^[%a_%-]+") or value)
  if value == "*" then
    others.found = true
    return others
  elseif token and named == token then
    ours.found = true
    return ours
  end
  return nil
end

-- Each once, however often it is named.
local function add_group(groups, group)
  if group ~= groups[1] and group ~= groups[2] then
    groups[#groups + 1] = group
  end
end

local function read(text, token)
  local ours, others = new_group(), new_group()
  local groups, in_agents, sitemaps = {}, false, {}
  for line in text:gmatch "[^\r\n]+" do
    local name, value = read_line(line)
    if name == "user-agent" then
      groups = in_agents and groups or {}
      in_agents = true
      add_group(groups, group_of(value, token, ours, others))
    elseif name == "sitemap" then
      sitemaps[#sitemaps + 1] = value
    elseif name == "allow" or name == "disallow" then
      in_agents = false
      add_rule(groups, name == "allow", value)
    elseif name == "crawl-delay" then
      in_agents = false
      set_delay(groups, value)
    end
  end
  return ours.found and ours or others, sitemaps
end

--- Reads a robots.txt. Never fails: what is no rule is passed over.
---@param text string at most 500 KiB of it count
---@param token? string the crawler's product token; nil: only the groups for "*" count
---@return gyre.Robots
function robots.parse(text, token)
  if #text > LIMIT then
    text = match(sub(text, 1, LIMIT), "^.*[\r\n]") or "" -- the line that the limit cuts could mean anything
  end
  if sub(text, 1, 3) == BOM then
    text = sub(text, 4)
  end
  local group, sitemaps = read(text, token and lower(token))
  return setmetatable({ rules = group.rules, delay = group.delay, sitemaps = sitemaps }, Robots)
end

--- Rules that allow, or refuse, everything.
---@param allow boolean
---@return gyre.Robots
function robots.all(allow)
  local rules = allow and {} or { { allow = false, pattern = "/", length = 1 } }
  return setmetatable({ rules = rules, sitemaps = {} }, Robots)
end

--- The product token of a User-Agent: "shopbot" of "shopbot/2.1 (+https://...)".
---@param agent string
---@return string? token
function robots.token(agent)
  return match(agent, "^[%a_%-]+")
end

return robots
