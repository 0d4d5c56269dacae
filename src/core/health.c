/*
 * The breaker. closed -> open after `breaker_failures` proxy failures in a row; open -> half-open when the bench is over;
 * half-open -> closed by a probe that succeeds, -> open for longer by one that fails. Owns slot_health, the flags, and the
 * two bitmaps made of them: eligible, and benched, which is set from the first bench until the breaker is closed, so that the
 * eligible among the benched are the half-open. Views ask it without the lock; it is only ever wrong while the slot is not
 * eligible or, for a moment, half-open and being enabled, and what was picked by it is held against the flags when the lease
 * starts. Backoff with full jitter: M. Brooker, "Exponential Backoff And Jitter", 2015.
 */
#include "pool.h"

#include <math.h>

bool gyre__health_wanted(struct gyre_pool *pool, uint32_t slot)
{
    uint32_t flags = load_acquire(&pool->slots[slot].flags);
    if ((flags & (SLOT_LIVE | SLOT_OUT)) != SLOT_LIVE) return false;
    if (!(flags & SLOT_LIMITED)) return true;
    uint32_t limit = load_relaxed(&pool->labels[slot].max_active);
    if (limit && use_active(load_acquire(&pool->slots[slot].use)) >= limit) return false;
    return gyre__limit_open(pool, slot);
}

/*
 * Makes the eligible bit what flags and limit say. Whoever changes either calls this afterwards, and looks again after
 * having written the bit; so the last to look has seen the last change, and the bit ends up right.
 */
void gyre__health_refresh(struct gyre_pool *pool, uint32_t slot)
{
    bool want = gyre__health_wanted(pool, slot), again;
    do {
        if (want && !bits_test(&pool->eligible, slot)) {
            gyre__least_returned(pool, slot);
            bits_set(&pool->eligible, slot);
        } else if (!want) bits_clear(&pool->eligible, slot);
        again = gyre__health_wanted(pool, slot) != want;
        want = !want;
    } while (again);
}

void gyre__health_refresh_all(struct gyre_pool *pool)
{
    for (uint32_t slot = bits_next(&pool->live, 0); slot != NO_BIT; slot = bits_next(&pool->live, slot + 1))
        gyre__health_refresh(pool, slot);
    for (uint32_t slot = bits_next(&pool->eligible, 0); slot != NO_BIT; slot = bits_next(&pool->eligible, slot + 1))
        gyre__health_refresh(pool, slot);
}

static void change_flags(struct gyre_pool *pool, uint32_t slot, uint32_t clear, uint32_t set)
{
    uint32_t *word = &pool->slots[slot].flags, flags = load_relaxed(word);
    while (!compare_swap(word, &flags, (flags & ~clear) | set)) {}
    gyre__health_refresh(pool, slot);
}

/* Of one that is benched the bench is interrupted, not ended: `until` stays, for when the probe says nothing. */
static bool take_probe_benched(struct gyre_pool *pool, uint32_t slot, uint32_t flags)
{
    gyre__lock(pool);
    uint32_t next = (flags & ~(uint32_t)SLOT_OPEN) | SLOT_HALF | SLOT_PROBE;
    bool taken = compare_swap(&pool->slots[slot].flags, &flags, next);
    gyre__unlock(pool);
    return taken;
}

bool gyre__health_take_probe(struct gyre_pool *pool, uint32_t slot, uint32_t flags)
{
    if (flags & SLOT_OPEN) return take_probe_benched(pool, slot, flags);
    if (!compare_swap(&pool->slots[slot].flags, &flags, flags | SLOT_PROBE)) return false;
    gyre__health_refresh(pool, slot);
    return true;
}

/* A probe said nothing: the next lease is one again; or, when its bench was interrupted for it, the bench goes on. For
 * that the caller holds the segment lock; otherwise it need not. */
