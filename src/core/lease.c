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
#include "pool.h"

#include <math.h>

#define SUCCESS_ALPHA 0.05f
#define MAX_MS 86400000.0
#define PROBE_TIMEOUT 600u /* stamps: the longest a probe keeps its slot */

static void release_entry(struct gyre_pool *pool, struct thread *thread, uint32_t index, uint64_t word)
{
    store_release(&pool->leases[index].word, lease_word(lease_serial(word) + 1, 0, 0, LEASE_FREE));
    thread->entry[thread->entries++] = index;
    if (unlikely(thread->entries > pool->keep)) gyre__entry_spill(pool, thread);
}

/* Counts a start on a slot with a limit: false at the limit. */
static bool start_limited(struct gyre_pool *pool, uint32_t slot)
{
    struct gyre_slot *hot = &pool->slots[slot];
    uint32_t limit = load_relaxed(&pool->labels[slot].max_active);
    uint64_t use = load_relaxed(&hot->use);
    do {
        if (limit && use_active(use) >= limit) {
            gyre__health_refresh(pool, slot);
            return false;
        }
    } while (!compare_swap(&hot->use, &use, use + USE_START));
    if (limit && use_active(use) + 1 >= limit) gyre__health_refresh(pool, slot);
    return true;
}

static inline void fill(struct gyre_lease *lease, uint32_t generation, uint32_t slot, uint32_t entry, uint32_t serial)
{
    lease->id = make_id(generation, slot);
    lease->slot = slot;
    lease->generation = generation;
    lease->entry = entry;
    lease->serial = serial;
    lease->host = 0;
}

/*
 * Leases a proxy that is in use and has no limits, by a thread that has an entry: nearly every call. False when it is not
 * so simple, and nothing has been done. Lock-free.
 */
static inline bool start_simple(struct gyre_pool *pool, struct thread *thread, uint32_t slot, uint32_t stamp,
                                struct gyre_lease *lease)
{
    struct gyre_slot *hot = &pool->slots[slot];
    uint32_t generation = load_acquire(&hot->generation);
    if (unlikely(load_acquire(&hot->flags) != SLOT_LIVE || !thread->entries)) return false;
    uint32_t index = thread->entry[thread->entries - 1];
    struct lease_entry *entry = &pool->leases[index];
    uint32_t serial = lease_serial(load_relaxed(&entry->word));
    store_relaxed(&entry->deadline, stamp + pool->lease_timeout);
    store_release(&entry->word, lease_word(serial, slot, 0, LEASE_STARTING));
    window_touch(pool, slot);
    fetch_add(&hot->use, USE_START);
    if (unlikely(load_acquire(&hot->generation) != generation)) { /* removed, perhaps used again, in between */
        fetch_sub(&hot->use, USE_START);
        store_release(&entry->word, lease_word(serial + 1, 0, 0, LEASE_FREE));
        return false;
    }
    store_release(&entry->word, lease_word(serial, slot, 0, LEASE_HELD));
    thread->entries--;
    if (load_relaxed(&hot->last_used) != stamp) store_relaxed(&hot->last_used, stamp);
    fill(lease, generation, slot, index, serial);
    return true;
}

/*
 * Leases `slot`. 0, or GYRE_EBUSY (at its limit), GYRE_ENO_PROXY (not eligible any more), GYRE_EFULL. Lock-free.
 */
int gyre__lease_start(struct gyre_pool *pool, struct thread *thread, uint32_t slot, uint32_t stamp,
                      struct gyre_lease *lease)
{
    struct gyre_slot *hot = &pool->slots[slot];
    uint32_t generation = load_acquire(&hot->generation), flags = load_acquire(&hot->flags), bits = LEASE_STARTING;
    if (unlikely((flags & (SLOT_LIVE | SLOT_OUT)) != SLOT_LIVE)) {
        gyre__health_refresh(pool, slot);
        return GYRE_ENO_PROXY;
    }
    if (unlikely(!thread->entries) && !gyre__entry_refill(pool, thread)) return GYRE_EFULL;
    uint32_t index = thread->entry[--thread->entries], deadline = stamp + pool->lease_timeout;
    struct lease_entry *entry = &pool->leases[index];
    uint32_t serial = lease_serial(load_relaxed(&entry->word));
    if (unlikely(flags & SLOT_HALF)) {
        bits |= LEASE_PROBE;
        if (pool->lease_timeout > PROBE_TIMEOUT) deadline = stamp + PROBE_TIMEOUT;
    }
    store_relaxed(&entry->deadline, deadline);
    store_release(&entry->word, lease_word(serial, slot, 0, bits));
    if (unlikely(flags & SLOT_HALF) && !gyre__health_take_probe(pool, slot, flags)) {
        release_entry(pool, thread, index, load_relaxed(&entry->word));
        return GYRE_ENO_PROXY;
    }
    window_touch(pool, slot);
    if (likely(!(flags & SLOT_LIMITED))) {
        fetch_add(&hot->use, USE_START);
    } else if (!start_limited(pool, slot)) {
        if (flags & SLOT_HALF) gyre__health_probe_back(pool, slot);
        release_entry(pool, thread, index, load_relaxed(&entry->word));
        return GYRE_EBUSY;
    }
    if (unlikely(load_acquire(&hot->generation) != generation)) { /* removed, perhaps used again, in between */
        fetch_sub(&hot->use, USE_START);
        release_entry(pool, thread, index, load_relaxed(&entry->word));
        return GYRE_ENO_PROXY;
    }
    bits = (bits & ~LEASE_STATE) | LEASE_HELD;
    store_release(&entry->word, lease_word(serial, slot, 0, bits));
    if (load_relaxed(&hot->last_used) != stamp) store_relaxed(&hot->last_used, stamp);
    fill(lease, generation, slot, index, serial);
    return 0;
}

