/*
 * The segment files this process has mapped, by device and inode. However often a file is opened it is mapped once, and
 * unmapped with the last handle: nginx runs init_by_lua again on every reload, in a new Lua state, before the old one is
 * closed. Handles stay apart (each has its own entry in the table of processes, and its own leases); only the
 * memory and the descriptor are common. A forked child inherits mappings and counts together with the handles they belong to.
 *
 * The descriptor stays open for the locks of process.c, which a process loses when it closes any descriptor of the file: so
 * the file is not opened again, and one thread at a time opens.
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
    int fd;
    uint32_t handles;
};

static struct mapping *mappings;
static uint32_t guard, opening; /* pid of the holder */

/* A pid that is not ours was left by a fork in mid-change; the list is whole at every moment, so we may go on. */
static void lock(uint32_t *word)
{
    uint32_t self = (uint32_t)getpid();
    for (uint32_t tries = 0;; tries++) {
        uint32_t holder = load_relaxed(word);
        if (holder != self && compare_swap(word, &holder, self)) return;
        if (tries < 64) cpu_relax();
        else sched_yield();
    }
}

static void unlock(uint32_t *word)
{
    store_release(word, 0u);
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
        .device = st->st_dev, .inode = st->st_ino, .memory = memory, .size = size, .fd = fd, .handles = 1};
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

/* The file, open for as long as the mapping is there; -1: no file. */
int gyre__mapping_file(const struct mapping *mapping)
{
    return mapping ? mapping->fd : -1;
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
    munmap(mapping->memory, mapping->size);
    close(mapping->fd);
    free(mapping);
}