void gyre__health_probe_back(struct gyre_pool *pool, uint32_t slot)
{
    uint32_t until = load_relaxed(&pool->health[slot].until);
    if (until <= clock_stamp(pool)) {
        change_flags(pool, slot, SLOT_PROBE, 0);
        return;
    }
    change_flags(pool, slot, SLOT_HALF | SLOT_PROBE, SLOT_OPEN);
    if (until < load_relaxed(&pool->control->due)) store_relaxed(&pool->control->due, until);
}

static void bench(struct gyre_pool *pool, uint32_t slot, uint32_t stamp)
{
    const struct segment_config *config = &pool->header->config;
    struct slot_health *health = &pool->health[slot];
    uint32_t doublings = health->opened < 32 ? health->opened : 32;
    double range = fmin(ldexp(config->breaker_base, (int)doublings), config->breaker_max);
    uint32_t stamps = (uint32_t)ceil(random_unit(&pool->control->random) * range * 10.0);
    store_relaxed(&health->until, stamp + (stamps ? stamps : 1));
    store_relaxed(&health->opened, health->opened + 1);
    change_flags(pool, slot, SLOT_HALF | SLOT_PROBE, SLOT_OPEN);
    bits_set(&pool->benched, slot);
    if (health->until < load_relaxed(&pool->control->due)) store_relaxed(&pool->control->due, health->until);
}

void gyre__health_failure(struct gyre_pool *pool, uint32_t slot, bool probe, uint32_t stamp)
{
    struct segment_control *control = pool->control;
    struct gyre_slot *hot = &pool->slots[slot];
    uint32_t flags = load_relaxed(&hot->flags), row = load_relaxed(&hot->consecutive_failures) + 1;
    store_relaxed(&hot->consecutive_failures, row);
    if (flags & SLOT_HALF) {
        if (probe && flags & SLOT_PROBE) bench(pool, slot, stamp);
        return;
    }
    if (flags & SLOT_OPEN || row < pool->header->config.breaker_failures) return;
    if (control->benched + 1 > pool->header->config.max_benched * control->live) {
        store_relaxed(&control->bench_refused, control->bench_refused + 1);
        return;
    }
    store_relaxed(&control->benched, control->benched + 1);
    bench(pool, slot, stamp);
}

void gyre__health_success(struct gyre_pool *pool, uint32_t slot, bool probe)
{
    struct gyre_slot *hot = &pool->slots[slot];
    store_relaxed(&hot->consecutive_failures, 0u);
    if (!probe || !(load_relaxed(&hot->flags) & SLOT_HALF)) return;
    store_relaxed(&pool->health[slot].opened, 0u);
    store_relaxed(&pool->health[slot].until, 0u);
    store_relaxed(&pool->control->benched, pool->control->benched - 1);
    bits_clear(&pool->benched, slot); /* before it is eligible again */
    change_flags(pool, slot, SLOT_HALF | SLOT_PROBE, 0);
}

/* Benches that are over become half-open. */
void gyre__health_due(struct gyre_pool *pool, uint32_t stamp)
{
    uint32_t next = UINT32_MAX, steps = 0;
    for (uint32_t slot = bits_next(&pool->benched, 0); slot != NO_BIT && steps <= pool->max_proxies;
         slot = bits_next(&pool->benched, slot + 1), steps++) {
        uint32_t until = load_relaxed(&pool->health[slot].until);
        if (!(load_relaxed(&pool->slots[slot].flags) & SLOT_OPEN)) continue; /* half-open already */
        if (until <= stamp) change_flags(pool, slot, SLOT_OPEN, SLOT_HALF);
        else if (until < next) next = until;
    }
    store_relaxed(&pool->control->due, next);
}

