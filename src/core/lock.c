/*
 * The segment's lock: one word that names its owner by index in the process table and by how often that entry had been
 * taken; without the latter a waiter that slept between finding the owner dead and its compare-and-swap could take the
 * lock from the living process that got the dead one's entry. Free it costs one compare-and-swap. A waiter spins 64 times,
 * then yields, then asks whether the owner's process still lives; from a dead one it takes the lock over and repairs what
 * was left half done. Never a ticket (a preempted waiter would stop the queue), never spinning alone (with more threads than
 * cores it costs a thousandfold).
 */
#include "pool.h"

#include <sched.h>

#define OWNER_BITS 11u
#define OWNER_MASK ((1u << OWNER_BITS) - 1u)
_Static_assert(MAX_PROCESSES < OWNER_MASK, "an index + 1 fits");

uint32_t gyre__lock_word(const struct gyre_pool *pool, uint32_t process)
{
    return load_relaxed(&pool->processes[process].incarnation) << OWNER_BITS | (process + 1);
}

bool gyre__lock_abandoned(const struct gyre_pool *pool, uint32_t word)
{
    uint32_t process = (word & OWNER_MASK) - 1;
    if (!word || word == pool->lock_word) return false;
    if (process >= MAX_PROCESSES || process == pool->process) return true;
    return gyre__lock_word(pool, process) != word || !gyre__process_alive(pool, process);
}

static bool take(struct gyre_pool *pool, uint32_t expected)
{
    return compare_swap(&pool->control->lock, &expected, pool->lock_word);
}

/* The previous owner died inside: finish or undo what it was at. */
static void inherit(struct gyre_pool *pool)
{
    gyre__process_find_dead(pool);
    gyre__repair(pool);
    gyre__settle(pool);
}

void gyre__lock(struct gyre_pool *pool)
{
    for (uint32_t tries = 0;; tries++) {
        uint32_t owner = load_relaxed(&pool->control->lock);
        if (!owner) {
            if (take(pool, 0)) return;
        } else if (tries > 64 && tries % 64 == 0 && gyre__lock_abandoned(pool, owner)) {
            if (take(pool, owner)) {
                inherit(pool);
                return;
            }
        }
        if (tries < 64) cpu_relax();
        else sched_yield();
    }
}

bool gyre__trylock(struct gyre_pool *pool)
{
    return !load_relaxed(&pool->control->lock) && take(pool, 0);
}

void gyre__unlock(struct gyre_pool *pool)
{
    store_release(&pool->control->lock, 0u);
}

bool gyre__word_trylock(struct gyre_pool *pool, uint32_t *word)
{
    uint32_t owner = load_relaxed(word);
    if (owner && !gyre__lock_abandoned(pool, owner)) return false;
    return compare_swap(word, &owner, pool->lock_word);
}

void gyre__word_lock(struct gyre_pool *pool, uint32_t *word)
{
    for (uint32_t tries = 0;; tries++) {
        uint32_t owner = load_relaxed(word);
        bool ask = tries > 64 && tries % 64 == 0;
        if (!owner || (ask && gyre__lock_abandoned(pool, owner)))
            if (compare_swap(word, &owner, pool->lock_word)) return;
        if (tries < 64) cpu_relax();
        else sched_yield();
    }
}
