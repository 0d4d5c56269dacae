local random = require "gyre.random"

describe("gyre.random", function()
  it("stays within 1 and n, and reaches both ends", function()
    local generator = random.new(1)
    for _, n in ipairs { 1, 2, 3, 7, 1000000 } do
      local low, high = n + 1, 0
      for _ = 1, 500 do
        local value = generator:upto(n)
        assert.equal(0, value % 1)
        low, high = math.min(low, value), math.max(high, value)
      end
      assert.is_true(low >= 1 and high <= n)
      if n <= 7 then
        assert.same({ 1, n }, { low, high })
      end
    end
  end)

  it("is sfc32", function()
    -- From an implementation in Python with big integers.
    local known = { [1] = { 2720547601, 1120737855, 2850561404 }, [2 ^ 40 + 7] = { 2433129186, 647913754, 1101549666 } }
    for seed, values in pairs(known) do
      local generator = random.new(seed)
      for i = 1, 3 do
        assert.equal(values[i], generator:upto(2 ^ 32))
      end
    end
  end)

  it("repeats with its seed, and differs between seeds", function()
    local function draw(seed)
      local generator, drawn = random.new(seed), {}
      for i = 1, 20 do
        drawn[i] = generator:upto(1000)
      end
      return table.concat(drawn, " ")
    end
    assert.equal(draw(5), draw(5))
    local seen = {}
    for _, seed in ipairs { 1, 2, 3, 2 ^ 32, 2 ^ 32 + 1, 2 ^ 52 } do
      local drawn = draw(seed)
      assert.is_nil(seen[drawn])
      seen[drawn] = true
    end
    assert.is_true(draw() ~= draw())
  end)

  it("draws uniformly: chi-square over 16 cells", function()
    local generator, cells, n = random.new(42), {}, 16000
    for _ = 1, n do
      local cell = generator:upto(16)
      cells[cell] = (cells[cell] or 0) + 1
    end
    local sum = 0
    for i = 1, 16 do
      sum = sum + (cells[i] - n / 16) ^ 2 / (n / 16)
    end
    -- 15 degrees of freedom: mean 15, sigma 5.5; 5 sigma.
    assert.is_true(sum < 42.5, sum)
  end)
end)
