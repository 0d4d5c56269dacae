-- One probe: a lease of a proxy, benched or not, a request through it, and a verdict by what was expected.
local attempt = require "gyre.attempt"
local request = require "gyre.request"

local probe = {}

--- Options for the requests of all probes. Whatever is not as expected is the proxy's fault: the URL is one that works.
---@param fault_of fun(response: gyre.Response): string?
---@param timeout number seconds
---@param options table further ones of pool:get()
---@return table
function probe.options(fault_of, timeout, options)
  options.timeout, options.connect_timeout, options.tries = timeout, timeout, 1
  options.judge = function(_, response)
    if response then
      return fault_of(response) and "proxy_bad" or "ok"
    end
    return nil
  end
  return request.prepare(options, 2)
end

--- Probes a proxy.
---@param pool gyre.Pool
---@param id number
---@param url string
---@param prepared table of probe.options()
---@return gyre.Response? response as expected
---@return gyre.Error? err with `response` when it was not as expected; one of pool:probe() when it was not even leased
function probe.run(pool, id, url, prepared)
  local lease, err = pool:probe(id)
  if not lease then
    return nil, err
  end
  local response
  response, err = attempt.through(lease, pool, request.plan(prepared, url, 1), 1)
  return response, err
end

return probe
