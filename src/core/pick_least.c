/*
 * Least-used and least-active.
 *
 * Least-used needs no shared structure, because a proxy's count of starts only grows. Each thread keeps, per view, the
 * list of proxies that had the least count when it last looked at all of them, and works it off: a slot is taken by a
 * compare-and-swap of its `use` from that count, so the winner has taken a true minimum, and a loser drops the slot,
 * which has moved on. When the list is used up the thread looks at all again: O(n) once in n picks of its own.
 * The count is started - base[slot]. A proxy that joins, or comes back, is marked, and the next look puts it
 * at the least count of the others, if it is below it: neither flooded to catch up nor starved.
 *
 * Least-active keeps a bitmap for each number in flight, from the first time it is asked for; every lease then moves its
 * slot's bit, and looks again afterwards, so that of two racing moves the last leaves it right. A bit that a killed process
 * left wrong is mended when it is met.
 */
#include "pick.h"

#include <stdlib.h>

/* ---- least-used ---- */

static int64_t used(const struct gyre_pool *pool, uint32_t slot, int64_t base)
{
    return (int64_t)use_started(load_acquire(&pool->slots[slot].use)) - (base >> 1);
}

/* A new proxy: nothing used, and to be put level. Caller holds the segment lock. */
void gyre__least_joined(struct gyre_pool *pool, uint32_t slot)
{
    store_relaxed(&pool->base[slot], INT64_C(1));
}

/* The slot is about to become eligible again. */
void gyre__least_returned(struct gyre_pool *pool, uint32_t slot)
{
    if (!(load_relaxed(&pool->base[slot]) & 1)) fetch_or(&pool->base[slot], INT64_C(1));
}

/* The least count among the view's eligible slots that are level already; else among the marked. */
static int64_t find_least(struct gyre_pool *pool, const struct view *view)
{
    int64_t least = INT64_MAX, marked = INT64_MAX;
    for (uint32_t slot = view_next(pool, view, 0); slot != NO_BIT; slot = view_next(pool, view, slot + 1)) {
        int64_t base = load_relaxed(&pool->base[slot]), n = used(pool, slot, base), *to = base & 1 ? &marked : &least;
        if (n < *to) *to = n;
    }
    return least != INT64_MAX ? least : marked;
}

/* Puts a marked slot level: its count becomes `least` if it is below. Returns the count. */
static int64_t put_level(struct gyre_pool *pool, uint32_t slot, int64_t least)
{
    int64_t base = load_relaxed(&pool->base[slot]);
    while (base & 1) {
        int64_t n = used(pool, slot, base), next = (base >> 1) - (n < least ? least - n : 0);
        if (compare_swap(&pool->base[slot], &base, next * 2)) return n < least ? least : n;
    }
    return used(pool, slot, base);
}

static bool append(struct level *level, uint32_t slot, int64_t n)
{
    if (level->count == level->capacity) {
        uint32_t capacity = level->capacity ? 2 * level->capacity : 64;
        struct least *grown = realloc(level->list, capacity * sizeof *grown);
        if (!grown) return false;
        level->list = grown;
        level->capacity = capacity;
    }
    level->list[level->count++] = (struct least){slot, n};
    return true;
}

/* Looks at all and lists those with the least count, which others may have taken by then. False when nobody is there. */
static bool look(struct gyre_pool *pool, struct pick *pick)
{
    struct level *level = &pick->view->level;
    int64_t least = find_least(pool, pick->view);
    level->next = level->count = 0;
    if (least == INT64_MAX) return false;
    for (uint32_t slot = view_next(pool, pick->view, 0); slot != NO_BIT; slot = view_next(pool, pick->view, slot + 1))
        if (put_level(pool, slot, least) == least && !append(level, slot, least)) break;
    return true;
}

/* All on the list are excluded from this request, and stay on it for others: adds the least used of the rest. So a request
 * that always excludes the same few costs no look a pick, either. False when there is no rest. */
static bool look_beyond(struct gyre_pool *pool, struct pick *pick)
{
    struct level *level = &pick->view->level;
    int64_t least = INT64_MAX, floor = find_least(pool, pick->view);
    uint32_t kept = 0;
    for (uint32_t i = level->next; i < level->count; i++)
        if (level->list[i].slot != NO_BIT) level->list[kept++] = level->list[i];
    level->next = 0;
    level->count = kept;
    if (floor == INT64_MAX) return false;
    for (uint32_t slot = view_next(pool, pick->view, 0); slot != NO_BIT; slot = view_next(pool, pick->view, slot + 1)) {
        int64_t n = put_level(pool, slot, floor);
        if (n < least && pick_takes(pool, pick, slot)) least = n;
    }
    if (least == INT64_MAX) return false;
    for (uint32_t slot = view_next(pool, pick->view, 0); slot != NO_BIT; slot = view_next(pool, pick->view, slot + 1))
        if (put_level(pool, slot, least) == least && pick_takes(pool, pick, slot) && !append(level, slot, least)) break;
    return true;
}

static void swap(struct least *a, struct least *b)
{
    struct least old = *a;
    *a = *b;
    *b = old;
}

/* One of those from i on that have the same count as i, at random, comes to i. */
static void shuffle(struct level *level, uint32_t i, uint64_t *random)
{
    uint32_t j = i + random_below(random, level->count - i);
    if (level->list[j].used == level->list[i].used) swap(&level->list[i], &level->list[j]);
}

