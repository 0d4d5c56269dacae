/*
 * gyre_acquire, and what nearly every call of it comes to: a request that says nothing but how to pick, by a thread that has been
 * here before. Each picker has a function of its own, in which every call of another function comes last: so that none needs
 * registers saved for it, which would be a tenth of all instructions. What is not so simple goes to acquire.c.
 */
#include "acquire.h"
#include "lease.h"
#include "quick.h"

/* A picker's function: the arguments of gyre_acquire where they are, what it has found out behind them. */
#define PLAIN(name)                                                                                                  \
    static __attribute__((noinline)) int name(struct gyre_pool *pool, const struct gyre_request *request,            \
                                              struct gyre_lease *lease, struct thread *thread, uint32_t stamp)
#define LAST static __attribute__((noinline)) int

static const struct commit always;

/* A proxy that was picked, or only drawn, and cannot be leased in the simplest way. */
LAST acquire_picked(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease, struct thread *thread,
                    uint32_t stamp, uint32_t slot)
{
    if (bits_test(&pool->eligible, slot) && gyre__lease_start(pool, thread, slot, stamp, &always, lease) == 0) return 0;
    return gyre__acquire_slowly(pool, request, lease, thread, stamp);
}

LAST acquire_late(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease, struct thread *thread,
                  uint32_t stamp, uint32_t slot)
{
    gyre__lease_retract(pool, thread, slot);
    return gyre__acquire_slowly(pool, request, lease, thread, stamp);
}

LAST acquire_moved(struct gyre_pool *pool, uint32_t slot)
{
    lease_moved(pool, slot, 0, 1);
    return 0;
}

static inline __attribute__((always_inline)) int acquire_slot(struct gyre_pool *pool, const struct gyre_request *request,
                                                              struct gyre_lease *lease, struct thread *thread, uint32_t stamp,
                                                              uint32_t slot)
{
    if (unlikely(slot == NO_BIT)) return gyre__acquire_quickly(pool, request, lease, thread, stamp);
    enum simple result = lease_start_simple(pool, thread, slot, stamp, &always, lease);
    if (likely(result == SIMPLE_DONE)) return 0;
    if (result == SIMPLE_MOVED) return acquire_moved(pool, slot);
    if (result == SIMPLE_LATE) return acquire_late(pool, request, lease, thread, stamp, slot);
    return acquire_picked(pool, request, lease, thread, stamp, slot);
}

PLAIN(acquire_round_robin)
{
    return acquire_slot(pool, request, lease, thread, stamp, quick_turn(pool));
}

PLAIN(acquire_random)
{
    return acquire_slot(pool, request, lease, thread, stamp, quick_draw(pool, thread, NULL));
}

PLAIN(acquire_weighted)
{
    return acquire_slot(pool, request, lease, thread, stamp, quick_weighted(pool, thread, thread->all_view, true));
}

PLAIN(acquire_best)
{
    return acquire_slot(pool, request, lease, thread, stamp, quick_best(pool, thread, NULL, stamp));
}

/* Its place in the list is passed when the start has succeeded: until then, whoever looks again finds it there. */
PLAIN(acquire_least_used)
{
    struct view *view = thread->all_view;
    struct commit commit;
    uint32_t slot = quick_least_used(pool, view, true, &commit);
    enum simple result = SIMPLE_NOT;
    if (likely(slot != NO_BIT)) result = lease_start_simple(pool, thread, slot, stamp, &commit, lease);
    if (unlikely(result == SIMPLE_NOT)) return gyre__acquire_quickly(pool, request, lease, thread, stamp);
    if (unlikely(result == SIMPLE_LATE)) return acquire_late(pool, request, lease, thread, stamp, slot);
    view->level.first = ++view->level.next;
    return likely(result == SIMPLE_DONE) ? 0 : acquire_moved(pool, slot);
}

/* Picker, choices and ties in one word, as in that of the strategy: what a plain request says, or else the strategy's. One that
 * changes only a part of it is rare enough to be taken for scripted; so is one that is wrong. */
static inline uint32_t how_to_pick(const struct gyre_pool *pool, const struct gyre_request *request)
{
    uint32_t bits = strategy_bits(pool);
    if (!request) return bits;
    if (unlikely(request->picker > GYRE_PICK_HASH)) return STRATEGY_SCRIPTED;
    uint32_t said = request->picker | request->choices << STRATEGY_CHOICES_AT | (request->random_ties ? STRATEGY_TIES : 0);
    if (request->picker) return said | (bits & STRATEGY_LOGGED);
    return bits | (unlikely(said) ? STRATEGY_SCRIPTED : 0);
}

GYRE_API int gyre_acquire(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease)
{
    if (unlikely(!pool) || unlikely(!lease)) return gyre__fail(GYRE_EINVALID, "no pool, or no place for a lease");
    if (request && !request_is_plain(request)) return gyre__acquire_other(pool, request, lease);
    uint32_t stamp = clock_stamp(pool); /* first: nothing but the arguments must be kept over the call */
    const struct thread_cache *cache = thread_cache_of(pool);
    const struct segment_control *control = pool->control;
    if (unlikely(!thread_is_known(pool, cache) || load_relaxed(&control->tick) != stamp))
        return gyre__acquire_any(pool, request, lease);
    struct thread *thread = cache->thread;
    uint32_t how = how_to_pick(pool, request);
    if (how == GYRE_PICK_ROUND_ROBIN) return acquire_round_robin(pool, request, lease, thread, stamp);
    if (how == GYRE_PICK_RANDOM) return acquire_random(pool, request, lease, thread, stamp);
    if (how == GYRE_PICK_LEAST_USED) return acquire_least_used(pool, request, lease, thread, stamp);
    if (how == GYRE_PICK_BEST || how == (GYRE_PICK_BEST | 3 << STRATEGY_CHOICES_AT))
        return acquire_best(pool, request, lease, thread, stamp);
    if (how == GYRE_PICK_WEIGHTED) return acquire_weighted(pool, request, lease, thread, stamp);
    if (unlikely(how & (STRATEGY_SCRIPTED | STRATEGY_LOGGED))) return gyre__acquire_any(pool, request, lease);
    return gyre__acquire_quickly(pool, request, lease, thread, stamp); /* with choices, ties, or without a quick form */
}
