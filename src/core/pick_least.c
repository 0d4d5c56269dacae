/*
 * Least-used and least-active.
 *
 * Least-used needs no shared structure, because a proxy's count of starts only grows. Each thread keeps, per view, the
 * list of proxies that had the least count when it last looked at all of them, and works it off: a slot is taken by a
 * compare-and-swap of its `use` from that count, so the winner has taken a true minimum, and a loser drops the slot,
 * which has moved on. When the list is used up the thread looks at all again: O(n) once in n picks of its own. But where all
 * were on the list, the thread has taken each, and the same are eligible still, all are at the next count now at least: the same
 * list serves for another lap, and who has gone beyond drops out in its turn. O(n / 64).
 * The count is started - base[slot]. A proxy that joins, or comes back, is marked, and the next look puts it
 * at the least count of the others, if it is below it: neither flooded to catch up nor starved.
 *
 *     list:  0 .. first   worked off
 *            first .. next   left out by some request's excludes: the first to be tried by the next request, so few
 *            next .. count   not tried yet
 *
 * Least-active keeps a bitmap for each number in flight, from the first time it is asked for; every lease then moves its
 * slot's bit, and looks again afterwards, so that of two racing moves the last leaves it right. A bit that a killed process
 * left wrong is mended when it is met.
 */
#include "pick.h"

#include <stdlib.h>
#include <string.h>

/* ---- least-used ---- */

static int64_t used(const struct gyre_pool *pool, uint32_t slot, int64_t base)
{
    return (int64_t)use_started(load_acquire(&pool->slots[slot].use)) - (base >> 1);
}

/* The eligible members of word w. */
static inline uint64_t members_of(const struct gyre_pool *pool, const struct view *view, uint32_t w)
{
    uint64_t word = load_relaxed(&pool->eligible.word[w]) & view_state_word(pool, view, w);
    return view->all ? word : word & load_relaxed(&view->member.word[w]);
}

/* Those of the word in which `slot` lies, from it on. */
static inline uint64_t rest_of_word(const struct gyre_pool *pool, const struct view *view, uint32_t slot)
{
    return members_of(pool, view, slot / 64) & ~UINT64_C(0) << (slot % 64);
}

/* Runs its body for each eligible member, in order; the last line of the head takes the lowest bit off. */
#define EACH_MEMBER(pool, view, slot)                                                                                  \
    for (uint32_t slot, at_ = view_next(pool, view, 0); at_ != NO_BIT;                                                 \
         at_ = (at_ | 63u) < (pool)->max_proxies - 1 ? view_next(pool, view, (at_ | 63u) + 1) : NO_BIT)                \
        for (uint64_t word_ = rest_of_word(pool, view, at_);                                                           \
             word_ && ((slot = (at_ & ~63u) + (uint32_t)__builtin_ctzll(word_)), true); word_ &= word_ - 1)

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
    EACH_MEMBER(pool, view, slot)
    {
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
        int64_t n = used(pool, slot, base);
        uint64_t next = (uint64_t)(base >> 1) - (n < least ? (uint64_t)least - (uint64_t)n : 0);
        if (compare_swap(&pool->base[slot], &base, (int64_t)(next * 2))) return n < least ? least : n;
    }
    return used(pool, slot, base);
}

static __attribute__((noinline)) bool grow(struct level *level)
{
    uint32_t capacity = level->capacity ? 2 * level->capacity : 64;
    struct least *grown = realloc(level->list, capacity * sizeof *grown);
    if (!grown) return false;
    level->list = grown;
    level->capacity = capacity;
    return true;
}

static inline bool append(struct level *level, uint32_t slot, int64_t n)
{
    if (unlikely(level->count == level->capacity) && !grow(level)) return false;
    level->list[level->count++] = (struct least){slot, (uint32_t)n};
    return true;
}

/* How many words of a bitmap have proxies. */
static uint32_t words_in_use(const struct gyre_pool *pool)
{
    uint32_t high = load_relaxed(&pool->control->high);
    return ((high < pool->max_proxies ? high : pool->max_proxies) + 63) / 64;
}

/* Notes who the members are. False without memory. */
static bool see(const struct gyre_pool *pool, const struct view *view, struct level *level)
{
    level->words = words_in_use(pool);
    if (level->words > level->room) {
        uint64_t *seen = realloc(level->seen, level->words * sizeof *seen);
        if (!seen) return false;
        level->seen = seen;
        level->room = level->words;
    }
    for (uint32_t w = 0; w < level->words; w++) level->seen[w] = members_of(pool, view, w);
    return true;
}

