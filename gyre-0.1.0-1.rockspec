-- The core and its Lua modules, nginx's included, without the program: no libcurl, no libuv. `luarocks make` in the tree.
rockspec_format = "3.0"
package = "gyre"
version = "0.1.0-1"
source = {
  url = "file://gyre-0.1.0.tar.gz", -- `git archive`; `luarocks make` needs none
}
description = {
  summary = "Lua-scriptable rotation of outbound proxies, for LuaJIT and OpenResty",
  detailed = [[
A pool of forward proxies in shared memory with exact books on each: what it carried, how fast, whose fault a failure
was. Strategies are Lua; the hot paths are native. For LuaJIT only: it is reached through the FFI.]],
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = {
  "lua == 5.1",
}
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "RelWithDebInfo",
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    CMAKE_INSTALL_LIBDIR = "$(LIBDIR)",
    GYRE_HOST = "OFF",
    GYRE_DEVELOPMENT = "OFF",
    BUILD_TESTING = "OFF",
    GYRE_LUA_DIR = "$(LUADIR)",
    GYRE_STRATEGY_DIR = "$(LUADIR)/gyre/strategies",
  },
}
