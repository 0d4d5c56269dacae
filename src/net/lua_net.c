/*
 * lua_net.c: require "gyre.net", what Lua sees of tasks and transfers. lua/gyre/http.lua is written on top of it and
 * is what scripts use.
 *
 * Everything that allocates Lua memory runs inside a call from Lua, so that running out of it is an error of the task's
 * and no panic: a transfer's end wakes its task, which then fetches the result.
 *
 *   spawn(background, f, ...) -> task     wake(task)   cancel(task)
 *   park([seconds]) -> bool    sleep(seconds) -> bool  false: cut short by cancel, or (with seconds) by an interrupt
 *   readable(fd, seconds) -> bool                      true: there is input
 *   current() -> task    check(what)                   raises where a wait could not work
 *   terms(options) -> terms                            read once, for many requests: see lua_terms.c
 *   request(url, proxy | nil, options | terms) -> bool | nil, why      later: result() must follow
 *   result() -> true, status, head, body, ms, bytes, url, http
 *             | false, kind, where, verdict, ms, bytes, message, sent, connect_code
 *   now() -> seconds     stopping() -> bool     on_close(f)
 *   is_stopping                                        an address: the int there is not 0 when stopping() is true
 *   wake_task                                          the address of void (*)(task): wake(), for compiled code
 *   most_at_once                                       so many transfers run at once, as the descriptors allow; others wait
 *   forget(session)                                    its connections, TLS sessions and cookies
 */
#include <math.h>
#include <string.h>

#include "lua_terms.h"
#include "net.h"

/* Every function below has the net as its upvalue. */
static struct gyre__net *net_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* stack: background function args... -> task */
static int net_spawn(lua_State *L)
{
    return gyre__task_spawn(L);
}

/* stack: [seconds] -> bool, later */
static int net_park(lua_State *L)
{
    struct gyre__task *task = gyre__task_current(net_of(L), L, "park");
    double seconds = luaL_optnumber(L, 1, HUGE_VAL);

    luaL_argcheck(L, seconds >= 0, 1, "seconds, not negative, expected");
    if (task->woken || seconds > 1e9) return gyre__task_wait(task, GYRE__WAIT_WAKE);
    task->wakeable = 1;
    return gyre__task_sleep(task, seconds);
}

/* A C function that Lua calls is the end of compiled code, which goes on elsewhere; one that the FFI calls is not. */
static void wake_task(struct gyre__task *task)
{
    if (!task->co) return;
    int parked = task->wait == GYRE__WAIT_WAKE || (task->wait == GYRE__WAIT_TIME && task->wakeable);
    if (task->state == GYRE__TASK_WAITING && parked) gyre__task_ready(task);
    else task->woken = 1;
}

/* stack: task -> - */
static int net_wake(lua_State *L)
{
    wake_task(luaL_checkudata(L, 1, "gyre.task"));
    return 0;
}

/* stack: - -> task */
static int net_current(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, gyre__task_current(net_of(L), L, "this")->anchor);
    return 1;
}

/* stack: what -> - */
static int net_check(lua_State *L)
{
    gyre__task_current(net_of(L), L, luaL_checkstring(L, 1));
    return 0;
}

/* stack: task -> - */
static int net_cancel(lua_State *L)
{
    gyre__task_cancel(luaL_checkudata(L, 1, "gyre.task"));
    return 0;
}

/* stack: seconds -> bool, later */
static int net_sleep(lua_State *L)
{
    double seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 1, "seconds, not negative, expected");
    struct gyre__task *task = gyre__task_current(net_of(L), L, "sleep");
    task->wakeable = 0;
    return gyre__task_sleep(task, seconds);
}

/* stack: fd seconds -> bool, later */
static int net_readable(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    double seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, fd >= 0, 1, "a descriptor expected");
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 2, "seconds, not negative, expected");
    return gyre__task_readable(gyre__task_current(net_of(L), L, "readable"), fd, seconds);
}

/* stack: ... -> ... true status head body ms bytes url http redirects. A copy of the bytes each, and the only one. */
static int push_response(lua_State *L, const struct gyre__transfer *transfer)
{
    const struct gyre__result *result = &transfer->result;
    lua_pushboolean(L, 1);
    lua_pushinteger(L, result->status);
    lua_pushlstring(L, transfer->head ? transfer->head : "", transfer->head_size);
    lua_pushlstring(L, transfer->body ? transfer->body : "", transfer->body_size);
    lua_pushnumber(L, result->ms);
    lua_pushnumber(L, (double)result->bytes);
    lua_pushstring(L, result->url);
    lua_pushstring(L, result->http);
    lua_pushinteger(L, result->redirects);
    return 9;
}

