/*
 * The segment files this process has mapped, by device and inode. However often a file is opened it is mapped once, and
 * unmapped with the last handle: nginx runs init_by_lua again on every reload, in a new Lua state, before the old one is
 * closed. Handles stay apart (each has its own entry in the table of processes, and its own leases); only the
 * memory and the descriptor are common. A forked child inherits mappings and counts together with the handles they belong to.
 *
 * The descriptor stays open for the locks of process.c, which last as long as the mapping or any copy of the descriptor does.
 * One thread at a time opens.
 */
#include "pool.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct mapping {
    struct mapping *next;
    dev_t device;
    ino_t inode; /* not used again for another file as long as this one is mapped */
    void *memory;
    size_t size;
    int fd;         /* the file; a program that closes all it does not know may have closed it */
    uint32_t space; /* pid namespace of who opened it */
    uint32_t handles;
};

static struct mapping *mappings;
static uint64_t guard, opening; /* who holds it */

/* A holder that is not us was left by a fork in mid-change; the list is whole at every moment, so we may go on. */
static void lock(uint64_t *word)
{
    uint64_t self = (uint64_t)gyre__pid_space() << 32 | (uint32_t)getpid();
    for (uint32_t tries = 0;; tries++) {
        uint64_t holder = load_relaxed(word);
        if (holder != self && compare_swap(word, &holder, self)) return;
        if (tries < 64) cpu_relax();
        else sched_yield();
    }
}

static void unlock(uint64_t *word)
{
    store_release(word, UINT64_C(0));
}

/* Around the opening of a file, from the first look for its mapping until the handle is in use. */
void gyre__mapping_begin(void)
{
    lock(&opening);
}

void gyre__mapping_end(void)
{
    unlock(&opening);
}

/* The mapping of this file, for one handle more; NULL when this process has none. */
struct mapping *gyre__mapping_find(const struct stat *st)
{
    lock(&guard);
    struct mapping *found = mappings;
    while (found && (found->device != st->st_dev || found->inode != st->st_ino)) found = found->next;
    if (found) found->handles++;
    unlock(&guard);
    return found;
}

/* Takes over memory that maps this file, and the descriptor, for one handle. NULL without memory. The caller has just not
 * found it. */
struct mapping *gyre__mapping_add(const struct stat *st, void *memory, size_t size, int fd)
{
    struct mapping *added = malloc(sizeof *added);
    if (!added) return NULL;
    *added = (struct mapping){
        .device = st->st_dev, .inode = st->st_ino, .memory = memory, .size = size, .fd = fd, .handles = 1,
        .space = gyre__pid_space()};
    lock(&guard);
    added->next = mappings;
    store_release(&mappings, added);
    unlock(&guard);
    return added;
}

void *gyre__mapping_memory(const struct mapping *mapping, size_t *size)
{
    *size = mapping->size;
    return mapping->memory;
}

/* The file; -1: there is none, or the descriptor is somebody else's by now. */
int gyre__mapping_file(const struct mapping *mapping)
{
    struct stat st;
    bool ours = mapping && mapping->fd >= 0 && fstat(mapping->fd, &st) == 0 && st.st_dev == mapping->device &&
                st.st_ino == mapping->inode;
    return ours ? mapping->fd : -1;
}

/*
 * Locks belong to whoever shares an open file, so a forked child has its parent's. That is as good as its own as long as the two
 * can tell each other by their pids; a child in a pid namespace of its own opens the file anew, or has no locks.
 */
void gyre__mapping_part(struct mapping *mapping)
{
    char path[32];
    int fd = gyre__mapping_file(mapping);
    if (fd < 0 || mapping->space == gyre__pid_space()) return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    mapping->fd = open(path, O_RDWR | O_CLOEXEC);
    mapping->space = gyre__pid_space();
    close(fd);
}

/* Around what threads of one process must do one at a time. Not held across anything that waits. */
void gyre__mapping_lock(void)
{
    lock(&guard);
}

void gyre__mapping_unlock(void)
{
    unlock(&guard);
}

/* A handle less. */
void gyre__mapping_drop(struct mapping *mapping)
{
    lock(&guard);
    bool last = --mapping->handles == 0;
    if (last) {
        struct mapping **link = &mappings;
        while (*link != mapping) link = &(*link)->next;
        store_release(link, mapping->next);
    }
    unlock(&guard);
    if (!last) return;
    int fd = gyre__mapping_file(mapping);
    if (fd >= 0) close(fd);
    munmap(mapping->memory, mapping->size);
    free(mapping);
}
