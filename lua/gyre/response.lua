-- Responses: what a request brought. Headers and body become Lua values when they are first read: a job that looks at
-- the status alone copies nothing.
local net = require "gyre.net"

local rawset, setmetatable = rawset, setmetatable
local read_head, read_body = net.head, net.body

--- A response of a target.
---@class gyre.Response
---@field status integer
---@field headers table<string, string> by lower-case name; a repeated one joined by ", ", set-cookie by "\n"
---@field body string decompressed
---@field url string after redirects
---@field http string version of HTTP it came by: "1.0", "1.1", "2"
---@field proxy? gyre.Proxy that carried it; nil for a direct gyre.fetch
---@field ms number duration of this attempt
---@field bytes number in both directions
---@field attempts integer 1 when the first proxy brought it
---@field verdict gyre.Verdict what its lease ended with

local function parse_head(head)
  local headers = {}
  for line in head:gmatch "[^\r\n]+" do
    local name, value = line:match "^([^%s:]+):[ \t]*(.-)[ \t]*$"
    if name then
      name = name:lower()
      local before = headers[name]
      local glue = name == "set-cookie" and "\n" or ", "
      headers[name] = before and before .. glue .. value or value
    end
  end
  return headers
end

local readers = {}

function readers.headers(content)
  return parse_head(read_head(content))
end

readers.body = read_body

local Response = {}

function Response.__index(self, key)
  local read = readers[key]
  if not read then
    return nil
  end
  local value = read(self.content)
  rawset(self, key, value)
  return value
end

local response = {}

--- Makes a response; `fields` becomes it. `fields.content` holds the bytes.
---@param fields table
---@return gyre.Response
function response.new(fields)
  setmetatable(fields, Response)
  return fields
end

return response
