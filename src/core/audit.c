/*
 * The lease table against `active`, counters and probes: says what does not agree, or mends it. Leases start and end
 * meanwhile; a slot is judged only if its `use` was the same before and after the walk over the table and no lease of it
 * was between states (`use` never comes back to a former value: each start raises its upper half). Caller holds the lock.
 */
#include "lease.h"

#include <stdlib.h>

struct tally {
    uint64_t use;    /* before the walk */
    uint32_t held;   /* leases of the slot */
    uint32_t moving; /* leases between states; the slot is not judged */
    bool probe;      /* one of them is its probe */
};

static void fault_entry(struct gyre_pool *pool, uint32_t index, struct gyre_check *report, const char *why)
{
    uint64_t word = load_relaxed(&pool->leases[index].word);
    if (report) gyre__finding(report, "lease entry %u %s", index, why);
    else store_release(&pool->leases[index].word, lease_word(lease_serial(word) + 1, 0, 0, LEASE_FREE));
}

static void count_entry(struct gyre_pool *pool, uint32_t index, struct tally *tallies, struct gyre_check *report)
{
    uint64_t word = load_acquire(&pool->leases[index].word);
    uint32_t state = lease_state(word), slot = lease_slot(word), owner = load_relaxed(&pool->chunks[index / LEASE_CHUNK]);
    if (state == LEASE_FREE) return;
    if (state > LEASE_ORPHAN) {
        fault_entry(pool, index, report, "has no known state");
    } else if (!owner || owner > MAX_PROCESSES) {
        fault_entry(pool, index, report, "is in use and belongs to nobody");
    } else if (state != LEASE_ORPHAN && slot >= pool->max_proxies) {
        fault_entry(pool, index, report, "names no slot");
    } else if (state != LEASE_ORPHAN) {
        if (state == LEASE_HELD) tallies[slot].held++;
        else tallies[slot].moving++;
        if (word & LEASE_PROBE) tallies[slot].probe = true;
    }
}

/* Is the slot still as it was before the walk? Then what the tally says is true of it. */
static bool at_rest(struct gyre_pool *pool, uint32_t slot, const struct tally *tally)
{
    return !tally->moving && fetch_add(&pool->slots[slot].use, 0) == tally->use;
}

static void judge_use(struct gyre_pool *pool, uint32_t slot, const struct tally *tally, struct gyre_check *report)
{
    struct gyre_slot *hot = &pool->slots[slot];
    if (use_active(tally->use) == tally->held && use_started(tally->use) >= tally->held) return;
    if (!at_rest(pool, slot, tally)) return;
    if (report) {
        gyre__finding(report, "slot %u counts %u active of %llu, %u leases are in flight", slot, use_active(tally->use),
                      (unsigned long long)use_started(tally->use), tally->held);
        return;
    }
    uint64_t started = use_started(tally->use) > tally->held ? use_started(tally->use) : tally->held, was = tally->use;
    compare_swap(&hot->use, &was, started << ACTIVE_BITS | tally->held);
    gyre__health_refresh(pool, slot);
}

/* Failures are counted under the lock, which the caller holds. */
static void judge_counters(struct gyre_pool *pool, uint32_t slot, const struct tally *tally, struct gyre_check *report)
{
    struct gyre_slot *hot = &pool->slots[slot];
    uint64_t failed = load_relaxed(&hot->failed), aborted = load_relaxed(&hot->aborted), use = load_relaxed(&hot->use);
    uint64_t completed = use_started(use) - use_active(use);
    if (failed <= completed && aborted <= completed - failed) return;
    if (tally->moving || fetch_add(&hot->use, 0) != use) return;
    if (report) {
        gyre__finding(report, "slot %u counts %llu failed and %llu aborted of %llu completed", slot, (unsigned long long)failed,
                      (unsigned long long)aborted, (unsigned long long)completed);
        return;
    }
    if (failed > completed) store_relaxed(&hot->failed, failed = completed);
    if (aborted > completed - failed) store_relaxed(&hot->aborted, completed - failed);
}

/* The flag is set after its lease's entry says so, and cleared before that is freed. */
static void judge_probe(struct gyre_pool *pool, uint32_t slot, bool flagged, const struct tally *tally, struct gyre_check *report)
{
    if (!flagged || tally->probe || !(load_relaxed(&pool->slots[slot].flags) & SLOT_PROBE)) return;
    if (report) gyre__finding(report, "the probe of slot %u is out, and no lease is it", slot);
    else gyre__health_probe_back(pool, slot);
}

/* Adds findings to the report or, when it is NULL, mends. 0 or GYRE_ESYSTEM. */
int gyre__audit_leases(struct gyre_pool *pool, struct gyre_check *report)
{
    uint32_t chunks = pool->max_leases / LEASE_CHUNK;
    struct tally *tallies = calloc(pool->max_proxies, sizeof *tallies);
    bool *flagged = calloc(pool->max_proxies, sizeof *flagged);
    int bad = tallies && flagged ? 0 : gyre__fail(GYRE_ESYSTEM, "no memory to check the leases");
    for (uint32_t slot = 0; !bad && slot < pool->max_proxies; slot++) {
        flagged[slot] = load_acquire(&pool->slots[slot].flags) & SLOT_PROBE;
        tallies[slot].use = load_acquire(&pool->slots[slot].use);
    }
    for (uint32_t i = 0; !bad && i < chunks * LEASE_CHUNK; i++) count_entry(pool, i, tallies, report);
    for (uint32_t slot = 0; !bad && slot < pool->max_proxies; slot++) {
        judge_use(pool, slot, &tallies[slot], report);
        judge_counters(pool, slot, &tallies[slot], report);
        judge_probe(pool, slot, flagged[slot], &tallies[slot], report);
    }
    free(flagged);
    free(tallies);
    return bad;
}
