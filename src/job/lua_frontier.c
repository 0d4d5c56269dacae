/*
 * lua_frontier.c: require "gyre.frontier": a crawl's frontier for Lua, and require "gyre.url". lua/gyre/crawl.lua is
 * written on top of it and is what scripts use.
 *
 * The workers of a process share frontiers. What comes from Lua is read before a mutex is taken: nothing raises while one is held.
 *
 *   open(options) -> frontier, resumed | nil, why
 *   f:take() -> taken, "page" | "robots", origin, url, depth, hops, tries, priority, referrer, data
 *             | nil, "wait" | "full" | "enough" | "empty", seconds | nil, nil, why
 *   f:add(follows) -> new | nil, why                  follows: { url, depth, hops, priority, data or false, ... }
 *   f:finish(taken, "done" | "failed" | ..., answer, retry_after, follows, items) -> true | nil, why
 *   f:robots(taken, good, status, delay, body, answer, retry_after) -> held_back | nil, why
 *   f:robots_text(origin) -> status, body             f:commit() -> places | nil, why     f:uncommitted() -> pages
 *   f:header(text | nil) -> text | nil                f:counts() -> table                 f:hold(authority, seconds)
 *   f:set_finished() -> true | nil, why               f:close() -> true | nil, why; the last to close it writes the rest
 *   normalise(url) -> text, origin, authority | nil, why      resolve(reference, base) -> text | nil
 */
#include "lua_job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "frontier.h"
#include "html.h"
#include "net/idn.h"
#include "shared.h"

static const char type_name[] = "gyre.frontier", taken_name[] = "gyre.taken";

static struct gyre__shared_kind frontiers = GYRE__SHARED_KIND;

static double now(void)
{
    return (double)uv_hrtime() / 1e9;
}

static struct gyre__frontier *check(lua_State *L)
{
    struct gyre__shared **handle = luaL_checkudata(L, 1, type_name);
    if (!*handle) luaL_error(L, "the frontier is closed");
    return (*handle)->object;
}

/* stack: ... -> ... nil why */
static int push_failure(lua_State *L, struct gyre__frontier *frontier)
{
    lua_pushnil(L);
    lua_pushstring(L, gyre__frontier_why(frontier));
    return 2;
}

static int push_result(lua_State *L, struct gyre__frontier *frontier, int64_t result)
{
    if (result < 0) return push_failure(L, frontier);
    lua_pushnumber(L, (double)result);
    return 1;
}

/* The readers take a plain table at `index`, whose fields raise nothing; texts stay in the table. */
static const char *text_field(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);
    return text;
}

static double number_field(lua_State *L, const char *name, double otherwise)
{
    lua_getfield(L, 1, name);
    double value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : otherwise;
    lua_pop(L, 1);
    return value;
}

