/*
 * call.c: the one place where C enters Lua.
 * Owns the message handler and the stored error. May call any part of the Lua C API. Must never be entered from a
 * libcurl callback: Lua code may add and remove transfers, which libcurl forbids there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

static void copy_field(lua_State *L, int index, const char *name, char *to, size_t size)
{
    to[0] = '\0';
    if (!lua_istable(L, index)) return;
    lua_pushstring(L, name);
    lua_rawget(L, index); /* stack: ... field */
    if (lua_type(L, -1) == LUA_TSTRING) snprintf(to, size, "%s", lua_tostring(L, -1));
    lua_pop(L, 1); /* stack: ... */
}

static int begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/*
 * Takes the frames of gyre's own modules out of a traceback, and its heading when no other is left: what a script did wrong is
 * in the script. Not when the message itself points into gyre.
 */
static void keep_script_frames(char *text, size_t message_size)
{
    char *to = text + message_size, *heading = to, *first = NULL;
    if (begins_with(text, "lua/gyre/")) return;

    for (char *line = to, *end; *line; line = end) {
        end = strchr(line + 1, '\n');
        if (!end) end = line + strlen(line);
        if (begins_with(line, "\n\t[C]:") || begins_with(line, "\n\tlua/gyre/")) continue;
        memmove(to, line, (size_t)(end - line));
        to += end - line;
        if (!first) first = to; /* behind the heading */
    }
    *(to == first ? heading : to) = '\0';
}

/* Stores the error value at `index` (positive) of L with a traceback of `co`, beginning at `level`. */
static void store(lua_State *L, struct gyre_host *host, int index, lua_State *co, int level)
{
    struct gyre_host_error *error = &host->error;
    int top = lua_gettop(L);

    copy_field(L, index, "kind", error->kind, sizeof error->kind);
    copy_field(L, index, "where", error->where, sizeof error->where);
    if (!luaL_callmeta(L, index, "__tostring")) { /* stack: ... [text] */
        if (lua_isstring(L, index)) lua_pushvalue(L, index);
        else lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, index));
    } /* stack: ... text */
    size_t size = lua_objlen(L, -1);
    luaL_traceback(L, co, lua_tostring(L, -1), level); /* stack: ... text traceback */
    char *kept = gyre__host_fail(host, lua_tostring(L, -1));
    if (kept && strlen(kept) > size) keep_script_frames(kept, size); /* no longer when the message holds a NUL */
    lua_settop(L, top);
}

char *gyre__host_fail(struct gyre_host *host, const char *text)
{
    char *copy = strdup(text ? text : "(no text)");
    if (!copy) return NULL; /* the text stays "not enough memory", which is true */
    free(host->error_text);
    host->error.text = host->error_text = copy;
    return copy;
}

/* The handler does not run for LUA_ERRMEM, so that is what is assumed until it has run. */
static void forget(struct gyre_host *host)
{
    host->error.kind[0] = host->error.where[0] = '\0';
    host->error.text = "not enough memory";
}

/* The message handler. stack: error -> error */
static int traceback(lua_State *L)
{
    struct gyre_host *host = lua_touserdata(L, lua_upvalueindex(1));
    store(L, host, 1, L, 1);
    return 1;
}

void gyre__host_open_call(lua_State *L, struct gyre_host *host)
{
    lua_pushlightuserdata(L, host);
    lua_pushcclosure(L, traceback, 1); /* stack: ... handler */
    host->traceback = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* What a call ended with; the handler itself may have raised, in a __tostring. */
static int ended(struct gyre_host *host, int status)
{
    if (status == LUA_ERRERR) gyre__host_fail(host, "an error, and another one while it was put into words");
    return status == 0 ? 0 : GYRE_EINVALID;
}

int gyre_host_call(struct gyre_host *host, int arguments, int results)
{
    if (!host) return gyre_hook_fail(GYRE_EINVALID, "no host");
    lua_State *L = host->L;
    int handler = lua_gettop(L) - arguments;

    lua_rawgeti(L, LUA_REGISTRYINDEX, host->traceback); /* stack: f args handler */
    lua_insert(L, handler);                             /* stack: handler f args */
    forget(host);
    int status = lua_pcall(L, arguments, results, handler); /* stack: handler results | error */
    lua_remove(L, handler);
    if (status != 0) lua_pop(L, 1); /* stack: - */
    return ended(host, status);     /* stack: [results] */
}

int gyre__host_invoke(struct gyre_host *host, int function)
{
    lua_State *L = host->L;
    int top = lua_gettop(L);

    lua_rawgeti(L, LUA_REGISTRYINDEX, host->traceback); /* stack: ... handler */
    lua_rawgeti(L, LUA_REGISTRYINDEX, function);        /* stack: ... handler function */
    forget(host);
    int status = lua_pcall(L, 0, 0, top + 1); /* stack: ... handler [error] */
    lua_settop(L, top);
    return ended(host, status);
}

/* An error object of ours has its text in `message`; nothing of Lua runs here. stack: error -> error */
static void fail_by_object(struct gyre_host *host)
{
    char text[512];
    copy_field(host->L, lua_gettop(host->L), "message", text, sizeof text);
    gyre__host_fail(host, *text ? text : "an error object without a message");
}

int gyre__host_protect(struct gyre_host *host, lua_CFunction function, void *data)
{
    forget(host);
    int status = lua_cpcall(host->L, function, data); /* stack: [error] */
    if (status == 0) return 0;
    if (lua_type(host->L, -1) == LUA_TSTRING) gyre__host_fail(host, lua_tostring(host->L, -1));
    else if (status != LUA_ERRMEM) fail_by_object(host);
    lua_pop(host->L, 1);
    return GYRE_EINVALID;
}

struct dead {
    struct gyre_host *host;
    lua_State *co;
};

/* stack: dead -> - */
static int bury(lua_State *L)
{
    struct dead *dead = lua_touserdata(L, 1);
    lua_xmove(dead->co, L, 1); /* stack: dead error; co keeps its frames for the traceback */
    store(L, dead->host, 2, dead->co, 0);
    return 0;
}

int gyre__host_resume(struct gyre_host *host, lua_State *co, int arguments)
{
    int status = lua_resume(co, arguments);
    if (status == 0 || status == LUA_YIELD) return status;

    struct dead dead = {host, co};
    gyre__host_protect(host, bury, &dead);
    return GYRE_EINVALID;
}

const struct gyre_host_error *gyre_host_error(struct gyre_host *host)
{
    static const struct gyre_host_error nobody = {.text = "no host"};
    return host ? &host->error : &nobody;
}
