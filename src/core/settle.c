/*
 * What dead processes had in flight. The entry of each of their leases says how far it had come:
 *
 *     HELD                          it counts in `active`: it is ended as aborted
 *     ENDING, failed or aborted,    likewise: nothing but the entry had been written
 *       not COUNTED, not SETTLED
 *     ENDING, COUNTED, not SETTLED  its owner died with the lock: the counter is put to what the entry says, if it is not
 *                                   there yet
 *     STARTING, and other ENDING    one atomic add on the slot's `use` may have happened or not
 *
 * The last is found out by counting. A slot is closed for new leases (QUIET) and `use` is read before and after a walk
 * over the table; if nothing changed and no living process was between states there, then `active` minus the leases
 * that are HELD is the number of doubtful entries that are still counted. Caller holds the segment lock throughout, so
 * entries marked FOREIGN can only be those of a holder that died.
 */
#include "lease.h"

#include <sched.h>

#define TRIES 50 /* then those who wait for our lock go first, and who looks next settles it */

static uint32_t chunk_count(const struct gyre_pool *pool)
{
    uint32_t chunks = load_relaxed(&pool->control->chunks), all = pool->max_leases / LEASE_CHUNK;
    return chunks < all ? chunks : all;
}

static bool chunk_is_dead(const struct gyre_pool *pool, uint32_t chunk)
{
    uint32_t owner = load_relaxed(&pool->chunks[chunk]);
    if (!owner) return false;
    return owner > MAX_PROCESSES || load_relaxed(&pool->processes[owner - 1].state) != PROCESS_ALIVE;
}

/* Will nobody but us go on with this entry? */
static bool abandoned(const struct gyre_pool *pool, uint32_t index, uint64_t word)
{
    if (lease_state(word) == LEASE_ENDING && word & LEASE_FOREIGN) return true;
    return chunk_is_dead(pool, index / LEASE_CHUNK);
}

static bool counts_failure(uint32_t verdict)
{
    return verdict == GYRE_PROXY_BAD || verdict == GYRE_BANNED || verdict == GYRE_ABORTED;
}

static void free_entry(struct gyre_pool *pool, uint32_t index, uint64_t word)
{
    uint32_t state = chunk_is_dead(pool, index / LEASE_CHUNK) ? LEASE_FREE : LEASE_ORPHAN;
    store_release(&pool->leases[index].word, lease_word(lease_serial(word) + 1, 0, 0, state));
}

/* The lease is known to count in `active`: ends it. */
static void abort_lease(struct gyre_pool *pool, uint32_t index, uint64_t word)
{
    struct ending ending = {.verdict = GYRE_ABORTED, .locked = true};
    uint32_t bits = LEASE_ENDING | LEASE_FOREIGN | ((uint32_t)word & LEASE_PROBE);
    store_release(&pool->leases[index].word, lease_word(lease_serial(word), lease_slot(word), GYRE_ABORTED, bits));
    gyre__lease_finish(pool, &pool->leases[index], &ending);
    free_entry(pool, index, word);
}

/* The counter of a COUNTED entry is at its target, or one below it; nobody can have changed it since. */
static void redo_count(struct gyre_pool *pool, uint32_t index, uint64_t word)
{
    struct gyre_slot *hot = &pool->slots[lease_slot(word)];
    uint64_t *counter = lease_verdict(word) == GYRE_ABORTED ? &hot->aborted : &hot->failed;
    uint64_t value = load_relaxed(counter);
    if ((uint32_t)value == load_relaxed(&pool->leases[index].target) - 1) store_release(counter, value + 1);
    store_release(&pool->leases[index].word, word | LEASE_SETTLED);
}

static bool is_doubtful(uint64_t word)
{
    if (lease_state(word) == LEASE_STARTING) return true;
    return lease_state(word) == LEASE_ENDING &&
           (word & (LEASE_COUNTED | LEASE_SETTLED) || !counts_failure(lease_verdict(word)));
}

/* Everything that is definite. Returns the number of doubtful entries left. */
static uint32_t end_definite(struct gyre_pool *pool)
{
    uint32_t doubtful = 0, end = chunk_count(pool) * LEASE_CHUNK;
    for (uint32_t i = 0; i < end; i++) {
        uint64_t word = load_acquire(&pool->leases[i].word);
        if (lease_state(word) == LEASE_FREE || !abandoned(pool, i, word)) continue;
        if (lease_slot(word) >= pool->max_proxies || lease_state(word) >= LEASE_ORPHAN) {
            free_entry(pool, i, word);
            continue;
        }
        if (lease_state(word) == LEASE_ENDING && (word & (LEASE_COUNTED | LEASE_SETTLED)) == LEASE_COUNTED)
            redo_count(pool, i, word);
        if (is_doubtful(word)) doubtful++;
        else abort_lease(pool, i, word);
    }
    return doubtful;
}

/* Counts in `active` as surely as a HELD one: a failure of a living process that has not been counted cannot be, since that
 * takes our lock. (That of a proxy removed meanwhile is SETTLED before `use` changes, and then `use` tells.) */
