/* lua_terms.h: terms of requests as Lua values, for lua_net.c. */
#ifndef GYRE_NET_LUA_TERMS_H
#define GYRE_NET_LUA_TERMS_H

#include <lua.h>

#include "terms.h"

/* Makes the metatable. stack: - -> - */
void gyre__terms_open(lua_State *L);

/* The lua_CFunction behind gyre.net.terms. stack: options -> terms */
int gyre__terms_make(lua_State *L);

/* The terms at the index; a table of options is replaced by terms made of it. Raises. */
struct gyre__terms *gyre__terms_check(lua_State *L, int index);

#endif
