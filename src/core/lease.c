/*
 * Leases: start, complete, expire. An entry of the lease table goes
 *
 *     FREE -> STARTING -> HELD -> ENDING -> FREE     (acquire and complete, by its owner)
 *                          HELD -> ENDING|FOREIGN -> ORPHAN   (deadline passed: by the holder of the lock)
 *
 * and the slot's `use` is changed by one atomic add between STARTING and HELD, and by another after ENDING. So
 * a process killed anywhere leaves either a definite state or one add of which it must be found out whether it
 * happened; settle.c does. The compare-and-swap from HELD to ENDING is what makes a lease end exactly once.
 */
#include "lease.h"
#include "pick.h"

#include <math.h>

#define SUCCESS_ALPHA 0.05f
#define MAX_MS 86400000.0
#define PROBE_TIMEOUT 600u /* stamps: the longest a probe keeps its slot */

static void release_entry(struct gyre_pool *pool, struct thread *thread, uint32_t index, uint64_t word)
{
    store_release(&pool->leases[index].word, lease_word(lease_serial(word) + 1, 0, 0, LEASE_FREE));
    thread->entry[thread->entries++] = index;
    if (unlikely(thread->entries > load_relaxed(&pool->keep))) gyre__entry_spill(pool, thread);
}

/* Takes a start back. Whoever has the place now may have been looked at, with its limit, in between. */
void gyre__lease_undo(struct gyre_pool *pool, uint32_t slot)
{
    fetch_sub(&pool->slots[slot].use, USE_START);
    gyre__health_refresh(pool, slot);
}

/* Takes a simple start back that came too late, and frees its entry: the one that is the thread's next. */
void gyre__lease_retract(struct gyre_pool *pool, const struct thread *thread, uint32_t slot)
{
    struct lease_entry *entry = &pool->leases[thread->entry[thread->entries - 1]];
    gyre__lease_undo(pool, slot);
    store_release(&entry->word, lease_word(lease_serial(load_relaxed(&entry->word)) + 1, 0, 0, LEASE_FREE));
}

/* Counts a start that has conditions: GYRE_EBUSY at the limit, GYRE_ENO_PROXY when `use` is not what the picker saw. */
static int start_checked(struct gyre_pool *pool, uint32_t slot, bool limited, const struct commit *commit)
{
    struct gyre_slot *hot = &pool->slots[slot];
    uint32_t limit = limited ? load_relaxed(&pool->labels[slot].max_active) : 0;
    uint64_t use = load_relaxed(&hot->use);
    do {
        if ((use & commit->mask) != commit->value) return GYRE_ENO_PROXY;
        if (limit && use_active(use) >= limit) {
            gyre__health_refresh(pool, slot);
            return GYRE_EBUSY;
        }
    } while (!compare_swap(&hot->use, &use, use + USE_START));
    if (!limited) {
        if (load_acquire(&hot->flags) & SLOT_LIMITED) gyre__health_refresh(pool, slot); /* set meanwhile */
        return 0;
    }
    enum rate_result rate = gyre__limit_take(pool, slot); /* after `use`: what settle.c undoes is one add */
    if (rate == RATE_EMPTY) {
        gyre__lease_undo(pool, slot);
        return GYRE_EBUSY;
    }
    limit = load_relaxed(&pool->labels[slot].max_active); /* lowered meanwhile? */
    if (rate != RATE_TAKEN || (limit && use_active(use) + 1 >= limit)) gyre__health_refresh(pool, slot);
    return 0;
}

/* Of a lease that did not begin. The lock is for one that may have to go back on the bench. */
static void give_probe_back(struct gyre_pool *pool, uint32_t slot, bool may_be_benched)
{
    if (may_be_benched) gyre__lock(pool);
    gyre__health_probe_back(pool, slot);
    if (may_be_benched) gyre__unlock(pool);
}

/*
 * Leases `slot`. 0, or GYRE_EBUSY (at its limit), GYRE_ENO_PROXY (not eligible any more), GYRE_EFULL. Lock-free.
 */
