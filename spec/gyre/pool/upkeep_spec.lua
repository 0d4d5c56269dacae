local ffi = require "ffi"
local pools = require "pools"

describe("gyre.pool.upkeep", function()
  local pool

  before_each(function()
    pool = pools.open(4, { breaker = { failures = 1, base = 10, max_benched = 0.25 } })
  end)

  after_each(function()
    pool:close()
  end)

  it("finds damage, and mends what can be derived", function()
    assert.is_true(pool:check())
    local record = ffi.cast("struct gyre_slot *", require("gyre.registry").states[pool.number].slots)
    record[1].use = record[1].use + 1 -- in flight, without a lease
    local sound, err = pool:check()
    assert.is_nil(sound)
    assert.equal("corrupt", err.kind)
    assert.is_true(err.findings >= 1)
    assert.matches("^%d+ findings?, the first: .", err.message)
    assert.is_true(pool:repair())
    assert.is_true(pool:check())
    assert.equal(4, #pool)
  end)

  it("counts by state, and what max_benched refused", function()
    for _ = 1, 8 do
      local lease = assert(pool:acquire())
      lease:fail "proxy_bad"
    end
    local sums = pool:stats()
    assert.equal(1, sums.benched)
    assert.is_true(sums.bench_refused > 0)
    assert.same({ 0, 0, 4 }, { sums.half_open, sums.ban_refused, sums.proxies })
  end)

  it("is closed with its pool", function()
    pool:close()
    assert.equal("closed", select(2, pool:check()).kind)
    assert.equal("closed", select(2, pool:repair()).kind)
  end)
end)
