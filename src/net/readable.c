/*
 * readable.c: a task's wait for input on a descriptor: a terminal, a pipe. It is a sleep that input ends early.
 * Owns the poll handle of the wait, which lives no longer than the wait does.
 */
#include "task.h"

#include <fcntl.h>
#include <stdlib.h>

#include "net.h"

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

void gyre__task_stop_poll(struct gyre__task *task)
{
    if (!task->poll) return;
    uv_close((uv_handle_t *)task->poll, free_poll);
    task->poll = NULL;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct gyre__task *task = poll->data;
    (void)status, (void)events; /* an error and the end of input are for read() to tell */
    task->readable = 1;
    uv_poll_stop(poll);
    gyre__task_ready(task);
}

/* libuv makes the descriptor non-blocking, and with it everybody's who shares it, the shell's too: that is taken back.
 * Returns 0, or -1 for what cannot be waited for, a regular file. */
static int start_poll(struct gyre__task *task, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    uv_poll_t *poll = malloc(sizeof *poll);

    if (!poll || uv_poll_init(&task->net->loop, poll, fd) < 0) {
        free(poll);
        return -1;
    }
    fcntl(fd, F_SETFL, flags);
    poll->data = task;
    task->poll = poll;
    return uv_poll_start(poll, UV_READABLE | UV_DISCONNECT, on_poll);
}

int gyre__task_readable(struct gyre__task *task, int fd, double seconds)
{
    task->readable = task->wakeable = 0;
    if (start_poll(task, fd) == 0) return gyre__task_sleep(task, seconds);
    gyre__task_stop_poll(task);
    lua_pushboolean(task->co, 1); /* a read will not wait, or will tell what is wrong */
    return 1;
}
