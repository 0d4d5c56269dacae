/*
 * Acquiring: from a request to a lease. The plain round-robin case runs inline at the top; everything else goes through
 * views and pickers.
 */
#include "lease.h"

#include <string.h>

#define MAX_CHOICES 64u

static const struct commit always;

/* Does the request say nothing but perhaps round-robin? */
static inline bool is_plain(const struct gyre_request *request)
{
    uintptr_t said = (uintptr_t)request->session | (uintptr_t)request->host | (uintptr_t)request->country |
                     (uintptr_t)request->region | (uintptr_t)request->tags;
    return request->size == sizeof *request && request->picker <= GYRE_PICK_ROUND_ROBIN && !said &&
           !request->exclude_count && request->min_success == 0 && request->max_ms == 0;
}

/* What every call with a request wants of it. */
static int check_wishes(const struct gyre_request *request)
{
    if (request->size < sizeof *request) return gyre__fail(GYRE_EINVALID, "request.size is not set");
    if (request->exclude_count && !request->exclude) return gyre__fail(GYRE_EINVALID, "request.exclude is NULL");
    if (!(request->min_success >= 0 && request->min_success <= 1))
        return gyre__fail(GYRE_EINVALID, "request.min_success %g is not between 0 and 1", request->min_success);
    if (!(request->max_ms >= 0)) return gyre__fail(GYRE_EINVALID, "request.max_ms %g is no latency", request->max_ms);
    return 0;
}

static int check_request(const struct gyre_request *request)
{
    int bad = check_wishes(request);
    if (bad) return bad;
    if (request->picker > GYRE_PICK_HASH) return gyre__fail(GYRE_EINVALID, "%u is no picker", request->picker);
    if (request->choices > MAX_CHOICES)
        return gyre__fail(GYRE_EINVALID, "request.choices %u is above %u", request->choices, MAX_CHOICES);
    return 0;
}

/* The picker of a request that is sound, or 0 and a detail. */
static uint32_t picker_of(const struct gyre_pool *pool, const struct gyre_request *request)
{
    uint32_t picker = request && request->picker ? request->picker : strategy_picker(pool);
    if (likely(picker != GYRE_PICK_HASH) || pick_key(request)) return picker;
    gyre__fail(GYRE_EINVALID, "the consistent hash needs request.key, or else host or session");
    return 0;
}

#define EMPTY_LOOKS 8 /* a look is no snapshot: while others come and go, one may see nobody though somebody is always there */

/* Picks and starts until one start succeeds. */
static int start_in_view(struct gyre_pool *pool, struct pick *pick, uint32_t picker, uint32_t stamp,
                         struct gyre_lease *lease)
{
    int result = GYRE_ENO_PROXY;
    uint32_t empty = 0;
    for (uint32_t tries = 0; tries < 2 * pool->max_proxies; tries++) {
        uint32_t slot = gyre__pick(pool, pick, picker);
        if (unlikely(slot == NO_BIT) && gyre__limit_recheck(pool)) continue;
        if (unlikely(slot == NO_BIT)) {
            if (++empty < EMPTY_LOOKS && view_next(pool, pick->view, 0) != NO_BIT) continue;
            break;
        }
        if (likely(lease_start_simple(pool, pick->thread, slot, stamp, &pick->commit, lease))) return 0;
        int last = gyre__lease_start(pool, pick->thread, slot, stamp, &pick->commit, lease);
        if (likely(last == 0) || last == GYRE_EFULL) return last;
        if (last == GYRE_EBUSY) result = last;
    }
    return result;
}

/* The filter of the request for the next country of its list, and whether there is one. */
static bool next_filter(const struct gyre_request *request, const char **country, struct filter *filter)
{
    if (!*country) return false;
    size_t size = strcspn(*country, ",");
    filter->country = *country;
    filter->country_size = size;
    *country = (*country)[size] ? *country + size + 1 : NULL;
    filter->region = request->region ? request->region : "";
    filter->region_size = strlen(filter->region);
    filter->tags = request->tags ? request->tags : "";
    filter->tags_size = strlen(filter->tags);
    return true;
}

