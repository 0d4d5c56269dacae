/*
 * Acquiring: from a request to a lease. The plainest, which most are, plain.c tries first; here is the rest: the quick pickers of
 * quick.h where they serve, and for whatever does not fit views and pickers.
 */
#include "acquire.h"
#include "lease.h"
#include "quick.h"

#include <string.h>

static const struct commit always;

/* Does it say nothing but a session, and how to pick for a new one? */
static inline bool is_sticky(const struct gyre_request *request)
{
    return request->session && request_is_unfiltered(request) && !request_wishes(request);
}

static int check_state(uint32_t state)
{
    static const char *const never[] = {[GYRE_OPEN] = "open", [GYRE_DRAINING] = "draining", [GYRE_DISABLED] = "disabled"};
    if (likely(!state) || state == GYRE_CLOSED || state == GYRE_HALF_OPEN) return 0;
    if (state > GYRE_DISABLED) return gyre__fail(GYRE_EINVALID, "request.state %u is no state", state);
    return gyre__fail(GYRE_EINVALID, "request.state %u: who is %s is never eligible; it can be closed, half_open or 0", state,
                      never[state]);
}

/* An empty country of a list would be any: a comma too many must not let requests out through another country. */
static int check_countries(const char *list)
{
    const char *at = list;
    if (!list || !*list) return 0;
    do {
        size_t size = strcspn(at, ",");
        if (!size || memchr(at, ' ', size))
            return gyre__fail(GYRE_EINVALID, "request.country '%.60s': a country of it is empty or holds a space", list);
        at += size;
    } while (*at++);
    return 0;
}

/* A comparison that is none would be a tag that nobody has. */
static int check_tags(const char *tags)
{
    while (tags && *tags) {
        size_t size = strcspn(tags, ",");
        if (gyre__cost_term(tags, size, NULL) == COST_BROKEN)
            return gyre__fail(GYRE_EINVALID, "request.tags: '%.*s' is neither \"cost<=NUMBER\" nor \"cost=NUMBER\"",
                              size < 60 ? (int)size : 60, tags);
        tags += size + (tags[size] == ',');
    }
    return 0;
}

/* What every call with a request wants of it. */
static int check_wishes(const struct gyre_request *request)
{
    if (request->size < sizeof *request) return gyre__fail(GYRE_EINVALID, "request.size is not set");
    if (request->exclude_count && !request->exclude) return gyre__fail(GYRE_EINVALID, "request.exclude is NULL");
    if (!(request->min_success >= 0 && request->min_success <= 1))
        return gyre__fail(GYRE_EINVALID, "request.min_success %g is not between 0 and 1", request->min_success);
    if (!(request->max_ms >= 0)) return gyre__fail(GYRE_EINVALID, "request.max_ms %g is no latency", request->max_ms);
    int bad = check_countries(request->country);
    if (!bad) bad = check_tags(request->tags);
    return bad ? bad : check_state(request->state);
}

int gyre__request_check(const struct gyre_request *request)
{
    int bad = check_wishes(request);
    if (bad) return bad;
    if (request->picker > GYRE_PICK_HASH) return gyre__fail(GYRE_EINVALID, "%u is no picker", request->picker);
    if (request->choices > MAX_CHOICES)
        return gyre__fail(GYRE_EINVALID, "request.choices %u is above %u", request->choices, MAX_CHOICES);
    return 0;
}

uint32_t gyre__request_picker(const struct gyre_pool *pool, const struct gyre_request *request)
{
    uint32_t picker = request && request->picker ? request->picker : strategy_picker(pool);
    if (likely(picker != GYRE_PICK_HASH) || pick_key(request)) return picker;
    gyre__fail(GYRE_EINVALID, "the consistent hash needs request.key, or else host or session");
    return 0;
}

#define EMPTY_LOOKS 8 /* a look is no snapshot: while others come and go, one may see nobody though somebody is always there */

#define MOST_LOST (1u << 20)

