/*
 * Proxies: add, remove, update, look at. A proxy is published by setting LIVE when all else is written, and withdrawn
 * by clearing it before anything is wiped; so a process killed in between leaves a slot that counts as empty.
 */
#include "view.h"

#include <math.h>
#include <string.h>

/* A free slot without leases of a former proxy, its counters set to zero; NO_BIT when there is none. What `use` is made of goes
 * first: killed in between, no failures are left that nothing was started for. Caller holds the lock. */
static uint32_t take_slot(struct gyre_pool *pool)
{
    uint32_t slot = bits_next(&pool->free, 0);
    for (; slot != NO_BIT; slot = bits_next(&pool->free, slot + 1)) {
        struct gyre_slot *hot = &pool->slots[slot];
        uint64_t use = load_relaxed(&hot->use);
        if (use_active(use)) continue;
        store_relaxed(&hot->failed, UINT64_C(0));
        store_relaxed(&hot->aborted, UINT64_C(0));
        while (!use_active(use) && !compare_swap(&hot->use, &use, UINT64_C(0))) {}
        if (!use_active(use)) return slot;
    }
    return NO_BIT;
}

static void reset_slot(struct gyre_pool *pool, uint32_t slot)
{
    struct gyre_slot *hot = &pool->slots[slot];
    store_relaxed((uint64_t *)(void *)&hot->ema_ms, double_bits(NAN));
    store_relaxed(&hot->consecutive_failures, 0u);
    store_relaxed(&hot->last_used, 0u);
    store_relaxed(&hot->last_sample, 0u);
    store_float(&hot->success_rate, 1.0f);
    store_float(&hot->weight, 1.0f);
    memset(&pool->health[slot], 0, sizeof pool->health[slot]);
    gyre__label_store(pool, slot, &(struct slot_label){.weight = 1.0, .cost = NAN});
    gyre__window_reset(pool, slot, clock_stamp(pool));
    gyre__limit_reset(pool, slot);
}

/* The eligible bit comes last: nobody can pick what is not complete. */
static void publish(struct gyre_pool *pool, uint32_t slot, uint64_t *id)
{
    struct segment_control *control = pool->control;
    uint32_t generation = load_relaxed(&pool->slots[slot].generation);
    uint32_t limited = pool->labels[slot].max_active || limit_has_rate(pool, slot) ? SLOT_LIMITED : 0;
    bits_clear(&pool->free, slot);
    bits_set(&pool->live, slot);
    gyre__index_add(pool, slot, pool->identity[slot].hash);
    store_relaxed(&control->live, control->live + 1);
    if (slot >= control->high) store_relaxed(&control->high, slot + 1);
    store_release(&pool->slots[slot].flags, SLOT_LIVE | limited);
    gyre__least_joined(pool, slot);
    gyre__view_changed(pool, slot);
    gyre__health_refresh(pool, slot);
    *id = make_id(generation, slot);
}

/* Caller holds the lock. */
static int add(struct gyre_pool *pool, const struct gyre_proxy_spec *spec, const struct gyre_url *url,
               const struct limits *limits, uint64_t *id)
{
    uint32_t slot = gyre__index_find(pool, url, gyre__url_hash(url));
    if (slot != NO_BIT) {
        *id = make_id(load_relaxed(&pool->slots[slot].generation), slot);
        return gyre__fail(GYRE_EEXISTS, "%.255s:%u is in the pool with these credentials", url->host, url->port);
    }
    slot = take_slot(pool);
    if (slot == NO_BIT)
        return gyre__fail(GYRE_EFULL, "the segment holds %u proxies already, its max_proxies, set when it was made",
                          pool->max_proxies);
    uint32_t generation = load_relaxed(&pool->slots[slot].generation);
    store_release(&pool->slots[slot].generation, generation ? generation : 1);
    reset_slot(pool, slot);
    int bad = gyre__label_apply(pool, slot, spec);
    if (!bad) bad = gyre__text_put(pool, slot, url);
    if (bad) return bad;
    gyre__limit_apply(pool, slot, limits);
    publish(pool, slot, id);
    return bad;
}

GYRE_API int gyre_pool_add(struct gyre_pool *pool, const struct gyre_proxy_spec *spec, uint64_t *id)
{
    struct gyre_url url;
    struct limits limits;
    uint64_t ignored;
    if (!spec || spec->size < sizeof *spec) return gyre__fail(GYRE_EINVALID, "no spec, or its size is not set");
    int result = gyre__limit_parse(spec, &limits);
    if (!result) result = gyre_url_parse(spec->url, &url);
    if (!result) result = begin_call(pool);
    if (result < 0) return result;
    gyre__lock(pool);
    result = add(pool, spec, &url, &limits, id ? id : &ignored);
    gyre__unlock(pool);
    explicit_bzero(&url, sizeof url);
    return result;
}

