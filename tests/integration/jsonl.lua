-- jsonl.lua FILE FIELD...: prints the fields of each object of a JSONL file, separated by tabs.
-- A line that is not one JSON object is an error: the file must be whole.
local cjson = require "cjson"

local path, fields = arg[1], { unpack(arg, 2) }
local number = 0
for line in io.lines(path) do
  number = number + 1
  local ok, object = pcall(cjson.decode, line)
  if not ok or type(object) ~= "table" then
    io.stderr:write(("%s:%d: not a JSON object: %s\n"):format(path, number, line:sub(1, 80)))
    os.exit(1)
  end
  local values = {}
  for i, field in ipairs(fields) do
    values[i] = tostring(object[field])
  end
  print(table.concat(values, "\t"))
end
