-- Messages without credentials: what a user gave is named in them, and it may be the URL of a proxy. Pure.
local swapped = require "gyre.list.swapped"

local find, gsub, match = string.find, string.gsub, string.match

local mask = {}

--- What was given as the name of a file. A proxy in its place is shown without its credentials, however it is written.
---@param path string
---@return string
function mask.place(path)
  if find(path, "://", 1, true) then
    return (gsub(gsub(path, "^(.-://).*@", "%1"), "^(.-://[^/?#:%[]*:%d+):.*$", "%1"))
  elseif find(path, "^%.?%.?/") then
    return path
  end
  local text = gsub(path, " ?#.*$", "") -- attributes of a line
  local host, port = swapped.parts(text)
  if host then
    return host .. ":" .. port
  end
  local address = match(text, "^(%[[%x:.]*%]:%d+):.") or match(text, "^([^/:@]+:%d+):.")
  if address then
    return address
  elseif find(text, ":.*:") and not find(text, "^%[") and not find(text, ":%d+$") then
    return "what was given"
  elseif find(text, "^[^%[].*:.*:%d+$") then
    return match(text, "[^:@/ ]+:%d+$") or "what was given"
  end
  return (gsub(path, "^[^/:]*:.*@", ""))
end

--- A URL to be fetched, with or without its scheme.
---@param url string
---@return string
function mask.url(url)
  if find(url, "//", 1, true) then
    return (gsub(url, "//[^/?#]*@", "//", 1))
  end
  return (gsub(url, "^[^/?#]*@", ""))
end

--- A text with URLs in it.
---@param text string
---@return string
function mask.text(text)
  return (gsub(text, "(%a[%w+.-]*://)[^/?#%s]*@", "%1"))
end

return mask
