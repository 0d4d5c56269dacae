/*
 * lua_polite.c: require "gyre.gate": gates (polite.h) for Lua. lua/gyre/polite.lua is written on top of it.
 *
 *   new { delay =, active =, share = } -> gate          share: the workers of the process that say so have one gate
 *   g:enter(key) -> 0 | seconds to wait, infinite while another request has to end first
 *   g:leave(key, began, "fine" | "slower" | "nothing" | "undone", retry_after)     began: now() at enter
 *   g:limit(key, delay, active)   g:hold(key, seconds)   g:delay(key) -> seconds   g:counts() -> slowed, keys
 */
#include "lua_job.h"

#include <string.h>

#include <uv.h>

#include "polite.h"
#include "shared.h"

static const char type_name[] = "gyre.gate";

static struct gyre__shared_kind gates = GYRE__SHARED_KIND;

static double now(void)
{
    return (double)uv_hrtime() / 1e9;
}

static struct gyre__gate *check(lua_State *L)
{
    return (*(struct gyre__shared **)luaL_checkudata(L, 1, type_name))->object;
}

static void *make(void *limits)
{
    return gyre__gate_new(*(const struct gyre__gate_limits *)limits);
}

static int end(void *gate, void *unused)
{
    (void)unused;
    gyre__gate_delete(gate);
    return 0;
}

/* stack: options -> gate */
static int gate_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "delay");
    lua_getfield(L, 1, "active");
    lua_getfield(L, 1, "share"); /* stack: options delay active share */
    struct gyre__gate_limits limits = {lua_tonumber(L, 2), (unsigned)lua_tonumber(L, 3)};
    const char *key = lua_type(L, 4) == LUA_TSTRING ? lua_tostring(L, 4) : NULL;
    struct gyre__shared **handle = lua_newuserdata(L, sizeof *handle); /* stack: options delay active share gate */
    if (!(*handle = gyre__shared_get(&gates, key, make, &limits))) return luaL_error(L, "not enough memory");
    luaL_getmetatable(L, type_name);
    lua_setmetatable(L, -2);
    return 1;
}

/* __gc */
static int gate_gc(lua_State *L)
{
    gyre__shared_put(&gates, *(struct gyre__shared **)lua_touserdata(L, 1), end, NULL);
    return 0;
}

/* stack: gate key -> seconds */
static int gate_enter(lua_State *L)
{
    double wait = gyre__gate_enter(check(L), luaL_checkstring(L, 2), now());
    if (wait < 0) return luaL_error(L, "not enough memory");
    lua_pushnumber(L, wait);
    return 1;
}

/* stack: gate key began answer retry_after -> - */
static int gate_leave(lua_State *L)
{
    static const char *const answers[] = {"fine", "slower", "nothing", "undone", NULL};
    enum gyre__gate_answer answer = (enum gyre__gate_answer)luaL_checkoption(L, 4, "nothing", answers);
    gyre__gate_leave(check(L), luaL_checkstring(L, 2), luaL_checknumber(L, 3), now(), answer, luaL_optnumber(L, 5, -1));
    return 0;
}

/* stack: gate key delay active -> - */
static int gate_limit(lua_State *L)
{
    struct gyre__gate_limits limits = {luaL_checknumber(L, 3), (unsigned)luaL_checknumber(L, 4)};
    gyre__gate_limit(check(L), luaL_checkstring(L, 2), limits);
    return 0;
}

/* stack: gate key seconds -> - */
static int gate_hold(lua_State *L)
{
    gyre__gate_hold(check(L), luaL_checkstring(L, 2), now(), luaL_checknumber(L, 3));
    return 0;
}

/* stack: gate key -> seconds */
static int gate_delay(lua_State *L)
{
    lua_pushnumber(L, gyre__gate_delay(check(L), luaL_checkstring(L, 2)));
    return 1;
}

/* stack: gate -> slowed keys */
static int gate_counts(lua_State *L)
{
    struct gyre__gate_counts counts = gyre__gate_count(check(L));
    lua_pushnumber(L, (double)counts.slowed);
    lua_pushnumber(L, (double)counts.keys);
    return 2;
}

int gyre__job_open_gate(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"enter", gate_enter}, {"leave", gate_leave}, {"limit", gate_limit}, {"hold", gate_hold},
        {"delay", gate_delay}, {"counts", gate_counts}, {NULL, NULL},
    };

    luaL_newmetatable(L, type_name);
    lua_pushcfunction(L, gate_gc);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    lua_pushcfunction(L, gate_new);
    lua_setfield(L, -2, "new");
    return 1;
}
