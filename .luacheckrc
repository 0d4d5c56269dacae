-- luacheck lua strategies spec examples
std = "luajit"
max_line_length = 120
files["spec"] = { std = "+busted" }
files["examples/strategies/*_spec.lua"] = { std = "+busted" }
-- A job or demo script gets its arguments in the global `arg`, as with plain luajit.
files["examples"] = { read_globals = { "arg" } }
-- OpenResty's world: nginx's Lua modules, and what runs inside of it.
files["lua/resty"] = { std = "+ngx_lua" }
files["examples/openresty"] = { std = "+ngx_lua" }
files["tests/nginx"] = { std = "+ngx_lua" }
-- What a strategy finds beside Lua's own names: see strategies/README.md.
files["strategies"] = { read_globals = { "strategy" } }
-- wrk's scripts: hooks are globals.
files["tests/nginx/load.lua"] = { globals = { "changed", "setup", "init", "request", "response", "done" },
  read_globals = { "wrk" } }
