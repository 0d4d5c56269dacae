/*
 * The first try of each picker, inline in acquire.c: what nearly every call comes to. One of these returns NO_BIT where it is
 * not so simple, has then changed nothing that another pick would miss, and the picker proper (pick*.c), whose rule it
 * follows, is asked. `view` is NULL for all proxies, so that the compiler makes a version of each without views. Lock-free.
 */
#ifndef GYRE_QUICK_H
#define GYRE_QUICK_H

#include "pick.h"
#include "score.h"

#define QUICK static inline __attribute__((always_inline)) uint32_t
#define PREFETCH_FROM 16384u /* proxies from which slots are seldom in the cache when they are picked */

/* Are the slots often in memory, or in another core's cache? A thread that is the segment's only one so far has them in its own. */
static inline bool quick_is_far(const struct gyre_pool *pool, uint32_t n)
{
    return unlikely(n > PREFETCH_FROM) || load_relaxed(&pool->control->streams) > 1;
}

/* Is the slot eligible, and in the view? */
static inline bool quick_has(const struct gyre_pool *pool, const struct view *view, uint32_t slot)
{
    return bits_test(&pool->eligible, slot) && (!view || bits_test(&view->member, slot));
}

QUICK quick_next(const struct gyre_pool *pool, const struct view *view, uint32_t i)
{
    return view ? view_next(pool, view, i) : bits_next(&pool->eligible, i);
}

/* Round-robin from the cursor on, and around the end. The first pick ever starts at random, in pick.c. */
QUICK quick_round_robin(const struct gyre_pool *pool, const struct view *view)
{
    uint64_t *word = &pool->cursors[view ? view->cursor % VIEW_CURSORS : 0].cursor;
    prefetch_write(word);
    uint64_t cursor = load_relaxed(word);
    uint32_t slot;
    do {
        slot = quick_next(pool, view, (uint32_t)cursor);
        if (unlikely(slot == NO_BIT)) slot = quick_next(pool, view, 0);
        if (unlikely(slot == NO_BIT || !cursor)) return NO_BIT;
    } while (!compare_swap(word, &cursor, ((cursor >> 32) + 1) << 32 | (slot + 1)));
    return slot;
}

/* How many places a random slot is drawn from, and the slot at one of them. */
static inline uint32_t quick_places(const struct gyre_pool *pool, const struct view *view)
{
    uint32_t n = view ? view->count : load_relaxed(&pool->control->high);
    return likely(n <= pool->max_proxies) ? n : 0;
}
static inline uint32_t quick_place(const struct view *view, uint32_t at)
{
    return view ? view->dense[at] : at;
}

/* The next draw is made now, and its slot on its way from memory, or from another core, while this one is in use. */
QUICK quick_random(struct gyre_pool *pool, struct thread *thread, const struct view *view)
{
    uint32_t n = quick_places(pool, view);
    if (unlikely(!n)) return NO_BIT;
    uint64_t draw = thread->ahead[0];
    thread->ahead[0] = random_next(thread->random);
    prefetch_write(&pool->slots[quick_place(view, random_scale(thread->ahead[0], n))]);
    uint32_t slot = quick_place(view, random_scale(draw, n));
    return likely(quick_has(pool, view, slot)) ? slot : NO_BIT;
}

/* Three different places of n, each three of them as likely as any other. */
static inline void quick_three(uint64_t one, uint64_t two, uint32_t n, uint32_t at[3])
{
    uint32_t a = random_scale(one, n), b = random_scale(two, n - 1), c = random_scale(two << 32, n - 2);
    b += b >= a;
    uint32_t low = a < b ? a : b, high = a < b ? b : a;
    c += c >= low;
    c += c >= high;
    at[0] = a;
    at[1] = b;
    at[2] = c;
}

/* The best of three. If one of them cannot be had all are drawn again, in pick_score.c: so any three are as likely still. */
QUICK quick_best(struct gyre_pool *pool, struct thread *thread, const struct view *view, uint32_t stamp)
{
    uint32_t n = quick_places(pool, view), members = view ? n : load_relaxed(&pool->control->live), at[3];
    if (unlikely(members <= FEW_PROXIES || n < members)) return NO_BIT;
    uint64_t one = thread->ahead[0], two = thread->ahead[1];
    thread->ahead[0] = random_next(thread->random);
    thread->ahead[1] = random_next(thread->random);
    if (quick_is_far(pool, n)) {
        quick_three(thread->ahead[0], thread->ahead[1], n, at);
        for (int i = 0; i < 3; i++) prefetch_write(&pool->slots[quick_place(view, at[i])]);
    }
    quick_three(one, two, n, at);
    uint32_t a = quick_place(view, at[0]), b = quick_place(view, at[1]), c = quick_place(view, at[2]);
    if (unlikely(!quick_has(pool, view, a) || !quick_has(pool, view, b) || !quick_has(pool, view, c))) return NO_BIT;
    double prior = score_prior(pool), first = score_cost(pool, a, stamp, prior), second = score_cost(pool, b, stamp, prior);
    double third = score_cost(pool, c, stamp, prior), least = second < first ? second : first;
    uint32_t best = second < first ? b : a;
    if (third < least) least = third, best = c;
    return likely(least < INFINITY) ? best : NO_BIT;
}

/* The next of the list of those with the least count, if it has that count still. Entries that other requests left out go
 * before it: pick_least.c. */
QUICK quick_least_used(const struct gyre_pool *pool, struct view *view, bool all, struct commit *commit)
{
    if (unlikely(!view)) return NO_BIT;
    struct level *level = &view->level;
    uint32_t next = level->next;
    if (unlikely(next >= level->count || level->first != next)) return NO_BIT;
    const struct least *entry = &level->list[next];
    uint32_t slot = entry->slot;
    int64_t base = load_relaxed(&pool->base[slot]);
    uint64_t use = load_acquire(&pool->slots[slot].use);
    if (unlikely(!quick_has(pool, all ? NULL : view, slot) || base & 1 ||
                 (uint32_t)(use_started(use) - (uint64_t)(base >> 1)) != entry->used))
        return NO_BIT;
    if (likely(next + LEVEL_AHEAD < level->count)) {
        prefetch_write(&pool->slots[entry[LEVEL_AHEAD].slot]);
        __builtin_prefetch(&pool->base[entry[LEVEL_AHEAD].slot]);
    }
    level->first = level->next = next + 1;
    commit->mask = ~ACTIVE_MASK;
    commit->value = use & ~ACTIVE_MASK;
    return slot;
}

/* A draw from the alias table, unless it is out of date. In a large one the entry after the next and the next slot are
 * fetched meanwhile. */
QUICK quick_weighted(struct gyre_pool *pool, struct thread *thread, struct view *view, bool all)
{
    if (unlikely(!view)) return NO_BIT;
    struct alias *alias = &view->alias;
    if (unlikely(alias->epoch != load_acquire(&pool->control->epoch) + 1 || !alias->count)) return NO_BIT;
    uint32_t slot = alias->next;
    alias->next = alias_slot(alias, alias->ahead);
    alias->ahead = random_next(thread->random);
    if (unlikely(alias->count > PREFETCH_FROM)) __builtin_prefetch(&alias->entry[random_scale(alias->ahead, alias->count)]);
    prefetch_write(&pool->slots[alias->next]);
    return likely(quick_has(pool, all ? NULL : view, slot)) ? slot : NO_BIT;
}

#endif
