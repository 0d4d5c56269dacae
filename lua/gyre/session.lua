-- Sessions of a script: requests that keep their proxy, connections and cookies, and share them with nobody:
--     local cart = gyre.session("cart-17", { pool = pool })
--     cart:get "https://shop.example/add?item=4"
--     cart:get "https://shop.example/checkout"     -- by the same proxy, with its cookies
--     cart:close()
local net = require "gyre.net"
local request = require "gyre.request"

local error, pairs, setmetatable, tostring, type = error, pairs, setmetatable, tostring, type

--- A session of a pool, with options for its requests.
---@class gyre.Session.Client
---@field id string
---@field pool gyre.Pool
---@field options table
local Session = {}

local session = {}

-- The proxy it has now; it may change when that is benched, or banned by a host.
function Session.__index(self, key)
  if key == "proxy" then
    local known = self.pool:session(self.id)
    return known and known.proxy
  end
  return Session[key]
end

function Session.__tostring(self)
  return "session on " .. tostring(self.proxy or "no proxy yet") -- not the id: it may be a user's secret
end

--- Starts or takes up a session; nothing is sent yet, and it gets its proxy by its first request.
---@param id string 1 to 128 bytes of [A-Za-z0-9._:@-]
---@param options { pool: gyre.Pool } and what pool:get() takes, for all of its requests
---@return gyre.Session.Client
function session.new(id, options)
  if type(id) ~= "string" or not request.is_session_id(id) then
    error("a session's id is 1 to 128 bytes of [A-Za-z0-9._:@-]", 2)
  end
  if type(options) ~= "table" or options.pool == nil then
    error("gyre.session takes an id and a table with a pool", 2)
  end
  if type(options.pool) ~= "cdata" then
    error("gyre.session: pool must be one that gyre.open has returned, not a " .. type(options.pool), 2)
  end
  local own = {}
  for name, value in pairs(options) do
    own[name] = value
  end
  own.pool, own.session = nil, id
  request.prepare(own, 2) -- misspelt ones are told now
  return setmetatable({ id = id, pool = options.pool, options = own }, Session)
end

--- A request of the session.
---@param url string
---@param options? gyre.GetOptions before those of gyre.session()
---@return gyre.Response? response
---@return gyre.Error? err
function Session:get(url, options)
  local all = {}
  for name, value in pairs(self.options) do
    all[name] = value
  end
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  all.session = self.id
  return self.pool:get(url, all)
end

--- Ends it: its proxy is free of it, and its connections, TLS sessions and cookies are not used again.
---@return true? ended
---@return gyre.Error? err kind not_found: it had no proxy
function Session:close()
  net.forget(self.id)
  local known, err = self.pool:session(self.id)
  if not known then
    return nil, err
  end
  return known:close()
end

return session
