/*
 * net.h: a host with a loop: Lua tasks, their timers and transfers. What the layers above call.
 *
 * One net per host, on the host's thread. Life: gyre__net_open, gyre__net_main, gyre__net_run, gyre__net_drop, then
 * gyre_host_close, then gyre__net_close: Lua's finalisers give their transfers back to a net that is still there.
 */
#ifndef GYRE_NET_NET_H
#define GYRE_NET_NET_H

#include <signal.h>

#include <uv.h>

#include "host/host.h"
#include "task.h"
#include "transfer.h"

struct gyre__net {
    struct gyre_host *host;
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;    /* active while tasks are ready, so that the loop does not sleep */
    uv_async_t wakeup; /* an interrupt came */
    struct gyre__http http;
    struct gyre__tasks tasks;
    int on_close;      /* registry reference of a Lua function, or LUA_NOREF */
    int draining;      /* interrupted once: start nothing new */
    int stopped;       /* interrupted twice, or a task took no notice of the first time */
    volatile sig_atomic_t interrupts, interrupts_seen;
};

/* Opens the loop and makes require "gyre.net" work. At most `max_running` transfers run at once, the rest wait. */
int gyre__net_open(struct gyre_host *host, unsigned max_running, struct gyre__net **net);

/* Makes the function below `arguments` values on the host's main stack the main task, and takes them off. Returns 0
 * or GYRE_EINVALID with the host's error set. */
int gyre__net_main(struct gyre__net *net, int arguments);

/*
 * Runs until every task but the background ones has ended (0), one has raised (GYRE_EINVALID, host's error set) or the
 * second interrupt came (GYRE_EBUSY).
 */
int gyre__net_run(struct gyre__net *net);

/* What the main task returned: an exit code, 0 for nothing or nil or true, or -1 for anything else. */
int gyre__net_result(struct gyre__net *net);

/* Asks for an end: the first time politely, the second time at once. Async-signal-safe. Returns how many
 * interrupts the loop has not taken notice of, this one included. */
int gyre__net_interrupt(struct gyre__net *net);

/* Forgets all tasks where they stand and calls what gyre.net's on_close was given. Returns 0 or GYRE_EINVALID. */
int gyre__net_drop(struct gyre__net *net);

/* After gyre_host_close(). NULL is allowed. */
void gyre__net_close(struct gyre__net *net);

/* Stops the loop: a second interrupt came, or a task goes on after the first. */
void gyre__net_stop(struct gyre__net *net);

/* Tasks are ready: the loop must not sleep. */
void gyre__net_stay_awake(struct gyre__net *net);

/* The lua_CFunction that require "gyre.net" calls, in lua_net.c. */
int gyre__net_luaopen(lua_State *L);

/* The net of a state, NULL: none. */
struct gyre__net *gyre__net_of(lua_State *L);

#endif
