/*
 * The table of attached processes. A process may have several entries (one a handle).
 *
 * Who lives. Within a pid namespace a process is its pid + start time, so that a pid used again is not mistaken for the one
 * that had it. Between namespaces, as containers have them, a pid says nothing: there a process lives for as long as the
 * segment's file has a lock on the byte of its entry, which the kernel takes away when nobody has the file open any more (an
 * "open file description lock", see fcntl(2): unlike the older ones they do not get lost when the process closes another
 * descriptor of the file; forked children share them, and their near ones tell which of them is dead).
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

#define UNKNOWN_START 1u       /* the process could not read its own */
#define LOCKS ((off_t)1 << 40) /* where in the file: past its end */
#define NO_LOCK UINT64_C(0x6b636f6c206f6e00) /* nothing that damage leaves: whoever says so is given the benefit of the doubt */

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

enum held { HELD, NOT_HELD, BY_ANOTHER, UNKNOWN };

/* fcntl's command on the bytes of so many entries; UNKNOWN: there is no file, or its file system has no such locks. */
static enum held on_bytes(const struct gyre_pool *pool, uint32_t first, uint32_t count, int command, short type)
{
    struct flock bytes = {.l_type = type, .l_whence = SEEK_SET, .l_start = LOCKS + first, .l_len = count};
    int fd = gyre__mapping_file(pool->mapping);
    if (fd < 0) return UNKNOWN;
    if (fcntl(fd, command, &bytes) < 0) return errno == EAGAIN || errno == EACCES ? BY_ANOTHER : UNKNOWN;
    return command == F_OFD_GETLK ? (bytes.l_type == F_UNLCK ? NOT_HELD : BY_ANOTHER) : HELD;
}

void gyre__process_let_go(const struct gyre_pool *pool, uint32_t process)
{
    on_bytes(pool, process, 1, F_OFD_SETLK, F_UNLCK);
}

/* Whether anybody that does not share our open file lives. */
bool gyre__process_any_held(const struct gyre_pool *pool)
{
    return on_bytes(pool, 0, MAX_PROCESSES, F_OFD_GETLK, F_WRLCK) == BY_ANOTHER;
}

/* Our own pid, start time and pid namespace, as far as /proc has told them: it may be out of reach since (chroot). */
static struct {
    uint32_t pid, space;
    uint64_t started;
} self;

static void know_self(void)
{
    struct stat st;
    uint32_t pid = (uint32_t)getpid(), space = stat("/proc/self/ns/pid", &st) == 0 ? (uint32_t)st.st_ino : 0;
    bool anew = load_acquire(&self.pid) != pid || (space && space != load_relaxed(&self.space));
    if (!anew) return;
    uint64_t started;
    store_relaxed(&self.space, space);
    store_relaxed(&self.started, look_up(pid, &started) == FOUND ? started : UNKNOWN_START);
    store_release(&self.pid, pid);
}

uint32_t gyre__pid_space(void)
{
    know_self();
    return load_relaxed(&self.space);
}

/* Another handle of this process. */
static bool is_ours(const struct process_entry *entry)
{
    know_self();
    return load_relaxed(&entry->pid) == load_relaxed(&self.pid) && load_relaxed(&entry->started) == load_relaxed(&self.started);
}

/* When in doubt a process lives: a dead one taken for living costs time, the reverse damages what it works on. */
bool gyre__process_alive(const struct gyre_pool *pool, uint32_t process)
{
    if (process == pool->process) return true;
    if (process >= MAX_PROCESSES) return false;
    const struct process_entry *entry = &pool->processes[process];
    uint32_t state = load_acquire(&entry->state);
    if (state != PROCESS_ALIVE && state != PROCESS_LEAVING) return false;
    if (is_ours(entry)) return true;
    if (load_relaxed(&entry->pid_space) != load_relaxed(&self.space)) /* is_ours() has just seen to it */
        return load_relaxed(&entry->locked) == NO_LOCK || on_bytes(pool, process, 1, F_OFD_GETLK, F_WRLCK) != NOT_HELD;
    uint32_t pid = load_relaxed(&entry->pid);
    if (kill((pid_t)pid, 0) < 0 && errno == ESRCH) return false;
    uint64_t now, then = load_relaxed(&entry->started);
    enum found found = look_up(pid, &now);
    if (found == GONE) return false;
    return found == UNREADABLE || then == UNKNOWN_START || now == then;
}

/* The entry becomes ours, if nobody uses it, or its process died while it took it. */
static bool take(struct gyre_pool *pool, uint32_t i)
{
    struct process_entry *entry = &pool->processes[i];
    uint32_t pid = load_relaxed(&entry->pid);
    if (load_acquire(&entry->state) != PROCESS_FREE) return false;
    if (pid && !(kill((pid_t)pid, 0) < 0 && errno == ESRCH)) return false;
    enum held held = on_bytes(pool, i, 1, F_OFD_SETLK, F_WRLCK); /* before the pid: one of another namespace may be at it */
    if (held == BY_ANOTHER || !compare_swap(&entry->pid, &pid, (uint32_t)getpid())) return false;
    store_relaxed(&entry->pid_space, gyre__pid_space());
    store_relaxed(&entry->started, load_relaxed(&self.started));
    store_relaxed(&entry->locked, held == HELD ? UINT64_C(1) : NO_LOCK);
    store_relaxed(&entry->incarnation, load_relaxed(&entry->incarnation) + 1);
    store_release(&entry->state, (uint32_t)PROCESS_ALIVE);
    return true;
}

int gyre__process_register(struct gyre_pool *pool)
{
    uint32_t i = 0;
    gyre__mapping_lock(); /* threads of ours have the same locks */
    gyre__mapping_part(pool->mapping);
    while (i < MAX_PROCESSES && !take(pool, i)) i++;
    gyre__mapping_unlock();
    if (i == MAX_PROCESSES) return gyre__fail(GYRE_EFULL, "%u handles of the file are open already", MAX_PROCESSES);
    pool->process = i;
    pool->lock_word = gyre__lock_word(pool, i);
    return 0;
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
    gyre__mapping_lock();
    uint32_t pid = (uint32_t)getpid();
    store_release(&entry->state, (uint32_t)(settled ? PROCESS_FREE : PROCESS_DEAD));
    if (settled) compare_swap(&entry->pid, &pid, 0u); /* nobody near takes the entry while our pid stands in it, */
    gyre__process_let_go(pool, pool->process);        /* and nobody far while it is locked */
    gyre__mapping_unlock();
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