static bool is_filtered(const struct gyre_request *request)
{
    return request && ((request->country && *request->country) || (request->region && *request->region) ||
                       (request->tags && *request->tags));
}

/* Calls `use` with each view of the request, in order of preference, until it returns other than GYRE_ENO_PROXY. */
static int each_view(struct gyre_pool *pool, struct pick *pick, int (*use)(struct gyre_pool *, struct pick *, void *),
                     void *context)
{
    const struct gyre_request *request = pick->request;
    int result = GYRE_ENO_PROXY;
    if (likely(!is_filtered(request))) {
        pick->view = gyre__view_get(pool, pick->thread, NULL);
        return pick->view ? use(pool, pick, context) : GYRE_ESYSTEM;
    }
    if (likely((pick->view = gyre__view_last(pool, pick->thread, request)) != NULL)) return use(pool, pick, context);
    struct filter filter;
    const char *country = request->country ? request->country : "";
    while ((result == GYRE_ENO_PROXY || result == GYRE_EBUSY) && next_filter(request, &country, &filter)) {
        pick->view = gyre__view_get(pool, pick->thread, &filter);
        if (!pick->view) return GYRE_ESYSTEM;
        int last = use(pool, pick, context);
        result = last == GYRE_ENO_PROXY && result == GYRE_EBUSY ? result : last;
    }
    return result;
}

struct start {
    uint32_t picker, stamp;
    struct gyre_lease *lease;
};

static int start_here(struct gyre_pool *pool, struct pick *pick, void *context)
{
    const struct start *start = context;
    return start_in_view(pool, pick, start->picker, start->stamp, start->lease);
}

/* A lease by the request's picker and filters, whatever its session. */
int gyre__acquire_plain(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint32_t stamp,
                        struct gyre_lease *lease)
{
    struct pick pick = {.request = request, .thread = thread};
    struct start start = {picker_of(pool, request), stamp, lease};
    if (unlikely(!start.picker)) return GYRE_EINVALID;
    gyre__pick_begin(pool, &pick);
    int result = each_view(pool, &pick, start_here, &start);
    gyre__pick_end(pool, &pick);
    if (likely(result == 0) || result == GYRE_ESYSTEM) return result;
    if (result == GYRE_EFULL) return gyre__fail(GYRE_EFULL, "%u leases are in flight, as many as fit", pool->max_leases);
    return gyre__pick_failed(pool, request, result);
}

static int is_member(struct gyre_pool *pool, struct pick *pick, void *context)
{
    (void)pool;
    return pick->view->all || bits_test(&pick->view->member, *(uint32_t *)context) ? 0 : GYRE_ENO_PROXY;
}

bool gyre__acquire_allows(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                          uint32_t slot)
{
    bool choosy = request->host || request->exclude_count || request->min_success > 0 || request->max_ms > 0;
    if (likely(!choosy && !is_filtered(request))) return true;
    struct pick pick = {.request = request, .thread = thread, .choosy = choosy};
    if (request->host) pick.host = gyre__host_banning(pool, request->host);
    return pick_takes(pool, &pick, slot) && each_view(pool, &pick, is_member, &slot) == 0;
}

static int acquire(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint32_t stamp,
                   struct gyre_lease *lease)
{
    if (unlikely(load_relaxed(&pool->control->log_sample)))
        return gyre__decision_acquire(pool, thread, request, stamp, lease);
    if (request && request->session) return gyre__session_acquire(pool, thread, request, stamp, lease);
    return gyre__acquire_plain(pool, thread, request, stamp, lease);
}

/* A lease that knows its host, unless the host is throttled. */
static int acquire_for_host(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint32_t stamp,
                            struct gyre_lease *lease)
{
    uint64_t host;
    int result = gyre__host_enter(pool, request->host, &host);
    if (!result) result = acquire(pool, thread, request, stamp, lease);
    if (!result) lease->host = host;
    return result;
}

