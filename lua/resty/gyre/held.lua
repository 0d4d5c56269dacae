-- Leases that belong to an nginx request. They are kept in ngx.ctx, and what is left of them in the log phase is ended
-- there: a handler that raises, a client that leaves, an ngx.exit() somewhere lose none. After kill -9 no log phase
-- runs:
-- then another process notices within a second, see src/README.md. ngx.ctx is emptied by an internal redirect
-- (error_page, ngx.exec): complete before, or the lease waits for its deadline.
local verdicts = require "resty.gyre.verdict"

local now = ngx.now

local KEY = "gyre.held" -- in ngx.ctx: lease, time, lease, time, ...

local held = {}

--- Keeps a lease for the current request.
---@param lease gyre.Lease
---@param ctx? table ngx.ctx
function held.keep(lease, ctx)
  ctx = ctx or ngx.ctx
  local list = ctx[KEY]
  if list then
    local n = #list
    list[n + 1], list[n + 2] = lease, now()
  else
    ctx[KEY] = { lease, now() }
  end
end

--- Ends what the current request still holds. Again is harmless, and so is a lease that has ended already.
---@param verdict? gyre.Verdict [by status, and by what nginx knows of its upstream]
---@return integer ended how many leases this ended
function held.finish(verdict)
  local ctx = ngx.ctx
  local list = ctx[KEY]
  if not list then
    return 0
  end
  local retry_after, ms
  if not verdict then
    verdict, retry_after, ms = verdicts.of_request(ngx.status, ngx.var)
  end
  local n, ended = #list, 0
  for i = 1, n, 2 do
    local lease, took = list[i], ms or (now() - list[i + 1]) * 1000
    local done
    if verdict == "ok" then
      done = lease:ok(took)
    elseif retry_after then
      done = lease:complete { verdict = verdict, ms = took, retry_after = retry_after }
    else
      done = lease:fail(verdict, took)
    end
    ended = done and ended + 1 or ended
  end
  ctx[KEY] = nil -- now, not before: after a verdict that is none the log phase ends them
  return ended
end

--- When the request got its last lease, and that lease.
---@param ctx table ngx.ctx
---@return gyre.Lease?
---@return number? seconds as of ngx.now()
function held.last(ctx)
  local list = ctx[KEY]
  local n = list and #list or 0
  if n == 0 then
    return nil
  end
  return list[n - 1], list[n]
end

--- Forgets one that the caller has ended. Nearly always it is the last; light threads share the list.
---@param ctx table ngx.ctx
---@param lease gyre.Lease
function held.drop(ctx, lease)
  local list = ctx[KEY]
  local n = list and #list or 0
  for i = n - 1, 1, -2 do
    if rawequal(list[i], lease) then
      list[i], list[i + 1] = list[n - 1], list[n]
      list[n - 1], list[n] = nil, nil
      return
    end
  end
end

return held