static int flag_field(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    int value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static void read_options(lua_State *L, struct gyre__frontier_options *options)
{
    static const char *const compressions[] = {"none", "gzip", "zstd"};
    const char *compression = text_field(L, "compress");

    *options = (struct gyre__frontier_options){
        .path = text_field(L, "path"),
        .job = text_field(L, "job"),
        .fresh = flag_field(L, "fresh"),
        .sync = flag_field(L, "sync"),
        .concurrency = (unsigned)number_field(L, "concurrency", 1),
        .max_pages = (uint64_t)number_field(L, "max_pages", 0),
        .max_depth = (int)number_field(L, "max_depth", -1),
        .robots = flag_field(L, "robots"),
        .limits = {number_field(L, "delay", 0), (unsigned)number_field(L, "active", 0)},
        .output = {.path = text_field(L, "out"), .rotate = (uint64_t)number_field(L, "rotate", 0)},
        .format = text_field(L, "format"),
    };
    for (int i = 0; compression && i < 3; i++)
        if (strcmp(compression, compressions[i]) == 0) options->output.compression = (enum gyre__compression)i;
}

struct opening {
    struct gyre__frontier_options options;
    int resumed;
    char why[512];
};

static void *make(void *how)
{
    struct opening *opening = how;
    return gyre__frontier_open(&opening->options, &opening->resumed, opening->why, sizeof opening->why);
}

/* stack: options -> frontier resumed | nil why */
static int frontier_open(lua_State *L)
{
    struct opening opening = {.why = "not enough memory"};

    luaL_checktype(L, 1, LUA_TTABLE);
    const char *key = text_field(L, "share");
    read_options(L, &opening.options);
    if (!opening.options.job) return luaL_error(L, "a frontier needs a job");
    struct gyre__shared **handle = lua_newuserdata(L, sizeof *handle); /* stack: options frontier */
    *handle = NULL;
    luaL_getmetatable(L, type_name);
    lua_setmetatable(L, -2);
    if ((*handle = gyre__shared_get(&frontiers, key, make, &opening))) {
        lua_pushinteger(L, opening.resumed);
        return 2;
    }
    lua_pushnil(L);
    lua_pushstring(L, opening.why);
    return 2;
}

struct reason {
    char text[512];
};

static int end(void *object, void *how)
{
    struct reason *why = how;
    return gyre__frontier_close(object, why->text, sizeof why->text);
}

/* Gives a handle back. Returns -1 when what was left could not be written. */
static int release(struct gyre__shared **handle, struct reason *why)
{
    struct gyre__shared *shared = *handle;
    *handle = NULL;
    return shared ? gyre__shared_put(&frontiers, shared, end, why) : 0;
}

/* stack: frontier -> true | nil why */
static int frontier_close(lua_State *L)
{
    struct reason why;
    if (release(luaL_checkudata(L, 1, type_name), &why) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, why.text);
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* __gc */
static int frontier_gc(lua_State *L)
{
    struct reason why;
    release(lua_touserdata(L, 1), &why);
    return 0;
}

/* __gc */
static int taken_gc(lua_State *L)
{
    gyre__taken_clear(lua_touserdata(L, 1));
    return 0;
}

/* stack: frontier -> see above */
static int frontier_take(lua_State *L)
{
    static const char *const names[] = {"page", "robots", "wait", "full", "enough", "empty"};
    struct gyre__frontier *frontier = check(L);
    double wait;

    struct gyre__taken *taken = lua_newuserdata(L, sizeof *taken); /* stack: frontier taken */
    memset(taken, 0, sizeof *taken);
    luaL_getmetatable(L, taken_name);
    lua_setmetatable(L, -2);
    int answer = gyre__frontier_take(frontier, now(), taken, &wait);
    if (answer < 0) {
        lua_pushnil(L);
        lua_pushnil(L);
        lua_pushstring(L, gyre__frontier_why(frontier));
        return 3;
    }
    if (answer != GYRE__TAKE_PAGE && answer != GYRE__TAKE_ROBOTS) {
        lua_pushnil(L);
        lua_pushstring(L, names[answer]);
        lua_pushnumber(L, wait);
        return 3;
    }
    lua_pushstring(L, names[answer]);
    lua_pushstring(L, taken->origin);
    lua_pushstring(L, taken->url); /* nil for robots.txt */
    lua_pushinteger(L, taken->depth);
    lua_pushinteger(L, taken->hops);
    lua_pushinteger(L, taken->tries);
    lua_pushinteger(L, taken->priority);
    lua_pushstring(L, taken->referrer);
    lua_pushstring(L, taken->data);
    return 10;
}

/* A value of the flat list at `index`. */
static double list_number(lua_State *L, int index, int at)
{
    lua_rawgeti(L, index, at);
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

static const char *list_text(lua_State *L, int index, int at, size_t *size)
{
    lua_rawgeti(L, index, at);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, size) : NULL;
    lua_pop(L, 1);
    return text;
}

/* Reads { url, depth, hops, priority, data, ... }. stack: ... -> ... array, which holds what *follows points to */
static size_t read_follows(lua_State *L, int index, struct gyre__follow **follows)
{
    enum { FIELDS = 5 };
    size_t count = lua_istable(L, index) ? lua_objlen(L, index) / FIELDS : 0, kept = 0, size;

    struct gyre__follow *list = lua_newuserdata(L, (count + 1) * sizeof *list); /* stack: ... array */
    for (size_t i = 0; i < count; i++) {
        int at = (int)(i * FIELDS) + 1;
        const char *url = list_text(L, index, at, &size);
        const char *path = url && size > 8 ? strchr(url + 8, '/') : NULL;
        if (!path) luaL_error(L, "a URL to follow is not in normal form");
        list[kept++] = (struct gyre__follow){
            .url = url,
            .size = size,
            .path = (size_t)(path - url),
            .depth = (int)list_number(L, index, at + 1),
            .hops = (int)list_number(L, index, at + 2),
            .priority = (int)list_number(L, index, at + 3),
            .data = list_text(L, index, at + 4, NULL),
        };
    }
    *follows = list;
    return kept;
}

/* Reads a list of texts. stack: ... -> ... pointers sizes */
static size_t read_items(lua_State *L, int index, const char ***items, size_t **sizes)
{
    size_t count = lua_istable(L, index) ? lua_objlen(L, index) : 0;

    *items = lua_newuserdata(L, (count + 1) * sizeof **items);
    *sizes = lua_newuserdata(L, (count + 1) * sizeof **sizes);
    for (size_t i = 0; i < count; i++)
        if (!((*items)[i] = list_text(L, index, (int)i + 1, &(*sizes)[i]))) luaL_error(L, "an item is no text");
    return count;
}

/* stack: frontier follows -> new | nil why */
static int frontier_add(lua_State *L)
{
    struct gyre__frontier *frontier = check(L);
    struct gyre__follow *follows;
    size_t count = read_follows(L, 2, &follows);
    return push_result(L, frontier, gyre__frontier_add(frontier, follows, count));
}

static enum gyre__gate_answer check_answer(lua_State *L, int index)
{
    static const char *const answers[] = {"fine", "slower", "nothing", "undone", NULL};
    return (enum gyre__gate_answer)luaL_checkoption(L, index, "nothing", answers);
}

/* stack: frontier taken end answer retry_after follows items -> true | nil why */
static int frontier_finish(lua_State *L)
{
    static const char *const ends[] = {"done", "failed", "refused", "moved", "again", "back", NULL};
    struct gyre__frontier *frontier = check(L);
    struct gyre__taken *taken = luaL_checkudata(L, 2, taken_name);
    struct gyre__follow *follows;
    const char **items;
    size_t *sizes;
    struct gyre__finish finish = {
        .end = (enum gyre__end)luaL_checkoption(L, 3, NULL, ends),
        .answer = check_answer(L, 4),
        .retry_after = luaL_optnumber(L, 5, -1),
    };

    if (!taken->url) return luaL_error(L, "the page has ended already");
    finish.follow_count = read_follows(L, 6, &follows);
    finish.item_count = read_items(L, 7, &items, &sizes);
    finish.follows = follows;
    finish.items = items;
    finish.item_sizes = sizes;
    int result = gyre__frontier_finish(frontier, taken, now(), &finish);
    gyre__taken_clear(taken);
    if (result < 0) return push_failure(L, frontier);
    lua_pushboolean(L, 1);
    return 1;
}

/* stack: frontier taken good status delay body answer retry_after -> held_back | nil why */
static int frontier_robots(lua_State *L)
{
    struct gyre__frontier *frontier = check(L);
    struct gyre__taken *taken = luaL_checkudata(L, 2, taken_name);
    struct gyre__robots robots = {.status = (int)luaL_optinteger(L, 4, 0), .delay = luaL_optnumber(L, 5, -1)};
    struct gyre__finish finish = {
        .end = lua_toboolean(L, 3) ? GYRE__END_DONE : GYRE__END_BACK,
        .answer = check_answer(L, 7),
        .retry_after = luaL_optnumber(L, 8, -1),
    };

    if (!taken->origin) return luaL_error(L, "the request for robots.txt has ended already");
    robots.body = luaL_optlstring(L, 6, "", &robots.size);
    int64_t held_back = gyre__frontier_robots(frontier, taken, now(), &finish, &robots);
    gyre__taken_clear(taken);
    return push_result(L, frontier, held_back);
}

/* stack: frontier origin -> status body | nil */
static int frontier_robots_text(lua_State *L)
{
    struct gyre__frontier *frontier = check(L);
    const char *origin = luaL_checkstring(L, 2);
    char *body;
    size_t size;
    int status = gyre__frontier_robots_text(frontier, origin, &body, &size);

    if (status < 0) return 0;
    lua_pushinteger(L, status);
    lua_pushlstring(L, body, size);
    free(body);
    return 2;
}

/* stack: frontier -> places | nil why */
static int frontier_commit(lua_State *L)
{
    struct gyre__frontier *frontier = check(L);
    return push_result(L, frontier, gyre__frontier_commit(frontier, now()));
}

/* stack: frontier -> pages */
static int frontier_uncommitted(lua_State *L)
{
    lua_pushinteger(L, gyre__frontier_uncommitted(check(L)));
    return 1;
}

/* stack: frontier text -> text | nil */
static int frontier_header(lua_State *L)
{
    struct gyre__frontier *frontier = check(L);
    size_t size = 0, out_size;
    const char *text = luaL_optlstring(L, 2, NULL, &size);
    char *out;

    if (gyre__frontier_header(frontier, text, size, &out, &out_size) < 0) return push_failure(L, frontier);
    if (!out) return 0;
    lua_pushlstring(L, out, out_size);
    free(out);
    return 1;
}

/* stack: frontier -> counts */
static int frontier_counts(lua_State *L)
{
    struct gyre__frontier *frontier = check(L);
    struct gyre__frontier_counts counts = gyre__frontier_count(frontier);
    struct gyre__gate_counts gate = gyre__gate_count(gyre__frontier_gate(frontier));
    const struct {
        const char *name;
        double value;
    } fields[] = {
        {"waiting", (double)counts.waiting}, {"done", (double)counts.done},           {"failed", (double)counts.failed},
        {"refused", (double)counts.refused}, {"moved", (double)counts.moved},         {"items", (double)counts.items},
        {"held_back", (double)counts.held_back}, {"too_deep", (double)counts.too_deep}, {"slowed", (double)gate.slowed},
        {"syncs", (double)gyre__frontier_syncs(frontier)},
    };

    lua_createtable(L, 0, sizeof fields / sizeof *fields);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushnumber(L, fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

/* stack: frontier authority seconds -> - */
static int frontier_hold(lua_State *L)
{
    gyre__gate_hold(gyre__frontier_gate(check(L)), luaL_checkstring(L, 2), now(), luaL_checknumber(L, 3));
    return 0;
}

/* stack: frontier -> true | nil why */
static int frontier_set_finished(lua_State *L)
{
    struct gyre__frontier *frontier = check(L);
    if (gyre__frontier_set_finished(frontier) < 0) return push_failure(L, frontier);
    lua_pushboolean(L, 1);
    return 1;
}

/* stack: url -> text origin authority | nil why */
static int url_normalise(lua_State *L)
{
    struct gyre__weburl url;
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    const char *why = gyre__weburl_normalise(text, size, &url);
    char *ascii = why ? gyre__idn_url(text) : NULL;

    if (ascii) why = gyre__weburl_normalise(ascii, strlen(ascii), &url);
    free(ascii);
    if (why) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    lua_pushlstring(L, url.text, url.size);
    lua_pushlstring(L, url.text, url.path);
    lua_pushlstring(L, url.text + url.authority, url.path - url.authority);
    return 3;
}

/* stack: reference base -> text | nil */
static int url_resolve(lua_State *L)
{
    const char *reference = luaL_checkstring(L, 1), *base = luaL_checkstring(L, 2);
    char *text = gyre__html_resolve(reference, base);

    if (!text) return 0;
    lua_pushstring(L, text);
    free(text);
    return 1;
}

int gyre__job_open_url(lua_State *L)
{
    static const luaL_Reg functions[] = {{"normalise", url_normalise}, {"resolve", url_resolve}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}

int gyre__job_open_frontier(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"take", frontier_take},     {"add", frontier_add},       {"finish", frontier_finish},
        {"robots", frontier_robots}, {"commit", frontier_commit}, {"robots_text", frontier_robots_text},
        {"header", frontier_header}, {"counts", frontier_counts}, {"uncommitted", frontier_uncommitted},
        {"hold", frontier_hold},     {"close", frontier_close},   {"set_finished", frontier_set_finished},
        {NULL, NULL},
    };

    luaL_newmetatable(L, taken_name);
    lua_pushcfunction(L, taken_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newmetatable(L, type_name); /* stack: taken frontier */
    lua_pushcfunction(L, frontier_gc);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    lua_pushcfunction(L, frontier_open);
    lua_setfield(L, -2, "open");
    return 1;
}
