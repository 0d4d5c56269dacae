/*
 * Timed work, done on the way through acquire by whoever is first to see a new tenth of a second. There is no
 * background thread: a pool nobody uses needs nothing done.
 */
#include "pool.h"

#define REAP_EVERY 10u /* stamps between two looks for dead processes */
#define SWEEPS 10u     /* every chunk of the lease table is looked at once in so many ticks */

/* Once a second: the wall clock for the next reboot, and processes that have died. */
static void reap(struct gyre_pool *pool, uint32_t stamp)
{
    store_relaxed(&pool->control->reap, stamp + REAP_EVERY);
    gyre__score_prior(pool);
    if (pool->clock == GYRE_CLOCK_SYSTEM) {
        store_relaxed(&pool->control->seen_ms, gyre__clock_ms(pool));
        store_relaxed(&pool->control->seen_realtime_ms, gyre__clock_realtime_ms());
    }
    if (gyre__process_find_dead(pool)) gyre__settle(pool);
}

/* The lock is tried only: a tick is never worth a wait. But a dead holder would stop all ticks. */
static bool lock(struct gyre_pool *pool, uint32_t stamp)
{
    if (gyre__trylock(pool)) return true;
    uint32_t owner = load_relaxed(&pool->control->lock);
    if (stamp < load_relaxed(&pool->control->reap) || !gyre__lock_abandoned(pool, owner)) return false;
    gyre__lock(pool);
    return true;
}

void gyre__tick(struct gyre_pool *pool, uint32_t stamp)
{
    struct segment_control *control = pool->control;
    uint32_t seen = load_relaxed(&control->tick);
    if (seen >= stamp && seen - stamp < 36000) return; /* another thread's clock is ahead by a little */
    store_relaxed(&control->bucket, stamp / pool->bucket_width + 1);
    if (!compare_swap(&control->tick, &seen, stamp) || !lock(pool, stamp)) return;
    if (load_relaxed(&control->due) <= stamp) gyre__health_due(pool, stamp);
    if (load_relaxed(&control->due_paced) <= stamp) gyre__limit_due_paced(pool, stamp);
    if (load_relaxed(&control->due_mortal) <= stamp) gyre__limit_due_mortal(pool, stamp);
    if (load_relaxed(&control->bans)) gyre__ban_due(pool, stamp);
    if (load_relaxed(&control->hosts)) gyre__host_due(pool, stamp);
    uint32_t chunks = load_relaxed(&control->chunks), reap_at = load_relaxed(&control->reap);
    bool late = stamp > reap_at || reap_at > stamp + REAP_EVERY;
    gyre__lease_expire(pool, stamp, late ? chunks : chunks / SWEEPS + 1);
    if (stamp >= reap_at || reap_at > stamp + REAP_EVERY) reap(pool, stamp);
    gyre__unlock(pool);
}
