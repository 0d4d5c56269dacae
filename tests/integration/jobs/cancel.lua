-- cancel.lua URL: starts requests and cancels each while its connection is being made, or a little later; then one that
-- must still work. Prints how many ended as aborted, and the last one's status.
local gyre = require "gyre"
local net = require "gyre.net"

local aborted = 0
for i = 1, 300 do
  local tasks = {}
  for k = 1, 4 do
    tasks[k] = net.spawn(true, function()
      local _, err = gyre.fetch(arg[1], { proxy = "direct", timeout = 10 })
      aborted = aborted + (err and err.kind == "aborted" and 1 or 0)
    end)
  end
  for _ = 1, i % 4 + 1 do
    gyre.sleep(0)
  end
  for k = 1, 4 do
    net.cancel(tasks[k])
  end
end
gyre.sleep(0.01)
print(aborted, assert(gyre.fetch(arg[1], { proxy = "direct" })).status)
