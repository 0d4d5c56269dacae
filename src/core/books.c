/*
 * The books of a proxy as a value: read from one segment, written to another (or the same, later). Owns nothing; calls health,
 * limit and window for their parts. Every store leaves the slot sound, so a process killed in between leaves books of which
 * some are old: the counters first go down to nothing, then started goes up, then what it is made of.
 */
#include "pool.h"

#include <math.h>
#include <string.h>

#define MAX_COUNT ((UINT64_C(1) << 39) - 1)

static double ago(uint32_t now, uint32_t stamp)
{
    if (!stamp) return -1.0;
    return stamp < now ? (now - stamp) / 10.0 : 0.0;
}

static int not_found(uint64_t id)
{
    return gyre__fail(GYRE_ENOT_FOUND, "no proxy with id %llu", (unsigned long long)id);
}

/* Caller holds the lock. */
static void read_books(struct gyre_pool *pool, uint32_t slot, struct gyre_books *books)
{
    const struct gyre_slot *hot = &pool->slots[slot];
    uint32_t now = clock_stamp(pool), flags = load_acquire(&hot->flags), size = books->size;
    struct counters counters;
    gyre__proxy_counters(hot, &counters);
    int64_t base = load_relaxed(&pool->base[slot]);
    *books = (struct gyre_books){
        .size = size,
        .state = gyre__proxy_state(flags),
        .succeeded = counters.succeeded,
        .failed = counters.failed,
        .aborted = counters.aborted,
        .bytes = load_relaxed(&pool->health[slot].bytes),
        .ema_ms = load_double(&hot->ema_ms),
        .success_rate = load_float(&hot->success_rate),
        .used_ago = ago(now, load_relaxed(&hot->last_used)),
        .sampled_ago = ago(now, load_relaxed(&hot->last_sample)),
        .level = (int64_t)(counters.completed - (uint64_t)(base >> 1)), /* unsigned: a damaged segment may hold anything */
        .unplaced = base & 1,
        .consecutive_failures = load_relaxed(&hot->consecutive_failures),
        .rate_used = gyre__limit_used(pool, slot),
    };
    gyre__health_read(pool, slot, now, books);
    books->notes = gyre__window_notes(pool, slot, now, (uint32_t)counters.active, books->note);
}

GYRE_API int gyre_books_get(struct gyre_pool *pool, uint64_t id, struct gyre_books *books)
{
    if (!pool || !books || books->size < sizeof *books)
        return gyre__fail(GYRE_EINVALID, "no pool, or no books, or their size is not set");
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    uint32_t slot = slot_of_id(pool, id);
    if (slot != NO_BIT) read_books(pool, slot, books);
    gyre__unlock(pool);
    return slot == NO_BIT ? not_found(id) : 0;
}

/* The sums of a slot; what is in flight stays in flight. Caller holds the lock, so nobody else counts failures. */
static void write_counters(struct gyre_slot *hot, const struct gyre_books *books)
{
    uint64_t ended = books->succeeded + books->failed + books->aborted, use = load_relaxed(&hot->use);
    store_release(&hot->failed, UINT64_C(0));
    store_release(&hot->aborted, UINT64_C(0));
    while (!compare_swap(&hot->use, &use, ((ended + use_active(use)) << ACTIVE_BITS) | use_active(use))) {}
    store_release(&hot->failed, books->failed);
    store_release(&hot->aborted, books->aborted);
}

/* Caller holds the lock. */
static void write_books(struct gyre_pool *pool, uint32_t slot, const struct gyre_books *books)
{
    struct gyre_slot *hot = &pool->slots[slot];
    uint32_t now = clock_stamp(pool);
    uint64_t ended = books->succeeded + books->failed + books->aborted;
    write_counters(hot, books);
    store_relaxed(&pool->base[slot], ((int64_t)ended - books->level) * 2 + (books->unplaced ? 1 : 0));
    store_relaxed((uint64_t *)(void *)&hot->ema_ms, double_bits(books->ema_ms));
    store_float(&hot->success_rate, (float)books->success_rate);
    store_relaxed(&hot->last_used, stamp_before(now, books->used_ago));
    store_relaxed(&hot->last_sample, stamp_before(now, books->sampled_ago));
    store_relaxed(&pool->health[slot].bytes, books->bytes);
    gyre__window_restore(pool, slot, now, books->note, books->notes);
    if (load_relaxed(&hot->last_used) == now) window_touch(pool, slot); /* whoever was used just now has a note of this bucket */
    gyre__limit_restore(pool, slot, books->rate_used);
    gyre__health_restore(pool, slot, now, books);
}

