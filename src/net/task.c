/*
 * task.c: the life of tasks, and the only place that resumes them.
 * Owns the registry anchors and the sleep timers. Calls Lua through the host only.
 */
#include "task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

/* A task that waits so often after an interrupt, each time in vain, takes no notice of it. */
enum { TOLD_ENOUGH = 1000 };

void gyre__tasks_init(struct gyre__tasks *tasks)
{
    memset(tasks, 0, sizeof *tasks);
    tasks->ready_tail = &tasks->ready;
}

static void enqueue(struct gyre__task *task)
{
    struct gyre__tasks *tasks = &task->net->tasks;
    task->state = GYRE__TASK_READY;
    task->next = NULL;
    *tasks->ready_tail = task;
    tasks->ready_tail = &task->next;
    gyre__net_stay_awake(task->net);
}

static void link_task(struct gyre__tasks *tasks, struct gyre__task *task)
{
    task->after = tasks->all;
    if (tasks->all) tasks->all->before = task;
    tasks->all = task;
    if (!task->background) tasks->foreground++;
}

static void unlink_task(struct gyre__tasks *tasks, struct gyre__task *task)
{
    if (task->before) task->before->after = task->after;
    else tasks->all = task->after;
    if (task->after) task->after->before = task->before;
    if (!task->background) tasks->foreground--;
}

int gyre__task_spawn(lua_State *L)
{
    struct gyre__net *net = gyre__net_of(L);
    int arguments = lua_gettop(L) - 2;
    luaL_checktype(L, 2, LUA_TFUNCTION);

    struct gyre__task *task = lua_newuserdata(L, sizeof *task); /* stack: background f args task */
    memset(task, 0, sizeof *task);
    luaL_newmetatable(L, "gyre.task"); /* made for the main task, which comes before gyre.net is loaded */
    lua_setmetatable(L, -2);
    task->net = net;
    task->background = lua_toboolean(L, 1);
    task->arguments = arguments;

    lua_State *co = lua_newthread(L); /* stack: background f args task co */
    lua_pushvalue(L, -2);
    lua_insert(L, 2);  /* stack: background task f args task co */
    lua_insert(L, 3);  /* stack: background task co f args task */
    lua_pop(L, 1);     /* stack: background task co f args */
    if (!lua_checkstack(co, arguments + 1)) return luaL_error(L, "too many arguments");
    lua_xmove(L, co, arguments + 1); /* stack: background task co */
    task->co_anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, 2);
    task->anchor = luaL_ref(L, LUA_REGISTRYINDEX); /* stack: background task */
    task->co = co;
    link_task(&net->tasks, task);
    enqueue(task);
    return 1;
}

struct gyre__task *gyre__task_current(struct gyre__net *net, lua_State *L, const char *what)
{
    struct gyre__task *task = net->tasks.current;
    if (!task || task->co != L)
        luaL_error(L, "%s would suspend a coroutine that only you resume: use gyre.spawn instead of coroutine.*", what);
    return task;
}

/* Whether a wait is over before its time. */
static int cut_short(const struct gyre__task *task, int wait)
{
    return task->cancelled || (wait == GYRE__WAIT_TIME && task->net->draining);
}

int gyre__task_wait(struct gyre__task *task, int wait)
{
    int is_cut = cut_short(task, wait), at_once = is_cut || (wait == GYRE__WAIT_WAKE && task->woken);

    task->state = GYRE__TASK_WAITING;
    task->wait = wait;
    task->woken = 0;
    if (at_once) enqueue(task); /* through the queue all the same: no task keeps the loop from turning */
    if (is_cut && task->net->draining && ++task->told == TOLD_ENOUGH) gyre__net_stop(task->net);
    return lua_yield(task->co, 0);
}

static void on_timer(uv_timer_t *timer)
{
    gyre__task_ready(timer->data);
}

int gyre__task_sleep(struct gyre__task *task, double seconds)
{
    struct gyre__net *net = task->net;

    if (!task->timer) {
        if (!(task->timer = malloc(sizeof *task->timer))) return luaL_error(task->co, "not enough memory");
        uv_timer_init(&net->loop, task->timer);
        task->timer->data = task;
    }
    if (!cut_short(task, GYRE__WAIT_TIME)) {
        uv_update_time(&net->loop); /* what ran since the loop last looked counts too */
        uv_timer_start(task->timer, on_timer, (uint64_t)ceil(seconds * 1000.0), 0);
        net->tasks.sleeping++;
    }
    return gyre__task_wait(task, GYRE__WAIT_TIME);
}