/* One of the list that is still at its count; those that are not fall out, the excluded stay. */
static uint32_t work_off(struct gyre_pool *pool, struct pick *pick)
{
    struct level *level = &pick->view->level;
    bool random = pick_random_ties(pool, pick->request);
    while (level->next < level->count && level->list[level->next].slot == NO_BIT) level->next++;
    for (uint32_t i = level->next; i < level->count; i++) {
        if (random) shuffle(level, i, pick->thread->random);
        struct least *at = &level->list[i];
        if (at->slot == NO_BIT) continue;
        uint32_t slot = at->slot;
        int64_t base = load_relaxed(&pool->base[slot]);
        bool here = view_has(pool, pick->view, slot) && !(base & 1) && used(pool, slot, base) == at->used;
        if (here && !pick_takes(pool, pick, slot)) continue;
        at->slot = NO_BIT; /* taken now, or moved on */
        if (i == level->next) level->next++;
        if (!here) continue;
        pick->commit.mask = ~ACTIVE_MASK;
        pick->commit.value = (uint64_t)(at->used + (base >> 1)) << ACTIVE_BITS;
        return slot;
    }
    return NO_BIT;
}

/* Looks until something is found or nobody is there: other threads may take all that was seen before we come to it. */
uint32_t gyre__pick_least_used(struct gyre_pool *pool, struct pick *pick)
{
    struct level *level = &pick->view->level;
    uint32_t slot = work_off(pool, pick);
    while (unlikely(slot == NO_BIT)) {
        bool somebody = level->next < level->count ? look_beyond(pool, pick) : look(pool, pick);
        if (!somebody && level->next == level->count) break;
        slot = work_off(pool, pick);
        if (slot == NO_BIT && !somebody) break;
    }
    return slot;
}

/* ---- least-active ---- */

static uint32_t level_of(uint32_t active)
{
    return active < ACTIVE_LEVELS ? active : ACTIVE_LEVELS - 1;
}

void gyre__least_moved(struct gyre_pool *pool, uint32_t slot, uint32_t from, uint32_t to)
{
    from = level_of(from);
    to = level_of(to);
    while (from != to) {
        bits_set(&pool->level[to], slot);
        bits_clear(&pool->level[from], slot);
        from = to;
        to = level_of(use_active(load_acquire(&pool->slots[slot].use)));
    }
}

void gyre__least_rebuild(struct gyre_pool *pool)
{
    for (uint32_t slot = 0; slot < pool->max_proxies; slot++) {
        uint32_t at, now = level_of(use_active(load_acquire(&pool->slots[slot].use)));
        do {
            at = now;
            bits_set(&pool->level[at], slot);
            for (uint32_t i = 0; i < ACTIVE_LEVELS; i++)
                if (i != at && bits_test(&pool->level[i], slot)) bits_clear(&pool->level[i], slot);
            now = level_of(use_active(load_acquire(&pool->slots[slot].use)));
        } while (now != at);
    }
}

static void switch_on(struct gyre_pool *pool)
{
    gyre__lock(pool);
    if (!load_relaxed(&pool->control->levels_on)) {
        store_release(&pool->control->levels_on, 1u);
        gyre__least_rebuild(pool);
    }
    gyre__unlock(pool);
}

/* A slot of this level in [from, to) that is really there; wrong bits that are met are mended. */
static uint32_t at_level(struct gyre_pool *pool, struct pick *pick, uint32_t level, uint32_t from, uint32_t to)
{
    const struct bits *maps[] = {&pool->level[level], &pool->eligible, &pick->view->member};
    uint32_t count = pick->view->all ? 2 : 3, best = NO_BIT, least = UINT32_MAX;
    for (uint32_t slot = gyre__bits_next_all(maps, count, from); slot < to; slot = gyre__bits_next_all(maps, count, slot + 1)) {
        uint32_t active = use_active(load_acquire(&pool->slots[slot].use));
        if (level_of(active) != level) gyre__least_moved(pool, slot, level, active);
        else if (active < least && pick_takes(pool, pick, slot)) {
            least = active;
            best = slot;
            if (level < ACTIVE_LEVELS - 1) break; /* the last level holds all the higher numbers too */
        }
    }
    if (best == NO_BIT) return NO_BIT;
    pick->commit.mask = ACTIVE_MASK;
    pick->commit.value = least;
    return best;
}

/* All moved from level to level while they were looked for: the least by looking at each. O(n). */
static uint32_t least_by_walk(struct gyre_pool *pool, struct pick *pick)
{
    uint32_t best = NO_BIT, least = UINT32_MAX;
    for (uint32_t slot = view_next(pool, pick->view, 0); slot != NO_BIT; slot = view_next(pool, pick->view, slot + 1)) {
        uint32_t active = use_active(load_acquire(&pool->slots[slot].use));
        if (active >= least || !pick_takes(pool, pick, slot)) continue;
        least = active;
        best = slot;
    }
    return best; /* without a condition: what was seen is past */
}

uint32_t gyre__pick_least_active(struct gyre_pool *pool, struct pick *pick)
{
    uint32_t start = 0, slot = NO_BIT;
    if (unlikely(!load_acquire(&pool->control->levels_on))) switch_on(pool);
    if (pick_random_ties(pool, pick->request))
        start = random_below(pick->thread->random, load_relaxed(&pool->control->high));
    for (uint32_t level = 0; level < ACTIVE_LEVELS && slot == NO_BIT; level++) {
        slot = at_level(pool, pick, level, start, NO_BIT);
        if (slot == NO_BIT && start) slot = at_level(pool, pick, level, 0, start);
    }
    return likely(slot != NO_BIT) ? slot : least_by_walk(pool, pick);
}
