-- What argparse does otherwise than other programs: how options look in a help text, and numbers below 0.
local concat, insert = table.concat, table.insert
local ipairs = ipairs

local options = {}

local COLUMN = 28 -- where descriptions begin

-- "-x, --proxy URL": in one line, which begins where all do.
local function labels(option)
  local label = concat(option._public_aliases, ", ")
  local arguments = option:_get_argument_list()
  insert(arguments, 1, label)
  return { concat(arguments, " ") }
end

--- Makes the help text of a parser one with a line for each option.
---@param parser table of argparse, with its options
function options.align(parser)
  parser:help_description_margin(COLUMN)
  for _, option in ipairs(parser._options) do
    option._get_label_lines = labels
  end
end

local function takes_argument(parser, name)
  for _, option in ipairs(parser._options) do
    for _, alias in ipairs(option._aliases) do
      if alias == name then
        return option._maxargs > 0
      end
    end
  end
  return false
end

--- Glues numbers below 0 to the options before them, "--timeout -1" to "--timeout=-1": argparse looks for an option -1.
---@param parser table of argparse
---@param argv string[]
---@return string[]
function options.glue_negatives(parser, argv)
  local glued, at = {}, 1
  while argv[at] do
    local word, value = argv[at], argv[at + 1]
    if word == "--" then
      value = nil
      parser = { _options = {} } -- the rest are no options
    end
    if value and value:find "^%-%.?%d" and takes_argument(parser, word) then
      word = word .. (word:sub(1, 2) == "--" and "=" or "") .. value
      at = at + 1
    end
    glued[#glued + 1] = word
    at = at + 1
  end
  return glued
end

return options
