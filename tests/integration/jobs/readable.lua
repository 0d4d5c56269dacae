-- Prints what gyre.net.readable says of stdin: at once, when something has come, and at its end.
local gyre = require "gyre"
local net = require "gyre.net"

io.stdout:setvbuf "line" -- whoever waits for the first answer sends the line
local ticks = 0
gyre.spawn(function()
  for _ = 1, 5 do
    gyre.sleep(0.05)
    ticks = ticks + 1
  end
end)
print(net.readable(0, 0.05))
print(net.readable(0, 10), io.read "*l", ticks > 1)
print(net.readable(0, 10), io.read "*l")
