-- Which proxy is meant: by id, or by URL, for which no password is needed.
local ffi = require "ffi"
local C = require "gyre.clib"
local exit = require "gyre.cli.exit"
local input = require "gyre.cli.input"
local line = require "gyre.list.line"
local status = require "gyre.status"

local ipairs, tonumber = ipairs, tonumber

local select_proxy = {}

local parsed = ffi.new "struct gyre_url"

local SCHEMES = {
  [C.GYRE_HTTP] = "http", [C.GYRE_HTTPS] = "https", [C.GYRE_SOCKS4] = "socks4",
  [C.GYRE_SOCKS4A] = "socks4a", [C.GYRE_SOCKS5] = "socks5", [C.GYRE_SOCKS5H] = "socks5h",
}

local function address(scheme, host, port)
  return ("%s %s %d"):format(scheme, host, port)
end

-- Address -> ids, made once, when a URL without credentials is looked for.
local function index(chosen)
  if not chosen.index then
    chosen.index = {}
    for proxy in chosen.pool:each() do
      local scheme = proxy.scheme
      if scheme then
        local key = address(scheme, proxy.host, proxy.port)
        local ids = chosen.index[key] or {}
        chosen.index[key] = ids
        ids[#ids + 1] = proxy.id
      end
    end
  end
  return chosen.index
end

local function by_url(chosen, text)
  local found, why = line.parse(text)
  if not found then
    exit.usage("neither an id nor a URL: " .. why)
  end
  if C.gyre_url_parse(found.url, parsed) ~= 0 then
    exit.check(nil, status.error(C.GYRE_EINVALID))
  end
  if parsed.has_user ~= 0 or parsed.has_password ~= 0 then
    local proxy = exit.check(chosen.pool:find(found.url), "not in the pool with these credentials")
    return proxy.id
  end
  local key = address(SCHEMES[parsed.scheme], ffi.string(parsed.host), parsed.port)
  local ids = index(chosen)[key] or {}
  if #ids == 0 then
    exit.usage(("%s is not in the pool"):format(text))
  elseif #ids > 1 then
    exit.usage(("%d proxies have the address %s: choose by id: %s"):format(#ids, text, table.concat(ids, " ")))
  end
  return ids[1]
end

local function by_text(chosen, text)
  if not text:find "^%d+$" then
    return by_url(chosen, text)
  end
  local id = tonumber(text)
  if id >= 2 ^ 53 or not chosen.pool:get(id) then
    exit.usage(("no proxy has the id %s"):format(text))
  end
  return id
end

local function read_stdin(texts)
  for text in input.text("-"):gmatch "[^\n]+" do
    text = text:match "^%s*(.-)%s*$"
    if text ~= "" and text:sub(1, 1) ~= "#" then
      texts[#texts + 1] = text
    end
  end
end

--- The ids of the proxies named; "-" stands for names on stdin, one a line. All are found before any is returned.
---@param pool gyre.Pool
---@param named string[]
---@return number[] ids
function select_proxy.ids(pool, named)
  local texts, ids = {}, {}
  for _, text in ipairs(named) do
    if text == "-" then
      read_stdin(texts)
    else
      texts[#texts + 1] = text
    end
  end
  local chosen = { pool = pool }
  for i, text in ipairs(texts) do
    ids[i] = by_text(chosen, text)
  end
  return ids
end

return select_proxy
