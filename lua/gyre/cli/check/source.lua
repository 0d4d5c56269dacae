-- A list that changes: a file, a URL, or a command ("!COMMAND"), read again and again into a pool.
local command = require "gyre.cli.command"
local errors = require "gyre.error"
local gyre = require "gyre"
local list = require "gyre.list"

local setmetatable = setmetatable

local Source = {}
Source.__index = Source

local source = {}

local TIMEOUT = 60 -- seconds for a command or a request

local function of_command(text)
  local output, why = command.read(text, TIMEOUT)
  return output, why and errors.new("system", ("the command for the list: %s"):format(why))
end

-- Through the pool itself, unless it was said that it may be fetched directly.
local function of_url(self)
  local response, err
  if self.direct then
    response, err = gyre.fetch(self.text, { proxy = "direct", timeout = TIMEOUT })
  else
    response, err = self.pool:get(self.text, { timeout = TIMEOUT })
  end
  if response and response.status ~= 200 then
    return nil, errors.new("invalid", ("the list: status %d"):format(response.status))
  end
  return response and response.body, err
end

local function read(self)
  local text, err
  if self.text:sub(1, 1) == "!" then
    text, err = of_command(self.text:sub(2))
  elseif self.text:find "^https?://" then
    text, err = of_url(self)
  else
    return list.read(self.text)
  end
  if not text then
    return nil, err
  end
  return list.parse(text)
end

--- A source for a pool.
---@param pool gyre.Pool
---@param text string
---@param direct boolean a URL is fetched without a proxy
---@return table
function source.new(pool, text, direct)
  return setmetatable({ pool = pool, text = text, direct = direct, ids = {} }, Source)
end

--- Reads it again: adds what is new, updates what is there, removes what it named the last time and names no more. Who
--- came into the pool by another way stays. What cannot be read, or holds no usable proxy, changes nothing.
---@return gyre.list.Report? report
---@return gyre.Error? err
function Source:refresh()
  local parsed, err = read(self)
  if not parsed then
    return nil, err
  end
  local report
  report, err = self.pool:reload(parsed, self.ids)
  if report then
    self.ids = report.ids
  end
  return report, err
end

return source
