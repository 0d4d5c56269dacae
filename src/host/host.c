/*
 * host.c: life of a LuaJIT state, and where require() finds gyre's modules.
 * Owns the state and the module searcher. Knows nothing of sockets, loops and proxies.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* Replaces dots by slashes, as package.path does. Returns 0 when it does not fit. */
static int module_file(char *to, size_t size, const char *directory, const char *name, const char *tail)
{
    int length = snprintf(to, size, "%s/%s%s", directory, name, tail);
    if (length < 0 || (size_t)length >= size) return 0;
    size_t start = strlen(directory) + 1;
    for (char *at = to + start; at < to + start + strlen(name); at++)
        if (*at == '.') *at = '/';
    return 1;
}

/* Loads a module from the override directory. stack: - -> [chunk]; returns whether there was a file. */
static int load_file(lua_State *L, const char *directory, const char *name)
{
    static const char *const tails[] = {".lua", "/init.lua"};
    char path[4096];

    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        if (!module_file(path, sizeof path, directory, name, tails[i])) continue;
        FILE *file = fopen(path, "r");
        if (!file) continue;
        fclose(file);
        if (luaL_loadfile(L, path) != 0) lua_error(L); /* stack: chunk */
        return 1;
    }
    return 0;
}

static int load_source(lua_State *L, const struct gyre_source *source)
{
    char chunk[256];
    snprintf(chunk, sizeof chunk, "=%s", source->file); /* not "@": it is no file, and nothing lies beside it */
    if (luaL_loadbuffer(L, source->text, source->size, chunk) != 0) lua_error(L);
    return 1; /* stack: chunk */
}

/* The searcher in package.loaders. stack: name -> chunk | text */
static int search(lua_State *L)
{
    struct gyre_host *host = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);

    if (host->lua_path && load_file(L, host->lua_path, name)) return 1;
    for (size_t i = 0; i < host->module_count; i++)
        if (strcmp(host->modules[i].name, name) == 0) return load_source(L, &host->modules[i]);
    lua_pushfstring(L, "\n\tno module '%s' in the program", name);
    return 1;
}

/* Puts the searcher behind package.preload and before package.path. stack: - -> - */
static void install_searcher(lua_State *L, struct gyre_host *host)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders"); /* stack: package loaders */
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushlightuserdata(L, host);
    lua_pushcclosure(L, search, 1); /* stack: package loaders search */
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

/* stack: - -> - */
static void install_strategies(lua_State *L, const struct gyre_host_options *options)
{
    if (options->strategy_count == 0) return;
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 1); /* stack: loaded */
    lua_createtable(L, 0, (int)options->strategy_count); /* stack: loaded embedded */
    for (size_t i = 0; i < options->strategy_count; i++) {
        lua_pushlstring(L, options->strategies[i].text, options->strategies[i].size);
        lua_setfield(L, -2, options->strategies[i].name);
    }
    lua_setfield(L, -2, "gyre.embedded"); /* stack: loaded */
    lua_pop(L, 1);
}

struct opening {
    struct gyre_host *host;
    const struct gyre_host_options *options;
};

/* stack: opening -> - */
static int open_state(lua_State *L)
{
    struct opening *opening = lua_touserdata(L, 1);
    luaL_openlibs(L);
    gyre__host_open_call(L, opening->host);
    install_searcher(L, opening->host);
    install_strategies(L, opening->options);
    return 0;
}

int gyre_host_open(const struct gyre_host_options *options, struct gyre_host **out)
{
    if (!options || options->size != sizeof *options || !out)
        return gyre_hook_fail(GYRE_EINVALID, "no options, or their size is not that of this library, or no place for the host");

    struct gyre_host *host = calloc(1, sizeof *host);
    if (!host) return gyre_hook_fail(GYRE_ESYSTEM, "no memory for a Lua state");
    host->modules = options->modules;
    host->module_count = options->module_count;
    if (options->lua_path && !(host->lua_path = strdup(options->lua_path))) goto fail;
    if (!(host->L = luaL_newstate())) goto fail;

    struct opening opening = {host, options};
    if (gyre__host_protect(host, open_state, &opening) < 0) goto fail;
    host->error.text = ""; /* none so far */
    *out = host;
    return 0;
fail:
    gyre_hook_fail(GYRE_ESYSTEM, host->error.text ? host->error.text : "no memory for a Lua state");
    gyre_host_close(host);
    return GYRE_ESYSTEM;
}

void gyre_host_close(struct gyre_host *host)
{
    if (!host) return;
    if (host->L) lua_close(host->L);
    free(host->lua_path);
    free(host->error_text);
    free(host);
}

lua_State *gyre_host_state(struct gyre_host *host)
{
    return host ? host->L : NULL;
}

struct preloading {
    const char *name;
    lua_CFunction open;
};

/* stack: preloading -> - */
static int preload(lua_State *L)
{
    struct preloading *preloading = lua_touserdata(L, 1);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload"); /* stack: preloading package preload */
    lua_pushcfunction(L, preloading->open);
    lua_setfield(L, -2, preloading->name);
    return 0;
}

int gyre_host_preload(struct gyre_host *host, const char *name, lua_CFunction open)
{
    if (!host || !name || !open) return gyre_hook_fail(GYRE_EINVALID, "no host, no name of a module, or no function that opens it");
    struct preloading preloading = {name, open};
    return gyre__host_protect(host, preload, &preloading) < 0 ? GYRE_ESYSTEM : 0;
}