static bool is_count(uint64_t n)
{
    return n <= MAX_COUNT;
}

static const char *counters_fault(const struct gyre_books *books)
{
    if (!is_count(books->succeeded)) return "succeeded is above 2^39 - 1";
    if (!is_count(books->failed)) return "failed is above 2^39 - 1";
    if (!is_count(books->aborted)) return "aborted is above 2^39 - 1";
    if (!is_count(books->succeeded + books->failed + books->aborted)) return "succeeded, failed and aborted together are above 2^39 - 1";
    if (books->level < -(int64_t)MAX_COUNT || books->level > (int64_t)MAX_COUNT) return "level is out of range";
    return NULL;
}

/* A bench and what is said of it must agree. One that is over by now is half-open. */
static const char *bench_fault(const struct gyre_books *books)
{
    if (books->state < GYRE_CLOSED || books->state > GYRE_DISABLED) return "state is none";
    if (!isfinite(books->bench_left)) return "bench_left is no number of seconds";
    if (books->state == GYRE_CLOSED && books->bench_left >= 0) return "state is closed, and by bench_left it is benched";
    if (books->state == GYRE_OPEN && books->bench_left < 0) return "state is open, and by bench_left it is not benched";
    if (books->state == GYRE_HALF_OPEN && books->bench_left != 0) return "state is half_open, and bench_left is not 0";
    if (books->opened && books->bench_left < 0) return "opened is not 0, and by bench_left it is not benched";
    return NULL;
}

static const char *notes_fault(const struct gyre_books *books)
{
    if (books->notes > sizeof books->note / sizeof *books->note) return "notes is above 8";
    for (uint32_t i = 0; i < books->notes; i++) {
        const struct gyre_window_note *note = &books->note[i];
        if (!(note->ago >= 0 && isfinite(note->ago))) return "note.ago is no number of seconds from 0 up";
        if (note->started > INT32_MAX || note->succeeded > INT32_MAX || note->failed > INT32_MAX)
            return "a count of a note is above 2^31 - 1"; /* as of one that went backwards */
    }
    return NULL;
}

/* What no segment can have written, or NULL. */
static const char *fault(const struct gyre_books *books)
{
    const char *why = counters_fault(books);
    if (!why) why = bench_fault(books);
    if (!why && !isnan(books->ema_ms) && !(books->ema_ms >= 0 && books->ema_ms <= 86400000.0)) why = "ema_ms is out of range";
    if (!why && !(books->success_rate >= 0 && books->success_rate <= 1)) why = "success_rate is not between 0 and 1";
    if (!why && !isfinite(books->used_ago)) why = "used_ago is no number of seconds";
    if (!why && !isfinite(books->sampled_ago)) why = "sampled_ago is no number of seconds";
    return why ? why : notes_fault(books);
}

GYRE_API int gyre_books_set(struct gyre_pool *pool, uint64_t id, const struct gyre_books *books)
{
    if (!pool || !books || books->size < sizeof *books)
        return gyre__fail(GYRE_EINVALID, "no pool, or no books, or their size is not set");
    const char *why = fault(books);
    if (why) return gyre__fail(GYRE_EINVALID, "books: %s", why);
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    uint32_t slot = slot_of_id(pool, id);
    if (slot != NO_BIT) write_books(pool, slot, books);
    gyre__unlock(pool);
    return slot == NO_BIT ? not_found(id) : 0;
}

GYRE_API int gyre_pool_options(struct gyre_pool *pool, struct gyre_options *options)
{
    if (!pool || !options || options->size < sizeof *options)
        return gyre__fail(GYRE_EINVALID, "no pool, or no options, or their size is not set");
    const struct segment_header *header = pool->header;
    const struct segment_config *config = &header->config;
    *options = (struct gyre_options){
        .size = options->size,
        .max_proxies = header->max_proxies,
        .max_leases = header->max_leases,
        .max_sessions = header->max_sessions,
        .max_bans = header->max_bans,
        .picker = config->picker,
        .clock = config->clock,
        .seed = config->seed,
        .alpha = config->alpha,
        .window = config->bucket_width * WINDOW_BUCKETS / 10.0,
        .lease_timeout = config->lease_timeout / 10.0,
        .session_ttl = config->session_ttl / 10.0,
        .session_lifetime = config->session_lifetime == UINT32_MAX ? 0 : config->session_lifetime / 10.0,
        .breaker_failures = config->breaker_failures,
        .breaker_base = config->breaker_base,
        .breaker_max = config->breaker_max,
        .max_benched = config->max_benched,
        .start = gyre_pool_time(pool),
    };
    return 0;
}
