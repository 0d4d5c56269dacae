/*
 * The segment's lock: one word that holds the process index of its owner. Free it costs one compare-and-swap. A
 * waiter spins 64 times, then yields, then asks whether the owner's process still lives; from a dead one it takes the
 * lock over and repairs what was left half done. Never a ticket (a preempted waiter would stop the queue), never
 * spinning alone (with more threads than cores it costs a thousandfold).
 */
#include "pool.h"

#include <sched.h>

static bool take(struct gyre_pool *pool, uint32_t expected)
{
    return compare_swap(&pool->control->lock, &expected, pool->process + 1);
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
        } else if (tries > 64 && tries % 64 == 0 && !gyre__process_alive(pool, owner - 1)) {
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