void gyre__task_ready(struct gyre__task *task)
{
    if (task->state != GYRE__TASK_WAITING) return;
    if (task->wait == GYRE__WAIT_TIME) {
        uv_timer_stop(task->timer);
        task->net->tasks.sleeping--;
    }
    enqueue(task);
}

void gyre__task_cancel(struct gyre__task *task)
{
    if (!task->co || task->cancelled) return;
    if (task->state == GYRE__TASK_WAITING) {
        if (task->wait == GYRE__WAIT_TRANSFER) gyre__transfer_cancel(task->own);
        gyre__task_ready(task);
    }
    task->cancelled = 1;
}

static void free_timer(uv_handle_t *handle)
{
    free(handle);
}

/* Takes the task out of the world; the garbage collector does the rest. */
static void end(struct gyre__task *task)
{
    struct gyre__net *net = task->net;
    lua_State *L = net->host->L;

    gyre__task_stop_poll(task);
    if (task->own) gyre__transfer_delete(task->own);
    task->own = NULL;
    if (task->timer) uv_close((uv_handle_t *)task->timer, free_timer);
    task->timer = NULL;
    task->co = NULL;
    unlink_task(&net->tasks, task);
    luaL_unref(L, LUA_REGISTRYINDEX, task->co_anchor);
    luaL_unref(L, LUA_REGISTRYINDEX, task->anchor); /* last: the task may be gone with it */
}

static int exit_code(lua_State *co)
{
    switch (lua_type(co, 1)) {
    case LUA_TNONE:
    case LUA_TNIL: return 0;
    case LUA_TBOOLEAN: return lua_toboolean(co, 1) ? 0 : 1;
    case LUA_TNUMBER: {
        double code = lua_tonumber(co, 1);
        return code >= 0 && code <= 255 && code == floor(code) ? (int)code : -1;
    }
    default: return -1;
    }
}

static void fail(struct gyre__net *net)
{
    net->tasks.failed = 1;
    uv_stop(&net->loop);
}

static void resume(struct gyre__task *task)
{
    struct gyre__net *net = task->net;
    int arguments = task->arguments;

    if (arguments < 0) { /* it was waiting */
        lua_pushboolean(task->co, task->poll ? task->readable : !cut_short(task, task->wait));
        arguments = 1;
    }
    gyre__task_stop_poll(task);
    task->arguments = -1;
    task->state = GYRE__TASK_RUNNING;
    task->wait = GYRE__WAIT_NONE;
    net->tasks.current = task;
    int status = gyre__host_resume(net->host, task->co, arguments);
    net->tasks.current = NULL;

    if (status == LUA_YIELD && task->state != GYRE__TASK_RUNNING) return;
    if (status == LUA_YIELD) {
        gyre__host_fail(net->host, "a task called coroutine.yield, and nobody would resume it: use gyre.sleep");
        fail(net);
    } else if (status < 0) {
        fail(net);
    } else if (task == net->tasks.main) {
        net->tasks.result = exit_code(task->co);
    }
    end(task);
}

int gyre__tasks_run(struct gyre__net *net)
{
    struct gyre__tasks *tasks = &net->tasks;
    struct gyre__task **stop = tasks->ready_tail;

    while (tasks->ready && !tasks->failed) {
        struct gyre__task *task = tasks->ready;
        int last = &task->next == stop;
        tasks->ready = task->next;
        if (!tasks->ready) tasks->ready_tail = &tasks->ready;
        resume(task);
        if (last) break;
    }
    return tasks->ready != NULL;
}

void gyre__tasks_wake_sleepers(struct gyre__net *net)
{
    for (struct gyre__task *task = net->tasks.all; task; task = task->after)
        if (task->wait == GYRE__WAIT_TIME) gyre__task_ready(task);
}

void gyre__tasks_drop(struct gyre__net *net)
{
    gyre__multi_stop(&net->http.multi); /* or one task's end would start what the next one's cancels */
    while (net->tasks.all) end(net->tasks.all);
    net->tasks.ready = NULL;
    net->tasks.ready_tail = &net->tasks.ready;
    net->tasks.sleeping = 0;
}
