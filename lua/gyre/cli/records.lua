-- Records as lines of a file or of stdout: JSON, or CSV with a head.
local exit = require "gyre.cli.exit"
local json = require "gyre.json"
local output = require "gyre.cli.output"
local stream = require "gyre.stream"

local io, ipairs, tostring, type = io, ipairs, tostring, type

local Records = {}
Records.__index = Records

local records = {}

local function csv_cell(value)
  if value == nil then
    return ""
  end
  local text = type(value) == "number" and json.encode(value) or tostring(value)
  if text:find '[",\r\n]' then
    return '"' .. text:gsub('"', '""') .. '"'
  end
  return text
end

local function csv_line(record, fields)
  local cells = {}
  for i, name in ipairs(fields) do
    cells[i] = csv_cell(record[name])
  end
  return table.concat(cells, ",")
end

--- Where records go.
---@param path? string nil and "-": stdout
---@param format? "jsonl"|"csv" nil: csv when the path ends so
---@param fields string[] of every record, in order
---@return table
function records.open(path, format, fields)
  local to_stdout = path == nil or path == "-"
  local self = setmetatable({ path = path, fields = fields }, Records)
  self.csv = format == "csv" or (format == nil and not to_stdout and path:find "%.csv$" ~= nil)
  if not to_stdout then
    local file, why = io.open(path, "wb")
    if not file then
      exit.usage("--out: " .. why)
    end
    file:setvbuf("full", 65536)
    self.file = file
  end
  if self.csv then
    self:line(table.concat(fields, ","))
  end
  return self
end

function Records:line(text)
  if not self.file then
    return output.write(text, "\n")
  end
  local written, why = stream.write(self.file, text, "\n")
  if not written then
    exit.with(exit.SOME_FAILED, ("%s: %s"):format(self.path, why))
  end
end

--- Writes one.
---@param record table
function Records:write(record)
  self:line(self.csv and csv_line(record, self.fields) or json.object(record, self.fields))
end

--- Hands on what has been written so far.
function Records:flush()
  if not self.file then
    return output.flush()
  end
  local flushed, why = stream.flush(self.file)
  if not flushed then
    exit.with(exit.SOME_FAILED, ("%s: %s"):format(self.path, why))
  end
end

--- Closes the file; what could not be written ends the verb.
function Records:close()
  if not self.file then
    return output.flush()
  end
  local closed, why = self.file:close()
  if not closed then
    exit.with(exit.SOME_FAILED, ("%s: %s"):format(self.path, why))
  end
end

return records