static bool waits_for_us(uint64_t word)
{
    return lease_state(word) == LEASE_ENDING && counts_failure(lease_verdict(word)) &&
           !(word & (LEASE_COUNTED | LEASE_SETTLED | LEASE_FOREIGN));
}

/* One walk: how many doubtful leases of the slot still count in `active`; -1 if that cannot be said now. */
static int64_t count_slot(struct gyre_pool *pool, uint32_t slot)
{
    uint32_t held = 0, end = chunk_count(pool) * LEASE_CHUNK;
    uint64_t before = load_acquire(&pool->slots[slot].use);
    for (uint32_t i = 0; i < end; i++) {
        uint64_t word = load_acquire(&pool->leases[i].word);
        uint32_t state = lease_state(word);
        if (state == LEASE_FREE || state == LEASE_ORPHAN || lease_slot(word) != slot) continue;
        if (state == LEASE_HELD || (waits_for_us(word) && !abandoned(pool, i, word))) held++;
        else if (!abandoned(pool, i, word)) return -1;
    }
    if (fetch_add(&pool->slots[slot].use, 0) != before) return -1;
    return use_active(before) > held ? use_active(before) - held : 0;
}

/* Is there a lease other than the doubtful ones that holds the slot's probe? */
static bool probe_is_out(struct gyre_pool *pool, uint32_t slot)
{
    uint32_t end = chunk_count(pool) * LEASE_CHUNK;
    for (uint32_t i = 0; i < end; i++) {
        uint64_t word = load_acquire(&pool->leases[i].word);
        bool at_work = lease_state(word) != LEASE_FREE && lease_state(word) != LEASE_ORPHAN && word & LEASE_PROBE;
        if (at_work && lease_slot(word) == slot) return true;
    }
    return false;
}

static void end_doubtful(struct gyre_pool *pool, uint32_t slot, int64_t counted)
{
    uint32_t end = chunk_count(pool) * LEASE_CHUNK;
    for (uint32_t i = 0; i < end; i++) {
        uint64_t word = load_acquire(&pool->leases[i].word);
        if (lease_slot(word) != slot || !is_doubtful(word) || !abandoned(pool, i, word)) continue;
        if (counted > 0 && lease_state(word) == LEASE_STARTING) {
            abort_lease(pool, i, word);
        } else {
            if (counted > 0) fetch_sub(&pool->slots[slot].use, 1);
            free_entry(pool, i, word);
        }
        counted--;
    }
    if (load_relaxed(&pool->slots[slot].flags) & SLOT_PROBE && !probe_is_out(pool, slot))
        gyre__health_probe_back(pool, slot);
}

static bool settle_slot(struct gyre_pool *pool, uint32_t slot)
{
    int64_t counted = -1;
    fetch_or(&pool->slots[slot].flags, SLOT_QUIET);
    gyre__health_refresh(pool, slot);
    for (int i = 0; i < TRIES && counted < 0; i++) {
        counted = count_slot(pool, slot);
        if (counted < 0) sched_yield();
    }
    if (counted >= 0) end_doubtful(pool, slot, counted);
    fetch_and(&pool->slots[slot].flags, ~(uint32_t)SLOT_QUIET);
    gyre__health_refresh(pool, slot);
    return counted >= 0;
}

static bool settle_doubtful(struct gyre_pool *pool)
{
    bool all = true;
    uint32_t end = chunk_count(pool) * LEASE_CHUNK;
    for (uint32_t i = 0; i < end; i++) {
        uint64_t word = load_acquire(&pool->leases[i].word);
        if (is_doubtful(word) && lease_slot(word) < pool->max_proxies && abandoned(pool, i, word))
            all = settle_slot(pool, lease_slot(word)) && all;
    }
    return all;
}

/* One that died may have been between looking at a slot and writing its eligible bit, or between the bit and its summary. */
static void refresh_bits(struct gyre_pool *pool)
{
    gyre__bits_mend(&pool->eligible);
    gyre__bits_mend(&pool->paced);
    gyre__health_refresh_all(pool);
}

/* Chunks and table entries of the dead become free. */
static void bury(struct gyre_pool *pool)
{
    for (uint32_t c = 0; c < pool->max_leases / LEASE_CHUNK; c++) /* all: a chunk is claimed before the count is raised */
        if (chunk_is_dead(pool, c)) store_release(&pool->chunks[c], 0u);
    for (uint32_t i = 0; i < MAX_PROCESSES; i++) {
        struct process_entry *entry = &pool->processes[i];
        if (load_acquire(&entry->state) != PROCESS_DEAD) continue;
        gyre__process_let_go(pool, i); /* which its near ones hold for it */
        store_relaxed(&entry->pid, 0u);
        store_release(&entry->state, (uint32_t)PROCESS_FREE);
    }
}

static bool any_dead(const struct gyre_pool *pool)
{
    for (uint32_t i = 0; i < MAX_PROCESSES; i++)
        if (load_acquire(&pool->processes[i].state) == PROCESS_DEAD) return true;
    return false;
}

bool gyre__settle(struct gyre_pool *pool)
{
    bool settled = !end_definite(pool) || settle_doubtful(pool);
    if (any_dead(pool)) refresh_bits(pool);
    if (settled) bury(pool);
    return settled;
}
