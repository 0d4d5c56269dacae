/*
 * workers.c: require "gyre.workers".
 * Owns the text in a struct gyre__workers, which lives as long as the program runs its script. Nothing is called under its
 * mutex.
 *
 *   number, count, fresh
 *   open()                        worker 1: the others may begin
 *   running(seconds) -> workers   the others that are still at it, after waiting so long for them: this thread waits
 *   stop(kind, why)               all stop; the first reason counts
 *   stopped() -> kind, why | nil
 *   leave(text)                   another worker is done: its script goes no further
 *   reports() -> list             the texts of those that have left
 *   add(name, number) -> number | nil, why      counters() -> table
 *   pool(index, address | nil) -> address | nil
 */
#include "workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/net.h"

static char key; /* its address is the registry key of the workers */

void gyre__workers_init(struct gyre__workers *workers, unsigned count, int fresh)
{
    pthread_condattr_t attributes;

    memset(workers, 0, sizeof *workers);
    workers->count = count;
    workers->fresh = fresh;
    workers->running = count - 1;
    pthread_mutex_init(&workers->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* the other one may be set back while somebody waits */
    pthread_cond_init(&workers->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void gyre__workers_clear(struct gyre__workers *workers)
{
    for (unsigned i = 0; i < workers->report_count; i++) free(workers->reports[i]);
    pthread_cond_destroy(&workers->changed);
    pthread_mutex_destroy(&workers->mutex);
}

int gyre__workers_wait(struct gyre__workers *workers)
{
    pthread_mutex_lock(&workers->mutex);
    while (!workers->is_open && !workers->is_over) pthread_cond_wait(&workers->changed, &workers->mutex);
    int may_begin = workers->is_open;
    pthread_mutex_unlock(&workers->mutex);
    return may_begin;
}

static void tell(struct gyre__workers *workers, int *what)
{
    pthread_mutex_lock(&workers->mutex);
    *what = 1;
    pthread_cond_broadcast(&workers->changed);
    pthread_mutex_unlock(&workers->mutex);
}

void gyre__workers_over(struct gyre__workers *workers)
{
    tell(workers, &workers->is_over);
}

/* Caller holds the mutex. */
static void stop_all(struct gyre__workers *workers, const char *kind, const char *why)
{
    if (workers->stop[0]) return;
    snprintf(workers->stop, sizeof workers->stop, "%s", kind);
    snprintf(workers->why, sizeof workers->why, "%s", why);
}

/* Caller holds the mutex. Returns 0 when it had left before. */
static int leave(struct gyre__workers *workers, unsigned number)
{
    if (workers->has_left[number - 1]) return 0;
    workers->has_left[number - 1] = 1;
    workers->running--;
    pthread_cond_broadcast(&workers->changed);
    return 1;
}

void gyre__workers_ended(struct gyre__workers *workers, unsigned number)
{
    pthread_mutex_lock(&workers->mutex);
    if (leave(workers, number)) stop_all(workers, "error", "another worker failed");
    pthread_mutex_unlock(&workers->mutex);
}

static struct gyre__workers *workers_of(lua_State *L)
{
    lua_pushlightuserdata(L, &key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    struct gyre__workers *workers = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return workers;
}

static int workers_open(lua_State *L)
{
    struct gyre__workers *workers = workers_of(L);
    tell(workers, &workers->is_open);
    return 0;
}

/* stack: seconds -> workers */
static int workers_running(lua_State *L)
{
    struct gyre__workers *workers = workers_of(L);
    double seconds = luaL_checknumber(L, 1);
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(seconds * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&workers->mutex);
    if (workers->running > 0) pthread_cond_timedwait(&workers->changed, &workers->mutex, &until);
    unsigned running = workers->running;
    pthread_mutex_unlock(&workers->mutex);
    lua_pushinteger(L, running);
    return 1;
}

/* stack: kind why -> - */
static int workers_stop(lua_State *L)
{
    struct gyre__workers *workers = workers_of(L);
    const char *kind = luaL_checkstring(L, 1), *why = luaL_optstring(L, 2, "");
    pthread_mutex_lock(&workers->mutex);
    stop_all(workers, kind, why);
    pthread_mutex_unlock(&workers->mutex);
    return 0;
}

/* stack: - -> kind why | nil */
static int workers_stopped(lua_State *L)
{
    struct gyre__workers *workers = workers_of(L);
    char kind[sizeof workers->stop], why[sizeof workers->why];

    pthread_mutex_lock(&workers->mutex);
    strcpy(kind, workers->stop);
    strcpy(why, workers->why);
    pthread_mutex_unlock(&workers->mutex);
    if (!kind[0]) return 0;
    lua_pushstring(L, kind);
    if (why[0]) lua_pushstring(L, why);
    else lua_pushnil(L);
    return 2;
}

/* Ends the job of this state: the task is not waited for any more, and nobody wakes it. stack: text -> never */
static int workers_leave(lua_State *L)
{
    struct gyre__workers *workers = workers_of(L);
    char *text = strdup(luaL_checkstring(L, 1));
    struct gyre__task *task = gyre__task_current(gyre__net_of(L), L, "leaving");

    lua_getfield(L, LUA_REGISTRYINDEX, "gyre.worker"); /* stack: text number */
    unsigned number = (unsigned)lua_tointeger(L, -1);
    pthread_mutex_lock(&workers->mutex);
    leave(workers, number);
    if (text && workers->report_count < GYRE__MAX_WORKERS) workers->reports[workers->report_count++] = text;
    else free(text);
    pthread_mutex_unlock(&workers->mutex);
    task->background = 1;
    task->net->tasks.foreground--;
    return gyre__task_wait(task, GYRE__WAIT_WAKE);
}

/* stack: - -> list */
static int workers_reports(lua_State *L)
{
    struct gyre__workers *workers = workers_of(L); /* those that have left change nothing any more */
    lua_newtable(L);
    for (unsigned i = 0; i < workers->report_count; i++) {
        lua_pushstring(L, workers->reports[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* The counter with a name, made when absent; NULL: too many. Caller holds the mutex. */
static struct gyre__shared_counter *find_counter(struct gyre__workers *workers, const char *name)
{
    for (unsigned i = 0; i < workers->counter_count; i++)
        if (strcmp(workers->counters[i].name, name) == 0) return &workers->counters[i];
    if (workers->counter_count == GYRE__MAX_SHARED) return NULL;
    struct gyre__shared_counter *counter = &workers->counters[workers->counter_count++];
    snprintf(counter->name, sizeof counter->name, "%s", name);
    return counter;
}

/* stack: name number -> number | nil why */
static int workers_add(lua_State *L)
{
    struct gyre__workers *workers = workers_of(L);
    size_t size;
    const char *name = luaL_checklstring(L, 1, &size);
    double number = luaL_checknumber(L, 2), value = 0;

    luaL_argcheck(L, size > 0 && size < sizeof workers->counters[0].name, 1, "a name of 1 to 47 bytes expected");
    pthread_mutex_lock(&workers->mutex);
    struct gyre__shared_counter *counter = find_counter(workers, name);
    if (counter) value = counter->value += number;
    pthread_mutex_unlock(&workers->mutex);
    if (counter) {
        lua_pushnumber(L, value);
        return 1;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "there are %d shared counters already", GYRE__MAX_SHARED);
    return 2;
}

/* stack: - -> table */
static int workers_counters(lua_State *L)
{
    struct gyre__workers *workers = workers_of(L);
    struct gyre__shared_counter *copy = lua_newuserdata(L, sizeof workers->counters);

    pthread_mutex_lock(&workers->mutex);
    unsigned count = workers->counter_count;
    memcpy(copy, workers->counters, sizeof workers->counters);
    pthread_mutex_unlock(&workers->mutex);
    lua_newtable(L);
    for (unsigned i = 0; i < count; i++) {
        lua_pushnumber(L, copy[i].value);
        lua_setfield(L, -2, copy[i].name);
    }
    return 1;
}

/* stack: index address -> address | nil */
static int workers_pool(lua_State *L)
{
    struct gyre__workers *workers = workers_of(L);
    int index = (int)luaL_checkinteger(L, 1);
    double address = luaL_optnumber(L, 2, 0);

    if (index < 1 || index > GYRE__MAX_POOLS) return luaL_error(L, "a job with workers has %d pools at most", GYRE__MAX_POOLS);
    pthread_mutex_lock(&workers->mutex);
    if (address != 0) workers->pools[index - 1] = address;
    address = workers->pools[index - 1];
    pthread_mutex_unlock(&workers->mutex);
    if (address == 0) return 0;
    lua_pushnumber(L, address);
    return 1;
}

/* stack: name -> module */
static int open_module(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"open", workers_open},       {"running", workers_running}, {"stop", workers_stop}, {"stopped", workers_stopped},
        {"leave", workers_leave},     {"reports", workers_reports}, {"add", workers_add},   {"counters", workers_counters},
        {"pool", workers_pool},       {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushinteger(L, workers_of(L)->count);
    lua_setfield(L, -2, "count");
    lua_pushboolean(L, workers_of(L)->fresh);
    lua_setfield(L, -2, "fresh");
    lua_getfield(L, LUA_REGISTRYINDEX, "gyre.worker");
    lua_setfield(L, -2, "number");
    return 1;
}

struct attaching {
    struct gyre__workers *workers;
    unsigned number;
};

/* stack: attaching -> - */
static int attach(lua_State *L)
{
    struct attaching *attaching = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, &key);
    lua_pushlightuserdata(L, attaching->workers);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_pushinteger(L, attaching->number);
    lua_setfield(L, LUA_REGISTRYINDEX, "gyre.worker");
    return 0;
}

int gyre__workers_attach(struct gyre_host *host, struct gyre__workers *workers, unsigned number)
{
    struct attaching attaching = {workers, number};
    if (gyre__host_protect(host, attach, &attaching) < 0) return GYRE_ESYSTEM;
    return gyre_host_preload(host, "gyre.workers", open_module);
}
