-- luajit prometheus.lua FILE: checks a file against Prometheus' text exposition format 0.0.4 and against its naming
-- conventions, and prints its samples, one a line. Exit code 1 and a reason when it breaks a rule.
local line_number = 0
local types, helped, seen, current = {}, {}, {}, nil

local function fail(message, ...)
  print(("line %d: "):format(line_number) .. message:format(...))
  os.exit(1)
end

local function check_labels(text)
  local rest = text
  repeat
    local name, value, after = rest:match '^([%a_][%w_]*)="([^"\\\n]*)"(.*)$'
    if not name then
      fail("labels '%s'", text)
    elseif value:find "://" then
      fail("a URL in a label: %s", value)
    end
    rest = after:sub(1, 1) == "," and after:sub(2) or after
  until rest == ""
end

local function check_name(name)
  local kind = types[name]
  if name ~= current then
    fail("%s stands outside of its family", name)
  elseif kind == "counter" and not name:find "_total$" then
    fail("counter %s has no _total", name)
  elseif kind ~= "counter" and name:find "_total$" then
    fail("%s %s has _total", kind, name)
  elseif not name:find "^gyre_[a-z_]+$" or name:find "_ms$" or name:find "_milliseconds" then
    fail("name %s", name)
  end
end

local function sample(line)
  local name, labels, value = line:match "^([%a_:][%w_:]*){(.*)} (%S+)$"
  if not name then
    name, value = line:match "^([%a_:][%w_:]*) (%S+)$"
  end
  if not name or not tonumber(value) then
    fail("no sample: %s", line)
  end
  check_name(name)
  if labels then
    check_labels(labels)
  end
  local series = name .. "{" .. (labels or "") .. "}"
  if seen[series] then
    fail("twice: %s", series)
  end
  seen[series] = true
  print(line)
end

for line in io.lines((...)) do
  line_number = line_number + 1
  local help = line:match "^# HELP ([%w_:]+) .+$"
  local name, kind = line:match "^# TYPE ([%w_:]+) (%a+)$"
  if help then
    if helped[help] then
      fail("HELP of %s twice", help)
    end
    helped[help] = true
  elseif name then
    if types[name] or not helped[name] or not (kind == "counter" or kind == "gauge") then
      fail("TYPE of %s", name)
    end
    types[name], current = kind, name
  else
    sample(line)
  end
end
local file = io.open((...), "rb")
if file:read("*a"):sub(-1) ~= "\n" then
  fail "no newline at the end"
end
