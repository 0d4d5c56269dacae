-- HTTP/1.1 messages over a cosocket: the text of a request, the head and the body of a response, both within limits.
local failure = require "resty.gyre.failure"

local concat, pairs, tonumber, tostring = table.concat, pairs, tonumber, tostring

local MOST_HEAD = 65536 -- bytes
local MOST_LINE = 1024 -- of a chunk's size, with extensions
local MOST_INTERIM = 10 -- 1xx before the response
local PIECE = 65536
local TOO_LONG = "too long"
-- What describes one hop, or is made here.
local NOT_SENT = { connection = true, ["content-length"] = true, ["transfer-encoding"] = true, host = true }

local message = {}

--- Why a request cannot be sent, or nil.
---@param method string
---@param target string
---@param host string
---@param headers? table<string, string|number>
---@return string? fault
function message.fault(method, target, host, headers)
  if not method:find "^%u+$" or target:find "[%s%z]" or host:find "[%s%z/]" then
    return "no method or no URL"
  end
  for name, value in pairs(headers or {}) do
    if not name:find "^[%w!#$%%&'*+.^_`|~-]+$" or tostring(value):find "[\r\n%z]" then
      return ("header '%s' cannot be sent"):format(name)
    end
  end
  return nil
end

--- The text of a request.
---@param method string
---@param target string a path, or a whole URL for a proxy
---@param host string of the Host header
---@param headers? table<string, string|number>
---@param body? string
---@param authorization? string of Proxy-Authorization
---@return string? text
---@return gyre.nginx.Error? err
function message.request(method, target, host, headers, body, authorization)
  local fault = message.fault(method, target, host, headers)
  if fault then
    return failure.new("invalid", "local", fault)
  end
  local lines = { ("%s %s HTTP/1.1"):format(method, target), "Host: " .. host }
  if authorization then
    lines[#lines + 1] = "Proxy-Authorization: " .. authorization
  end
  for name, value in pairs(headers or {}) do
    if not NOT_SENT[name:lower()] then
      lines[#lines + 1] = name .. ": " .. value
    end
  end
  if body then
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  lines[#lines + 1] = "\r\n"
  return concat(lines, "\r\n") .. (body or "")
end

local function parse_head(head)
  local version, status, rest = head:match "^HTTP/1%.([01]) (%d%d%d)[^\r\n]*(.*)$"
  if not version then
    return nil
  end
  local headers = {}
  for line in rest:gmatch "[^\r\n]+" do
    local name, from = line:match "^([^%s:]+):[ \t]*()"
    if not name then
      return nil
    end
    local value = line:match("^.*[^ \t]", from) or "" -- not in one pattern: it would look at each run of spaces again
    name = name:lower()
    local before = headers[name]
    headers[name] = before and before .. (name == "set-cookie" and "\n" or ", ") .. value or value
  end
  return { status = tonumber(status), minor = tonumber(version), headers = headers }
end

-- What comes before a reader's delimiter. A piece shorter than asked for is the last one, and the reader then says nil
-- once.
-- TOO_LONG instead of the reason when there is more than `limit`.
local function read_until(reader, limit)
  local piece, why, part = reader(limit)
  if piece and #piece == limit then
    return nil, TOO_LONG
  elseif piece then
    reader(1)
  end
  return piece, why, part
end

--- Reads the head of a response; interim ones are passed over.
---@param sock table
---@param where "proxy"|"target" who is to blame
---@return table? response status, minor (of HTTP/1.x), headers by lower-case name
---@return gyre.nginx.Error? err
---@return boolean? silent not a byte came
function message.read_head(sock, where)
  local reader = sock:receiveuntil "\r\n\r\n"
  for _ = 1, MOST_INTERIM do
    local head, why, part = read_until(reader, MOST_HEAD)
    if why == TOO_LONG then
      return failure.new("too_large", where, ("a head of more than %d bytes"):format(MOST_HEAD))
    elseif not head then
      local _, err = failure.of_socket(where, why)
      return nil, err, part == nil or part == ""
    end
    local response = parse_head(head)
    if not response then
      return failure.new("protocol", where, "this is no HTTP/1.1")
    elseif response.status >= 200 or response.status == 101 then
      return response
    end
  end
  return failure.new("protocol", where, "nothing but interim responses")
end

local function too_large(limit)
  return failure.new("too_large", "target", ("a body of more than %d bytes"):format(limit))
end

-- A body without a length ends with the connection.
local function read_to_end(sock, limit, where)
  local pieces, size = {}, 0
  while true do
    local piece, why, part = sock:receive(PIECE)
    piece = piece or part
    size = size + #piece
    if size > limit then
      return too_large(limit)
    end
    pieces[#pieces + 1] = piece
    if why == "closed" then
      return concat(pieces)
    elseif why then
      return failure.of_socket(where, why)
    end
  end
end

-- Trailers are read and forgotten.
local function skip_trailers(read_line, where)
  local size = 0
  repeat
    local line, why = read_until(read_line, MOST_LINE)
    if not line then
      return failure.of_socket(where, why)
    end
    size = size + #line
    if size > MOST_HEAD then
      return failure.new("too_large", where, "trailers without end")
    end
  until line == ""
  return true
end

local function read_chunked(sock, limit, where)
  local read_line, pieces, size = sock:receiveuntil "\r\n", {}, 0
  while true do
    local line, why = read_until(read_line, MOST_LINE)
    local length = line and tonumber(line:match "^%x+" or "", 16)
    if not length then
      return failure.of_socket(where, why or "a chunk without a size")
    elseif length == 0 then
      local done, err = skip_trailers(read_line, where)
      return done and concat(pieces), err
    end
    size = size + length
    if size > limit then
      return too_large(limit)
    end
    local piece, end_of_piece
    piece, why = sock:receive(length)
    if piece then
      end_of_piece, why = sock:receive(2)
    end
    if not end_of_piece or end_of_piece ~= "\r\n" then
      return failure.of_socket(where, why or "a chunk longer than it says")
    end
    pieces[#pieces + 1] = piece
  end
end

--- Reads the body of a response.
---@param sock table
---@param response table of read_head()
---@param method string of the request
---@param limit integer bytes
---@param where "proxy"|"target"
---@return string? body
---@return gyre.nginx.Error|boolean err_or_reusable whether the connection may carry another request
function message.read_body(sock, response, method, limit, where)
  local headers, status = response.headers, response.status
  local said = (headers.connection or ""):lower()
  local reusable = response.minor == 1 and not said:find("close", 1, true)
  if method == "HEAD" or status == 204 or status == 304 then
    return "", reusable
  elseif headers["transfer-encoding"] then
    if not headers["transfer-encoding"]:lower():find "chunked$" then
      return failure.new("protocol", where, "an unknown transfer-encoding")
    end
    local body, err = read_chunked(sock, limit, where)
    return body, err or (reusable and not headers["content-length"]) -- both: RFC 9112, 6.3: an attack, perhaps
  end
  local length = headers["content-length"]
  if not length then
    local body, err = read_to_end(sock, limit, where)
    return body, err or false
  end
  length = length:find "^%d+$" and tonumber(length)
  if not length then
    return failure.new("protocol", where, "a content-length that is no number")
  elseif length > limit then
    return too_large(limit)
  elseif length == 0 then
    return "", reusable
  end
  local body, why = sock:receive(length)
  if not body then
    return failure.of_socket(where, why)
  end
  return body, reusable
end

return message
