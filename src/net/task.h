/*
 * task.h: Lua coroutines that the loop resumes.
 *
 * A task is RUNNING (Lua code), READY (in the queue) or WAITING for one thing: a transfer, a time, or a wake(). What
 * happens in the loop only makes tasks ready; they are resumed from one place, in the order they became ready.
 */
#ifndef GYRE_NET_TASK_H
#define GYRE_NET_TASK_H

#include <uv.h>

#include "host/host.h"

struct gyre__net;

/* A userdata, alive while `anchor` is in the registry; Lua may hold it longer. */
struct gyre__task {
    struct gyre__net *net;
    lua_State *co;            /* NULL once it has ended */
    int anchor, co_anchor;    /* registry references of this userdata and of the coroutine */
    enum { GYRE__TASK_READY, GYRE__TASK_RUNNING, GYRE__TASK_WAITING } state;
    enum { GYRE__WAIT_NONE, GYRE__WAIT_TRANSFER, GYRE__WAIT_TIME, GYRE__WAIT_WAKE } wait;
    struct gyre__transfer *own; /* its request's, until the result is taken or the task ends; NULL: none */
    uv_timer_t *timer;        /* made for its first sleep */
    uv_poll_t *poll;          /* of a sleep that input ends: readable.c */
    int readable;             /* it did */
    int arguments;            /* on co's stack, for the first resume */
    int woken;                /* wake() came before park() */
    int wakeable;             /* wake() ends its wait for a time, too: a park with a limit */
    int cancelled;            /* every wait ends at once and says so */
    int told;                 /* so many waits the interrupt has ended at once */
    int background;           /* the job does not wait for it */
    struct gyre__task *next;  /* in the ready queue */
    struct gyre__task *before, *after; /* among all */
};

struct gyre__tasks {
    struct gyre__task *all;
    struct gyre__task *ready, **ready_tail;
    struct gyre__task *current;
    struct gyre__task *main;
    unsigned foreground; /* not background, not ended */
    unsigned sleeping;
    int result;          /* of the main task, see gyre__net_result() */
    int failed;          /* one raised; the host has the error */
};

void gyre__tasks_init(struct gyre__tasks *tasks);

/* The lua_CFunction behind spawn. stack: background function args... -> task. Raises on no memory. */
int gyre__task_spawn(lua_State *L);

/* The task that runs on L; raises when L is a coroutine of the script's own, which nobody would resume. */
struct gyre__task *gyre__task_current(struct gyre__net *net, lua_State *L, const char *what);

/* End of a C function: suspends the current task until it is made ready. It returns true, or false when the wait
 * was cut short. */
int gyre__task_wait(struct gyre__task *task, int wait);
int gyre__task_sleep(struct gyre__task *task, double seconds);

/* The same until there is something to read: true; false when the time has passed or the wait was cut short. */
int gyre__task_readable(struct gyre__task *task, int fd, double seconds);

/* Ends the waiting for input, if there is one. Never runs Lua. */
void gyre__task_stop_poll(struct gyre__task *task);

/* Ends the task's wait, if it is waiting. Never runs Lua. */
void gyre__task_ready(struct gyre__task *task);

/* Ends its wait, and every later one, with false; a transfer it waits for is cancelled. */
void gyre__task_cancel(struct gyre__task *task);

/* Resumes those that are ready now, not those that become ready meanwhile. Returns whether any are left. */
int gyre__tasks_run(struct gyre__net *net);

/* Wakes all that sleep, with false. */
void gyre__tasks_wake_sleepers(struct gyre__net *net);

/* Forgets all, without resuming them. */
void gyre__tasks_drop(struct gyre__net *net);

#endif
