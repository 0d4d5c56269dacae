/*
 * The table of attached processes. An entry is pid + start time, so that a pid used again is not mistaken for the one
 * that had it. A process may have several entries (one a handle). Liveness is read from /proc.
 */
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Start time of a process in clock ticks since boot; 0 when it is gone, a zombie, or cannot be read. */
static uint64_t start_time(uint32_t pid)
{
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return 0;
    text[n] = 0;
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X') return 0;
    at += 2;
    for (int field = 3; field < 22; field++) {
        at = strchr(at, ' ');
        if (!at) return 0;
        at++;
    }
    return strtoull(at, NULL, 10);
}

bool gyre__process_alive(const struct gyre_pool *pool, uint32_t process)
{
    if (process == pool->process) return true;
    if (process >= MAX_PROCESSES) return false;
    const struct process_entry *entry = &pool->processes[process];
    if (load_acquire(&entry->state) != PROCESS_ALIVE) return false;
    uint32_t pid = load_relaxed(&entry->pid);
    if (kill((pid_t)pid, 0) < 0 && errno == ESRCH) return false;
    uint64_t started = start_time(pid);
    /* /proc may be closed to us (hidepid): then only the signal's answer counts, unless the pid is our own. */
    if (!started) return access("/proc/1/stat", R_OK) != 0 && pid != (uint32_t)getpid();
    return started == load_relaxed(&entry->started);
}

/* Takes an entry nobody uses, or one whose process died while it took it. */
int gyre__process_register(struct gyre_pool *pool)
{
    uint32_t self = (uint32_t)getpid();
    for (uint32_t i = 0; i < MAX_PROCESSES; i++) {
        struct process_entry *entry = &pool->processes[i];
        uint32_t pid = load_relaxed(&entry->pid);
        if (load_acquire(&entry->state) != PROCESS_FREE) continue;
        if (pid && !(kill((pid_t)pid, 0) < 0 && errno == ESRCH)) continue;
        if (!compare_swap(&entry->pid, &pid, self)) continue;
        store_relaxed(&entry->started, start_time(self));
        store_release(&entry->state, (uint32_t)PROCESS_ALIVE);
        pool->process = i;
        return 0;
    }
    return gyre__fail(GYRE_EFULL, "%u processes are attached already", MAX_PROCESSES);
}

/* This handle is closed: what it had in flight is aborted. Takes the segment lock. */
void gyre__process_leave(struct gyre_pool *pool)
{
    gyre__lock(pool);
    store_release(&pool->processes[pool->process].state, (uint32_t)PROCESS_DEAD);
    gyre__settle(pool);
    gyre__unlock(pool);
}

bool gyre__process_find_dead(struct gyre_pool *pool)
{
    bool any = false;
    for (uint32_t i = 0; i < MAX_PROCESSES; i++) {
        struct process_entry *entry = &pool->processes[i];
        uint32_t state = load_acquire(&entry->state);
        if (state == PROCESS_ALIVE && !gyre__process_alive(pool, i)) {
            store_release(&entry->state, (uint32_t)PROCESS_DEAD);
            any = true;
        }
        if (state == PROCESS_DEAD) any = true;
    }
    return any;
}
