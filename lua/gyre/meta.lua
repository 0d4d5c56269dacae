---@meta gyre
-- luacheck: ignore

-- For language servers that read LuaCATS (lua-language-server): methods that pools and leases get at run time, from the
-- modules that say more of each. Never loaded. `"workspace.library": ["/usr/share/lua/5.1/gyre"]` in .luarc.json finds
-- it; a spec checks that what is declared here exists.

---@class gyre.Lease
local Lease = {}

--- The request succeeded.
---@param ms? number latency, milliseconds
---@return true? ended
---@return gyre.Error? err
function Lease:ok(ms) end

--- The request did not succeed.
---@param verdict gyre.Verdict whose fault it was
---@param ms? number milliseconds
---@return true? ended
---@return gyre.Error? err
function Lease:fail(verdict, ms) end

--- Ends the lease.
---@param ended gyre.Outcome
---@return true? ended
---@return gyre.Error? err
function Lease:complete(ended) end

---@class gyre.Pool
---@operator len: integer
local Pool = {}

---@param request? gyre.Request
---@return gyre.Lease? lease
---@return gyre.Error? err kinds: no_proxy, busy, full, strategy, closed
function Pool:acquire(request) end

---@param into gyre.Lease of gyre.lease(), whose last use has ended
---@param request? gyre.Request
---@return gyre.Lease? lease
---@return gyre.Error? err
function Pool:acquire_into(into, request) end

---@param value string|table
---@return number? id
---@return gyre.Error? err kinds: exists, full, invalid, closed
function Pool:add(value) end

---@param id number
---@param fields table
---@return true? changed
---@return gyre.Error? err
function Pool:update(id, fields) end

---@param id number
---@return true? removed
---@return gyre.Error? err
function Pool:remove(id) end

---@param id number
---@return true? disabled
---@return gyre.Error? err
function Pool:disable(id) end

---@param id number
---@return true? enabled
---@return gyre.Error? err
function Pool:enable(id) end

---@param id number
---@return true? draining
---@return gyre.Error? err
function Pool:drain(id) end

---@param id number
---@return gyre.Proxy?
function Pool:get(id) end

---@param url string
---@return gyre.Proxy? proxy
---@return gyre.Error? err
function Pool:find(url) end

---@param id number
---@param with_credentials? boolean
---@return string? url
---@return gyre.Error? err
function Pool:url(id, with_credentials) end

---@return fun(): gyre.Proxy?
function Pool:each() end

---@param source string|gyre.Strategy
---@param options? table<string, any>
---@return true? changed
---@return gyre.Error? err kinds: strategy, missing_metadata, closed
function Pool:use(source, options) end

---@param id string
---@return gyre.Session?
function Pool:session(id) end

---@return fun(): gyre.Session?
function Pool:sessions() end

---@return table<string, number>? stats
---@return gyre.Error? err
function Pool:session_stats() end

---@param name string
---@return gyre.Counter
function Pool:counter(name) end

---@return fun(): string?, number?
function Pool:counters() end

---@param id number
---@param host string
---@param seconds number
---@return true? banned
---@return gyre.Error? err
function Pool:ban(id, host, seconds) end

---@param host string
---@param seconds number
---@return true? throttled
---@return gyre.Error? err
function Pool:throttle(host, seconds) end

---@return table<string, number>? stats
---@return gyre.Error? err
function Pool:stats() end

---@return true? sound
---@return gyre.Error? err
function Pool:check() end

---@return true? repaired
---@return gyre.Error? err
function Pool:repair() end

---@return number? seconds pool time
---@return gyre.Error? err
function Pool:time() end

function Pool:close() end
