-- wrk -s load.lua URL [-- sessions]: with "sessions" each request has one of 100 ids and the response says its proxy,
-- which
-- must be the same every time. Prints what it saw in one line.
local seen, asked = {}, 0
changed = 0 -- global: wrk hands it to done()

local threads = {}
function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  if args[1] ~= "sessions" then
    return
  end
  request = function()
    asked = asked + 1
    return wrk.format("GET", "/session?id=user-" .. asked * 7919 % 100)
  end
  response = function(_, _, body)
    local id, proxy = body:match "^(%S+) (%S+)$"
    if id and seen[id] and seen[id] ~= proxy then
      changed = changed + 1
    elseif id then
      seen[id] = proxy
    end
  end
end

function done(summary)
  local errors, all = summary.errors, 0
  for _, thread in ipairs(threads) do
    all = all + thread:get "changed"
  end
  print(("requests %d status %d connect %d read %d write %d timeout %d changed %d"):format(summary.requests,
    errors.status, errors.connect, errors.read, errors.write, errors.timeout, all))
end