/* Takes the slot out of the counts of states; clears what the breaker knew. Caller holds the lock. */
static void forget_bench(struct gyre_pool *pool, uint32_t slot)
{
    if (load_relaxed(&pool->slots[slot].flags) & (SLOT_OPEN | SLOT_HALF))
        store_relaxed(&pool->control->benched, pool->control->benched - 1);
    bits_clear(&pool->benched, slot);
    store_relaxed(&pool->health[slot].opened, 0u);
    store_relaxed(&pool->health[slot].until, 0u);
    store_relaxed(&pool->slots[slot].consecutive_failures, 0u);
}

void gyre__health_forget(struct gyre_pool *pool, uint32_t slot)
{
    forget_bench(pool, slot);
}

static int switch_to(struct gyre_pool *pool, uint64_t id, uint32_t set)
{
    int bad = begin_call(pool);
    if (bad) return bad;
    gyre__lock(pool);
    uint32_t slot = slot_of_id(pool, id);
    if (slot != NO_BIT) {
        uint32_t clear = SLOT_DISABLED | SLOT_DRAINING;
        if (!set) {
            /* To those who ask for a state it comes back, though it may have been eligible as half-open all the time. */
            if (load_relaxed(&pool->slots[slot].flags) & SLOT_HALF) gyre__least_returned(pool, slot);
            forget_bench(pool, slot);
            clear |= SLOT_OPEN | SLOT_HALF | SLOT_PROBE;
        }
        change_flags(pool, slot, clear, set);
    }
    gyre__unlock(pool);
    if (slot == NO_BIT) return gyre__fail(GYRE_ENOT_FOUND, "no proxy with id %llu", (unsigned long long)id);
    return 0;
}

GYRE_API int gyre_pool_disable(struct gyre_pool *pool, uint64_t id)
{
    return switch_to(pool, id, SLOT_DISABLED);
}

GYRE_API int gyre_pool_drain(struct gyre_pool *pool, uint64_t id)
{
    return switch_to(pool, id, SLOT_DRAINING);
}

GYRE_API int gyre_pool_enable(struct gyre_pool *pool, uint64_t id)
{
    return switch_to(pool, id, 0);
}

/* ---- for books.c ---- */

void gyre__health_read(const struct gyre_pool *pool, uint32_t slot, uint32_t stamp, struct gyre_books *books)
{
    uint32_t flags = load_relaxed(&pool->slots[slot].flags), until = load_relaxed(&pool->health[slot].until);
    books->opened = load_relaxed(&pool->health[slot].opened);
    books->bench_left = flags & SLOT_HALF ? 0 : -1;
    if (flags & SLOT_OPEN) books->bench_left = until > stamp ? (until - stamp) / 10.0 : 0;
}

/* Caller holds the lock. */
void gyre__health_restore(struct gyre_pool *pool, uint32_t slot, uint32_t stamp, const struct gyre_books *books)
{
    struct segment_control *control = pool->control;
    uint32_t set = books->state == GYRE_DISABLED ? SLOT_DISABLED : books->state == GYRE_DRAINING ? SLOT_DRAINING : 0;
    double most = pool->header->config.breaker_max;
    forget_bench(pool, slot);
    store_relaxed(&pool->slots[slot].consecutive_failures, books->consecutive_failures);
    if (books->bench_left >= 0) {
        store_relaxed(&pool->health[slot].opened, books->opened);
        store_relaxed(&control->benched, control->benched + 1);
        set |= books->bench_left > 0 ? SLOT_OPEN : SLOT_HALF;
        bits_set(&pool->benched, slot);
    }
    if (set & SLOT_OPEN) store_relaxed(&pool->health[slot].until, stamp + (uint32_t)ceil(fmin(books->bench_left, most) * 10 - 0.01));
    change_flags(pool, slot, SLOT_DISABLED | SLOT_DRAINING | SLOT_OPEN | SLOT_HALF | SLOT_PROBE, set);
    if (!(set & SLOT_OPEN)) return;
    if (pool->health[slot].until < load_relaxed(&control->due)) store_relaxed(&control->due, pool->health[slot].until);
}