int gyre__lease_start(struct gyre_pool *pool, struct thread *thread, uint32_t slot, uint32_t stamp, const struct commit *commit,
                      struct gyre_lease *lease)
{
    struct gyre_slot *hot = &pool->slots[slot];
    uint32_t generation = load_acquire(&hot->generation), flags = load_acquire(&hot->flags), bits = LEASE_STARTING;
    uint32_t out = commit->benched ? SLOT_OUT & ~(uint32_t)SLOT_OPEN : SLOT_OUT;
    if (unlikely((flags & (SLOT_LIVE | out)) != SLOT_LIVE)) {
        gyre__health_refresh(pool, slot);
        return GYRE_ENO_PROXY;
    }
    /* A probe is taken by a compare-and-swap from these very flags, and without one it stays no probe: so this decides. */
    if (unlikely(!flags_are_of(flags, commit->state))) return GYRE_ENO_PROXY;
    if (unlikely(!thread->entries) && !gyre__entry_refill(pool, thread)) return GYRE_EFULL;
    uint32_t index = thread->entry[--thread->entries], deadline = stamp + pool->lease_timeout;
    struct lease_entry *entry = &pool->leases[index];
    uint32_t serial = lease_serial(load_relaxed(&entry->word));
    bool probe = flags & (SLOT_HALF | SLOT_OPEN);
    if (unlikely(probe)) {
        bits |= LEASE_PROBE;
        if (pool->lease_timeout > PROBE_TIMEOUT) deadline = stamp + PROBE_TIMEOUT;
    }
    store_relaxed(&entry->deadline, deadline);
    store_release(&entry->word, lease_word(serial, slot, 0, bits));
    if (unlikely(probe) && !gyre__health_take_probe(pool, slot, flags)) {
        release_entry(pool, thread, index, load_relaxed(&entry->word));
        return GYRE_ENO_PROXY;
    }
    window_touch(pool, slot);
    int refused = start_checked(pool, slot, flags & SLOT_LIMITED, commit);
    if (refused) {
        if (probe) give_probe_back(pool, slot, commit->benched);
        release_entry(pool, thread, index, load_relaxed(&entry->word));
        return refused;
    }
    if (unlikely(load_acquire(&hot->generation) != generation)) { /* removed, perhaps used again, in between */
        gyre__lease_undo(pool, slot);
        release_entry(pool, thread, index, load_relaxed(&entry->word));
        return GYRE_ENO_PROXY;
    }
    bits = (bits & ~LEASE_STATE) | LEASE_HELD;
    store_release(&entry->word, lease_word(serial, slot, 0, bits));
    lease_moved(pool, slot, 0, 1);
    if (load_relaxed(&hot->last_used) != stamp) store_relaxed(&hot->last_used, stamp);
    lease->entry = index;
    lease->serial = serial;
    lease_fill(lease, generation, slot);
    return 0;
}

/* ema += alpha * (ms - ema); the first sample initialises it. Lock-free, no sample is lost. */
static inline void add_sample(const struct gyre_pool *pool, struct gyre_slot *hot, double ms)
{
    uint32_t stamp = load_relaxed(&pool->control->tick); /* good enough to age an average by */
    uint64_t *word = (uint64_t *)(void *)&hot->ema_ms, seen = load_relaxed(word), next;
    do {
        double ema;
        __builtin_memcpy(&ema, &seen, sizeof ema);
        next = double_bits(isnan(ema) ? ms : ema + pool->alpha * (ms - ema));
    } while (!compare_swap(word, &seen, next));
    if (load_relaxed(&hot->last_sample) != stamp) store_relaxed(&hot->last_sample, stamp);
}

/* Counts in `failed` or `aborted` so that it can be told afterwards whether it was done. Caller holds the lock. */
static void count(struct lease_entry *entry, uint64_t *counter)
{
    uint64_t next = load_relaxed(counter) + 1;
    store_relaxed(&entry->target, (uint32_t)next);
    store_release(&entry->word, load_relaxed(&entry->word) | LEASE_COUNTED);
    store_release(counter, next);
    store_release(&entry->word, load_relaxed(&entry->word) | LEASE_SETTLED);
}

