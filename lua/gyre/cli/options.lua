-- What argparse does otherwise than other programs: how options look in a help text, what is said of a value that
-- cannot be, and numbers below 0.
local concat, insert = table.concat, table.insert
local format, ipairs, tonumber, type = string.format, ipairs, tonumber, type

local options = {}

local COLUMN = 28 -- where descriptions begin
local LARGEST = 2 ^ 53 - 1

-- "-x, --proxy URL": in one line, which begins where all do.
local function labels(option)
  local label = concat(option._public_aliases, ", ")
  local arguments = option:_get_argument_list()
  insert(arguments, 1, label)
  return { concat(arguments, " ") }
end

-- Makes the help text of a parser one with a line for each option.
local function align(parser)
  parser:help_description_margin(COLUMN)
  for _, option in ipairs(parser._options) do
    option._get_label_lines = labels
  end
end

local function bound(number)
  return format(number % 1 == 0 and number <= LARGEST and "%.0f" or "%g", number)
end

--- What reads a number; the parser says which option it was for.
---@param least? number [0]
---@param most? number [2^53 - 1]
---@param whole? boolean
---@return fun(text: string): number?, string?
function options.number(least, most, whole)
  least, most = least or 0, most or LARGEST
  return function(text)
    local value = tonumber(text)
    if value and value >= least and value <= most and (not whole or value % 1 == 0) then
      return value
    end
    return nil, format("'%s' is not %s from %s to %s", text, whole and "a whole number" or "a number", bound(least),
      bound(most))
  end
end

-- The long name, when there is one.
local function name_of(option)
  for _, alias in ipairs(option._aliases) do
    if alias:sub(1, 2) == "--" then
      return alias
    end
  end
  return option._aliases[1]
end

-- Has a parser name the option when its value cannot be read.
local function name_faults(parser)
  for _, option in ipairs(parser._options) do
    local convert = option._convert
    if type(convert) == "function" then
      option:convert(function(text)
        local value, why = convert(text)
        if value == nil then
          return nil, format("option '%s': %s", name_of(option), why)
        end
        return value
      end)
    end
  end
end

--- Makes a parser one of this program's.
---@param parser table of argparse, with its options
function options.finish(parser)
  align(parser)
  name_faults(parser)
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
