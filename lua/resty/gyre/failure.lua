-- Errors of requests made through a proxy by cosockets: what, where, and what verdict that is. As in src/net/classify.c
-- the target is blamed on evidence only: a tunnel that stood, or a proxy that says so.
local errors = require "gyre.error"

local failure = {}

--- An error of a request.
---@class gyre.nginx.Error: gyre.Error
---@field kind "timeout"|"connect"|"tls"|"proxy_auth"|"protocol"|"too_large"|"invalid"
---@field where "proxy"|"target"|"local"
---@field verdict gyre.Verdict
---@field sent? boolean the target may have seen the request

local VERDICTS = { proxy = "proxy_bad", target = "target_bad", ["local"] = "aborted" }

--- Makes one.
---@param kind string
---@param where "proxy"|"target"|"local"
---@param message string
---@return nil
---@return gyre.nginx.Error
function failure.new(kind, where, message)
  local text = ("%s (%s): %s"):format(kind, where, message)
  return nil, errors.new(kind, text, { where = where, verdict = VERDICTS[where] })
end

--- Of what a cosocket says.
---@param where "proxy"|"target"
---@param said string
---@param otherwise? string kind when it was no timeout ["protocol"]
---@return nil
---@return gyre.nginx.Error
function failure.of_socket(where, said, otherwise)
  return failure.new(said == "timeout" and "timeout" or otherwise or "protocol", where, said)
end

return failure
