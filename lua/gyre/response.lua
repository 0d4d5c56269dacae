-- Responses: what a request brought. Headers become a table when they are first read.
local rawset, setmetatable = rawset, setmetatable

--- A response of a target.
---@class gyre.Response
---@field status integer
---@field head string the last response's status line and headers as they came
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
  head = head:gsub("\r?\n[ \t]+", " ") -- a value that goes on in the next line (RFC 9112, 5.2)
  for line in head:gmatch "[^\r\n]+" do
    local name, from = line:match "^([^%s:]+):[ \t]*()"
    if name then
      local value = line:match("^.*[^ \t]", from) or "" -- not in one pattern: it would look at each run of spaces again
      name = name:lower()
      local before = headers[name]
      local glue = name == "set-cookie" and "\n" or ", "
      headers[name] = before and before .. glue .. value or value
    end
  end
  return headers
end

local Response = {}

function Response.__index(self, key)
  if key ~= "headers" then
    return nil
  end
  local headers = parse_head(self.head)
  rawset(self, "headers", headers)
  return headers
end

local response = {}

--- Makes a response; `fields` becomes it. `fields.head` is what its headers are read from.
---@param fields table
---@return gyre.Response
function response.new(fields)
  setmetatable(fields, Response)
  return fields
end

return response