/* The part of ending that needs the lock: everything but a plain success of a healthy proxy. */
static void finish_locked(struct gyre_pool *pool, struct lease_entry *entry, uint32_t slot, uint32_t verdict,
                          uint32_t stamp)
{
    struct gyre_slot *hot = &pool->slots[slot];
    bool probe = load_relaxed(&entry->word) & LEASE_PROBE;
    if (unlikely(!(load_relaxed(&hot->flags) & SLOT_LIVE))) { /* removed while we waited for the lock */
        store_release(&entry->word, load_relaxed(&entry->word) | LEASE_SETTLED);
        return;
    }
    if (verdict == GYRE_PROXY_BAD || verdict == GYRE_BANNED) count(entry, &hot->failed);
    if (verdict == GYRE_ABORTED) count(entry, &hot->aborted);
    if (verdict == GYRE_PROXY_BAD) {
        float rate = load_float(&hot->success_rate);
        store_float(&hot->success_rate, rate - SUCCESS_ALPHA * rate);
        store_relaxed(&hot->last_sample, stamp);
    }
    if (verdict == GYRE_PROXY_BAD) gyre__health_failure(pool, slot, probe, stamp);
    else if (verdict == GYRE_OK || (probe && verdict != GYRE_ABORTED && verdict != GYRE_BANNED))
        gyre__health_success(pool, slot, probe);
    else if (probe) gyre__health_probe_back(pool, slot);
}

/* An `ok` draws success_rate to 1; close to it, it is 1, and later ones write nothing. */
static void raise_success(struct gyre_slot *hot)
{
    uint32_t *word = (uint32_t *)(void *)&hot->success_rate, seen = load_relaxed(word), next;
    do {
        float rate;
        __builtin_memcpy(&rate, &seen, sizeof rate);
        rate += SUCCESS_ALPHA * (1.0f - rate);
        if (rate > 0.9999999f) rate = 1.0f;
        __builtin_memcpy(&next, &rate, sizeof next);
        if (next == seen) return;
    } while (!compare_swap(word, &seen, next));
}

void gyre__lease_finish(struct gyre_pool *pool, struct lease_entry *entry, const struct ending *ending)
{
    uint64_t word = load_relaxed(&entry->word);
    uint32_t slot = lease_slot(word), verdict = ending->verdict;
    struct gyre_slot *hot = &pool->slots[slot];
    uint32_t flags = load_acquire(&hot->flags);
    bool failed = verdict == GYRE_PROXY_BAD || verdict == GYRE_BANNED || verdict == GYRE_ABORTED;
    if (likely(flags & SLOT_LIVE)) {
        window_touch(pool, slot);
        if (verdict == GYRE_OK) {
            if (ending->has_ms) add_sample(pool, hot, ending->ms);
            if (unlikely(load_float(&hot->success_rate) < 1.0f)) raise_success(hot);
        }
        if (ending->bytes) fetch_add(&pool->health[slot].bytes, ending->bytes);
        if (unlikely(failed || word & LEASE_PROBE || (verdict == GYRE_OK && load_relaxed(&hot->consecutive_failures)))) {
            if (!ending->locked) gyre__lock(pool);
            finish_locked(pool, entry, slot, verdict, clock_stamp(pool));
            if (!ending->locked) gyre__unlock(pool);
        }
    } else if (failed) { /* it was removed: only `active` is left to put right, and settle.c must know */
        store_release(&entry->word, word | LEASE_SETTLED);
    }
    fetch_sub(&hot->use, 1);
    lease_moved(pool, slot, 1, 0);
    /* looked at after the subtraction: a limit that was set before it has seen this lease in flight */
    if (unlikely(load_acquire(&hot->flags) & SLOT_LIMITED)) gyre__health_refresh(pool, slot);
}

static int check_outcome(const struct ending *ending)
{
    if (ending->verdict < GYRE_OK || ending->verdict > GYRE_ABORTED)
        return gyre__fail(GYRE_EINVALID, "%u is no verdict", ending->verdict);
    if (!(ending->retry_after >= 0))
        return gyre__fail(GYRE_EINVALID, "retry_after %g is not a number from 0 up", ending->retry_after);
    if (ending->has_ms && !(ending->ms >= 0 && ending->ms <= MAX_MS)) /* NaN fails both */
        return gyre__fail(GYRE_EINVALID, "latency %g ms is not between 0 and %.0f", ending->ms, MAX_MS);
    return 0;
}

