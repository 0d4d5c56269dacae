/*
 * Free lease entries. The table is dealt in chunks of 64 to processes (so that a dead one's leases are found), and from
 * a process's stock to its threads, which take and give back without any shared write. In a small table no thread keeps
 * any: all of max_leases can be in flight. A chunk that is wholly in stock again goes back to the table, but for a few; one
 * of which a lease is in flight, or an entry with a thread, stays the process's: at worst 64 of them for each thread. Entries
 * of threads that have ended are taken back when there are no others.
 */
#include "lease.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_EVERY 10u /* ms */
#define MOST_WHOLE 4u /* chunks that stay in stock, in a table of 64 and more */

_Static_assert(LEASE_CHUNK == 64, "the stock of a chunk is a word");

static uint32_t chunk_count(const struct gyre_pool *pool)
{
    return pool->max_leases / LEASE_CHUNK;
}

static void raise_chunks(struct gyre_pool *pool, uint32_t chunks)
{
    uint32_t seen = load_relaxed(&pool->control->chunks);
    while (seen < chunks && !compare_swap(&pool->control->chunks, &seen, chunks)) {}
}

/*
 * Of which entry of a chunk a bit of its stock tells, and the other way round: the six bits of the number with their halves
 * exchanged. Threads that get one entry after the other so have them eight apart, on cache lines of their own.
 */
static inline uint32_t exchanged(uint32_t i)
{
    return (i << 3 | i >> 3) & (LEASE_CHUNK - 1);
}

/* Puts an entry in stock. Caller holds the guard. */
static void put(struct gyre_pool *pool, uint32_t index)
{
    uint32_t c = index / LEASE_CHUNK, most = chunk_count(pool) / 16 < MOST_WHOLE ? chunk_count(pool) / 16 : MOST_WHOLE;
    pool->stock[c] |= UINT64_C(1) << exchanged(index % LEASE_CHUNK);
    if (c < pool->stock_from) pool->stock_from = c;
    if (pool->stock[c] != UINT64_MAX) return;
    if (pool->whole_chunks < most) {
        pool->whole_chunks++;
        return;
    }
    pool->stock[c] = 0;
    store_release(&pool->chunks[c], 0u); /* its entries are FREE, whoever has it next */
}

/* Takes an entry out of stock, of the first chunk that has one: so that others become whole. False when there is none. Caller
 * holds the guard. */
static bool take(struct gyre_pool *pool, uint32_t *index)
{
    uint32_t c = pool->stock_from, count = chunk_count(pool);
    if (!pool->stock) return false;
    while (c < count && !pool->stock[c]) c++;
    pool->stock_from = c;
    if (c == count) return false;
    if (pool->stock[c] == UINT64_MAX) pool->whole_chunks--;
    uint32_t i = (uint32_t)__builtin_ctzll(pool->stock[c]);
    pool->stock[c] &= pool->stock[c] - 1;
    *index = c * LEASE_CHUNK + exchanged(i);
    return true;
}

/* Claims a chunk nobody owns. Caller holds the guard. */
static bool claim_chunk(struct gyre_pool *pool)
{
    uint32_t count = chunk_count(pool);
    if (!pool->stock && !(pool->stock = calloc(count, sizeof *pool->stock))) return false;
    for (uint32_t c = 0; c < count; c++) {
        uint32_t nobody = 0;
        if (load_relaxed(&pool->chunks[c]) || !compare_swap(&pool->chunks[c], &nobody, pool->process + 1)) continue;
        raise_chunks(pool, c + 1);
        pool->stock[c] = UINT64_MAX;
        pool->whole_chunks++;
        if (c < pool->stock_from) pool->stock_from = c;
        return true;
    }
    return false;
}

/* Takes back own entries that somebody else ended. Caller holds the guard. */
static bool collect_orphans(struct gyre_pool *pool)
{
    uint32_t chunks = load_relaxed(&pool->control->chunks), found = 0;
    for (uint32_t c = 0; c < chunks && c < chunk_count(pool) && pool->stock; c++) {
        if (load_relaxed(&pool->chunks[c]) != pool->process + 1) continue;
        for (uint32_t i = c * LEASE_CHUNK; i < (c + 1) * LEASE_CHUNK; i++) {
            uint64_t word = load_acquire(&pool->leases[i].word);
            if (lease_state(word) != LEASE_ORPHAN) continue;
            store_release(&pool->leases[i].word, lease_word(lease_serial(word) + 1, 0, 0, LEASE_FREE));
            put(pool, i);
            found++;
            if (!pool->stock[c]) break; /* whole, and given back: no longer ours to look at */
        }
    }
    return found > 0;
}

/* A look at all threads costs a system call each: not in each of many acquires that fail. */
static bool may_look(struct gyre_pool *pool)
{
    uint64_t now = gyre__clock_machine_ms();
    if (now - pool->looked < LOOK_EVERY) return false;
    pool->looked = now;
    return true;
}

/* Takes back what threads kept that have ended; nothing runs when one does. Whoever gets the record of one comes here first, for
 * the guard. Caller holds it. */
static bool collect_kept(struct gyre_pool *pool)
{
    bool found = false;
    if (!may_look(pool)) return false;
    for (struct thread *t = pool->threads; t; t = t->next) {
        if (tgkill(getpid(), t->tid, 0) == 0 || errno != ESRCH) continue; /* then its entries are nobody else's to look at */
        found |= t->entries > 0;
        while (t->entries) put(pool, t->entry[--t->entries]);
    }
    return found;
}

static bool find_more(struct gyre_pool *pool)
{
    return claim_chunk(pool) || collect_orphans(pool) || collect_kept(pool);
}

/* The thread has none left: gives it some, twice as many as the time before, so that many threads that do little share a table.
 * False when there are none for this process. */
bool gyre__entry_refill(struct gyre_pool *pool, struct thread *thread)
{
    uint32_t index;
    gyre__guard_lock(pool);
    uint32_t most = load_relaxed(&pool->keep) / 4 + 1;
    thread->batch = thread->batch * 2 + 1 < most ? thread->batch * 2 + 1 : most;
    bool found = take(pool, &index) || (find_more(pool) && take(pool, &index));
    while (found) {
        thread->entry[thread->entries++] = index;
        found = thread->entries < thread->batch && take(pool, &index);
    }
    gyre__guard_unlock(pool);
    return thread->entries > 0;
}

/* The thread has too many: takes them back, and gives it half as many, of the first chunks: so that the rest become whole. */
void gyre__entry_spill(struct gyre_pool *pool, struct thread *thread)
{
    uint32_t index;
    gyre__guard_lock(pool);
    while (thread->entries) put(pool, thread->entry[--thread->entries]);
    while (thread->entries < load_relaxed(&pool->keep) / 2 && take(pool, &index)) thread->entry[thread->entries++] = index;
    gyre__guard_unlock(pool);
}

void gyre__entry_after_fork(struct gyre_pool *pool)
{
    free(pool->stock);
    pool->stock = NULL;
    pool->stock_from = pool->whole_chunks = 0;
}

/* Says so; returns GYRE_EFULL. */
int gyre__entry_none_free(const struct gyre_pool *pool)
{
    return gyre__fail(GYRE_EFULL, "no lease is free: max_leases is %u, of which each process that leases holds %u at least",
                      pool->max_leases, LEASE_CHUNK);
}
