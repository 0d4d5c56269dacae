-- gyre top: a pool in shared memory as it lives. On a terminal the whole screen, elsewhere a table an interval.
local attach = require "gyre.cli.attach"
local common = require "gyre.cli.common"
local exit = require "gyre.cli.exit"
local net = require "gyre.net"
local output = require "gyre.cli.output"
local sample = require "gyre.cli.top.sample"
local view = require "gyre.cli.top.view"

local error, ipairs, max, min, os, tostring, xpcall = error, ipairs, math.max, math.min, os, tostring, xpcall

local top = { about = "a pool as it lives: requests/s, latency, health, sessions" }

local STDIN = 0
local FOOT = "q quit  r requests/s  s success  e ema  a in flight  f failed  i id  R reverse  j k scroll"
local ESCAPES = { ["\27[A"] = "k", ["\27[B"] = "j", ["\27[5~"] = "K", ["\27[6~"] = "J", ["\27OA"] = "k",
  ["\27OB"] = "j" }
local PAGE = 10

function top.options(parser)
  parser:option("--pool", "The pool."):argname "PATH":count(1)
  common.add_number(parser, "-i --interval", "Seconds between two looks [1].", 0.05)
  common.add_number(parser, "-n --count", "Looks, then the end [no end]; the first comes after an interval.", 1, true)
  parser:option("--sort", "What stands first: rate, success, ema, active, failed, id [rate].")
    :choices({ "rate", "success", "ema", "active", "failed", "id" }):argname "FIELD"
  common.add_number(parser, "--rows", "Proxies to show, where there is no screen [all].", 1, true)
  parser:flag("--plain", "Tables, on a terminal too.")
end

local function chosen_sort(field)
  for _, sort in ipairs(view.SORTS) do
    if sort.field == (field or "rate") then
      return sort
    end
  end
end

local function look(self)
  local pool = self.pool
  self.check()
  local rows, sums = sample.compare(pool, self.before)
  self.before = sample.take(pool)
  local strategy = attach.strategy(pool)
  self.rows = rows
  self.found = {
    path = self.path, time = os.date "%H:%M:%S", sums = sums, stats = exit.check(pool:stats()),
    sessions = exit.check(pool:session_stats()).count, strategy = strategy.title, generation = strategy.generation,
  }
end

-- The rows from `first` on, at most `most`, with all that is shown of them.
local function shown_rows(self, first, most)
  local now, shown = self.pool:time(), {}
  view.sort(self.rows, self.sort, self.reverse)
  for i = first, min(#self.rows, first + most - 1) do
    sample.complete(self.rows[i], now)
    shown[#shown + 1] = self.rows[i]
  end
  return shown
end

-- ---- plain ----

local function print_plain(self, limit)
  local rows = shown_rows(self, 1, limit or #self.rows)
  output.write(table.concat(view.head(self.found), "\n"), "\n", table.concat(view.table(rows), "\n"), "\n\n")
  output.flush()
end

local function run_plain(self, args)
  local left = args.count or math.huge
  while left > 0 and net.sleep(self.interval) do
    look(self)
    print_plain(self, args.rows)
    left = left - 1
  end
end

-- ---- on a screen ----

local function draw(self)
  local columns, rows = self.screen.size()
  local head = view.head(self.found)
  local room = max(rows - #head - 2, 1)
  self.first = max(1, min(self.first, #self.rows - room + 1))
  local shown = shown_rows(self, self.first, room)
  local size = { columns = columns, rows = rows, colours = self.colours }
  output.write(view.frame(head, view.table(shown, columns), shown, FOOT, size))
  output.flush()
end

local ACTIONS = {
  q = function(self)
    self.over = true
  end,
  R = function(self)
    self.reverse = not self.reverse
  end,
  j = function(self)
    self.first = self.first + 1
  end,
  k = function(self)
    self.first = self.first - 1
  end,
  J = function(self)
    self.first = self.first + PAGE
  end,
  K = function(self)
    self.first = self.first - PAGE
  end,
}
for _, sort in ipairs(view.SORTS) do
  ACTIONS[sort.key] = function(self)
    self.sort, self.reverse, self.first = sort, false, 1
  end
end

local function act(self, keys)
  for sequence, key in pairs(ESCAPES) do
    keys = keys:gsub(sequence:gsub("%W", "%%%0"), key)
  end
  for key in keys:gmatch "." do
    local action = ACTIONS[key]
    if action then
      action(self)
    end
  end
end

-- Until it is time for the next look: keys, and a new size of the terminal.
local function wait(self, ends)
  while not self.over and net.now() < ends do
    if net.readable(STDIN, min(max(ends - net.now(), 0.001), 0.25)) then
      local keys = self.screen.read()
      if keys == "" then
        self.over = true -- the terminal is gone
        return
      end
      act(self, keys)
      draw(self)
    elseif net.stopping() then
      self.over = true
    else
      local columns, rows = self.screen.size()
      if columns ~= self.columns or rows ~= self.rows_of_screen then
        self.columns, self.rows_of_screen = columns, rows
        draw(self)
      end
    end
  end
end

local function live(self, args)
  local left = args.count or math.huge
  self.colours = (os.getenv "NO_COLOR" or "") == ""
  look(self) -- at once, with no rates yet: a screen that stays empty looks broken
  draw(self)
  while not self.over and left > 0 do
    wait(self, net.now() + self.interval)
    look(self)
    draw(self)
    left = left - 1
  end
end

-- Whatever it has to say at its end is said on the terminal as it was: the text of a screen goes with it.
local function run_screen(self, args)
  local ran, why = xpcall(live, function(raised)
    return exit.of(raised) and raised or debug.traceback(tostring(raised), 2)
  end, self, args)
  self.screen.leave()
  if not ran then
    error(why, 0)
  end
end

function top.run(args)
  local pool, check = attach.open_to_watch(args.pool)
  local self = { pool = pool, check = check, path = args.pool, before = sample.take(pool),
    interval = args.interval or 1, sort = chosen_sort(args.sort), reverse = false, first = 1,
    screen = require "gyre.screen" }
  if args.plain or not self.screen.enter() then
    run_plain(self, args)
  else
    run_screen(self, args)
  end
end

return top
