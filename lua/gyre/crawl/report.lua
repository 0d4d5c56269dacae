-- What a crawl tells people: how it begins, what goes wrong, and at the end what is left and why.
local net = require "gyre.net"

local concat, format, io, pairs, setmetatable, tostring = table.concat, string.format, io, pairs, setmetatable, tostring

local MOST_ERRORS = 20 -- tracebacks shown; the others are counted
-- No proxy got through in so many requests in a row: it is not the pages. A proxy that says why not, which is an answer
-- to CONNECT, may be right about the page more often.
local OUTAGE, REFUSALS = 10, 50
local PATIENCE = 60 -- seconds without any answer until the crawl stops
local SAID = 0.9 -- and until it says that it waits

---@class gyre.crawl.Report
local Report = {}
Report.__index = Report

local report = {}

--- Starts a report.
---@param settings table
---@return gyre.crawl.Report
function report.new(settings)
  return setmetatable({
    settings = settings,
    script_errors = 0,
    unanswered = 0,
    statuses = {},
    held = {},
    reached = false,
  }, Report)
end

function Report:say(...)
  if self.job then
    self.job.line:finish() -- takes the progress line away
  end
  io.stderr:write(...)
  io.stderr:write "\n"
end

--- How the crawl begins.
---@param resumed integer 0 new, 1 resumed, 2 the one before had finished
---@param counts table
function Report:begin(resumed, counts)
  if resumed == 1 then
    local state = self.settings.state
    local text = "resuming %s: %d done, %d failed, %d waiting (--fresh starts over)"
    self:say(format(text, state, counts.done, counts.failed, counts.waiting))
  elseif resumed == 2 then
    self:say(format("%s: the crawl before had finished, starting over", self.settings.state))
  end
end

--- Says so when the descriptors do not allow as many pages at a time as the job wants: the others wait for their turn.
---@param most integer so many at once
function Report:at_once(most)
  local wanted = self.settings.concurrency
  if wanted > most then
    self:say(format("%d pages at a time, not %d: the limit of open files (ulimit -n) allows no more", most, wanted))
  end
end

function Report:script_error(where, trace)
  self.script_errors = self.script_errors + 1
  if self.script_errors <= MOST_ERRORS then
    self:say("gyre: error in the job at ", where, ": ", trace)
  elseif self.script_errors == MOST_ERRORS + 1 then
    self:say "gyre: more errors in the job; from here on they are only counted"
  end
end

function Report:answered()
  self.reached, self.unanswered, self.waiting_since, self.waiting_said = true, 0, nil, nil
end

function Report:failed(page, err)
  local what = err and err.kind or tostring(page.status)
  self.statuses[what] = (self.statuses[what] or 0) + 1
end

-- Waits for better times, and not longer than they may take. `why` is what the crawl stops with.
function Report:wait_for_a_proxy(err, why)
  self.waiting_since = self.waiting_since or net.now()
  local waited = net.now() - self.waiting_since
  if waited > PATIENCE then
    self:stop("no_proxy", why)
  elseif waited > SAID and not self.waiting_said then
    self.waiting_said = true
    self:say(format("gyre: waiting for a proxy, %d s at most: %s", PATIENCE, tostring(err)))
  end
end

function Report:no_proxy(err)
  if not self:may_recover() then
    self:stop("no_proxy", tostring(err))
  else
    self:wait_for_a_proxy(err, tostring(err))
  end
end

-- Benched proxies come back; where there are none, nobody will.
function Report:may_recover()
  return self.job and #self.job.pool > 0
end

--- Whether so many requests in a row found no target that the page is not to blame, and waits. Where none was ever
--- found the crawl stops; else when it has waited long enough.
---@param err gyre.Error
---@return boolean
function Report:outage(err)
  if err.where == "target" then
    self.reached, self.unanswered, self.waiting_since, self.waiting_said = true, 0, nil, nil
  end
  if err.where ~= "proxy" then
    return false
  end
  self.unanswered = self.unanswered + 1
  local says_why = err.status and err.kind ~= "proxy_auth"
  if self.unanswered >= REFUSALS and not self.reached then
    self:stop("no_proxy", self:unreached(err))
  elseif self.reached and self.unanswered >= (says_why and REFUSALS or OUTAGE) then
    self:wait_for_a_proxy(err, self:unreached(err))
    return true
  end
  return self.stopped ~= nil