/* Everything but the plainest request of a thread that has been here before. */
static __attribute__((noinline)) int acquire_any(struct gyre_pool *pool, const struct gyre_request *request,
                                                 struct gyre_lease *lease)
{
    if (!pool || !lease) return gyre__fail(GYRE_EINVALID, "no pool, or no place for a lease");
    struct thread *thread = thread_get(pool);
    if (!thread) return GYRE_ESYSTEM;
    int bad = request ? check_request(request) : 0;
    if (bad) return bad;
    uint32_t stamp = clock_stamp(pool);
    if (load_relaxed(&pool->control->tick) != stamp) gyre__tick(pool, stamp);
    if (request && request->host) return acquire_for_host(pool, thread, request, stamp, lease);
    return acquire(pool, thread, request, stamp, lease);
}

/* Round-robin over all, with nothing else to look at, is inline here; whatever does not fit starts anew in acquire_any. */
GYRE_API int gyre_acquire(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease)
{
    if (unlikely(!pool || !lease || (request && !is_plain(request)))) return acquire_any(pool, request, lease);
    const struct thread_cache *cache = thread_cache_of(pool);
    const struct segment_control *control = pool->control;
    if (unlikely(!thread_is_known(pool, cache) || strategy_picker(pool) != GYRE_PICK_ROUND_ROBIN || load_relaxed(&control->log_sample)))
        return acquire_any(pool, request, lease);
    uint32_t stamp = clock_stamp(pool), slot;
    if (unlikely(load_relaxed(&control->tick) != stamp) || unlikely((slot = pick_round_robin(pool)) == NO_BIT))
        return acquire_any(pool, request, lease);
    if (likely(lease_start_simple(pool, cache->thread, slot, stamp, &always, lease))) return 0;
    if (gyre__lease_start(pool, cache->thread, slot, stamp, &always, lease) == 0) return 0;
    return acquire_any(pool, request, lease);
}

/* ---- by id ---- */

static int start_id(struct gyre_pool *pool, struct thread *thread, uint64_t id, uint32_t stamp,
                    const struct commit *commit, struct gyre_lease *lease)
{
    uint32_t slot = slot_of_id(pool, id);
    if (unlikely(slot == NO_BIT)) return gyre__fail(GYRE_ENOT_FOUND, "no proxy with id %llu", (unsigned long long)id);
    if (likely(lease_start_simple(pool, thread, slot, stamp, commit, lease))) return 0;
    int result = gyre__lease_start(pool, thread, slot, stamp, commit, lease);
    if (likely(result == 0)) return 0;
    const char *why = result == GYRE_EBUSY ? "is at its limit" : result == GYRE_EFULL ? "finds no free lease" : "is not eligible";
    return gyre__fail(result, "proxy %llu %s", (unsigned long long)id, why);
}

int gyre__acquire_chosen(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint64_t id,
                         uint32_t stamp, struct gyre_lease *lease)
{
    uint32_t slot = slot_of_id(pool, id);
    if (slot != NO_BIT && !gyre__acquire_allows(pool, thread, request, slot))
        return gyre__fail(GYRE_ENO_PROXY, "proxy %llu is not one that the request lets through", (unsigned long long)id);
    return start_id(pool, thread, id, stamp, &always, lease);
}

/* What both calls by id begin with: the thread, the time. */
static int begin_by_id(struct gyre_pool *pool, const struct gyre_lease *lease, struct thread **thread, uint32_t *stamp)
{
    if (unlikely(!pool || !lease)) return gyre__fail(GYRE_EINVALID, "no pool, or no place for a lease");
    *thread = thread_get(pool);
    if (unlikely(!*thread)) return GYRE_ESYSTEM;
    *stamp = clock_stamp(pool);
    if (unlikely(load_relaxed(&pool->control->tick) != *stamp)) gyre__tick(pool, *stamp);
    return 0;
}

GYRE_API int gyre_acquire_id(struct gyre_pool *pool, uint64_t id, struct gyre_lease *lease)
{
    struct thread *thread;
    uint32_t stamp;
    int bad = begin_by_id(pool, lease, &thread, &stamp);
    return unlikely(bad) ? bad : start_id(pool, thread, id, stamp, &always, lease);
}

