-- Strategies in files, as specs write them.
local strategy_file = {}

--- A name for a file that is not there yet.
---@return string path
function strategy_file.name()
  local path = os.tmpname() -- which makes a file
  os.remove(path)
  return path .. ".lua"
end

--- Writes a file with this text.
---@param text string
---@return string path to be removed
function strategy_file.write(text)
  local path = strategy_file.name()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

return strategy_file
