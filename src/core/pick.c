/*
 * What all pickers share: excludes, round-robin, random, and the account of why nothing could be picked. Lock-free; nothing
 * here changes a proxy.
 */
#include "pick.h"

#include <stdio.h>
#include <stdlib.h>

#define FEW 16u    /* so many excludes are always compared one by one */
#define GLANCES 3u /* and so often more of them, before they are marked in a bitmap */
#define DRAWS 32u

static void mark(const struct gyre_pool *pool, const struct pick *pick, bool on)
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
    if (likely(!pick->request)) return;
    if (unlikely(pick->request->host)) pick->host = gyre__host_banning(pool, pick->request->host);
    pick->commit.state = pick->request->state;
    pick->choosy = pick->host || request_is_choosy(pick->request);
}

/* Worth its two walks over the excludes when many candidates are compared with many of them. */
static bool mark_all(const struct gyre_pool *pool, struct pick *pick)
{
    if (pick->request->exclude_count <= FEW || ++pick->glances <= GLANCES || !pick->thread) return false;
    if (!pick->thread->excluded) pick->thread->excluded = calloc(pool->max_proxies / 64, sizeof(uint64_t));
    if (!pick->thread->excluded) return false; /* one by one, then */
    mark(pool, pick, true);
    return pick->marked = true;
}

void gyre__pick_end(struct gyre_pool *pool, struct pick *pick)
{
    if (unlikely(pick->marked)) mark(pool, pick, false);
}

bool gyre__pick_unfit(const struct gyre_pool *pool, const struct gyre_request *request, uint32_t slot)
{
    const struct gyre_slot *hot = &pool->slots[slot];
    if (request->min_success > 0 && load_float(&hot->success_rate) < request->min_success) return true;
    return request->max_ms > 0 && load_double(&hot->ema_ms) > request->max_ms; /* NaN, unknown, is not above */
}

bool gyre__pick_excluded(const struct gyre_pool *pool, struct pick *pick, uint32_t slot)
{
    const struct gyre_request *request = pick->request;
    if (pick->weighed && !(load_float(&pool->slots[slot].weight) > 0)) return true;
    if (pick->host && gyre__ban_holds(pool, pick->host, slot)) return true;
    if (!request) return false;
    if (gyre__pick_unfit(pool, request, slot)) return true;
    if (!request->exclude_count) return false;
    if (pick->marked || mark_all(pool, pick)) return pick->thread->excluded[slot / 64] >> (slot % 64) & 1;
    uint64_t id = make_id(load_relaxed(&pool->slots[slot].generation), slot);
    for (uint32_t i = 0; i < request->exclude_count; i++)
        if (request->exclude[i] == id) return true;
    return false;
}

/* The first slot of the view in [from, to) that can be taken; NO_BIT. */
static uint32_t first_in(struct gyre_pool *pool, struct pick *pick, uint32_t from, uint32_t to)
{
    uint32_t slot = view_next(pool, pick->view, from);
    while (slot < to && !pick_takes(pool, pick, slot)) slot = view_next(pool, pick->view, slot + 1);
    return slot < to ? slot : NO_BIT;
}

/* From `from` on and around the end. */
static uint32_t next_from(struct gyre_pool *pool, struct pick *pick, uint32_t from)
{
    uint32_t slot = first_in(pool, pick, from, NO_BIT);
    return slot != NO_BIT ? slot : first_in(pool, pick, 0, from);
}

/*
 * Round-robin. The cursor moves by compare-and-swap from where it was read to just past the chosen slot, so that a gap
 * of benched slots is stepped over once and its neighbour gets no more than its share; the upper half counts turns, so
 * that a thread that slept through a whole round cannot skip slots that came back meanwhile. The very first pick
 * starts anywhere: of many pools made from one list, not all begin with the same proxy (ingress-nginx#4023).
 *
 * A state is part of the filter, and so of the cursor's key (view.c): only requests for the same labels and state move this
 * cursor, each over nobody it could have had. So between two picks of a proxy by them, every other that was eligible and in that
 * state all the while, and that no host or exclude of theirs left out, is picked once. One that leaves the state, as a half-open
 * one does whose probe is out, is stepped over like a benched one and has its turn when the cursor comes by again.
 */
static uint32_t round_robin(struct gyre_pool *pool, struct pick *pick)
{
    uint64_t *word = &pool->cursors[pick->view->cursor % VIEW_CURSORS].cursor, cursor = load_relaxed(word);
    uint32_t slot;
    do {
        uint32_t from = (uint32_t)cursor;
        if (unlikely(!cursor)) from = random_below(&pick->thread->random, load_relaxed(&pool->control->high));
        slot = next_from(pool, pick, from);
        if (unlikely(slot == NO_BIT)) return NO_BIT;
    } while (!compare_swap(word, &cursor, ((cursor >> 32) + 1) << 32 | (slot + 1)));
    return slot;
}

/* A slot at a random place: any below the highest in use, or any member of the view. */
static uint32_t anywhere(struct gyre_pool *pool, struct pick *pick)
{
    const struct view *view = pick->view;
    uint32_t high = load_relaxed(&pool->control->high), n = view->all ? high : view->count;
    if (!n || high > pool->max_proxies) return NO_BIT;
    uint32_t at = random_below(&pick->thread->random, n);
    return view->all ? at : view->dense[at];
}

