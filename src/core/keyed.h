/*
 * keyed.h: bounded tables of records beside tables of 64-bit keys (0: free), in the segment. A key stands within WAYS places of
 * where it belongs, two cache lines, and is never moved: so readers need no lock, and a removed one leaves nothing behind. A
 * record is written before its key and cleared after it. When the table is full, what ends soonest makes room.
 */
#ifndef GYRE_KEYED_H
#define GYRE_KEYED_H

#include "pool.h"

#define WAYS 16u

/* One of the two tables, of a pool: made where it is needed. */
struct keyed {
    struct gyre_pool *pool;
    uint64_t *keys;
    char *records;
    size_t size;             /* of a record, bytes */
    size_t until;            /* where in it the uint32_t is that says when it ends */
    uint32_t mask, most;     /* places - 1; records at once */
    uint32_t *count, *sweep; /* in the control block: records there are, and where a sweep has come to */
    void (*undo)(struct gyre_pool *pool, uint32_t at); /* before a record goes; NULL: there is nothing to undo */
};

static inline uint32_t keys_home(uint64_t key, uint32_t mask)
{
    return (uint32_t)key & mask & ~7u;
}

/* Where the key stands, or NO_BIT. Lock-free. */
static inline uint32_t keys_find(const uint64_t *keys, uint32_t mask, uint64_t key)
{
    uint32_t home = keys_home(key, mask);
    for (uint32_t i = 0; i < WAYS; i++)
        if (load_acquire(&keys[(home + i) & mask]) == key) return (home + i) & mask;
    return NO_BIT;
}

/* Whether the key at this place can be found there. */
static inline bool keys_in_place(const uint64_t *keys, uint32_t mask, uint32_t at)
{
    return ((at - keys_home(keys[at], mask)) & mask) < WAYS && keys_find(keys, mask, keys[at]) == at;
}

/* For these the caller holds the segment lock. */
uint32_t gyre__keyed_place(const struct keyed *table, uint64_t key); /* for a new record, which is zero; may drop others */
void gyre__keyed_publish(const struct keyed *table, uint32_t at, uint64_t key); /* the record is written */
void gyre__keyed_drop(const struct keyed *table, uint32_t at);
void gyre__keyed_wipe(const struct keyed *table, uint32_t at); /* as drop, of what is unsound: undoes and counts nothing */

#endif
