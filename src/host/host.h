/* host.h: what the layers above (net, job, cli) may use of the host beyond the public header. */
#ifndef GYRE_SRC_HOST_H
#define GYRE_SRC_HOST_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <gyre/host.h>

struct gyre_host {
    lua_State *L;
    char *lua_path;
    const struct gyre_source *modules;
    size_t module_count;
    int traceback; /* registry reference of the message handler */
    struct gyre_host_error error;
    char *error_text; /* what error.text points to unless that is a constant */
};

/*
 * Starts or continues the coroutine `co` with the `arguments` values on top of its stack. Returns LUA_YIELD, 0 when
 * the function returned (its results are on co's stack), or GYRE_EINVALID when it raised: gyre_host_error() then
 * holds message and traceback, and co is dead.
 */
int gyre__host_resume(struct gyre_host *host, lua_State *co, int arguments);

/*
 * Runs the C function `function(L)` with `data` as its only argument, a light userdata, so that what it raises (no
 * memory, mostly) becomes an error like any other. Returns 0 or GYRE_EINVALID. `function` leaves no results.
 */
int gyre__host_protect(struct gyre_host *host, lua_CFunction function, void *data);

/* Calls the function with this registry reference, without arguments and results. 0 or GYRE_EINVALID with the error set. The
 * state must not be running. Costs about 30 ns. */
int gyre__host_invoke(struct gyre_host *host, int function);

/* Replaces the stored error by a plain text, for failures that C notices. Returns the copy, or NULL without memory. */
char *gyre__host_fail(struct gyre_host *host, const char *text);

/* Creates the message handler and stores its reference. Protected environment only. */
void gyre__host_open_call(lua_State *L, struct gyre_host *host);

#endif