static __attribute__((noinline)) int complete(struct gyre_pool *pool, const struct gyre_lease *lease,
                                              const struct ending *ending)
{
    if (unlikely(!pool || !lease)) return gyre__fail(GYRE_EINVALID, "no pool, or no lease");
    struct thread *thread = thread_get(pool);
    if (unlikely(!thread)) return GYRE_ESYSTEM;
    int bad = check_outcome(ending);
    if (unlikely(bad)) return bad;
    if (unlikely(lease->entry >= pool->max_leases || lease->slot >= pool->max_proxies))
        return gyre__fail(GYRE_EINVALID, "this is no lease of this pool");
    struct lease_entry *entry = &pool->leases[lease->entry];
    uint64_t word = load_acquire(&entry->word);
    uint64_t held = lease_word(lease->serial, lease->slot, 0, LEASE_HELD);
    if (unlikely((word & ~(uint64_t)LEASE_PROBE) != held))
        return gyre__fail(GYRE_ECLOSED, "the lease has already ended, or its deadline has passed");
    if (unlikely(load_relaxed(&pool->chunks[lease->entry / LEASE_CHUNK]) != pool->process + 1))
        return gyre__fail(GYRE_EINVALID, "the lease was taken by another process");
    uint64_t next = lease_word(lease->serial, lease->slot, ending->verdict,
                               LEASE_ENDING | ((uint32_t)word & LEASE_PROBE));
    if (unlikely(!compare_swap(&entry->word, &word, next)))
        return gyre__fail(GYRE_ECLOSED, "the lease has already ended");
    if (ending->host) gyre__host_verdict(pool, lease, ending);
    gyre__lease_finish(pool, entry, ending);
    release_entry(pool, thread, lease->entry, word);
    return 0;
}

/* A lease that a hook gave: it is told how it ended. Others pay for one look at the lease. */
static __attribute__((noinline)) int tell_hook(struct gyre_pool *pool, const struct gyre_lease *lease, const struct ending *ending)
{
    gyre__hook_complete(pool, lease, ending);
    return 0;
}

static int complete_and_tell(struct gyre_pool *pool, const struct gyre_lease *lease, const struct ending *ending)
{
    int result = complete(pool, lease, ending);
    return likely(result || !lease->strategy) ? result : tell_hook(pool, lease, ending);
}

static __attribute__((noinline)) int complete_ms(struct gyre_pool *pool, const struct gyre_lease *lease, int verdict, double ms)
{
    struct ending ending = {.verdict = (uint32_t)verdict, .has_ms = !(ms < 0), .ms = ms, .host = lease ? lease->host : 0};
    return complete_and_tell(pool, lease, &ending);
}

/* What else is to be done after a lease's `use` was taken back, when there is more: the entry is ENDING still. */
static __attribute__((noinline)) int complete_rest(struct gyre_pool *pool, struct thread *thread, uint32_t index, uint32_t slot)
{
    lease_moved(pool, slot, 1, 0);
    if (load_acquire(&pool->slots[slot].flags) & SLOT_LIMITED) gyre__health_refresh(pool, slot); /* set meanwhile */
    release_entry(pool, thread, index, load_relaxed(&pool->leases[index].word));
    return 0;
}

/*
 * The end of nearly every lease: success of a healthy proxy without limits, of a request that names no host, in a thread that has
 * been here before; ms < 0: no latency. Where it is not so simple, complete_ms begins anew. A failure that is being counted
 * meanwhile comes after this success. Everything that calls another function does so last, so that nothing has to be saved for
 * it, and reads again what is cheaper to read than to keep.
 */
