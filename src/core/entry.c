/*
 * Free lease entries. The table is dealt in chunks of 64 to processes (so that a dead one's leases are found), and from
 * a process's stock to its threads, which take and give back without any shared write. In a small table no thread keeps
 * any: all of max_leases can be in flight.
 */
#include "lease.h"

#include <stdlib.h>

/* Makes room for every entry the process owns, so that giving back never allocates. Caller holds the guard. */
static bool grow_spare(struct gyre_pool *pool)
{
    uint32_t need = (pool->owned_chunks + 1) * LEASE_CHUNK;
    if (need <= pool->spare_capacity) return true;
    uint32_t *grown = realloc(pool->spare, 2 * need * sizeof *grown);
    if (!grown) return false;
    pool->spare = grown;
    pool->spare_capacity = 2 * need;
    return true;
}

static void raise_chunks(struct gyre_pool *pool, uint32_t chunks)
{
    uint32_t seen = load_relaxed(&pool->control->chunks);
    while (seen < chunks && !compare_swap(&pool->control->chunks, &seen, chunks)) {}
}

/* Claims a chunk nobody owns. Caller holds the guard. */
static bool claim_chunk(struct gyre_pool *pool)
{
    uint32_t count = pool->max_leases / LEASE_CHUNK;
    if (!grow_spare(pool)) return false;
    for (uint32_t c = 0; c < count; c++) {
        uint32_t nobody = 0;
        if (load_relaxed(&pool->chunks[c]) || !compare_swap(&pool->chunks[c], &nobody, pool->process + 1)) continue;
        raise_chunks(pool, c + 1);
        pool->owned_chunks++;
        for (uint32_t i = LEASE_CHUNK; i-- > 0;) pool->spare[pool->spares++] = c * LEASE_CHUNK + i;
        return true;
    }
    return false;
}

/* Takes back own entries that somebody else ended. Caller holds the guard. */
static bool collect_orphans(struct gyre_pool *pool)
{
    uint32_t chunks = load_relaxed(&pool->control->chunks), before = pool->spares;
    for (uint32_t c = 0; c < chunks && c < pool->max_leases / LEASE_CHUNK; c++) {
        if (load_relaxed(&pool->chunks[c]) != pool->process + 1) continue;
        for (uint32_t i = c * LEASE_CHUNK; i < (c + 1) * LEASE_CHUNK; i++) {
            uint64_t word = load_acquire(&pool->leases[i].word);
            if (lease_state(word) != LEASE_ORPHAN || pool->spares >= pool->spare_capacity) continue;
            store_release(&pool->leases[i].word, lease_word(lease_serial(word) + 1, 0, 0, LEASE_FREE));
            pool->spare[pool->spares++] = i;
        }
    }
    return pool->spares > before;
}

/* The thread has none left: gives it some. False when all are in flight. */
bool gyre__entry_refill(struct gyre_pool *pool, struct thread *thread)
{
    gyre__guard_lock(pool);
    if (pool->spares || claim_chunk(pool) || collect_orphans(pool))
        while (thread->entries < pool->keep / 4 + 1 && pool->spares) thread->entry[thread->entries++] = pool->spare[--pool->spares];
    gyre__guard_unlock(pool);
    return thread->entries > 0;
}

/* The thread has too many: takes half of them back. */
void gyre__entry_spill(struct gyre_pool *pool, struct thread *thread)
{
    gyre__guard_lock(pool);
    while (thread->entries > pool->keep / 2 && pool->spares < pool->spare_capacity)
        pool->spare[pool->spares++] = thread->entry[--thread->entries];
    gyre__guard_unlock(pool);
}