/* ema += alpha * (ms - ema); the first sample initialises it. Lock-free, no sample is lost. */
static inline void add_sample(struct gyre_pool *pool, uint32_t slot, double ms)
{
    struct gyre_slot *hot = &pool->slots[slot];
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
}

/* The part of ending that needs the lock: everything but a plain success of a healthy proxy. */
static void finish_locked(struct gyre_pool *pool, struct lease_entry *entry, uint32_t slot,
                          uint32_t verdict, uint32_t stamp)
{
    struct gyre_slot *hot = &pool->slots[slot];
    bool probe = load_relaxed(&entry->word) & LEASE_PROBE;
    if (verdict == GYRE_PROXY_BAD || verdict == GYRE_BANNED) count(entry, &hot->failed);
    if (verdict == GYRE_ABORTED) count(entry, &hot->aborted);
    if (verdict == GYRE_PROXY_BAD) {
        float rate = load_float(&hot->success_rate);
        store_float(&hot->success_rate, rate - SUCCESS_ALPHA * rate);
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
    if (likely(flags & SLOT_LIVE)) { /* else it was removed: only `active` is left to put right */
        window_touch(pool, slot);
        bool failed = verdict == GYRE_PROXY_BAD || verdict == GYRE_BANNED || verdict == GYRE_ABORTED;
        if (verdict == GYRE_OK) {
            if (ending->has_ms) add_sample(pool, slot, ending->ms);
            if (unlikely(load_float(&hot->success_rate) < 1.0f)) raise_success(hot);
        }
        if (ending->bytes) fetch_add(&pool->health[slot].bytes, ending->bytes);
        if (unlikely(failed || word & LEASE_PROBE || (verdict == GYRE_OK && load_relaxed(&hot->consecutive_failures)))) {
            if (!ending->locked) gyre__lock(pool);
            finish_locked(pool, entry, slot, verdict, clock_stamp(pool));
            if (!ending->locked) gyre__unlock(pool);
        }
    }
    fetch_sub(&hot->use, 1);
    if (unlikely(flags & SLOT_LIMITED)) gyre__health_refresh(pool, slot);
}

static int check_outcome(const struct ending *ending)
{
    if (ending->verdict < GYRE_OK || ending->verdict > GYRE_ABORTED)
        return gyre__fail(GYRE_EINVALID, "%u is no verdict", ending->verdict);
    if (ending->has_ms && !(ending->ms >= 0 && ending->ms <= MAX_MS)) /* NaN fails both */
        return gyre__fail(GYRE_EINVALID, "latency %g ms is not between 0 and %.0f", ending->ms, MAX_MS);
    return 0;
}

/* Success of a healthy proxy without limits: nearly every call. Is it one? */
static inline bool ends_simply(const struct gyre_slot *hot, uint64_t word, const struct ending *ending)
{
    return ending->verdict == GYRE_OK && load_acquire(&hot->flags) == SLOT_LIVE && !(word & LEASE_PROBE) &&
           !ending->bytes && !load_relaxed(&hot->consecutive_failures) && load_float(&hot->success_rate) >= 1.0f;
}

static inline __attribute__((always_inline)) int complete(struct gyre_pool *pool, const struct gyre_lease *lease,
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
    struct gyre_slot *hot = &pool->slots[lease->slot];
    if (likely(ends_simply(hot, word, ending))) {
        window_touch(pool, lease->slot);
        if (ending->has_ms) add_sample(pool, lease->slot, ending->ms);
        fetch_sub(&hot->use, 1);
    } else {
        gyre__lease_finish(pool, entry, ending);
    }
    release_entry(pool, thread, lease->entry, word);
    return 0;
}

GYRE_API int gyre_complete(struct gyre_pool *pool, struct gyre_lease *lease, const struct gyre_outcome *outcome)
{
    if (!outcome || outcome->size < sizeof *outcome)
        return gyre__fail(GYRE_EINVALID, "no outcome, or its size is not set");
    struct ending ending = {.verdict = outcome->verdict, .has_ms = outcome->has_ms != 0, .ms = outcome->ms,
                            .bytes = outcome->bytes};
    return complete(pool, lease, &ending);
}

GYRE_API int gyre_complete_ms(struct gyre_pool *pool, struct gyre_lease *lease, int verdict, double ms)
{
    struct ending ending = {.verdict = (uint32_t)verdict, .has_ms = !(ms < 0), .ms = ms};
    return complete(pool, lease, &ending);
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

static int acquire(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint32_t stamp,
                   struct gyre_lease *lease)
{
    struct pick pick = {.request = request, .thread = thread};
    uint32_t picker = request && request->picker ? request->picker : pool->picker;
    int result = GYRE_ENO_PROXY;
    gyre__pick_begin(pool, &pick);
    for (uint32_t tries = 0; tries < 2 * pool->max_proxies; tries++) {
        uint32_t slot = gyre__pick(pool, &pick, picker);
        if (unlikely(slot == NO_BIT)) break;
        result = gyre__lease_start(pool, thread, slot, stamp, lease);
        if (likely(result == 0) || result == GYRE_EFULL) break;
    }
    gyre__pick_end(pool, &pick);
    if (likely(result == 0)) return 0;
    if (result == GYRE_EFULL) return gyre__fail(GYRE_EFULL, "%u leases are in flight, as many as fit", pool->max_leases);
    return gyre__pick_failed(pool, request);
}

/* Does the request say nothing but perhaps round-robin? */
static inline bool is_plain(const struct gyre_request *request)
{
    return request->picker <= GYRE_PICK_ROUND_ROBIN && !request->exclude_count && !request->session && !request->host &&
           !request->country && !request->region && !request->tags;
}

GYRE_API int gyre_acquire(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease)
{
    if (unlikely(!pool || !lease)) return gyre__fail(GYRE_EINVALID, "no pool, or no place for a lease");
    struct thread *thread = thread_get(pool);
    if (unlikely(!thread)) return GYRE_ESYSTEM;
    if (request && unlikely(request->size < sizeof *request || request->picker > GYRE_PICK_RANDOM ||
                            (request->exclude_count && !request->exclude)))
        return gyre__fail(GYRE_EINVALID, "request.size is not set, %u is no picker, or exclude is NULL", request->picker);
    uint32_t stamp = clock_stamp(pool);
    if (unlikely(load_relaxed(&pool->control->tick) != stamp)) gyre__tick(pool, stamp);
    if (likely(!request || is_plain(request)) && pool->picker == GYRE_PICK_ROUND_ROBIN) {
        uint32_t slot = pick_round_robin(pool);
        if (likely(slot != NO_BIT) && likely(start_simple(pool, thread, slot, stamp, lease))) return 0;
        if (slot != NO_BIT && gyre__lease_start(pool, thread, slot, stamp, lease) == 0) return 0;
    }
    return acquire(pool, thread, request, stamp, lease);
}

GYRE_API int gyre_acquire_id(struct gyre_pool *pool, uint64_t id, struct gyre_lease *lease)
{
    if (unlikely(!pool || !lease)) return gyre__fail(GYRE_EINVALID, "no pool, or no place for a lease");
    struct thread *thread = thread_get(pool);
    if (unlikely(!thread)) return GYRE_ESYSTEM;
    uint32_t stamp = clock_stamp(pool), slot = slot_of_id(pool, id);
    if (unlikely(load_relaxed(&pool->control->tick) != stamp)) gyre__tick(pool, stamp);
    if (slot == NO_BIT) return gyre__fail(GYRE_ENOT_FOUND, "no proxy with id %llu", (unsigned long long)id);
    int result = gyre__lease_start(pool, thread, slot, stamp, lease);
    if (likely(result == 0)) return 0;
    const char *why = result == GYRE_EBUSY ? "is at its limit" : result == GYRE_EFULL ? "finds no free lease" : "is not eligible";
    return gyre__fail(result, "proxy %llu %s", (unsigned long long)id, why);
}
