/*
 * Choosing without leasing, for strategies outside the library: what acquire would take, samples, lists, counts. A look does the
 * timed work as an acquire does: a strategy that finds nobody leases nobody, and then no acquire would bring them back.
 */
#include "acquire.h"
#include "quick.h"

struct look {
    uint32_t picker, want, count; /* picker: of one; 0: a sample */
    uint64_t *ids;
    uint32_t slots[MAX_CHOICES];
};

/* What looks begin with: the thread, the request, the timed work. */
static int begin(struct gyre_pool *pool, struct pick *pick)
{
    pick->thread = thread_get(pool);
    if (unlikely(!pick->thread)) return GYRE_ESYSTEM;
    int bad = pick->request ? gyre__request_check(pick->request) : 0;
    if (unlikely(bad)) return bad;
    tick_now(pool);
    return 0;
}

static int look_here(struct gyre_pool *pool, struct pick *pick, void *context)
{
    struct look *look = context;
    uint32_t from = look->count;
    if (look->picker) {
        look->slots[0] = gyre__pick(pool, pick, look->picker);
        look->count = look->slots[0] != NO_BIT;
    } else {
        look->count = gyre__pick_distinct(pool, pick, from, look->want, look->slots);
    }
    for (uint32_t i = from; i < look->count; i++)
        look->ids[i] = make_id(load_acquire(&pool->slots[look->slots[i]].generation), look->slots[i]);
    return look->count == look->want ? 0 : GYRE_ENO_PROXY; /* on to the next country */
}

static int look_for(struct gyre_pool *pool, const struct gyre_request *request, struct look *look)
{
    struct pick pick = {.request = request};
    int result = begin(pool, &pick);
    if (result) return result;
    gyre__pick_begin(pool, &pick);
    do {
        pick.turn = 0;
        result = gyre__each_view(pool, &pick, look_here, look);
    } while (unlikely(!look->count && result == GYRE_ENO_PROXY) && gyre__limit_recheck(pool));
    gyre__pick_end(pool, &pick);
    if (look->count) return 0;
    return result == GYRE_ENO_PROXY ? gyre__pick_failed(pool, request, result) : result;
}

/* A plain request of a thread that has been here before needs no view, where the picker has a quick form without one. */
static uint32_t pick_quickly(struct gyre_pool *pool, const struct gyre_request *request)
{
    const struct thread_cache *cache = thread_cache_of(pool);
    if (unlikely(!request || !request_is_plain(request) || !thread_is_known(pool, cache))) return NO_BIT;
    switch (request->picker) {
    case GYRE_PICK_ROUND_ROBIN: return quick_round_robin(pool, NULL);
    case GYRE_PICK_RANDOM: return quick_random(pool, cache->thread, NULL);
    case GYRE_PICK_BEST:
        return pick_choices(pool, request) == 3 ? quick_best(pool, cache->thread, NULL, clock_stamp(pool)) : NO_BIT;
    default: return NO_BIT;
    }
}

GYRE_API int gyre_pick(struct gyre_pool *pool, const struct gyre_request *request, uint64_t *id)
{
    if (!pool || !id) return gyre__fail(GYRE_EINVALID, "no pool, or no place for an id");
    uint32_t slot = pick_quickly(pool, request);
    if (likely(slot != NO_BIT)) {
        *id = make_id(load_acquire(&pool->slots[slot].generation), slot);
        return 0;
    }
    struct look look = {.picker = gyre__request_picker(pool, request), .want = 1, .ids = id};
    return look.picker ? look_for(pool, request, &look) : GYRE_EINVALID;
}

GYRE_API int gyre_sample(struct gyre_pool *pool, const struct gyre_request *request, uint64_t *ids, int want)
{
    if (!pool || !ids || want < 1 || want > (int)MAX_CHOICES)
        return gyre__fail(GYRE_EINVALID, "sample takes a pool, a place for ids, and a number from 1 to %u", MAX_CHOICES);
    struct look look = {.want = (uint32_t)want, .ids = ids};
    int result = look_for(pool, request, &look);
    return result < 0 ? result : (int)look.count;
}

static int count_here(struct gyre_pool *pool, struct pick *pick, void *context)
{
    int *count = context;
    if (!pick->turn) *count = (int)gyre__view_count(pool, pick->view);
    for (uint32_t slot = pick->turn ? view_next(pool, pick->view, 0) : NO_BIT; slot != NO_BIT;
         slot = view_next(pool, pick->view, slot + 1))
        *count += !gyre__view_had(pool, pick->request, pick->turn, slot);
    return GYRE_ENO_PROXY; /* on to the next country */
}

GYRE_API int gyre_pool_eligible(struct gyre_pool *pool, const struct gyre_request *request)
{
    if (!pool) return gyre__fail(GYRE_EINVALID, "no pool");
    struct pick pick = {.request = request};
    int count = 0, bad = begin(pool, &pick);
    if (bad) return bad;
    int result = gyre__each_view(pool, &pick, count_here, &count);
    return result == GYRE_ESYSTEM ? result : count;
}

struct list {
    uint32_t *slots;
    int count, capacity;
};

static int list_here(struct gyre_pool *pool, struct pick *pick, void *context)
{
    struct list *list = context;
    for (uint32_t slot = view_next(pool, pick->view, 0); slot != NO_BIT && list->count < list->capacity;
         slot = view_next(pool, pick->view, slot + 1))
        if (pick_takes(pool, pick, slot) && !gyre__view_had(pool, pick->request, pick->turn, slot))
            list->slots[list->count++] = slot;
    return GYRE_ENO_PROXY; /* on to the next country */
}

/* Has this thread been here before, and the timed work been done? */
static bool is_up_to_date(const struct gyre_pool *pool)
{
    return thread_is_known(pool, thread_cache_of(pool)) && load_relaxed(&pool->control->tick) == clock_stamp(pool);
}

/* All that are eligible, without a view. */
static int list_all(const struct gyre_pool *pool, uint32_t *slots, int capacity)
{
    int count = 0;
    for (uint32_t slot = 0; count < capacity && (slot = bits_next(&pool->eligible, slot)) != NO_BIT; slot++) slots[count++] = slot;
    return count;
}

GYRE_API int gyre_list(struct gyre_pool *pool, const struct gyre_request *request, uint32_t *slots, int capacity)
{
    if (!pool || !slots || capacity < 0) return gyre__fail(GYRE_EINVALID, "no pool, or no place for slots");
    bool plain = !request || (request_is_plain(request) && request->picker <= GYRE_PICK_HASH);
    int count = likely(plain && is_up_to_date(pool)) ? list_all(pool, slots, capacity) : 0;
    if (likely(count)) return count;
    struct pick pick = {.request = request};
    struct list list = {slots, 0, capacity};
    int result = begin(pool, &pick);
    if (result) return result;
    gyre__pick_begin(pool, &pick);
    do {
        pick.turn = 0;
        if (plain) list.count = list_all(pool, slots, capacity);
        else result = gyre__each_view(pool, &pick, list_here, &list);
    } while (!list.count && capacity && gyre__limit_recheck(pool));
    gyre__pick_end(pool, &pick);
    return result == GYRE_ESYSTEM ? result : list.count;
}
