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

#define UNKNOWN_START 1u /* the process could not read its own */

enum found { FOUND, GONE, UNREADABLE };

/* The number in field `field` of the text after the name, which is field 2; 0 when there is none. */
static uint64_t stat_field(const char *at, int field)
{
    for (int i = 3; i < field; i++) {
        at = strchr(at, ' ');
        if (!at) return 0;
        at++;
    }
    return strtoull(at, NULL, 10);
}

/*
 * Start time of a process in clock ticks since boot. GONE: there is none, or a zombie; one whose first thread has ended
 * while others work looks like a zombie that has several threads. UNREADABLE (no descriptor left, /proc closed by hidepid)
 * says nothing.
 */
static enum found look_up(uint32_t pid, uint64_t *started)
{
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT && access("/proc/1/stat", F_OK) == 0 ? GONE : UNREADABLE;
    ssize_t n = read(fd, text, sizeof text - 1);
    int error = errno;
    close(fd);
    if (n <= 0) return n < 0 && error == ESRCH ? GONE : UNREADABLE;
    text[n] = 0;
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    if (!at || at[1] != ' ' || !at[2]) return UNREADABLE;
    at += 2;
    if (*at == 'X' || (*at == 'Z' && stat_field(at, 20) <= 1)) return GONE;
    *started = stat_field(at, 22);
    return *started ? FOUND : UNREADABLE;
}

/* When in doubt a process lives: a dead one taken for living costs time, the reverse damages what it works on. */
bool gyre__process_alive(const struct gyre_pool *pool, uint32_t process)
{
    if (process == pool->process) return true;
    if (process >= MAX_PROCESSES) return false;
    const struct process_entry *entry = &pool->processes[process];
    uint32_t state = load_acquire(&entry->state);
    if (state != PROCESS_ALIVE && state != PROCESS_LEAVING) return false;
    uint32_t pid = load_relaxed(&entry->pid);
    if (kill((pid_t)pid, 0) < 0 && errno == ESRCH) return false;
    uint64_t now, then = load_relaxed(&entry->started);
    enum found found = look_up(pid, &now);
    if (found == GONE) return false;
    return found == UNREADABLE || then == UNKNOWN_START || now == then;
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
        uint64_t started;
        if (look_up(self, &started) != FOUND) started = UNKNOWN_START;
        store_relaxed(&entry->started, started);
        store_relaxed(&entry->incarnation, load_relaxed(&entry->incarnation) + 1);
        store_release(&entry->state, (uint32_t)PROCESS_ALIVE);
        pool->process = i;
        pool->lock_word = gyre__lock_word(pool, i);
        return 0;
    }
    return gyre__fail(GYRE_EFULL, "%u processes are attached already", MAX_PROCESSES);
}

/*
 * This handle is closed: what it had in flight is aborted. Takes the segment lock. The entry is given up only when the lock
 * has been: before that a waiter would take it from an owner that it finds dead.
 */
void gyre__process_leave(struct gyre_pool *pool)
{
    struct process_entry *entry = &pool->processes[pool->process];
    gyre__lock(pool);
    store_release(&entry->state, (uint32_t)PROCESS_LEAVING);
    bool settled = gyre__settle(pool);
    gyre__unlock(pool);
    store_release(&entry->state, (uint32_t)(settled ? PROCESS_FREE : PROCESS_DEAD));
    if (settled) store_release(&entry->pid, 0u); /* last: nobody takes the entry while our pid stands in it */
}

bool gyre__process_find_dead(struct gyre_pool *pool)
{
    bool any = false;
    for (uint32_t i = 0; i < MAX_PROCESSES; i++) {
        struct process_entry *entry = &pool->processes[i];
        uint32_t state = load_acquire(&entry->state);
        if ((state == PROCESS_ALIVE || state == PROCESS_LEAVING) && !gyre__process_alive(pool, i)) {
            /* One that was LEAVING may have left, and another have come. */
            if (compare_swap(&entry->state, &state, (uint32_t)PROCESS_DEAD)) any = true;
            else continue;
        }
        if (state == PROCESS_DEAD) any = true;
    }
    return any;
}