static inline __attribute__((always_inline)) int complete_ok(struct gyre_pool *pool, const struct gyre_lease *lease, double ms)
{
    const struct thread_cache *cache = thread_cache_of(pool);
    uint32_t index = lease->entry, slot = lease->slot;
    if (unlikely(!thread_is_known(pool, cache) || index >= pool->max_leases || slot >= pool->max_proxies))
        return complete_ms(pool, lease, GYRE_OK, ms);
    struct gyre_slot *hot = &pool->slots[slot];
    struct thread *thread = cache->thread;
    if (unlikely(load_acquire(&hot->flags) != SLOT_LIVE || !slot_is_spotless(hot) || !(ms <= MAX_MS) ||
                 thread->entries >= load_relaxed(&pool->keep) ||
                 load_relaxed(&hot->window_bucket) != load_relaxed(&pool->control->bucket) ||
                 load_relaxed(&pool->chunks[index / LEASE_CHUNK]) != pool->process + 1))
        return complete_ms(pool, lease, GYRE_OK, ms);
    struct lease_entry *entry = &pool->leases[index];
    uint64_t held = lease_word(lease->serial, slot, 0, LEASE_HELD);
    if (unlikely(!compare_swap(&entry->word, &held, lease_word(lease->serial, slot, GYRE_OK, LEASE_ENDING))))
        return complete_ms(pool, lease, GYRE_OK, ms);
    if (ms >= 0) add_sample(pool, hot, ms);
    fetch_sub(&hot->use, 1);
    if (unlikely(load_relaxed(&pool->control->levels_on) || load_acquire(&hot->flags) & SLOT_LIMITED))
        return complete_rest(pool, thread, lease->entry, lease->slot);
    store_release(&entry->word, lease_word(lease->serial + 1, 0, 0, LEASE_FREE));
    thread->entry[thread->entries++] = lease->entry;
    return 0;
}

GYRE_API int gyre_complete(struct gyre_pool *pool, struct gyre_lease *lease, const struct gyre_outcome *outcome)
{
    if (!outcome || outcome->size < sizeof *outcome)
        return gyre__fail(GYRE_EINVALID, "no outcome, or its size is not set");
    bool plain = outcome->verdict == GYRE_OK && !outcome->bytes && outcome->retry_after == 0;
    if (likely(plain && pool && lease && !(lease->host | lease->strategy) && (!outcome->has_ms || outcome->ms >= 0)))
        return complete_ok(pool, lease, outcome->has_ms ? outcome->ms : -1.0);
    struct ending ending = {.verdict = outcome->verdict, .has_ms = outcome->has_ms != 0, .ms = outcome->ms,
                            .bytes = outcome->bytes, .host = lease ? lease->host : 0,
                            .retry_after = outcome->retry_after};
    return complete_and_tell(pool, lease, &ending);
}

GYRE_API int gyre_complete_ms(struct gyre_pool *pool, struct gyre_lease *lease, int verdict, double ms)
{
    if (likely(verdict == GYRE_OK && pool && lease && !(lease->host | lease->strategy))) return complete_ok(pool, lease, ms);
    return complete_ms(pool, lease, verdict, ms);
}

static void expire(struct gyre_pool *pool, struct lease_entry *entry, uint64_t word)
{
    uint64_t next = lease_word(lease_serial(word), lease_slot(word), GYRE_ABORTED,
                               LEASE_ENDING | LEASE_FOREIGN | ((uint32_t)word & LEASE_PROBE));
    if (lease_slot(word) >= pool->max_proxies || !compare_swap(&entry->word, &word, next)) return;
    struct ending ending = {.verdict = GYRE_ABORTED, .locked = true};
    gyre__lease_finish(pool, entry, &ending);
    store_release(&entry->word, lease_word(lease_serial(word) + 1, 0, 0, LEASE_ORPHAN));
}

void gyre__lease_expire(struct gyre_pool *pool, uint32_t stamp, uint32_t chunks)
{
    struct segment_control *control = pool->control;
    uint32_t count = load_relaxed(&control->chunks), at = load_relaxed(&control->sweep);
    if (count > pool->max_leases / LEASE_CHUNK) count = pool->max_leases / LEASE_CHUNK;
    if (chunks > count) chunks = count;
    for (; chunks; chunks--, at++) {
        if (at >= count) at = 0;
        if (!load_relaxed(&pool->chunks[at])) continue;
        for (uint32_t i = at * LEASE_CHUNK; i < (at + 1) * LEASE_CHUNK; i++) {
            uint64_t word = load_acquire(&pool->leases[i].word);
            if (lease_state(word) == LEASE_HELD && load_relaxed(&pool->leases[i].deadline) <= stamp)
                expire(pool, &pool->leases[i], word);
        }
    }
    store_relaxed(&control->sweep, at);
}
