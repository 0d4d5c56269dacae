/*
 * Native pickers. Each is given a view and names a slot, with the condition under which the lease may start: exact
 * pickers let the start itself decide between two threads that chose the same proxy.
 */
#ifndef GYRE_PICK_H
#define GYRE_PICK_H

#include "view.h"

/* Start only if (use & mask) == value. mask 0: in any case. */
struct commit {
    uint64_t mask, value;
};

struct pick {
    const struct gyre_request *request; /* may be NULL */
    struct thread *thread;
    struct view *view;
    struct commit commit;
    uint64_t host; /* hash of the request's host, 0 without one or when it has no bans */
    bool marked;   /* excludes are in thread->excluded */
};

/* pick.c. A slot, or NO_BIT. Lock-free. */
void gyre__pick_begin(struct gyre_pool *pool, struct pick *pick);
uint32_t gyre__pick(struct gyre_pool *pool, struct pick *pick, uint32_t picker);
void gyre__pick_end(struct gyre_pool *pool, struct pick *pick);
/* Uniform over the view's eligible slots that are not excluded. */
uint32_t gyre__pick_random(struct gyre_pool *pool, const struct pick *pick);
bool gyre__pick_excluded(const struct gyre_pool *pool, const struct pick *pick, uint32_t slot);
/* Why nothing was picked, when trying ended with `result`: sets the detail and returns GYRE_ENO_PROXY or GYRE_EBUSY. */
int gyre__pick_failed(struct gyre_pool *pool, const struct gyre_request *request, int result);

static inline bool pick_takes(const struct gyre_pool *pool, const struct pick *pick, uint32_t slot)
{
    if (likely(!pick->host && (!pick->request || !pick->request->exclude_count))) return true;
    return !gyre__pick_excluded(pool, pick, slot);
}

/* pick_least.c */
uint32_t gyre__pick_least_used(struct gyre_pool *pool, struct pick *pick);
uint32_t gyre__pick_least_active(struct gyre_pool *pool, struct pick *pick);

/* pick_score.c */
uint32_t gyre__pick_best(struct gyre_pool *pool, struct pick *pick);
uint32_t gyre__pick_weighted(struct gyre_pool *pool, struct pick *pick);
uint32_t gyre__pick_hash(struct gyre_pool *pool, struct pick *pick);
/* Up to `want` different random slots; how many. */
uint32_t gyre__pick_distinct(struct gyre_pool *pool, const struct pick *pick, uint32_t want, uint32_t *slots);

/* The common case of round-robin, by its rule in pick.c: all proxies, none excluded, and the next eligible slot is not
 * beyond the end. NO_BIT otherwise. */
static inline uint32_t pick_round_robin(struct gyre_pool *pool)
{
    uint64_t *word = &pool->cursors[0].cursor, cursor = load_relaxed(word);
    uint32_t slot;
    do {
        slot = bits_next(&pool->eligible, (uint32_t)cursor);
        if (unlikely(slot == NO_BIT || !cursor)) return NO_BIT;
    } while (!compare_swap(word, &cursor, ((cursor >> 32) + 1) << 32 | (slot + 1)));
    return slot;
}

#endif
