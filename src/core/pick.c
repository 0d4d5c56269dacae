/*
 * Native pickers: which slot is next. Lock-free; they read the eligible bitmap and never change a proxy.
 */
#include "pool.h"

#include <stdlib.h>

#define FEW 16u /* so many excludes are compared one by one, more are marked in a bitmap */
#define DRAWS 32u

static void mark(struct gyre_pool *pool, const struct pick *pick, bool on)
{
    for (uint32_t i = 0; i < pick->request->exclude_count; i++) {
        uint32_t slot = id_slot(pick->request->exclude[i]);
        if (slot >= pool->max_proxies) continue;
        uint64_t bit = UINT64_C(1) << (slot % 64), *word = &pick->thread->excluded[slot / 64];
        if (!on) *word &= ~bit;
        else if (load_relaxed(&pool->slots[slot].generation) == pick->request->exclude[i] >> SLOT_BITS) *word |= bit;
    }
}

void gyre__pick_begin(struct gyre_pool *pool, struct pick *pick)
{
    if (likely(!pick->request || pick->request->exclude_count <= FEW)) return;
    if (!pick->thread->excluded) pick->thread->excluded = calloc(pool->max_proxies / 64, sizeof(uint64_t));
    if (!pick->thread->excluded) return; /* compare one by one, then */
    mark(pool, pick, true);
    pick->marked = true;
}

void gyre__pick_end(struct gyre_pool *pool, struct pick *pick)
{
    if (unlikely(pick->marked)) mark(pool, pick, false);
}

static bool excluded(const struct gyre_pool *pool, const struct pick *pick, uint32_t slot)
{
    if (likely(!pick->request || !pick->request->exclude_count)) return false;
    if (pick->marked) return pick->thread->excluded[slot / 64] >> (slot % 64) & 1;
    uint64_t id = make_id(load_relaxed(&pool->slots[slot].generation), slot);
    for (uint32_t i = 0; i < pick->request->exclude_count; i++)
        if (pick->request->exclude[i] == id) return true;
    return false;
}

/* The next eligible slot from `from` on, around the end, that is not excluded; NO_BIT when there is none. */
static uint32_t next_from(struct gyre_pool *pool, const struct pick *pick, uint32_t from)
{
    uint32_t slot = bits_next(&pool->eligible, from);
    while (slot != NO_BIT && unlikely(excluded(pool, pick, slot))) slot = bits_next(&pool->eligible, slot + 1);
    if (likely(slot != NO_BIT)) return slot;
    slot = bits_next(&pool->eligible, 0);
    while (slot != NO_BIT && unlikely(excluded(pool, pick, slot))) slot = bits_next(&pool->eligible, slot + 1);
    return slot;
}

/*
 * Round-robin. The cursor moves by compare-and-swap from where it was read to just past the chosen slot, so that a gap
 * of benched slots is stepped over once and its neighbour gets no more than its share; the upper half counts turns, so
 * that a thread that slept through a whole round cannot skip slots that came back meanwhile. The very first pick
 * starts anywhere: of many pools made from one list, not all begin with the same proxy (ingress-nginx#4023).
 */
static uint32_t round_robin(struct gyre_pool *pool, const struct pick *pick)
{
    uint64_t cursor = load_relaxed(&pool->control->cursor);
    uint32_t slot;
    do {
        uint32_t from = (uint32_t)cursor;
        if (unlikely(!cursor)) from = random_below(pick->thread->random, load_relaxed(&pool->control->high));
        slot = next_from(pool, pick, from);
        if (unlikely(slot == NO_BIT)) return NO_BIT;
    } while (!compare_swap(&pool->control->cursor, &cursor, ((cursor >> 32) + 1) << 32 | (slot + 1)));
    return slot;
}

/* Uniform by rejection below the highest slot in use; in a thin pool by rank instead. */
static uint32_t random_slot(struct gyre_pool *pool, const struct pick *pick)
{
    uint32_t high = load_relaxed(&pool->control->high);
    if (high > pool->max_proxies) high = pool->max_proxies;
    for (uint32_t i = 0; high && i < DRAWS; i++) {
        uint32_t slot = random_below(pick->thread->random, high);
        if (bits_test(&pool->eligible, slot) && !excluded(pool, pick, slot)) return slot;
    }
    uint32_t n = gyre__bits_count(&pool->eligible);
    if (!n) return NO_BIT;
    for (uint32_t i = 0; i < DRAWS; i++) {
        uint32_t slot = gyre__bits_select(&pool->eligible, random_below(pick->thread->random, n));
        if (slot != NO_BIT && !excluded(pool, pick, slot)) return slot;
    }
    return next_from(pool, pick, random_below(pick->thread->random, pool->max_proxies));
}

uint32_t gyre__pick(struct gyre_pool *pool, struct pick *pick, uint32_t picker)
{
    return picker == GYRE_PICK_RANDOM ? random_slot(pool, pick) : round_robin(pool, pick);
}

struct reasons {
    uint32_t benched, disabled, draining, excluded, busy;
};

/* Why each proxy is out. What nothing speaks against had reached its limit when it was tried. O(proxies). */
static void count_reasons(struct gyre_pool *pool, const struct gyre_request *request, struct reasons *reasons)
{
    struct pick pick = {.request = request};
    for (uint32_t slot = bits_next(&pool->live, 0); slot != NO_BIT; slot = bits_next(&pool->live, slot + 1)) {
        uint32_t flags = load_relaxed(&pool->slots[slot].flags);
        if (flags & SLOT_DISABLED) reasons->disabled++;
        else if (flags & SLOT_DRAINING) reasons->draining++;
        else if (flags & (SLOT_OPEN | SLOT_HALF)) reasons->benched++;
        else if (excluded(pool, &pick, slot)) reasons->excluded++;
        else if (flags & SLOT_LIMITED) reasons->busy++;
    }
}

int gyre__pick_failed(struct gyre_pool *pool, const struct gyre_request *request)
{
    struct reasons r = {0};
    uint32_t live = load_relaxed(&pool->control->live);
    if (!live) return gyre__fail(GYRE_ENO_PROXY, "the pool is empty");
    count_reasons(pool, request, &r);
    return gyre__fail(r.busy ? GYRE_EBUSY : GYRE_ENO_PROXY,
                      "none of %u proxies can be used: %u benched, %u disabled, %u draining, %u excluded, %u at their limit",
                      live, r.benched, r.disabled, r.draining, r.excluded, r.busy);
}
