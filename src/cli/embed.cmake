# Writes the Lua files under ROOT/lua and ROOT/strategies, and the file ARGPARSE, into the C file OUT, as the tables of verbs.h.
# cmake -D ROOT=... -D ARGPARSE=... -D OUT=... -P embed.cmake
cmake_minimum_required(VERSION 3.25)

# Appends to ${text} an array with the file's bytes, and to ${table} its line in a table.
function(embed name file index text table)
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${ROOT} OUTPUT_VARIABLE path)
    file(READ ${path} bytes HEX)
    string(LENGTH "${bytes}" digits)
    math(EXPR size "${digits} / 2")
    string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    set(${text} "${${text}}static const unsigned char file_${index}[] = {\n${bytes}0x00};\n" PARENT_SCOPE)
    set(${table} "${${table}}    {\"${name}\", \"${file}\", (const char *)file_${index}, ${size}},\n" PARENT_SCOPE)
endfunction()

set(arrays "")
set(modules "")
set(strategies "")
set(index 0)

file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/lua/gyre/*.lua)
foreach(file IN LISTS files)
    string(REGEX REPLACE "^lua/(.*)\\.lua$" "\\1" name ${file})
    string(REPLACE "/" "." name ${name})
    string(REGEX REPLACE "\\.init$" "" name ${name})
    embed(${name} ${file} ${index} arrays modules)
    math(EXPR index "${index} + 1")
endforeach()

embed(argparse ${ARGPARSE} ${index} arrays modules)
math(EXPR index "${index} + 1")

file(GLOB files RELATIVE ${ROOT} ${ROOT}/strategies/*.lua)
foreach(file IN LISTS files)
    string(REGEX REPLACE "^strategies/(.*)\\.lua$" "\\1" name ${file})
    embed(${name} ${file} ${index} arrays strategies)
    math(EXPR index "${index} + 1")
endforeach()

file(WRITE ${OUT} "/* Made by src/cli/embed.cmake. */
#include \"verbs.h\"

${arrays}
const struct gyre_source gyre__cli_modules[] = {
${modules}    {NULL, NULL, NULL, 0}};
const size_t gyre__cli_module_count = sizeof gyre__cli_modules / sizeof *gyre__cli_modules - 1;
const struct gyre_source gyre__cli_strategies[] = {
${strategies}    {NULL, NULL, NULL, 0}};
const size_t gyre__cli_strategy_count = sizeof gyre__cli_strategies / sizeof *gyre__cli_strategies - 1;
")
