/*
 * gyre/host.h: strategies in Lua for C programs, and LuaJIT states with gyre's Lua modules in them.
 *
 *     if (gyre_host_use(pool, "./my-strategy.lua", "{\"k\": 3}") < 0) fprintf(stderr, "%s\n", gyre_detail());
 *
 * After that gyre_acquire() from any thread runs the strategy. And a state to run any Lua code in:
 *
 *     struct gyre_host_options options = {.size = sizeof options, .lua_path = "/usr/local/share/lua/5.1"};
 *     struct gyre_host *host;
 *     if (gyre_host_open(&options, &host) < 0) return 1;
 *     luaL_loadstring(gyre_host_state(host), "return require('gyre').version");
 *     if (gyre_host_call(host, 0, 1) < 0) fprintf(stderr, "%s\n", gyre_host_error(host)->text);
 *     gyre_host_close(host);
 *
 * One host is one lua_State and belongs to one thread; open one per thread. Nothing here prints, but a strategy
 * that fails is told on the standard error, with its traceback, at most every ten seconds.
 */
#ifndef GYRE_HOST_H
#define GYRE_HOST_H

#include <stddef.h>
#include <stdint.h>

#include <gyre/gyre.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lua_State;
struct gyre_host;

/* The text of one Lua file that is part of the program. Both pointers outlive the host. */
struct gyre_source {
    const char *name; /* of a module as in require(), or of a strategy */
    const char *file; /* shown in messages, e.g. "lua/gyre/http.lua" */
    const char *text;
    size_t size;
};

struct gyre_host_options {
    uint32_t size;
    uint32_t reserved;
    const char *lua_path;                   /* directory searched before `modules`; NULL: none */
    const struct gyre_source *modules;      /* what require() finds before package.path; may be NULL */
    size_t module_count;
    const struct gyre_source *strategies;   /* become the table package.loaded["gyre.embedded"]; may be NULL */
    size_t strategy_count;
};

/* What the last failed call raised. */
struct gyre_host_error {
    char kind[32];    /* field `kind` of an error table such as gyre's, or "" */
    char where[16];   /* its field `where`, or "" */
    const char *text; /* message and traceback */
};

/* A host where a function wants one may not be NULL, or that is GYRE_EINVALID, NULL for a state, and "no host" for an error. */

/* Opens a state with the standard libraries. Errors: INVALID (size), SYSTEM (no memory). */
GYRE_API int gyre_host_open(const struct gyre_host_options *options, struct gyre_host **host);

/* Closes the state and frees everything; runs Lua finalisers. NULL is allowed. */
GYRE_API void gyre_host_close(struct gyre_host *host);

/* The main lua_State. Run Lua code in it through gyre_host_call() only. */
GYRE_API struct lua_State *gyre_host_state(struct gyre_host *host);

/* Makes require(name) call `open`, a lua_CFunction. Takes precedence over files. Returns 0, INVALID (NULL) or SYSTEM. */
GYRE_API int gyre_host_preload(struct gyre_host *host, const char *name, int (*open)(struct lua_State *));

/*
 * Calls the function below `arguments` values on the stack of the main state. Returns 0 with `results` values in
 * their place, or GYRE_EINVALID with nothing in their place and gyre_host_error() set. Costs about 30 ns.
 */
GYRE_API int gyre_host_call(struct gyre_host *host, int arguments, int results);

/* The error of the last failed call; valid until the next failure. */
GYRE_API const struct gyre_host_error *gyre_host_error(struct gyre_host *host);

/*
 * Makes `source`, a strategy by name or by path, the one of the segment, with options as a JSON object (NULL: none); from then on
 * gyre_acquire() of this handle runs whatever strategy in Lua the segment names, in every thread, also after a swap by
 * another process. `source` NULL changes nothing but that: it follows the segment. A strategy that cannot be loaded leaves the
 * one there is. See strategies/README.md for the strategies.
 *
 * Each thread that acquires gets a lua_State of its own on its first acquire (about 10 ms) and closes it when it ends; a
 * strategy's `self` is each thread's own. An acquire costs about 30 ns for the way into Lua and what the strategy costs.
 * A strategy that raises, picks what it must not or runs too long costs that request a pick of its fallback. Where there is no
 * Lua state to be had, the native picker of the segment serves; the segment's counter "without Lua" counts that. The
 * strategy's `record` runs in the thread that completes the lease, of the very strategy that issued it; when that thread
 * never saw it, because of swaps since then, the counter "unrecorded" goes up.
 *
 * Lua modules are looked for in the directory GYRE_LUA_PATH, or without that where they were installed with this library; then
 * as LuaJIT does. Close the pool when no other thread uses it, as
 * ever; the states of other threads may outlive it. After fork() the child has the state of the thread that forked.
 *
 * Errors: INVALID (no such strategy, or it refuses its options or the pool; gyre_detail() says), EXISTS (the handle has
 * another hook), SYSTEM (no memory, no Lua modules). Any thread, at any time.
 */
GYRE_API int gyre_host_use(struct gyre_pool *pool, const char *source, const char *options);

/* Closes the calling thread's Lua states of gyre_host_use() now, not when the thread ends; its next acquire makes new ones. For
 * the main thread, which ends with the program. */
GYRE_API void gyre_host_thread_end(void);

#ifdef __cplusplus
}
#endif
#endif