/* Was the start refused because another one came first? He got the proxy, so this says nothing of there being none. */
static bool is_lost(struct gyre_pool *pool, const struct pick *pick, uint32_t slot)
{
    return pick->commit.mask && view_has(pool, pick->view, slot) && pick->lost < MOST_LOST;
}

/* Picks and starts until one start succeeds. Those that were lost are not among the tries. */
static int start_in_view(struct gyre_pool *pool, struct pick *pick, uint32_t picker, uint32_t stamp,
                         struct gyre_lease *lease)
{
    int result = GYRE_ENO_PROXY;
    uint32_t empty = 0;
    for (uint32_t tries = 0; tries < 2 * pool->max_proxies + pick->lost; tries++) {
        uint32_t slot = gyre__pick(pool, pick, picker);
        if (unlikely(slot == NO_BIT) && gyre__limit_recheck(pool)) continue;
        if (unlikely(slot == NO_BIT)) {
            if (++empty < EMPTY_LOOKS && view_next(pool, pick->view, 0) != NO_BIT) continue;
            break;
        }
        int last = lease_start(pool, pick->thread, slot, stamp, &pick->commit, lease);
        if (likely(last == 0) || last == GYRE_EFULL) return last;
        if (last == GYRE_EBUSY) result = last;
        else if (is_lost(pool, pick, slot)) pick->lost++;
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

/* By labels: a state is part of the views that follow from a request, but not of the quick way's. */
static bool is_filtered(const struct gyre_request *request)
{
    return request && ((request->country && *request->country) || (request->region && *request->region) ||
                       (request->tags && *request->tags));
}

int gyre__each_view(struct gyre_pool *pool, struct pick *pick, int (*use)(struct gyre_pool *, struct pick *, void *),
                    void *context)
{
    const struct gyre_request *request = pick->request;
    int result = GYRE_ENO_PROXY;
    uint32_t state = request ? request->state : 0;
    if (likely(!is_filtered(request) && !state)) {
        pick->view = gyre__view_get(pool, pick->thread, NULL);
        return pick->view ? use(pool, pick, context) : GYRE_ESYSTEM;
    }
    if (likely(!state)) pick->view = gyre__view_last(pool, pick->thread, request);
    if (likely(!state && pick->view)) return use(pool, pick, context);
    struct filter filter = {.state = state};
    const char *country = request->country ? request->country : "";
    while ((result == GYRE_ENO_PROXY || result == GYRE_EBUSY) && next_filter(request, &country, &filter)) {
        pick->view = gyre__view_get(pool, pick->thread, &filter);
        if (!pick->view) return GYRE_ESYSTEM;
        int last = use(pool, pick, context);
        result = last == GYRE_ENO_PROXY && result == GYRE_EBUSY ? result : last;
        pick->turn++;
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
    struct start start = {gyre__request_picker(pool, request), stamp, lease};
    if (unlikely(!start.picker)) return GYRE_EINVALID;
    gyre__pick_begin(pool, &pick);
    int result = gyre__each_view(pool, &pick, start_here, &start);
    gyre__pick_end(pool, &pick);
    if (likely(result == 0) || result == GYRE_ESYSTEM) return result;
    if (result == GYRE_EFULL) return gyre__entry_none_free(pool);
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
    bool choosy = request->host || request_is_choosy(request);
    if (!flags_are_of(load_acquire(&pool->slots[slot].flags), request->state)) return false;
    if (likely(!choosy && !is_filtered(request))) return true;
    struct pick pick = {.request = request, .thread = thread, .choosy = choosy};
    if (request->host) pick.host = gyre__host_banning(pool, request->host);
    return pick_takes(pool, &pick, slot) && gyre__each_view(pool, &pick, is_member, &slot) == 0;
}

/* ---- the quick way ---- */

static inline __attribute__((always_inline)) bool start(struct gyre_pool *pool, struct thread *thread, uint32_t slot,
                                                        uint32_t stamp, const struct commit *commit, struct gyre_lease *lease)
{
    if (unlikely(slot == NO_BIT)) return false;
    if (likely(lease_started(pool, thread, slot, lease_start_simple(pool, thread, slot, stamp, commit, lease)))) return true;
    return gyre__lease_start(pool, thread, slot, stamp, commit, lease) == 0;
}

/* Least-active has no quick form: what it costs is the bitmaps that each lease moves. */
static inline bool start_least_active(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                                      struct view *view, uint32_t stamp, struct gyre_lease *lease)
{
    struct pick pick = {.request = request, .thread = thread, .view = view};
    return view && start(pool, thread, gyre__pick_least_active(pool, &pick), stamp, &pick.commit, lease);
}

/* A place in the list is passed when the start has succeeded: until then, whoever looks again finds it there. */
static bool start_least_used(struct gyre_pool *pool, struct thread *thread, struct view *view, bool all, uint32_t stamp,
                             struct gyre_lease *lease)
{
    struct commit commit = always;
    uint32_t slot;
    do slot = quick_least_used(pool, view, all, &commit);
    while (unlikely(slot == NO_BIT) && gyre__least_again(pool, view));
    if (unlikely(!start(pool, thread, slot, stamp, &commit, lease))) return false;
    view->level.first = ++view->level.next;
    return true;
}

/*
 * Leases by the quick form of the picker. False when that does not come to anything, or has no lease left; then it is tried
 * anew from the beginning. `view` is the view of all, and NULL before the thread has one, or that of the filter.
 */
static bool start_quickly(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, struct view *view,
                          bool all, uint32_t stamp, struct gyre_lease *lease)
{
    uint32_t picker = request && request->picker ? request->picker : strategy_picker(pool);
    struct view *part = all ? NULL : view;
    switch (picker) {
    case GYRE_PICK_ROUND_ROBIN: return start(pool, thread, quick_round_robin(pool, part), stamp, &always, lease);
    case GYRE_PICK_RANDOM: return start(pool, thread, quick_random(pool, thread, part), stamp, &always, lease);
    case GYRE_PICK_WEIGHTED: return start(pool, thread, quick_weighted(pool, thread, view, all), stamp, &always, lease);
    case GYRE_PICK_LEAST_USED:
        return likely(view && !pick_random_ties(pool, request)) && start_least_used(pool, thread, view, all, stamp, lease);
    case GYRE_PICK_BEST:
        if (unlikely(pick_choices(pool, request) != 3)) return false;
        return start(pool, thread, quick_best(pool, thread, part, stamp), stamp, &always, lease);
    case GYRE_PICK_LEAST_ACTIVE: return start_least_active(pool, thread, request, view, stamp, lease);
    default: return false;
    }
}

/* A request that only filters, by the filter that this thread used last. */
static bool start_filtered(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint32_t stamp,
                           struct gyre_lease *lease)
{
    struct view *view = is_filtered(request) ? gyre__view_last(pool, thread, request) : NULL;
    return view && start_quickly(pool, thread, request, view, false, stamp, lease);
}

int gyre__acquire_sessionless(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                              uint32_t stamp, struct gyre_lease *lease)
{
    bool plain = !request || request_is_plain(request);
    if (plain && start_quickly(pool, thread, request, thread->all_view, true, stamp, lease)) return 0;
    if (!plain && request_is_easy(request) && start_filtered(pool, thread, request, stamp, lease)) return 0;
    return gyre__acquire_plain(pool, thread, request, stamp, lease);
}

static int acquire(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint32_t stamp,
                   struct gyre_lease *lease)
{
    if (unlikely(load_relaxed(&pool->control->log_sample)) && !(request && request->unlogged))
        return gyre__decision_acquire(pool, thread, request, stamp, lease);
    if (request && request->session) return gyre__session_acquire(pool, thread, request, stamp, lease);
    return gyre__acquire_sessionless(pool, thread, request, stamp, lease);
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

int gyre__acquire_any(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease)
{
    struct thread *thread = thread_get(pool);
    if (!thread) return GYRE_ESYSTEM;
    int bad = request ? gyre__request_check(request) : 0;
    if (bad) return bad;
    const struct gyre_hook *hook = hook_of(pool);
    if (unlikely(hook) && strategy_is_scripted(pool) && !(request && request->picker)) {
        int result = hook->acquire(hook->data, request, lease);
        if (result != GYRE_HOOK_PASS) return result;
    }
    uint32_t stamp = tick_now(pool);
    if (request && request->host) return acquire_for_host(pool, thread, request, stamp, lease);
    return acquire(pool, thread, request, stamp, lease);
}

int gyre__acquire_slowly(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease,
                         struct thread *thread, uint32_t stamp)
{
    int bad = request ? gyre__request_check(request) : 0;
    return bad ? bad : gyre__acquire_plain(pool, thread, request, stamp, lease);
}

/* Only filters, by the filter that this thread used last. */
static int acquire_filtered(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                            struct gyre_lease *lease)
{
    uint32_t stamp = clock_stamp(pool);
    if (unlikely(load_relaxed(&pool->control->tick) != stamp)) return gyre__acquire_any(pool, request, lease);
    if (likely(start_filtered(pool, thread, request, stamp, lease))) return 0;
    return gyre__acquire_slowly(pool, request, lease, thread, stamp);
}

int gyre__acquire_quickly(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease,
                          struct thread *thread, uint32_t stamp)
{
    if (start_quickly(pool, thread, request, thread->all_view, true, stamp, lease)) return 0;
    return gyre__acquire_slowly(pool, request, lease, thread, stamp);
}

/* That of a session and nothing else, and one that only filters, are tried without detours. */
int gyre__acquire_other(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease)
{
    const struct thread_cache *cache = thread_cache_of(pool);
    bool sound = request->size == sizeof *request && request->choices <= MAX_CHOICES && request->picker <= GYRE_PICK_HASH;
    uint32_t elsewhere = request->picker ? STRATEGY_LOGGED : STRATEGY_LOGGED | STRATEGY_SCRIPTED;
    if (unlikely(!sound || !thread_is_known(pool, cache) || strategy_bits(pool) & elsewhere))
        return gyre__acquire_any(pool, request, lease);
    if (is_sticky(request)) return gyre__session_quick(pool, cache->thread, request, lease);
    if (request_is_easy(request)) return acquire_filtered(pool, cache->thread, request, lease);
    return gyre__acquire_any(pool, request, lease);
}

/* ---- by id ---- */

static int start_id(struct gyre_pool *pool, struct thread *thread, uint64_t id, uint32_t stamp,
                    const struct commit *commit, struct gyre_lease *lease)
{
    uint32_t slot = slot_of_id(pool, id);
    if (unlikely(slot == NO_BIT)) return gyre__fail(GYRE_ENOT_FOUND, "no proxy with id %llu", (unsigned long long)id);
    int result = lease_start(pool, thread, slot, stamp, commit, lease);
    if (likely(result == 0)) return 0;
    if (result == GYRE_EFULL) return gyre__entry_none_free(pool);
    const char *why = result == GYRE_EBUSY ? "is at its limit" : "is not eligible";
    return gyre__fail(result, "proxy %llu %s", (unsigned long long)id, why);
}

int gyre__acquire_chosen(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint64_t id,
                         uint32_t stamp, struct gyre_lease *lease)
{
    uint32_t slot = slot_of_id(pool, id);
    if (slot != NO_BIT && !gyre__acquire_allows(pool, thread, request, slot))
        return gyre__fail(GYRE_ENO_PROXY, "proxy %llu is not one that the request lets through", (unsigned long long)id);
    return start_id(pool, thread, id, stamp, &(struct commit){.state = request->state}, lease);
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
    if (!request || request_is_plain(request)) return start_id(pool, thread, id, stamp, &always, lease);
    result = check_wishes(request);
    if (!result && request->host) result = gyre__host_enter(pool, request->host, &host);
    if (result) return result;
    result = request->session ? gyre__session_chosen(pool, thread, request, id, stamp, lease)
                              : gyre__acquire_chosen(pool, thread, request, id, stamp, lease);
    if (!result) lease->host = host;
    return result;
}
