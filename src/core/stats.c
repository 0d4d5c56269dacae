/*
 * Sums over the pool, and setting them back.
 */
#include "pool.h"

#include <math.h>

GYRE_API int gyre_pool_stats(struct gyre_pool *pool, struct gyre_stats *stats)
{
    if (!pool) return gyre__fail(GYRE_EINVALID, "no pool");
    if (!stats || stats->size < sizeof *stats) return gyre__fail(GYRE_EINVALID, "no stats, or their size is not set");
    *stats = (struct gyre_stats){.size = stats->size,
                                 .proxies = load_relaxed(&pool->control->live),
                                 .eligible = gyre__bits_count(&pool->eligible),
                                 .bench_refused = load_relaxed(&pool->control->bench_refused),
                                 .ban_refused = load_relaxed(&pool->control->ban_refused),
                                 .ban_blamed = load_relaxed(&pool->control->ban_blamed)};
    for (uint32_t slot = bits_next(&pool->live, 0); slot != NO_BIT; slot = bits_next(&pool->live, slot + 1)) {
        const struct gyre_slot *hot = &pool->slots[slot];
        struct counters counters;
        uint32_t flags = load_relaxed(&hot->flags);
        if (flags & SLOT_DISABLED) stats->disabled++;
        else if (flags & SLOT_DRAINING) stats->draining++;
        else if (flags & SLOT_OPEN) stats->benched++;
        else if (flags & SLOT_HALF) stats->half_open++;
        gyre__proxy_counters(hot, &counters);
        stats->started += counters.started;
        stats->completed += counters.completed;
        stats->succeeded += counters.succeeded;
        stats->failed += counters.failed;
        stats->aborted += counters.aborted;
        stats->active += counters.active;
    }
    return 0;
}

/* What is in flight stays, as started and not completed. Caller holds the lock, so nobody counts failures meanwhile. */
static void reset(struct gyre_pool *pool, uint32_t slot, uint32_t stamp)
{
    struct gyre_slot *hot = &pool->slots[slot];
    uint64_t use = load_relaxed(&hot->use);
    store_relaxed(&hot->failed, UINT64_C(0));
    store_relaxed(&hot->aborted, UINT64_C(0));
    while (!compare_swap(&hot->use, &use, use_active(use) * USE_START)) {}
    gyre__least_joined(pool, slot);
    store_relaxed((uint64_t *)(void *)&hot->ema_ms, double_bits(NAN));
    store_float(&hot->success_rate, 1.0f);
    store_relaxed(&hot->last_sample, 0u);
    store_relaxed(&pool->health[slot].bytes, UINT64_C(0));
    gyre__window_reset(pool, slot, stamp);
}

GYRE_API int gyre_pool_reset_counters(struct gyre_pool *pool)
{
    int bad = begin_call(pool);
    if (bad) return bad;
    gyre__lock(pool);
    uint32_t stamp = clock_stamp(pool);
    for (uint32_t slot = bits_next(&pool->live, 0); slot != NO_BIT; slot = bits_next(&pool->live, slot + 1))
        reset(pool, slot, stamp);
    gyre__unlock(pool);
    return 0;
}
