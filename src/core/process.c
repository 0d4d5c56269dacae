/*
 * The table of attached processes. A process may have several entries (one a handle).
 *
 * Who lives: a process holds a lock (fcntl) on a byte of the segment's file for each entry of its own, which the kernel takes
 * away when it dies, and which those in other pid namespaces see too. Such locks get lost by accident (any close() of the
 * file in that process, a file system without them), so within one pid namespace a process without the lock is dead only when
 * its pid is too. An entry has pid + start time, so that a pid used again is not mistaken for the one that had it.
 */
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNKNOWN_START 1u     /* the process could not read its own */
#define LOCKS ((off_t)1 << 40) /* where in the file: past its end */

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

/* The byte of an entry: fcntl's command and kind of lock. 0, or -1 with errno; `type` is what F_GETLK found. */
static int on_byte(const struct gyre_pool *pool, uint32_t process, int command, short *type)
{
    struct flock byte = {.l_type = *type, .l_whence = SEEK_SET, .l_start = LOCKS + process, .l_len = 1};
    int result = fcntl(gyre__mapping_file(pool->mapping), command, &byte);
    *type = byte.l_type;
    return result;
}

enum held { HELD, NOT_HELD, BY_ANOTHER };

/* Takes the byte. NOT_HELD: there is no file, or its file system has no locks. */
static enum held hold(const struct gyre_pool *pool, uint32_t process)
{
    short type = F_WRLCK;
    if (on_byte(pool, process, F_SETLK, &type) == 0) return HELD;
    return errno == EAGAIN || errno == EACCES ? BY_ANOTHER : NOT_HELD;
}

static void let_go(const struct gyre_pool *pool, uint32_t process)
{
    short type = F_UNLCK;
    on_byte(pool, process, F_SETLK, &type);
}

/* Whether another process holds the byte: not the one that asks. */
static bool is_held(const struct gyre_pool *pool, uint32_t process)
{
    short type = F_WRLCK;
    return on_byte(pool, process, F_GETLK, &type) == 0 && type != F_UNLCK;
}

/* Our pid namespace, which a process never changes; 0: not known. */
uint32_t gyre__pid_space(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? (uint32_t)st.st_ino : 0;
}

/* Whether the pid of an entry says something to us. Both unknown: as if it did. */
static bool is_near(const struct process_entry *entry)
{
    return load_relaxed(&entry->pid_space) == gyre__pid_space();
}

/* When in doubt a process lives: a dead one taken for living costs time, the reverse damages what it works on. */
bool gyre__process_alive(const struct gyre_pool *pool, uint32_t process)
{
    if (process == pool->process) return true;
    if (process >= MAX_PROCESSES) return false;
    const struct process_entry *entry = &pool->processes[process];
    uint32_t state = load_acquire(&entry->state);
    if (state != PROCESS_ALIVE && state != PROCESS_LEAVING) return false;
    if (is_held(pool, process)) return true;
    if (!is_near(entry)) return !load_relaxed(&entry->locked);
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
        enum held held = hold(pool, i);
        if (held == BY_ANOTHER || !compare_swap(&entry->pid, &pid, self)) continue;
        uint64_t started;
        if (look_up(self, &started) != FOUND) started = UNKNOWN_START;
        store_relaxed(&entry->started, started);
        store_relaxed(&entry->pid_space, gyre__pid_space());
        store_relaxed(&entry->locked, (uint64_t)(held == HELD));
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
    store_release(&entry->locked, (uint64_t)0); /* or it would look dead in between */
    let_go(pool, pool->process);                /* before another thread of ours can take the entry */
    store_release(&entry->state, (uint32_t)(settled ? PROCESS_FREE : PROCESS_DEAD));
    if (settled) store_release(&entry->pid, 0u); /* last: nobody takes the entry while our pid stands in it */
}

bool gyre__process_find_dead(struct gyre_pool *pool)
{
    bool any = false;
    if (load_acquire(pool->here)) hold(pool, pool->process); /* anew, should it have got lost */
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
