-- A comparison as a picture (SVG): on the left how the latencies are distributed, on the right how the load is.
local statistics = require "gyre.sim.statistics"

local concat, floor, format, log10, max, min = table.concat, math.floor, string.format, math.log10, math.max, math.min
local ipairs, sort = ipairs, table.sort

local WIDTH, HEIGHT = 1080, 500
local TOP, BOTTOM = 58, 380 -- of both panels
local LEFT = { from = 70, to = 510 }
local RIGHT = { from = 620, to = 1050 }
-- Colours that stay apart for the colour-blind (M. Okabe, K. Ito, 2008); then the same with dashes.
local COLOURS = { "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9" }
local DASHES = { "none", "7 4", "2 3" }
local NICE = { 1, 2, 5, 10 }

local plot = {}

local function escape(text)
  return (text:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

local function text(out, x, y, words, attributes)
  out[#out + 1] = format('<text x="%.1f" y="%.1f" %s>%s</text>', x, y, attributes or "", escape(words))
end

local function line(out, x1, y1, x2, y2, colour)
  out[#out + 1] = format('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>', x1, y1, x2, y2, colour)
end

local function style(i)
  return COLOURS[(i - 1) % #COLOURS + 1], DASHES[floor((i - 1) / #COLOURS) % #DASHES + 1]
end

local function curve(out, points, i)
  local colour, dash = style(i)
  out[#out + 1] = format('<polyline fill="none" stroke="%s" stroke-width="1.8" stroke-dasharray="%s" points="%s"/>',
    colour, dash, concat(points, " "))
end

local function vertical(share)
  return BOTTOM - share * (BOTTOM - TOP)
end

-- A frame with a title, and names for its axes.
local function frame(out, panel, title, below, beside)
  line(out, panel.from, BOTTOM, panel.to, BOTTOM, "#333")
  line(out, panel.from, TOP, panel.from, BOTTOM, "#333")
  text(out, (panel.from + panel.to) / 2, TOP - 22, title, 'text-anchor="middle" font-size="15" font-weight="bold"')
  text(out, (panel.from + panel.to) / 2, BOTTOM + 40, below, 'text-anchor="middle"')
  local x, y = panel.from - 48, (TOP + BOTTOM) / 2
  text(out, x, y, beside, format('text-anchor="middle" transform="rotate(-90 %.1f %.1f)"', x, y))
end

local function mark_left(out, panel, share, label)
  line(out, panel.from, vertical(share), panel.to, vertical(share), "#ddd")
  text(out, panel.from - 7, vertical(share) + 4, label, 'text-anchor="end"')
end

local function mark_below(out, x, label)
  line(out, x, BOTTOM, x, BOTTOM + 5, "#333")
  text(out, x, BOTTOM + 19, label, 'text-anchor="middle"')
end

-- The range of milliseconds worth showing: all but the first and the last half percent of everyone.
local function range(rows)
  local least, most = 1e9, 0
  for _, row in ipairs(rows) do
    for _, run in ipairs(row.runs) do
      least = min(least, run.latency:percentile(0.005) or least)
      most = max(most, run.latency:percentile(0.995) or most)
    end
  end
  return min(least, most / 2), max(most, 1)
end

local function latencies(out, rows)
  local least, most = range(rows)
  local function across(ms)
    local place = log10(ms / least) / log10(most / least)
    return LEFT.from + min(max(place, 0), 1) * (LEFT.to - LEFT.from)
  end
  for share = 0, 1, 0.25 do
    mark_left(out, LEFT, share, format("%.0f%%", share * 100))
  end
  for exponent = floor(log10(least)), floor(log10(most)) do
    for _, digit in ipairs { 1, 2, 5 } do
      local ms = digit * 10 ^ exponent
      if ms >= least and ms <= most then
        mark_below(out, across(ms), format("%g", ms))
      end
    end
  end
  for i, row in ipairs(rows) do
    local points = { format("%.1f,%.1f", LEFT.from, BOTTOM) }
    for _, point in ipairs(statistics.cumulative(row.runs[1].latency)) do
      if point[1] >= least and point[1] <= most then
        points[#points + 1] = format("%.1f,%.1f", across(point[1]), vertical(point[2]))
      end
    end
    curve(out, points, i)
  end
  frame(out, LEFT, "Latency of successful attempts", "milliseconds (logarithmic)", "share that took no longer")
end

-- Shares of a run, the largest first.
local function shares(run)
  local list, all = {}, 0
  for p = 1, run.n do
    list[p] = run.shares[p]
    all = all + list[p]
  end
  sort(list, function(a, b)
    return a > b
  end)
  for p = 1, run.n do
    list[p] = list[p] / max(all, 1)
  end
  return list
end

-- A step between marks that gives about five of them.
local function step(largest)
  local rough = largest / 5
  local power = 10 ^ floor(log10(rough))
  for _, nice in ipairs(NICE) do
    if nice * power >= rough then
      return nice * power
    end
  end
end

local function load(out, rows)
  local lists, highest, n = {}, 0, rows[1].runs[1].n
  for i, row in ipairs(rows) do
    lists[i] = shares(row.runs[1])
    highest = max(highest, lists[i][1])
  end
  local distance = step(max(highest, 1e-6))
  local top = math.ceil(highest / distance) * distance
  for share = 0, top + distance / 2, distance do
    mark_left(out, RIGHT, share / top, format("%g%%", share * 100))
  end
  local function across(p)
    return RIGHT.from + (n > 1 and (p - 1) / (n - 1) or 0) * (RIGHT.to - RIGHT.from)
  end
  for quarter = 0, 4 do
    local p = floor(1 + quarter / 4 * (n - 1) + 0.5)
    mark_below(out, across(p), format("%d", p))
  end
  for i, list in ipairs(lists) do
    local points = {}
    for p = 1, n, max(1, floor(n / 2000)) do
      points[#points + 1] = format("%.1f,%.1f", across(p), vertical(list[p] / top))
    end
    curve(out, points, i)
  end
  frame(out, RIGHT, "Share of each proxy", "proxies, the most used first", "share of all attempts")
end

local function legend(out, rows)
  for i, row in ipairs(rows) do
    local x, y = LEFT.from + (i - 1) % 4 * 250, 448 + floor((i - 1) / 4) * 20
    local colour, dash = style(i)
    out[#out + 1] = format('<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="2.5"'
      .. ' stroke-dasharray="%s"/>', x, y - 4, x + 32, y - 4, colour, dash)
    text(out, x + 40, y, row.name)
  end
end

--- The picture, of the first seed of each row.
---@param rows gyre.sim.Row[]
---@return string svg
function plot.svg(rows)
  local height = HEIGHT + max(0, floor((#rows - 1) / 4) - 1) * 20
  local out = {
    format('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d"'
      .. ' font-family="sans-serif" font-size="12" fill="#222">', WIDTH, height, WIDTH, height),
    format('<rect width="%d" height="%d" fill="#fff"/>', WIDTH, height),
  }
  latencies(out, rows)
  load(out, rows)
  legend(out, rows)
  out[#out + 1] = "</svg>\n"
  return concat(out, "\n")
end

return plot
