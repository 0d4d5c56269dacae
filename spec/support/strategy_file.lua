-- Strategies in files, as specs write them.
local strategy_file = {}

--- Writes a file with this text.
---@param text string
---@return string path to be removed
function strategy_file.write(text)
  local path = os.tmpname() .. ".lua"
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

return strategy_file