/* Caller holds the lock. */
void gyre__proxy_withdraw(struct gyre_pool *pool, uint32_t slot)
{
    struct segment_control *control = pool->control;
    uint32_t hash = pool->identity[slot].hash, generation = load_relaxed(&pool->slots[slot].generation) + 1;
    gyre__health_forget(pool, slot);
    gyre__limit_forget(pool, slot);
    store_release(&pool->slots[slot].generation, generation ? generation : 1);
    store_release(&pool->slots[slot].flags, 0u);
    gyre__health_refresh(pool, slot);
    gyre__view_changed(pool, slot);
    bits_clear(&pool->live, slot);
    gyre__index_remove(pool, slot, hash); /* may build it anew, from those that live */
    gyre__text_wipe(pool, slot);
    bits_set(&pool->free, slot);
    store_relaxed(&control->live, control->live - 1);
}

static int not_found(uint64_t id)
{
    return gyre__fail(GYRE_ENOT_FOUND, "no proxy with id %llu", (unsigned long long)id);
}

GYRE_API int gyre_pool_remove(struct gyre_pool *pool, uint64_t id)
{
    int bad = begin_call(pool);
    if (bad) return bad;
    gyre__lock(pool);
    uint32_t slot = slot_of_id(pool, id);
    if (slot != NO_BIT) gyre__proxy_withdraw(pool, slot);
    gyre__unlock(pool);
    return slot == NO_BIT ? not_found(id) : 0;
}

GYRE_API int gyre_pool_update(struct gyre_pool *pool, uint64_t id, const struct gyre_proxy_spec *spec)
{
    if (!spec || spec->size < sizeof *spec) return gyre__fail(GYRE_EINVALID, "no spec, or its size is not set");
    struct limits limits;
    int bad = gyre__limit_parse(spec, &limits);
    if (!bad) bad = begin_call(pool);
    if (bad) return bad;
    gyre__lock(pool);
    uint32_t slot = slot_of_id(pool, id);
    int result = slot == NO_BIT ? not_found(id) : gyre__label_apply(pool, slot, spec);
    if (!result) {
        gyre__limit_apply(pool, slot, &limits);
        gyre__view_changed(pool, slot);
        if (pool->labels[slot].max_active || limit_has_rate(pool, slot)) fetch_or(&pool->slots[slot].flags, SLOT_LIMITED);
        else fetch_and(&pool->slots[slot].flags, ~(uint32_t)SLOT_LIMITED);
        gyre__health_refresh(pool, slot);
    }
    gyre__unlock(pool);
    return result;
}

uint32_t gyre__proxy_state(uint32_t flags)
{
    if (flags & SLOT_DISABLED) return GYRE_DISABLED;
    if (flags & SLOT_DRAINING) return GYRE_DRAINING;
    if (flags & SLOT_OPEN) return GYRE_OPEN;
    return flags & SLOT_HALF ? GYRE_HALF_OPEN : GYRE_CLOSED;
}

/* The counters of one slot so that they agree: a lease counted as failed or aborted is completed, if not yet in `use`. */
void gyre__proxy_counters(const struct gyre_slot *hot, struct counters *counters)
{
    uint64_t failed = load_acquire(&hot->failed), aborted = load_acquire(&hot->aborted), use = load_acquire(&hot->use);
    uint64_t completed = use_started(use) - use_active(use);
    if (completed < failed + aborted) completed = failed + aborted;
    counters->started = use_started(use) > completed ? use_started(use) : completed;
    counters->completed = completed;
    counters->active = counters->started - completed;
    counters->failed = failed;
    counters->aborted = aborted;
    counters->succeeded = completed - failed - aborted;
}

static void read_counters(const struct gyre_slot *hot, struct gyre_proxy *proxy)
{
    struct counters counters;
    gyre__proxy_counters(hot, &counters);
    proxy->started = counters.started;
    proxy->completed = counters.completed;
    proxy->succeeded = counters.succeeded;
    proxy->failed = counters.failed;
    proxy->aborted = counters.aborted;
    proxy->active = (uint32_t)counters.active;
}

