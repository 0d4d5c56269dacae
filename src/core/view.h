/*
 * Views: which proxies a request's filter lets through, kept per thread and brought up to date from the ring of changes
 * in the segment. Health and limits are not in a view: pickers ask the eligible bitmap for them, live, and for the state that a
 * request asks for the bitmap of the benched. A state is part of the filter all the same, for what a view keeps beside its
 * members: the least-used of the closed are not those of all, and round-robin among the half-open, with a cursor that
 * requests for others move too, could pass over the same ones for ever.
 */
#ifndef GYRE_VIEW_H
#define GYRE_VIEW_H

#include "pool.h"

/* A part of the request's strings; nothing is copied to look a view up. */
struct filter {
    const char *country, *region, *tags;
    size_t country_size, region_size, tags_size;
    uint32_t state; /* GYRE_CLOSED, GYRE_HALF_OPEN; 0: either */
};

/* Those who were the least used, with the count they had then, in rising order; see pick_least.c. */
struct least {
    uint32_t slot;
    uint32_t used; /* low half: it is compared for equality only */
};

struct level {
    struct least *list;
    uint32_t first, next, count, capacity;
    uint32_t ahead; /* up to this place, the slot LEVEL_AHEAD places on is fetched */
    uint32_t lap;   /* so often has the list been worked off: each count on it has grown by as much */
    bool whole;     /* all members are on it, and each was leased in its turn */
    uint64_t *seen; /* the members when the list was made, as words of a bitmap */
    uint32_t words, room;
};

#define LEVEL_AHEAD 8u /* so far ahead in the list slots are fetched */

/* Alias table over the members; see pick_score.c. An entry in one piece: in a large table each look-up is one miss. */
struct alias_entry {
    uint32_t share; /* of 2^32, of `slot`; the rest is the other's */
    uint32_t slot, other;
};

struct alias {
    uint64_t epoch;
    struct alias_entry *entry;
    uint32_t count, capacity;
    uint32_t next;  /* the slot drawn last, not given out yet */
    uint64_t ahead; /* and the draw after it */
};

/* The slot of a draw: its upper half says which entry, its lower half which of the two. */
static inline uint32_t alias_slot(const struct alias *alias, uint64_t draw)
{
    const struct alias_entry *entry = &alias->entry[random_scale(draw, alias->count)];
    return (uint32_t)draw <= entry->share ? entry->slot : entry->other;
}

struct view {
    struct view *next;
    char *text; /* country, region and tags, joined; NULL for the view of all without a filter */
    uint32_t hash, cursor; /* cursor: index in REGION_VIEWS */
    uint64_t epoch;
    uint32_t state; /* of the filter */
    bool all; /* it filters by no label: no members are kept */
    struct bits member;
    uint32_t *dense, *place; /* members in any order; place[slot] is a member's position there */
    uint32_t count;
    struct level level;
    struct alias alias;
};

/* The thread's view for a filter, up to date; NULL and a detail without memory or when the filter is none. */
struct view *gyre__view_get(struct gyre_pool *pool, struct thread *thread, const struct filter *filter);
/* The view this thread used last, up to date, if it is for exactly these strings (NULL is ""); NULL otherwise. */
struct view *gyre__view_last(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request);
void gyre__view_free_all(struct thread *thread);

/* What one of several tags says of the cost: "cost<=NUMBER", "cost=NUMBER", nothing, or what is neither though it begins so.
 * Stores the number in *limit, unless that is NULL. Pure. */
enum cost_term { COST_NONE, COST_IS, COST_MOST, COST_BROKEN };
enum cost_term gyre__cost_term(const char *term, size_t size, double *limit);

/* Does the request's filter let this slot through? For messages: without a view, O(length of the filter). */
bool gyre__view_admits(const struct gyre_pool *pool, const struct gyre_request *request, uint32_t slot);

/* Did one of the first `turn` countries of the request let this slot through already? */
bool gyre__view_had(const struct gyre_pool *pool, const struct gyre_request *request, uint32_t turn, uint32_t slot);

/* A proxy joined, left or got other labels. Caller holds the segment lock. */
void gyre__view_changed(struct gyre_pool *pool, uint32_t slot);

/* Those of word w of the bitmaps, if they are eligible, that are in the state the view asks for. */
static inline uint64_t view_state_word(const struct gyre_pool *pool, const struct view *view, uint32_t w)
{
    if (likely(!view->state)) return ~UINT64_C(0);
    uint64_t benched = load_relaxed(&pool->benched.word[w]);
    return view->state == GYRE_HALF_OPEN ? benched : ~benched;
}
/* The next slot at or after i that is in the view and eligible; NO_BIT. */
uint32_t gyre__view_next_stated(const struct gyre_pool *pool, const struct view *view, uint32_t i);
static inline uint32_t view_next(const struct gyre_pool *pool, const struct view *view, uint32_t i)
{
    const struct bits *maps[] = {&pool->eligible, &view->member};
    if (unlikely(view->state)) return gyre__view_next_stated(pool, view, i);
    return view->all ? bits_next(&pool->eligible, i) : gyre__bits_next_all(maps, 2, i);
}
static inline bool view_has(const struct gyre_pool *pool, const struct view *view, uint32_t slot)
{
    return bits_test(&pool->eligible, slot) && (view->all || bits_test(&view->member, slot)) &&
           view_state_word(pool, view, slot / 64) >> (slot % 64) & 1;
}
/* How many are in the view and eligible. O(words). */
uint32_t gyre__view_count(const struct gyre_pool *pool, const struct view *view);

#endif
