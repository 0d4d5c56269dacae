-- luacheck lua strategies spec examples
std = "luajit"
max_line_length = 120
files["spec"] = { std = "+busted" }
-- A job or demo script gets its arguments in the global `arg`, as with plain luajit.
files["examples"] = { read_globals = { "arg" } }
