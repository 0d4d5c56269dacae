/*
 * net.c: the loop.
 * Owns the libuv loop and its handles. Tasks are resumed from prepare and check only, hence never inside a callback
 * of libcurl's, and each in its turn.
 */
#include "net.h"

#include <stdlib.h>

/* Tasks that wake each other go on so often before the loop looks for what happened meanwhile, which is a system call. */
enum { ROUNDS = 4 };

static char key; /* its address is the registry key of the net */

struct gyre__net *gyre__net_of(lua_State *L)
{
    lua_pushlightuserdata(L, &key);
    lua_rawget(L, LUA_REGISTRYINDEX); /* stack: ... net */
    struct gyre__net *net = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return net;
}

/* Whether tasks are left that nothing will ever make ready. */
static int is_stuck(const struct gyre__net *net)
{
    return net->tasks.foreground > 0 && !net->tasks.ready && net->tasks.sleeping == 0 && net->http.in_flight == 0;
}

static void run_tasks(struct gyre__net *net)
{
    int left = 1;
    for (int i = 0; i < ROUNDS && left && !net->tasks.failed; i++) left = gyre__tasks_run(net);
    if (!left) uv_idle_stop(&net->idle);
    if (!net->tasks.failed && is_stuck(net)) {
        gyre__host_fail(net->host, "every task of the job waits for another one");
        net->tasks.failed = 1;
    }
    if (net->tasks.failed || net->tasks.foreground == 0) uv_stop(&net->loop);
}

static void on_prepare(uv_prepare_t *handle)
{
    run_tasks(handle->data);
}

static void on_check(uv_check_t *handle)
{
    run_tasks(handle->data);
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* its being there is what keeps the loop awake */
}

void gyre__net_stop(struct gyre__net *net)
{
    net->stopped = 1;
    uv_stop(&net->loop);
}

static void on_wakeup(uv_async_t *handle)
{
    struct gyre__net *net = handle->data;

    net->interrupts_seen = net->interrupts;
    if (net->interrupts_seen >= 2) {
        gyre__net_stop(net);
    } else if (net->interrupts_seen == 1 && !net->draining) {
        net->draining = 1;
        gyre__tasks_wake_sleepers(net);
    }
}

void gyre__net_stay_awake(struct gyre__net *net)
{
    uv_idle_start(&net->idle, on_idle);
}

int gyre__net_interrupt(struct gyre__net *net)
{
    net->interrupts = net->interrupts + 1;
    uv_async_send(&net->wakeup);
    return net->interrupts - net->interrupts_seen;
}

/* stack: net -> - */
static int attach(lua_State *L)
{
    struct gyre__net *net = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, &key);
    lua_pushlightuserdata(L, net);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

static void open_handles(struct gyre__net *net)
{
    uv_prepare_init(&net->loop, &net->prepare);
    uv_check_init(&net->loop, &net->check);
    uv_idle_init(&net->loop, &net->idle);
    net->prepare.data = net->check.data = net->wakeup.data = net;
    uv_prepare_start(&net->prepare, on_prepare);
    uv_check_start(&net->check, on_check);
}

static void close_handles(struct gyre__net *net)
{
    uv_close((uv_handle_t *)&net->prepare, NULL);
    uv_close((uv_handle_t *)&net->check, NULL);
    uv_close((uv_handle_t *)&net->idle, NULL);
    uv_close((uv_handle_t *)&net->wakeup, NULL);
}

int gyre__net_open(struct gyre_host *host, unsigned max_running, struct gyre__net **out)
{
    struct gyre__net *net = calloc(1, sizeof *net);
    if (!net) return GYRE_ESYSTEM;
    net->host = host;
    net->on_close = LUA_NOREF;
    gyre__tasks_init(&net->tasks);

    if (uv_loop_init(&net->loop) < 0) goto free_net;
    if (uv_async_init(&net->loop, &net->wakeup, on_wakeup) < 0) goto close_loop;
    open_handles(net);
    if (gyre__http_init(&net->http, &net->loop, max_running) < 0 || gyre__host_protect(host, attach, net) < 0 ||
        gyre_host_preload(host, "gyre.net", gyre__net_luaopen) < 0) {
        gyre__net_close(net);
        return GYRE_ESYSTEM;
    }
    *out = net;
    return 0;
close_loop:
    uv_loop_close(&net->loop);
free_net:
    free(net);
    return GYRE_ESYSTEM;
}

int gyre__net_main(struct gyre__net *net, int arguments)
{
    lua_State *L = net->host->L;

    lua_pushcfunction(L, gyre__task_spawn);
    lua_pushboolean(L, 0);         /* stack: f args spawn false */
    lua_insert(L, -3 - arguments);
    lua_insert(L, -3 - arguments); /* stack: spawn false f args */
    if (gyre_host_call(net->host, arguments + 2, 1) < 0) return GYRE_EINVALID;
    net->tasks.main = lua_touserdata(L, -1); /* anchored until it ends; only compared with after that */
    lua_pop(L, 1);
    return 0;
}

int gyre__net_run(struct gyre__net *net)
{
    uv_run(&net->loop, UV_RUN_DEFAULT);
    if (net->tasks.failed) return GYRE_EINVALID;
    return net->stopped ? GYRE_EBUSY : 0;
}

int gyre__net_result(struct gyre__net *net)
{
    return net->tasks.result;
}

int gyre__net_drop(struct gyre__net *net)
{
    lua_State *L = net->host->L;
    int reference = net->on_close;

    gyre__tasks_drop(net);
    if (reference == LUA_NOREF) return 0;
    net->on_close = LUA_NOREF;
    lua_rawgeti(L, LUA_REGISTRYINDEX, reference); /* stack: function */
    luaL_unref(L, LUA_REGISTRYINDEX, reference);
    return gyre_host_call(net->host, 0, 0);
}

void gyre__net_close(struct gyre__net *net)
{
    if (!net) return;
    gyre__http_close(&net->http);
    close_handles(net);
    uv_run(&net->loop, UV_RUN_DEFAULT); /* the close callbacks */
    uv_loop_close(&net->loop);
    free(net);
}