end

function Report:unreached(err)
  return format("%d requests in a row reached no target; the last: %s", self.unanswered, tostring(err))
end

--- The crawl takes nothing more from the frontier.
---@param kind "no_proxy"|"error"|"script"|"interrupted"|"enough"
---@param why? string
function Report:stop(kind, why)
  self.stopped, self.why = self.stopped or kind, self.why or why
end

--- Whether the frontier is left as it was last committed.
---@return boolean
function Report:has_failed()
  return self.stopped == "error" or self.stopped == "script"
end

function Report:held_back(origin, why)
  self.held[origin] = why
  self:say(format("gyre: %s/robots.txt could not be had (%s): its pages wait for another run", origin, why))
end

function Report:out_of_scope(page, target)
  if page.depth == 0 then
    self:say(format("gyre: the start %s redirects to %s, which is out of scope", page.url, target))
  end
end

local function and_more(parts, count, what)
  if count > 0 then
    parts[#parts + 1] = format(what, count)
  end
end

-- Which kinds of failure there were: "404: 3, timeout: 1".
local function kinds(statuses)
  local names, parts = {}, {}
  for name in pairs(statuses) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    parts[i] = format("%s: %d", name, statuses[name])
  end
  return #parts > 0 and " (" .. concat(parts, ", ") .. ")" or ""
end

local REASONS = {
  interrupted = "interrupted",
  no_proxy = "no usable proxy",
  error = "an error",
  script = "a mistake in the script",
  enough = "max_pages reached",
}

-- Rules that the job has switched off.
local function overrides(settings)
  local parts = {}
  if not settings.robots then
    parts[#parts + 1] = "robots.txt ignored by option"
  end
  if settings.per_host.off then
    parts[#parts + 1] = "no limit per host by option"
  end
  if not settings.agent then
    parts[#parts + 1] = "not identified by option"
  end
  return parts
end

--- The last lines: what was done, what is left, why.
---@param counts table
---@return string
function Report:summary(counts)
  local left = counts.waiting + counts.held_back
  local head = self.stopped and "stopped: " .. (REASONS[self.stopped] or self.stopped) or left > 0 and "not finished"
    or "finished"
  local parts = { format("%d pages done", counts.done), format("%d failed", counts.failed) .. kinds(self.statuses) }
  and_more(parts, counts.moved, "%d redirects")
  and_more(parts, counts.refused, "%d not allowed by robots.txt")
  and_more(parts, counts.too_deep, "%d links too deep")
  and_more(parts, self.script_errors, "%d errors in the job")
  and_more(parts, counts.slowed, "%d times slower as a host asked")
  and_more(parts, counts.held_back, "%d held back for robots.txt")
  parts[#parts + 1] = format("%d waiting", counts.waiting)
  local lines = { format("crawl %s: %s", head, concat(parts, ", ")) }
  if self.why then
    lines[#lines + 1] = self.why
  end
  if left > 0 and self.settings.state then
    lines[#lines + 1] = format("%d left in %s: run again to go on", left, self.settings.state)
  end
  for _, text in ipairs(overrides(self.settings)) do
    lines[#lines + 1] = text
  end
  return concat(lines, "\n")
end

--- The exit code.
---@param counts table
---@return integer
function Report:code(counts)
  if self.stopped == "script" then
    return 2
  elseif self.stopped == "no_proxy" then
    return 3
  elseif self.stopped == "interrupted" or self.stopped == "error" then
    return 4
  elseif counts.failed > 0 or counts.held_back > 0 or (counts.waiting > 0 and self.stopped ~= "enough") then
    return self.reached and 1 or 3
  end
  return 0
end

return report
