/*
 * Native pickers. Each is given a view and names a slot, with the condition under which the lease may start: exact
 * pickers let the start itself decide between two threads that chose the same proxy.
 */
#ifndef GYRE_PICK_H
#define GYRE_PICK_H

#include "view.h"

#include <math.h>

#define FEW_PROXIES 8u /* so many are all compared by the best of a few */

#define PREFETCH_FROM 4096u /* proxies from which slots are seldom in the cache when they are picked */

/* Are the slots often in memory, or in another core's cache? A thread that is the segment's only one so far has them in its own. */
static inline bool slots_are_far(const struct gyre_pool *pool, uint32_t n)
{
    return unlikely(n > PREFETCH_FROM) || load_relaxed(&pool->control->streams) > 1;
}

struct pick {
    const struct gyre_request *request; /* may be NULL */
    struct thread *thread;
    struct view *view;
    struct commit commit;
    uint64_t host; /* hash of the request's host, 0 without one or when it has no bans */
    bool choosy;   /* the request leaves out some of the view: by host, excludes, success or latency */
    bool weighed;  /* with choosy: those of weight 0 are left out too */
    bool marked;   /* excludes are in thread->excluded */
    uint32_t glances; /* candidates compared with the excludes one by one */
    uint32_t turn;    /* so many countries of the request were asked before the view's */
    uint32_t lost;    /* proxies that another thread took between pick and start */
};

/* pick.c. A slot, or NO_BIT. Lock-free. */
void gyre__pick_begin(struct gyre_pool *pool, struct pick *pick);
uint32_t gyre__pick(struct gyre_pool *pool, struct pick *pick, uint32_t picker);
void gyre__pick_end(struct gyre_pool *pool, struct pick *pick);
/* Uniform over the view's eligible slots that are not excluded. */
uint32_t gyre__pick_random(struct gyre_pool *pool, struct pick *pick);
bool gyre__pick_excluded(const struct gyre_pool *pool, struct pick *pick, uint32_t slot);
/* Does it fall short of what the request asks of success or latency? */
bool gyre__pick_unfit(const struct gyre_pool *pool, const struct gyre_request *request, uint32_t slot);
/* What the request says, or else the segment's strategy where the request leaves the picker to it. */
static inline uint32_t pick_choices(const struct gyre_pool *pool, const struct gyre_request *request)
{
    uint32_t said = request ? request->choices : 0;
    if (!said && (!request || !request->picker)) said = strategy_choices(strategy_bits(pool));
    return said ? said : 3;
}
static inline bool pick_random_ties(const struct gyre_pool *pool, const struct gyre_request *request)
{
    if (request && (request->random_ties || request->picker)) return request->random_ties;
    return strategy_bits(pool) & STRATEGY_TIES;
}
/* The key of the consistent hash: without one it sticks to the host, so that each target sees the same few proxies. */
static inline const char *pick_key(const struct gyre_request *request)
{
    if (!request) return NULL;
    return request->key ? request->key : request->host ? request->host : request->session;
}
/* What a request says beside its labels, its session and how to pick: 0 when that is nothing. */
static inline uint64_t request_wishes(const struct gyre_request *request)
{
    return (uintptr_t)request->host | (request->exclude_count | request->state) | double_bits(request->min_success) |
           double_bits(request->max_ms);
}
static inline uintptr_t request_labels(const struct gyre_request *request)
{
    return (uintptr_t)request->country | (uintptr_t)request->region | (uintptr_t)request->tags;
}
/* Does the request, its host aside, leave out some of a view? Then each candidate is looked at. */
static inline bool request_is_choosy(const struct gyre_request *request)
{
    return request->exclude_count || request->min_success > 0 || request->max_ms > 0;
}

/* Why nothing was picked, when trying ended with `result`: sets the detail and returns GYRE_ENO_PROXY or GYRE_EBUSY. */
int gyre__pick_failed(struct gyre_pool *pool, const struct gyre_request *request, int result);

static inline bool pick_takes(const struct gyre_pool *pool, struct pick *pick, uint32_t slot)
{
    return likely(!pick->choosy) || !gyre__pick_excluded(pool, pick, slot);
}

/* pick_least.c. Begins another lap of the view's list, if it has been worked off and serves again. Lock-free, O(n / 64). */
bool gyre__least_again(const struct gyre_pool *pool, struct view *view);
uint32_t gyre__pick_least_used(struct gyre_pool *pool, struct pick *pick);
uint32_t gyre__pick_least_active(struct gyre_pool *pool, struct pick *pick);

/* pick_score.c */
uint32_t gyre__pick_best(struct gyre_pool *pool, struct pick *pick);
uint32_t gyre__pick_weighted(struct gyre_pool *pool, struct pick *pick);
uint32_t gyre__pick_hash(struct gyre_pool *pool, struct pick *pick);
/* Adds to the first n of `slots` other random ones, any so many as likely, until they are `want` or all there are; how many. */
uint32_t gyre__pick_distinct(struct gyre_pool *pool, struct pick *pick, uint32_t n, uint32_t want, uint32_t *slots);

#endif
