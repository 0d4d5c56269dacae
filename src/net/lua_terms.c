/*
 * lua_terms.c: from a table of options to the terms of requests (terms.h). lua/gyre/request.lua checks the options; here
 * what is of another type counts as not said.
 *
 * Owns the userdata "gyre.terms", which holds one reference.
 */
#include "lua_terms.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Without memory for a part of them the request would be another one, somebody else's maybe. */
static void need(lua_State *L, int have)
{
    if (!have) luaL_error(L, "not enough memory");
}

/* The readers below take a plain table, whose fields raise nothing. What they make is in the terms at once: those
 * are collected when something raises. */
static void text_field(lua_State *L, int index, const char *name, char **copy, size_t *size)
{
    size_t length = 0;

    lua_getfield(L, index, name); /* stack: ... text */
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
    if (text) {
        need(L, (*copy = malloc(length + 1)) != NULL);
        memcpy(*copy, text, length + 1);
        if (size) *size = length;
    }
    lua_pop(L, 1);
}

static double number_field(lua_State *L, int index, const char *name, double otherwise)
{
    lua_getfield(L, index, name);
    double value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : otherwise;
    lua_pop(L, 1);
    return value;
}

static int flag_field(lua_State *L, int index, const char *name, int otherwise)
{
    lua_getfield(L, index, name);
    int value = lua_isnil(L, -1) ? otherwise : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* What a redirect that asks for a GET takes along no more (RFC 9110, 15.4). */
static int is_of_body(const char *line)
{
    return strncasecmp(line, "Content-", 8) == 0 || strncasecmp(line, "Transfer-Encoding:", 18) == 0;
}

static void add_header(lua_State *L, struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    need(L, longer != NULL);
    *list = longer;
}

/* options.headers: a list of "Name: value". For each header that libcurl would send by itself it walks over the list: so there
 * is nothing in it that the request does not need. */
static void headers_field(lua_State *L, int index, struct gyre__terms *terms)
{
    if (terms->body) add_header(L, &terms->headers, "Expect:"); /* or a second's wait before a large one */
    lua_getfield(L, index, "headers"); /* stack: ... headers */
    int count = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0;
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i); /* stack: ... headers line */
        const char *line = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        if (line) add_header(L, &terms->headers, line);
        if (line && terms->body && !is_of_body(line)) add_header(L, &terms->bare_headers, line);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read(lua_State *L, int index, struct gyre__terms *terms)
{
    text_field(L, index, "method", &terms->method, NULL);
    text_field(L, index, "body", &terms->body, &terms->body_size);
    text_field(L, index, "cookie", &terms->cookie, NULL);
    text_field(L, index, "cacert", &terms->cacert, NULL);
    text_field(L, index, "session", &terms->session, NULL);
    headers_field(L, index, terms);
    terms->timeout = number_field(L, index, "timeout", terms->timeout);
    terms->connect_timeout = number_field(L, index, "connect_timeout", terms->connect_timeout);
    terms->max_body = (uint64_t)number_field(L, index, "max_body", (double)terms->max_body);
    terms->max_redirects = (long)number_field(L, index, "max_redirects", (double)terms->max_redirects);
    terms->verify = flag_field(L, index, "verify", terms->verify);
    terms->verify_proxy = flag_field(L, index, "verify_proxy", terms->verify_proxy);
    terms->isolate = flag_field(L, index, "isolate", terms->isolate);
    terms->cookies = flag_field(L, index, "cookies", terms->cookies);
    terms->http2 = flag_field(L, index, "http2", terms->http2);
    terms->local_dns = flag_field(L, index, "local_dns", terms->local_dns);
    terms->once = flag_field(L, index, "once", terms->once);
}

/* stack: ... -> ... terms */
static struct gyre__terms *push(lua_State *L, int options)
{
    struct gyre__terms **holder = lua_newuserdata(L, sizeof(struct gyre__terms *));

    *holder = NULL;
    luaL_getmetatable(L, "gyre.terms");
    lua_setmetatable(L, -2);
    need(L, (*holder = gyre__terms_new()) != NULL);
    read(L, options, *holder);
    return *holder;
}

int gyre__terms_make(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    push(L, 1);
    return 1;
}

struct gyre__terms *gyre__terms_check(lua_State *L, int index)
{
    if (!lua_istable(L, index)) return *(struct gyre__terms **)luaL_checkudata(L, index, "gyre.terms");
    struct gyre__terms *terms = push(L, index);
    lua_replace(L, index);
    return terms;
}

/* __gc. stack: terms -> - */
static int terms_gc(lua_State *L)
{
    gyre__terms_release(*(struct gyre__terms **)lua_touserdata(L, 1));
    return 0;
}

void gyre__terms_open(lua_State *L)
{
    luaL_newmetatable(L, "gyre.terms");
    lua_pushcfunction(L, terms_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