/* stack: ... -> ... false kind where verdict ms bytes message sent connect_code */
static int push_failure(lua_State *L, const struct gyre__result *result)
{
    lua_pushboolean(L, 0);
    lua_pushstring(L, result->failure.kind);
    lua_pushstring(L, result->failure.where);
    lua_pushinteger(L, result->failure.verdict);
    lua_pushnumber(L, result->ms);
    lua_pushnumber(L, (double)result->bytes);
    lua_pushstring(L, result->message);
    lua_pushboolean(L, result->sent);
    lua_pushinteger(L, result->connect_code);
    return 9;
}

static int push_result(lua_State *L, const struct gyre__transfer *transfer)
{
    return transfer->result.failed ? push_failure(L, &transfer->result) : push_response(L, transfer);
}

static void on_done(struct gyre__transfer *transfer)
{
    gyre__task_ready(transfer->owner);
}

/* stack: url proxy options | terms -> bool, later | nil why. The transfer is the task's own: a userdata with a finaliser
 * would cost more than all else that is done in Lua for a request. */
static int net_request(lua_State *L)
{
    struct gyre__task *task = gyre__task_current(net_of(L), L, "a request");
    struct gyre__net *net = net_of(L);
    size_t length;
    const char *url = luaL_checklstring(L, 1, &length);
    const char *proxy = luaL_optstring(L, 2, NULL);
    struct gyre__fetch fetch = {.url = url, .proxy = proxy, .terms = gyre__terms_check(L, 3)};

    if (task->own) return luaL_error(L, "the result of the last request has not been taken");
    if (!(task->own = gyre__transfer_new(&net->http))) return luaL_error(L, "not enough memory");
    task->own->owner = task;
    task->own->done = on_done;
    const char *why = strlen(url) < length ? "the URL holds a NUL" : gyre__transfer_start(task->own, &fetch);
    if (why) {
        gyre__transfer_delete(task->own);
        task->own = NULL;
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    if (task->cancelled) gyre__transfer_cancel(task->own);
    return gyre__task_wait(task, GYRE__WAIT_TRANSFER);
}

/* stack: - -> see above. The result of the task's request. */
static int net_result(lua_State *L)
{
    struct gyre__task *task = gyre__task_current(net_of(L), L, "a request");
    if (!task->own) return luaL_error(L, "no request has been made");

    gyre__transfer_cancel(task->own);
    int count = push_result(L, task->own); /* should it raise, the task's end deletes the transfer */
    gyre__transfer_delete(task->own);
    task->own = NULL;
    return count;
}

/* stack: - -> seconds, on a clock that only goes forward */
static int net_now(lua_State *L)
{
    lua_pushnumber(L, (double)uv_hrtime() / 1e9);
    return 1;
}

/* stack: - -> bool */
static int net_stopping(lua_State *L)
{
    lua_pushboolean(L, net_of(L)->draining);
    return 1;
}

/* stack: session -> - */
static int net_forget(lua_State *L)
{
    gyre__identities_forget(&net_of(L)->http.identities, luaL_checkstring(L, 1));
    return 0;
}

/* stack: function -> - */
static int net_on_close(lua_State *L)
{
    struct gyre__net *net = net_of(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_unref(L, LUA_REGISTRYINDEX, net->on_close);
    lua_settop(L, 1);
    net->on_close = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* stack: name -> module */
int gyre__net_luaopen(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"spawn", net_spawn},   {"park", net_park}, {"wake", net_wake}, {"cancel", net_cancel},
        {"sleep", net_sleep},   {"now", net_now},   {"stopping", net_stopping},
        {"readable", net_readable}, {"current", net_current}, {"check", net_check}, {"on_close", net_on_close},
        {"forget", net_forget}, {"terms", gyre__terms_make}, {"request", net_request}, {"result", net_result},
        {NULL, NULL},
    };

    gyre__terms_open(L);
    lua_newtable(L);
    for (const luaL_Reg *entry = functions; entry->name; entry++) {
        lua_pushlightuserdata(L, gyre__net_of(L));
        lua_pushcclosure(L, entry->func, 1);
        lua_setfield(L, -2, entry->name);
    }
    lua_pushlightuserdata(L, &gyre__net_of(L)->draining);
    lua_setfield(L, -2, "is_stopping");
    void (*wake)(struct gyre__task *) = wake_task;
    void *address;
    memcpy(&address, &wake, sizeof address); /* ISO C has no cast between the two */
    lua_pushlightuserdata(L, address);
    lua_setfield(L, -2, "wake_task");
    lua_pushinteger(L, (lua_Integer)gyre__net_of(L)->http.multi.max_running);
    lua_setfield(L, -2, "most_at_once");
    return 1;
}
