-- A pool's state for the outside: Prometheus text (exposition format 0.0.4) and a table for JSON. Sums are O(proxies)
-- and lock-free; each proxy listed takes the segment's lock for a moment, so their number is capped. Labels hold ids,
-- never URLs: with these go users and passwords.
local assert, concat, ipairs = assert, table.concat, ipairs

local DEFAULT_LIMIT = 100

local STATES = { "closed", "open", "half_open", "draining", "disabled" }

local metrics = {}

-- name, type, help, then label and value of each sample
local function add(out, name, kind, help, samples)
  out[#out + 1] = ("# HELP %s %s\n# TYPE %s %s"):format(name, help, name, kind)
  for _, sample in ipairs(samples) do
    out[#out + 1] = ("%s%s %.17g"):format(name, sample[1], sample[2])
  end
end

local function add_sums(out, stats)
  local closed = stats.proxies - stats.benched - stats.half_open - stats.draining - stats.disabled
  local counts = { closed = closed, open = stats.benched }
  local states = {}
  for i, state in ipairs(STATES) do
    states[i] = { ('{state="%s"}'):format(state), counts[state] or stats[state] }
  end
  add(out, "gyre_proxies", "gauge", "Proxies in the pool, by state; open is benched.", states)
  add(out, "gyre_proxies_eligible", "gauge", "Proxies that may be picked now.", { { "", stats.eligible } })
  add(out, "gyre_leases_started_total", "counter", "Leases given out.", { { "", stats.started } })
  add(out, "gyre_leases_completed_total", "counter", "Leases ended, by result.", {
    { '{result="succeeded"}', stats.succeeded }, { '{result="failed"}', stats.failed },
    { '{result="aborted"}', stats.aborted },
  })
  add(out, "gyre_leases_active", "gauge", "Leases in flight.", { { "", stats.active } })
  add(out, "gyre_bench_refused_total", "counter", "Benches that max_benched forbade: suspect the network or the rule.",
    { { "", stats.bench_refused } })
  add(out, "gyre_ban_refused_total", "counter", "Bans by one host that max_benched forbade: suspect the rule.",
    { { "", stats.ban_refused } })
  add(out, "gyre_ban_blamed_total", "counter", "Times that a host banned most of the pool: suspect the rule.",
    { { "", stats.ban_blamed } })
end

local function add_sessions(out, stats)
  add(out, "gyre_sessions", "gauge", "Sessions that are not over.", { { "", stats.count } })
  add(out, "gyre_session_hits_total", "counter", "Uses of a session that had its proxy.", { { "", stats.hits } })
  add(out, "gyre_session_moves_total", "counter", "Sessions that got another proxy.", { { "", stats.moved } })
end

-- Per proxy: name, type, help, value of a proxy.
local PER_PROXY = {
  { "gyre_proxy_up", "gauge", "1 when the proxy is in use, 0 when it is benched or switched off.",
    function(proxy) return proxy.state == "closed" and 1 or 0 end },
  { "gyre_proxy_leases_started_total", "counter", "Leases of the proxy given out.",
    function(proxy) return proxy.started end },
  { "gyre_proxy_leases_failed_total", "counter", "Leases of the proxy that failed.",
    function(proxy) return proxy.failed end },
  { "gyre_proxy_leases_active", "gauge", "Leases of the proxy in flight.", function(proxy) return proxy.active end },
  { "gyre_proxy_latency_seconds", "gauge", "Moving average of the latency of successes.",
    function(proxy) return proxy.ema_ms and proxy.ema_ms / 1000 end },
  { "gyre_proxy_success_ratio", "gauge", "Moving average of 1 and 0 over successes and failures of the proxy.",
    function(proxy) return proxy.success_rate end },
}

-- The proxies that are listed: the first `limit` by slot, so that the series are the same every time.
local function listed(pool, limit)
  local proxies = {}
  for proxy in pool:each() do
    if #proxies == limit then
      break
    end
    proxies[#proxies + 1] = proxy
  end
  return proxies
end

local function add_proxies(out, proxies, total)
  for _, family in ipairs(PER_PROXY) do
    local samples = {}
    for _, proxy in ipairs(proxies) do
      local value = family[4](proxy)
      if value then
        samples[#samples + 1] = { ('{proxy="%.0f"}'):format(proxy.id), value }
      end
    end
    add(out, family[1], family[2], family[3], samples)
  end
  add(out, "gyre_proxies_unlisted", "gauge", "Proxies without series of their own.", { { "", total - #proxies } })
end

local function add_counters(out, pool)
  local samples = {}
  for name, value in pool:counters() do
    samples[#samples + 1] = { ('{name="%s"}'):format((name:gsub('[\\"]', "\\%0"))), value }
  end
  add(out, "gyre_counter", "gauge", "Counters that strategies and scripts keep in the segment.", samples)
end

--- Prometheus text. Serve it as "text/plain; version=0.0.4".
---@param pool gyre.Pool
---@param limit? integer proxies with series of their own [100]
---@return string
function metrics.text(pool, limit)
  local out, stats = {}, assert(pool:stats())
  add_sums(out, stats)
  add_sessions(out, assert(pool:session_stats()))
  add_proxies(out, listed(pool, limit or DEFAULT_LIMIT), stats.proxies)
  add_counters(out, pool)
  out[#out + 1] = ""
  return concat(out, "\n")
end

local FIELDS = {
  "state", "started", "active", "succeeded", "failed", "aborted", "ema_ms", "success_rate", "country", "url",
  "benched_until",
}

--- The same as a table of plain values; URLs are without credentials.
---@param pool gyre.Pool
---@param limit? integer proxies to list [100]
---@return table status strategy, stats, sessions, proxies (a list), unlisted
function metrics.status(pool, limit)
  local stats = assert(pool:stats())
  local status = { strategy = pool.strategy, stats = stats, sessions = assert(pool:session_stats()), proxies = {} }
  for i, proxy in ipairs(listed(pool, limit or DEFAULT_LIMIT)) do
    local row = { id = proxy.id }
    for _, field in ipairs(FIELDS) do
      row[field] = proxy[field]
    end
    status.proxies[i] = row
  end
  status.unlisted = stats.proxies - #status.proxies
  return status
end

return metrics
