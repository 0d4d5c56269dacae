/*
 * The segment files this process has mapped, by device and inode. However often a file is opened it is mapped once, and
 * unmapped with the last handle: nginx runs init_by_lua again on every reload, in a new Lua state, before the old one is
 * closed. Handles stay apart (each has its own entry in the table of processes, and its own leases); only the
 * memory is common. A forked child inherits mappings and counts together with the handles they belong to.
 */
#include "pool.h"

#include <sched.h>
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
    uint32_t handles;
};

static struct mapping *mappings;
static uint32_t guard; /* pid of the holder */

/* A pid that is not ours was left by a fork in mid-change; the list is whole at every moment, so we may go on. */
static void lock(void)
{
    uint32_t self = (uint32_t)getpid();
    for (uint32_t tries = 0;; tries++) {
        uint32_t holder = load_relaxed(&guard);
        if (holder != self && compare_swap(&guard, &holder, self)) return;
        if (tries < 64) cpu_relax();
        else sched_yield();
    }
}

static void unlock(void)
{
    store_release(&guard, 0u);
}

/* The mapping of this file, for one handle more; NULL when this process has none. */
struct mapping *gyre__mapping_find(const struct stat *st)
{
    lock();
    struct mapping *found = mappings;
    while (found && (found->device != st->st_dev || found->inode != st->st_ino)) found = found->next;
    if (found) found->handles++;
    unlock();
    return found;
}

/* Takes over memory that maps this file, for one handle. NULL without memory. The caller has just not found it, under
 * the file's flock. */
struct mapping *gyre__mapping_add(const struct stat *st, void *memory, size_t size)
{
    struct mapping *added = malloc(sizeof *added);
    if (!added) return NULL;
    *added = (struct mapping){.device = st->st_dev, .inode = st->st_ino, .memory = memory, .size = size, .handles = 1};
    lock();
    added->next = mappings;
    store_release(&mappings, added);
    unlock();
    return added;
}

void *gyre__mapping_memory(const struct mapping *mapping, size_t *size)
{
    *size = mapping->size;
    return mapping->memory;
}

/* A handle less. */
void gyre__mapping_drop(struct mapping *mapping)
{
    lock();
    bool last = --mapping->handles == 0;
    if (last) {
        struct mapping **link = &mappings;
        while (*link != mapping) link = &(*link)->next;
        store_release(link, mapping->next);
    }
    unlock();
    if (!last) return;
    munmap(mapping->memory, mapping->size);
    free(mapping);
}
