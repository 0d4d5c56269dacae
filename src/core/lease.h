/*
 * The words of the lease table, and the start of a lease in its simplest case, which plain.c and acquire.c have inline.
 */
#ifndef GYRE_LEASE_H
#define GYRE_LEASE_H

#include "pick.h"

/* The life of a lease is drawn in lease.c. */
enum lease_state { LEASE_FREE = 0, LEASE_STARTING = 1, LEASE_HELD = 2, LEASE_ENDING = 3, LEASE_ORPHAN = 4 };
#define LEASE_STATE 0x0fu
#define LEASE_PROBE 0x10u   /* it is the probe of a half-open proxy */
#define LEASE_COUNTED 0x20u /* with ENDING: entry.target is valid */
#define LEASE_FOREIGN 0x40u /* with ENDING: it is ended by the holder of the lock, not by its owner */
#define LEASE_SETTLED 0x80u /* with ENDING: no counter but `active` is still to be changed */

static inline uint64_t lease_word(uint32_t serial, uint32_t slot, uint32_t verdict, uint32_t bits)
{
    return (uint64_t)serial << 32 | (uint64_t)slot << 12 | verdict << 8 | bits;
}
static inline uint32_t lease_serial(uint64_t word)
{
    return (uint32_t)(word >> 32);
}
static inline uint32_t lease_slot(uint64_t word)
{
    return (uint32_t)(word >> 12) & SLOT_MASK;
}
static inline uint32_t lease_verdict(uint64_t word)
{
    return (uint32_t)(word >> 8) & 15u;
}
static inline uint32_t lease_state(uint64_t word)
{
    return (uint32_t)word & LEASE_STATE;
}

/* What finish needs to know of an outcome. */
struct ending {
    uint32_t verdict;
    bool has_ms, locked; /* locked: the caller holds the segment lock */
    double ms;
    uint64_t bytes;
    uint64_t host; /* of the lease; for verdicts that say something of it */
    double retry_after;
};
/* The number in flight changed, by one, in this direction: least-active wants to know, once it has been used. */
static inline void lease_moved(struct gyre_pool *pool, uint32_t slot, uint32_t minus, uint32_t plus)
{
    if (likely(!load_relaxed(&pool->control->levels_on))) return;
    uint32_t active = use_active(load_acquire(&pool->slots[slot].use));
    gyre__least_moved(pool, slot, active + minus - plus, active);
}

/* All but the entry and its serial. */
static inline void lease_fill(struct gyre_lease *lease, uint32_t generation, uint32_t slot)
{
    lease->id = make_id(generation, slot);
    lease->slot = slot;
    lease->generation = generation;
    lease->host = 0;
    lease->strategy = lease->how = 0;
}

/* What became of a simple start. */
enum simple { SIMPLE_NOT, SIMPLE_DONE, SIMPLE_MOVED, SIMPLE_LATE };

/*
 * Leases a proxy that is in use and has no limits, by a thread that has an entry: nearly every call. NOT: it is not so simple,
 * and nothing has been done. MOVED: done, and lease_moved is to be called. LATE: not done, and gyre__lease_retract is to be
 * called. The caller makes these calls, so that one which makes them last has no registers to save. Lock-free.
 */
static inline __attribute__((always_inline)) enum simple lease_start_simple(struct gyre_pool *pool, struct thread *thread,
                                                                            uint32_t slot, uint32_t stamp,
                                                                            const struct commit *commit, struct gyre_lease *lease)
{
    struct gyre_slot *hot = &pool->slots[slot];
    prefetch_write(hot);
    uint64_t head = slot_head(hot);
    uint32_t entries = thread->entries;
    if (unlikely(head_flags(head) != SLOT_LIVE || !entries)) return SIMPLE_NOT;
    if (load_relaxed(&hot->last_used) != stamp) { /* used in this tenth of a second, it was so in this bucket of the window */
        if (unlikely(load_relaxed(&hot->window_bucket) != load_relaxed(&pool->control->bucket))) return SIMPLE_NOT;
        store_relaxed(&hot->last_used, stamp);
    }
    uint32_t index = thread->entry[entries - 1];
    struct lease_entry *entry = &pool->leases[index];
    uint32_t serial = lease_serial(load_relaxed(&entry->word));
    lease->entry = index;
    lease->serial = serial;
    store_relaxed(&entry->deadline, stamp + pool->lease_timeout);
    store_release(&entry->word, lease_word(serial, slot, 0, LEASE_STARTING));
    if (commit->mask) {
        uint64_t use = commit->use;
        while (unlikely(!compare_swap(&hot->use, &use, use + USE_START))) {
            if ((use & commit->mask) == commit->value) continue;
            store_release(&entry->word, lease_word(serial + 1, 0, 0, LEASE_FREE));
            return SIMPLE_NOT;
        }
    } else {
        fetch_add(&hot->use, USE_START);
    }
    /* Removed, perhaps used again, or given a limit, in between? Looked at after the addition: who changes it looks at `use`. */
    if (unlikely(slot_head(hot) != head)) return SIMPLE_LATE;
    store_release(&entry->word, lease_word(serial, slot, 0, LEASE_HELD));
    thread->entries--;
    uint32_t generation = head_generation(head);
    __asm__("" : "+r"(generation)); /* else gcc cuts the id out of `head` by a mask, which takes two instructions more */
    lease_fill(lease, generation, slot);
    return likely(!load_relaxed(&pool->control->levels_on)) ? SIMPLE_DONE : SIMPLE_MOVED;
}

/* The rest of a simple start, where there is one: was it done? */
static inline bool lease_started(struct gyre_pool *pool, struct thread *thread, uint32_t slot, enum simple result)
{
    if (likely(result == SIMPLE_DONE)) return true;
    if (result == SIMPLE_MOVED) lease_moved(pool, slot, 0, 1);
    if (result == SIMPLE_LATE) gyre__lease_retract(pool, thread, slot);
    return result == SIMPLE_MOVED;
}

/* The simple way, which leases closed proxies only, or else the other one: as gyre__lease_start. */
static inline __attribute__((always_inline)) int lease_start(struct gyre_pool *pool, struct thread *thread, uint32_t slot,
                                                             uint32_t stamp, const struct commit *commit, struct gyre_lease *lease)
{
    if (likely(commit->state != GYRE_HALF_OPEN) &&
        likely(lease_started(pool, thread, slot, lease_start_simple(pool, thread, slot, stamp, commit, lease))))
        return 0;
    return gyre__lease_start(pool, thread, slot, stamp, commit, lease);
}

#endif