/* Lists those of the members seen who have the least count, when none is marked: a marked one ends it, for the counts of all must
 * be known before it is put level. INT64_MAX then, and when nobody is there. */
static int64_t look_once(const struct gyre_pool *pool, struct level *level)
{
    const struct gyre_slot *slots = pool->slots;
    const int64_t *bases = pool->base;
    int64_t least = INT64_MAX;
    uint32_t members = 0;
    for (uint32_t w = 0; w < level->words; w++) {
        for (uint64_t word = level->seen[w]; word; word &= word - 1) {
            uint32_t slot = w * 64 + (uint32_t)__builtin_ctzll(word);
            int64_t base = load_relaxed(&bases[slot]);
            if (unlikely(base & 1)) return INT64_MAX;
            int64_t n = (int64_t)use_started(load_acquire(&slots[slot].use)) - (base >> 1);
            members++;
            if (n > least) continue;
            if (n < least) level->count = 0;
            least = n;
            if (unlikely(!append(level, slot, n))) return level->count ? least : INT64_MAX;
        }
    }
    level->whole = members == level->count;
    return least;
}

/* The list is new: up to where are slots fetched before their turn? */
static void plan_ahead(const struct gyre_pool *pool, struct level *level)
{
    bool far = slots_are_far(pool, level->count);
    level->ahead = far && level->count > LEVEL_AHEAD ? level->count - LEVEL_AHEAD : 0;
}

/* Looks at all and lists those with the least count, which others may have taken by then. False when nobody is there. */
static bool look(struct gyre_pool *pool, struct pick *pick)
{
    struct level *level = &pick->view->level;
    level->first = level->next = level->count = level->lap = 0;
    level->whole = false;
    if (likely(see(pool, pick->view, level)) && likely(look_once(pool, level) != INT64_MAX)) return true;
    int64_t least = find_least(pool, pick->view);
    level->count = 0;
    if (least == INT64_MAX) return false;
    EACH_MEMBER(pool, pick->view, slot)
    {
        if (put_level(pool, slot, least) == least && !append(level, slot, least)) return true;
    }
    return true;
}

/* Has the first of the list, which is picked before it is known whether its lease begins, gone beyond the count of this lap? */
static bool has_begun(const struct gyre_pool *pool, const struct level *level)
{
    uint32_t slot = level->list[0].slot;
    return (uint32_t)used(pool, slot, load_relaxed(&pool->base[slot])) != level->list[0].used + level->lap;
}

bool gyre__least_again(const struct gyre_pool *pool, struct view *view)
{
    struct level *level = &view->level;
    if (!level->whole || level->first < level->count || level->words != words_in_use(pool)) return false;
    for (uint32_t w = 0; w < level->words; w++)
        if (level->seen[w] != members_of(pool, view, w)) return false;
    if (!level->count || !has_begun(pool, level)) return false;
    level->first = level->next = 0;
    level->lap++;
    return true;
}

/* All on the list are left out by this request, and stay on it for others: adds the least used of the rest. So a request that
 * always excludes the same few costs no look a pick, either. False when there is no rest. */