GYRE_API int gyre_probe(struct gyre_pool *pool, uint64_t id, struct gyre_lease *lease)
{
    static const struct commit even_benched = {.benched = true};
    struct thread *thread;
    uint32_t stamp;
    int bad = begin_by_id(pool, lease, &thread, &stamp);
    return bad ? bad : start_id(pool, thread, id, stamp, &even_benched, lease);
}

GYRE_API int gyre_acquire_chosen(struct gyre_pool *pool, const struct gyre_request *request, uint64_t id,
                                 struct gyre_lease *lease)
{
    struct thread *thread;
    uint32_t stamp;
    uint64_t host = 0;
    int result = begin_by_id(pool, lease, &thread, &stamp);
    if (unlikely(result)) return result;
    if (!request) return start_id(pool, thread, id, stamp, &always, lease);
    result = check_wishes(request);
    if (!result && request->host) result = gyre__host_enter(pool, request->host, &host);
    if (result) return result;
    result = request->session ? gyre__session_chosen(pool, thread, request, id, stamp, lease)
                              : gyre__acquire_chosen(pool, thread, request, id, stamp, lease);
    if (!result) lease->host = host;
    return result;
}

/* ---- choosing without leasing, for strategies ---- */

struct look {
    uint32_t picker, want, count;
    uint64_t *ids;
};

static int look_here(struct gyre_pool *pool, struct pick *pick, void *context)
{
    struct look *look = context;
    uint32_t slots[MAX_CHOICES];
    if (look->picker) {
        slots[0] = gyre__pick(pool, pick, look->picker);
        look->count = slots[0] != NO_BIT;
    } else {
        look->count = gyre__pick_distinct(pool, pick, look->want, slots);
    }
    for (uint32_t i = 0; i < look->count; i++)
        look->ids[i] = make_id(load_acquire(&pool->slots[slots[i]].generation), slots[i]);
    return look->count ? 0 : GYRE_ENO_PROXY;
}

static int look_for(struct gyre_pool *pool, const struct gyre_request *request, struct look *look)
{
    struct pick pick = {.request = request, .thread = thread_get(pool)};
    int bad = !pick.thread ? GYRE_ESYSTEM : request ? check_request(request) : 0;
    if (bad) return bad;
    gyre__pick_begin(pool, &pick);
    int result = each_view(pool, &pick, look_here, look);
    gyre__pick_end(pool, &pick);
    return result == GYRE_ENO_PROXY ? gyre__pick_failed(pool, request, result) : result;
}

GYRE_API int gyre_pick(struct gyre_pool *pool, const struct gyre_request *request, uint64_t *id)
{
    if (!pool || !id) return gyre__fail(GYRE_EINVALID, "no pool, or no place for an id");
    struct look look = {.picker = picker_of(pool, request), .ids = id};
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
    *(int *)context += (int)gyre__view_count(pool, pick->view);
    return GYRE_ENO_PROXY; /* on to the next country */
}

GYRE_API int gyre_pool_eligible(struct gyre_pool *pool, const struct gyre_request *request)
{
    struct pick pick = {.request = request, .thread = thread_get(pool)};
    int count = 0, bad = !pick.thread ? GYRE_ESYSTEM : request ? check_request(request) : 0;
    if (bad) return bad;
    int result = each_view(pool, &pick, count_here, &count);
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
        if (pick_takes(pool, pick, slot)) list->slots[list->count++] = slot;
    return GYRE_ENO_PROXY; /* on to the next country */
}

GYRE_API int gyre_list(struct gyre_pool *pool, const struct gyre_request *request, uint32_t *slots, int capacity)
{
    if (!pool || !slots || capacity < 0) return gyre__fail(GYRE_EINVALID, "no pool, or no place for slots");
    struct pick pick = {.request = request, .thread = thread_get(pool)};
    struct list list = {slots, 0, capacity};
    int bad = !pick.thread ? GYRE_ESYSTEM : request ? check_request(request) : 0;
    if (bad) return bad;
    gyre__pick_begin(pool, &pick);
    int result = each_view(pool, &pick, list_here, &list);
    gyre__pick_end(pool, &pick);
    return result == GYRE_ESYSTEM ? result : list.count;
}
