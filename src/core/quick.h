/*
 * The first try of each picker, inline in plain.c and acquire.c: what nearly every call comes to. One of these returns NO_BIT
 * where it is not so simple, has then changed nothing that another pick would miss, and the picker proper (pick*.c), whose
 * rule it follows, is asked. `view` is NULL for all proxies, so that the compiler makes a version of each without views. Lock-free.
 */
#ifndef GYRE_QUICK_H
#define GYRE_QUICK_H

#include "pick.h"
#include "score.h"

#define QUICK static inline __attribute__((always_inline)) uint32_t

/* Is the slot eligible, and in the view? */
static inline bool quick_has(const struct gyre_pool *pool, const struct view *view, uint32_t slot)
{
    return bits_test(&pool->eligible, slot) && (!view || bits_test(&view->member, slot));
}

/* The same where the slot is read anyway: who is only live is eligible. */
static inline bool quick_has_near(const struct gyre_pool *pool, const struct view *view, uint32_t slot)
{
    return (likely(load_relaxed(&pool->slots[slot].flags) == SLOT_LIVE) || bits_test(&pool->eligible, slot)) &&
           (!view || bits_test(&view->member, slot));
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

/* The same for all proxies, if the next is in the cursor's word of the bitmap: without a call. */
QUICK quick_turn(const struct gyre_pool *pool)
{
    uint64_t *word = &pool->cursors[0].cursor;
    uint32_t from, ahead;
    prefetch_write(word);
    uint64_t cursor = load_relaxed(word);
    do {
        from = (uint32_t)cursor;
        if (unlikely(from >= pool->max_proxies)) return NO_BIT;
        uint64_t next = load_relaxed(&pool->eligible.word[from / 64]) >> (from % 64);
        if (unlikely(!next || !cursor)) return NO_BIT;
        ahead = (uint32_t)__builtin_ctzll(next);
    } while (!compare_swap(word, &cursor, cursor + (UINT64_C(1) << 32) + ahead + 1)); /* the next turn, and the slot after it */
    if (from + ahead == NO_BIT) __builtin_unreachable();
    return from + ahead;
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

/* Any place. The next draw is made now, and its slot on its way from memory, or from another core, while this one is in use. */
QUICK quick_draw(struct gyre_pool *pool, struct thread *thread, const struct view *view)
{
    uint32_t n = quick_places(pool, view);
    if (unlikely(view && !n)) return NO_BIT; /* of all, 0 leads to the first place, which then is nobody's */
    uint64_t draw = thread->ahead[0];
    thread->ahead[0] = random_next(&thread->random);
    prefetch_write(&pool->slots[quick_place(view, random_scale(thread->ahead[0], n))]);
    return quick_place(view, random_scale(draw, n));
}

QUICK quick_random(struct gyre_pool *pool, struct thread *thread, const struct view *view)
{
    uint32_t slot = quick_draw(pool, thread, view);
    return likely(slot != NO_BIT) && likely(quick_has(pool, view, slot)) ? slot : NO_BIT;
}

/* Choosing without a branch, for what is not to be foreseen: by a mask of all ones or none. */
static inline uint32_t mask_of(bool yes)
{
    return -(uint32_t)yes;
}
static inline uint32_t either(uint32_t mask, uint32_t yes, uint32_t no)
{
    return no ^ ((yes ^ no) & mask);
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
    thread->ahead[0] = random_next(&thread->random);
    thread->ahead[1] = random_next(&thread->random);
    if (slots_are_far(pool, n)) {
        quick_three(thread->ahead[0], thread->ahead[1], n, at);
        for (int i = 0; i < 3; i++) prefetch_write(&pool->slots[quick_place(view, at[i])]);
    }
    quick_three(one, two, n, at);
    uint32_t a = quick_place(view, at[0]), b = quick_place(view, at[1]), c = quick_place(view, at[2]);
    if (unlikely(!quick_has_near(pool, view, a) || !quick_has_near(pool, view, b) || !quick_has_near(pool, view, c))) return NO_BIT;
    double prior = score_prior(pool);
    struct score first = score_of(pool, a, stamp, prior), second = score_of(pool, b, stamp, prior);
    struct score third = score_of(pool, c, stamp, prior);
    uint32_t second_wins = mask_of(score_less(second, first));
    uint32_t third_wins = either(second_wins, mask_of(score_less(third, second)), mask_of(score_less(third, first)));
    uint32_t best = either(third_wins, c, either(second_wins, b, a));
    return likely(first.worth + second.worth + third.worth > 0) ? best : NO_BIT;
}

/* The next of the list of those with the least count, if it has that count still; the caller passes it. Entries that other
 * requests left out go before it: pick_least.c. Of all, one that is not eligible any more is refused at the start of its lease. */
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
    if (unlikely((!all && !quick_has(pool, view, slot)) || base & 1 ||
                 (uint32_t)(use_started(use) - (uint64_t)(base >> 1)) != entry->used + level->lap))
        return NO_BIT;
    if (next < level->ahead) {
        prefetch_write(&pool->slots[entry[LEVEL_AHEAD].slot]);
        __builtin_prefetch(&pool->base[entry[LEVEL_AHEAD].slot]);
    }
    commit->mask = ~ACTIVE_MASK;
    commit->value = use & ~ACTIVE_MASK;
    commit->use = use;
    if (slot == NO_BIT) __builtin_unreachable();
    return slot;
}

/* A draw from the alias table, unless it is out of date; of all, one that is not eligible any more is refused at the start of its
 * lease. In a large one the entry after the next and the next slot are fetched meanwhile. */
QUICK quick_weighted(struct gyre_pool *pool, struct thread *thread, struct view *view, bool all)
{
    if (unlikely(!view)) return NO_BIT;
    struct alias *alias = &view->alias;
    if (unlikely(alias->epoch != load_acquire(&pool->control->epoch) + 1 || !alias->count)) return NO_BIT;
    uint32_t slot = alias->next;
    alias->next = alias_slot(alias, alias->ahead);
    alias->ahead = random_next(&thread->random);
    if (unlikely(alias->count > PREFETCH_FROM)) __builtin_prefetch(&alias->entry[random_scale(alias->ahead, alias->count)]);
    prefetch_write(&pool->slots[alias->next]);
    return all || likely(quick_has(pool, view, slot)) ? slot : NO_BIT;
}

#endif