static bool look_beyond(struct gyre_pool *pool, struct pick *pick)
{
    struct level *level = &pick->view->level;
    int64_t least = INT64_MAX, floor = find_least(pool, pick->view);
    uint32_t kept = level->next - level->first;
    for (uint32_t i = level->first; i < level->next; i++) level->list[i].used += level->lap;
    level->lap = 0;
    memmove(level->list, &level->list[level->first], kept * sizeof *level->list);
    level->first = 0;
    level->next = level->count = kept;
    if (floor == INT64_MAX) return false;
    EACH_MEMBER(pool, pick->view, slot)
    {
        int64_t n = put_level(pool, slot, floor);
        if (n < least && pick_takes(pool, pick, slot)) least = n;
    }
    if (least == INT64_MAX) return false;
    EACH_MEMBER(pool, pick->view, slot)
    {
        if (put_level(pool, slot, least) == least && pick_takes(pool, pick, slot) && !append(level, slot, least)) return true;
    }
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

/* Takes entry i out of those before `next`; its place goes to the worked-off ones. */
static void drop(struct level *level, uint32_t i)
{
    struct least *list = level->list;
    memmove(&list[level->first + 1], &list[level->first], (i - level->first) * sizeof *list);
    level->first++;
}

enum entry_is { ENTRY_HERE, ENTRY_LEFT_OUT, ENTRY_GONE };

/* May the request have the entry, and is it still at its count? Then the pick may commit to it. */
static enum entry_is examine(struct gyre_pool *pool, struct pick *pick, const struct least *entry)
{
    const struct level *level = &pick->view->level;
    uint32_t slot = entry->slot;
    if (!pick_takes(pool, pick, slot)) return ENTRY_LEFT_OUT;
    int64_t base = load_relaxed(&pool->base[slot]);
    uint64_t use = load_acquire(&pool->slots[slot].use);
    uint32_t n = (uint32_t)(use_started(use) - (uint64_t)(base >> 1));
    if (!view_has(pool, pick->view, slot) || base & 1 || n != entry->used + level->lap)
        return ENTRY_GONE;
    pick->commit.mask = ~ACTIVE_MASK;
    pick->commit.value = use & ~ACTIVE_MASK;
    pick->commit.use = use;
    return ENTRY_HERE;
}

#define IN_STEP 2 /* proxies lost to others */

/* Are ties broken at random? As was asked; and by one who has lost a few: two threads in step would want the same on and on. */
static bool breaks_ties_at_random(const struct gyre_pool *pool, const struct pick *pick)
{
    return unlikely(pick->lost > IN_STEP) || pick_random_ties(pool, pick->request);
}

/* One of the list that is still at its count; those that are not fall out, those left out stay. */
static uint32_t work_off(struct gyre_pool *pool, struct pick *pick)
{
    struct level *level = &pick->view->level;
    bool random = breaks_ties_at_random(pool, pick);
    for (uint32_t i = level->first; i < level->count; i++) {
        if (i >= level->next && random) shuffle(level, i, &pick->thread->random);
        uint32_t slot = level->list[i].slot;
        enum entry_is is = examine(pool, pick, &level->list[i]);
        if (i >= level->next) level->next = i + 1;
        if (is != ENTRY_HERE || i) level->whole = false;
        if (is != ENTRY_LEFT_OUT) drop(level, i);
        if (is == ENTRY_HERE) return slot;
    }
    return NO_BIT;
}

/* Looks until something is found or nobody is there: other threads may take all that was seen before we come to it. */
uint32_t gyre__pick_least_used(struct gyre_pool *pool, struct pick *pick)
{
    struct level *level = &pick->view->level;
    uint32_t slot = work_off(pool, pick);
    while (unlikely(slot == NO_BIT)) {
        bool kept = level->first < level->next;
        bool somebody = kept ? look_beyond(pool, pick) : gyre__least_again(pool, pick->view) || look(pool, pick);
        plan_ahead(pool, level);
        if (!somebody && !kept) break;
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
    const struct view *view = pick->view;
    const struct bits *maps[4] = {&pool->level[level], &pool->eligible};
    uint32_t count = 2, best = NO_BIT, least = UINT32_MAX;
    uint64_t seen = 0;
    if (!view->all) maps[count++] = &view->member;
    if (unlikely(view->state == GYRE_HALF_OPEN)) maps[count++] = &pool->benched;
    for (uint32_t slot = gyre__bits_next_all(maps, count, from); slot < to; slot = gyre__bits_next_all(maps, count, slot + 1)) {
        uint64_t use = load_acquire(&pool->slots[slot].use);
        uint32_t active = use_active(use);
        if (level_of(active) != level) gyre__least_moved(pool, slot, level, active);
        else if (active < least && view_state_word(pool, view, slot / 64) >> (slot % 64) & 1 && pick_takes(pool, pick, slot)) {
            least = active;
            seen = use;
            best = slot;
            if (level < ACTIVE_LEVELS - 1) break; /* the last level holds all the higher numbers too */
        }
    }
    if (best == NO_BIT) return NO_BIT;
    pick->commit.mask = ACTIVE_MASK;
    pick->commit.value = least;
    pick->commit.use = seen;
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
    if (breaks_ties_at_random(pool, pick))
        start = random_below(&pick->thread->random, load_relaxed(&pool->control->high));
    for (uint32_t level = 0; level < ACTIVE_LEVELS && slot == NO_BIT; level++) {
        slot = at_level(pool, pick, level, start, NO_BIT);
        if (slot == NO_BIT && start) slot = at_level(pool, pick, level, 0, start);
    }
    return likely(slot != NO_BIT) ? slot : least_by_walk(pool, pick);
}
