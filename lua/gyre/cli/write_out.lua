-- curl's --write-out: %{variable}, %%, \n \r \t; and %{proxy}, %{attempts}, %{verdict}, which curl has not.
local io, tostring = io, tostring

local write_out = {}

local VARIABLES = {}

function VARIABLES.http_code(_, response, err)
  return ("%03d"):format(response and response.status or err and err.status or 0)
end

VARIABLES.response_code = VARIABLES.http_code

function VARIABLES.url(url)
  return url
end

function VARIABLES.url_effective(url, response)
  return response and response.url or url
end

function VARIABLES.content_type(_, response)
  return response and response.headers["content-type"] or ""
end

function VARIABLES.size_download(_, response)
  return tostring(response and #response.body or 0)
end

function VARIABLES.time_total(_, response, err)
  return ("%.6f"):format((response and response.ms or err and err.ms or 0) / 1000)
end

function VARIABLES.errormsg(_, _, err)
  return err and tostring(err) or ""
end

function VARIABLES.proxy(_, response)
  return response and response.proxy and tostring(response.proxy) or ""
end

function VARIABLES.attempts(_, response, err)
  return tostring((response or err).attempts or 0)
end

function VARIABLES.verdict(_, response, err)
  return (response or err).verdict or ""
end

local ESCAPES = { n = "\n", r = "\r", t = "\t" }

--- What a format says of a request that ended.
---@param format string
---@param url string
---@param response? gyre.Response
---@param err? gyre.Error
---@return string
function write_out.format(format, url, response, err)
  local text = format:gsub("\\(.)", function(char)
    return ESCAPES[char] or "\\" .. char
  end)
  return (text:gsub("%%(%%?)({?)([%w_]*)(}?)", function(percent, open, name, close)
    if percent ~= "" then
      return "%" .. open .. name .. close
    elseif open == "" or close == "" then
      return "%" .. open .. name .. close
    elseif not VARIABLES[name] then
      io.stderr:write(("gyre get: unknown --write-out variable: '%s'\n"):format(name))
      return ""
    end
    return VARIABLES[name](url, response, err)
  end))
end

return write_out