/* The k-th slot of the view that can be taken, or NO_BIT when there are not so many. */
static uint32_t rank(struct gyre_pool *pool, struct pick *pick, uint32_t k)
{
    uint32_t slot = first_in(pool, pick, 0, NO_BIT);
    while (slot != NO_BIT && k--) slot = first_in(pool, pick, slot + 1, NO_BIT);
    return slot;
}

/* By rejection; where few of the view can be taken, by counting them. */
uint32_t gyre__pick_random(struct gyre_pool *pool, struct pick *pick)
{
    for (uint32_t i = 0; i < DRAWS; i++) {
        uint32_t slot = anywhere(pool, pick);
        if (slot == NO_BIT) return NO_BIT;
        if (likely(view_has(pool, pick->view, slot)) && pick_takes(pool, pick, slot)) return slot;
    }
    uint32_t n = 0;
    for (uint32_t slot = first_in(pool, pick, 0, NO_BIT); slot != NO_BIT; slot = first_in(pool, pick, slot + 1, NO_BIT)) n++;
    return n ? rank(pool, pick, random_below(&pick->thread->random, n)) : NO_BIT;
}

uint32_t gyre__pick(struct gyre_pool *pool, struct pick *pick, uint32_t picker)
{
    pick->commit.mask = 0;
    switch (picker) {
    case GYRE_PICK_RANDOM: return gyre__pick_random(pool, pick);
    case GYRE_PICK_LEAST_USED: return gyre__pick_least_used(pool, pick);
    case GYRE_PICK_LEAST_ACTIVE: return gyre__pick_least_active(pool, pick);
    case GYRE_PICK_BEST: return gyre__pick_best(pool, pick);
    case GYRE_PICK_WEIGHTED: return gyre__pick_weighted(pool, pick);
    case GYRE_PICK_HASH: return gyre__pick_hash(pool, pick);
    default: return round_robin(pool, pick);
    }
}

struct reasons {
    uint32_t filtered, otherwise, benched, disabled, draining, excluded, busy, banned, unfit, weightless;
};

/* Does the picker that is to choose leave out those of weight 0? */
static bool is_weighing(const struct gyre_pool *pool, const struct gyre_request *request)
{
    uint32_t picker = request && request->picker ? request->picker : strategy_picker(pool);
    return picker == GYRE_PICK_BEST || picker == GYRE_PICK_WEIGHTED;
}

/* Why each proxy is out. What nothing speaks against had reached its limit when it was tried. O(proxies). */
static void count_reasons(struct gyre_pool *pool, const struct gyre_request *request, struct reasons *reasons)
{
    struct pick pick = {.request = request}, weighing = {.weighed = is_weighing(pool, request)};
    uint64_t host = request && request->host ? gyre__host_banning(pool, request->host) : 0;
    for (uint32_t slot = bits_next(&pool->live, 0); slot != NO_BIT; slot = bits_next(&pool->live, slot + 1)) {
        uint32_t flags = load_relaxed(&pool->slots[slot].flags);
        if (!gyre__view_admits(pool, request, slot)) reasons->filtered++;
        else if (flags & SLOT_DISABLED) reasons->disabled++;
        else if (flags & SLOT_DRAINING) reasons->draining++;
        else if (request && !(flags & SLOT_OUT) && !flags_are_of(flags, request->state)) reasons->otherwise++;
        else if (flags & (SLOT_OPEN | SLOT_PROBE)) reasons->benched++;
        else if (host && gyre__ban_holds(pool, host, slot)) reasons->banned++;
        else if (request && gyre__pick_unfit(pool, request, slot)) reasons->unfit++;
        else if (gyre__pick_excluded(pool, &pick, slot)) reasons->excluded++;
        else if (gyre__pick_excluded(pool, &weighing, slot)) reasons->weightless++;
        else if (flags & SLOT_LIMITED) reasons->busy++;
    }
}

int gyre__pick_failed(struct gyre_pool *pool, const struct gyre_request *request, int result)
{
    struct reasons r = {0};
    uint32_t live = load_relaxed(&pool->control->live);
    if (!live) return gyre__fail(GYRE_ENO_PROXY, "the pool is empty");
    count_reasons(pool, request, &r);
    char filtered[48] = "", otherwise[48] = "", banned[96] = "", unfit[64] = "", weightless[32] = "";
    if (r.filtered) snprintf(filtered, sizeof filtered, "%u not in the filter, ", r.filtered);
    if (r.otherwise)
        snprintf(otherwise, sizeof otherwise, "%u not %s, ", r.otherwise, request->state == GYRE_CLOSED ? "closed" : "half_open");
    if (r.unfit) snprintf(unfit, sizeof unfit, ", %u too slow or failing too often", r.unfit);
    if (r.weightless) snprintf(weightless, sizeof weightless, ", %u of weight 0", r.weightless);
    if (r.banned) snprintf(banned, sizeof banned, ", %u banned by %.60s", r.banned, request->host);
    return gyre__fail(r.busy || result == GYRE_EBUSY ? GYRE_EBUSY : GYRE_ENO_PROXY,
                      "none of %u proxies can be used: %s%s%u benched, %u disabled, %u draining, %u excluded, %u at their limit%s%s%s",
                      live, filtered, otherwise, r.benched, r.disabled, r.draining, r.excluded, r.busy, weightless, unfit, banned);
}