/* Caller holds the lock. */
static int read_proxy(struct gyre_pool *pool, uint32_t slot, struct gyre_proxy *proxy)
{
    const struct gyre_slot *hot = &pool->slots[slot];
    struct gyre_url url;
    uint64_t window[3];
    uint32_t flags = load_acquire(&hot->flags);
    int bad = gyre__text_get(pool, slot, &url);
    if (bad) return bad;
    proxy->id = make_id(load_relaxed(&hot->generation), slot);
    proxy->state = gyre__proxy_state(flags);
    proxy->scheme = url.scheme;
    proxy->port = url.port;
    memcpy(proxy->host, url.host, sizeof proxy->host);
    explicit_bzero(&url, sizeof url);
    read_counters(hot, proxy);
    gyre__window_read(pool, slot, clock_stamp(pool), window);
    proxy->window_started = window[0];
    proxy->window_succeeded = window[1];
    proxy->window_failed = window[2];
    proxy->bytes = load_relaxed(&pool->health[slot].bytes);
    proxy->ema_ms = load_double(&hot->ema_ms);
    proxy->success_rate = load_float(&hot->success_rate);
    proxy->last_used = stamp_seconds(load_relaxed(&hot->last_used));
    proxy->benched_until = flags & SLOT_OPEN ? stamp_seconds(load_relaxed(&pool->health[slot].until)) : 0;
    proxy->consecutive_failures = load_relaxed(&hot->consecutive_failures);
    gyre__label_read(pool, slot, proxy);
    gyre__limit_read(pool, slot, proxy);
    return 0;
}

GYRE_API int gyre_pool_get(struct gyre_pool *pool, uint64_t id, struct gyre_proxy *proxy)
{
    if (!proxy || proxy->size < sizeof *proxy) return gyre__fail(GYRE_EINVALID, "no proxy, or its size is not set");
    int bad = begin_call(pool);
    if (bad) return bad;
    gyre__lock(pool);
    uint32_t slot = slot_of_id(pool, id);
    int result = slot == NO_BIT ? not_found(id) : read_proxy(pool, slot, proxy);
    gyre__unlock(pool);
    return result;
}

GYRE_API int gyre_pool_find(struct gyre_pool *pool, const char *text, uint64_t *id)
{
    struct gyre_url url;
    int bad = gyre_url_parse(text, &url);
    if (!bad) bad = begin_call(pool);
    if (bad) return bad;
    gyre__lock(pool);
    uint32_t slot = gyre__index_find(pool, &url, gyre__url_hash(&url));
    if (slot != NO_BIT && id) *id = make_id(load_relaxed(&pool->slots[slot].generation), slot);
    gyre__unlock(pool);
    if (slot == NO_BIT) bad = gyre__fail(GYRE_ENOT_FOUND, "%.255s:%u is not in the pool with these credentials", url.host, url.port);
    explicit_bzero(&url, sizeof url);
    return bad;
}

static int write_url(struct gyre_pool *pool, uint64_t id, bool credentials, char *buffer, size_t size)
{
    struct gyre_url url;
    int result = !buffer && size ? gyre__fail(GYRE_EINVALID, "no buffer") : begin_call(pool);
    if (result) return result;
    gyre__lock(pool);
    uint32_t slot = slot_of_id(pool, id);
    result = slot == NO_BIT ? not_found(id) : gyre__text_get(pool, slot, &url);
    gyre__unlock(pool);
    if (result < 0) return result;
    result = gyre__url_format(&url, credentials, buffer, size);
    explicit_bzero(&url, sizeof url);
    return result;
}

GYRE_API int gyre_pool_url(struct gyre_pool *pool, uint64_t id, char *buffer, size_t size)
{
    return write_url(pool, id, false, buffer, size);
}

GYRE_API int gyre_pool_url_with_credentials(struct gyre_pool *pool, uint64_t id, char *buffer, size_t size)
{
    return write_url(pool, id, true, buffer, size);
}

GYRE_API int gyre_pool_count(struct gyre_pool *pool)
{
    return pool ? (int)load_relaxed(&pool->control->live) : 0;
}

GYRE_API int gyre_pool_next(struct gyre_pool *pool, uint64_t *id)
{
    if (!pool || !id) return gyre__fail(GYRE_EINVALID, "no pool, or no place for an id");
    uint32_t slot = bits_next(&pool->live, *id ? id_slot(*id) + 1 : 0);
    if (slot == NO_BIT) return (int)(*id = 0);
    *id = make_id(load_acquire(&pool->slots[slot].generation), slot);
    return 1;
}

GYRE_API const struct gyre_slot *gyre_pool_slots(struct gyre_pool *pool)
{
    return pool ? pool->slots : NULL;
}
