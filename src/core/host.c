/*
 * Hosts: names, and throttles. A host that asks for less (a `throttled` verdict) gets nothing from anybody until a time:
 * the one it named, or one second, doubling each time it asks again afterwards, up to a minute; each success halves
 * what the next time doubles. So a 429 slows the target and costs no proxy its place.
 *
 *     throttle = time in ms at which it ends << 24 | length in ms
 *
 * Verdicts that arrive while a throttle lasts are of requests from before it and do not double it.
 */
#include "ascii.h"
#include "host.h"
#include "lease.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define FIRST_MS 1000u
#define LONGEST_MS 60000u
#define FORGET_MS 600000u /* ten quiet minutes after a throttle its length is forgotten */
#define LENGTH_MASK 0xffffffu
#define SWEEPS 32u /* each table is gone through once in so many ticks */
#define CUT 0x8000u /* in host_record.size: the name was longer */

static size_t name_size(const char *name)
{
    size_t size = strlen(name);
    return size && name[size - 1] == '.' ? size - 1 : size;
}

/* FNV-1a, 64 bits, mixed so that the low bits depend on all. */
static uint64_t hash_of(const char *name, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)ascii_lower(name[i])) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
    hash ^= hash >> 32;
    return hash ? hash : 1;
}

uint64_t gyre__host_hash(const char *name)
{
    size_t size = name ? name_size(name) : 0;
    return size && size <= MAX_HOST_NAME ? hash_of(name, size) : 0;
}

/* The end of a name says more than its beginning. */
static void put_name(struct host_record *record, const char *name)
{
    size_t size = name_size(name), kept = size < HOST_TEXT ? size : HOST_TEXT;
    for (size_t i = 0; i < kept; i++) record->text[i] = ascii_lower(name[size - kept + i]);
    store_release(&record->size, (uint16_t)(kept | (kept < size ? CUT : 0)));
}

/* ---- the table ---- */

static struct keyed table_of(struct gyre_pool *pool)
{
    return (struct keyed){.pool = pool,
                          .keys = pool->host_keys,
                          .records = (char *)pool->hosts,
                          .size = sizeof *pool->hosts,
                          .until = offsetof(struct host_record, until),
                          .mask = pool->host_mask,
                          .most = pool->header->max_hosts,
                          .count = &pool->control->hosts,
                          .sweep = &pool->control->host_sweep};
}

uint32_t gyre__host_make(struct gyre_pool *pool, uint64_t hash, const char *name)
{
    uint32_t at = host_find(pool, hash);
    if (at == NO_BIT) {
        struct keyed table = table_of(pool);
        at = gyre__keyed_place(&table, hash);
        pool->hosts[at].serial = ++pool->control->host_serial;
        gyre__keyed_publish(&table, at, hash);
    }
    if (name && !pool->hosts[at].size) put_name(&pool->hosts[at], name);
    return at;
}

void gyre__host_lasts(struct host_record *record, uint32_t until)
{
    if (until > record->until) store_relaxed(&record->until, until);
}

/* Hosts that neither ban nor throttle any more are taken out. Caller holds the lock. */
void gyre__host_due(struct gyre_pool *pool, uint32_t stamp)
{
    struct keyed table = table_of(pool);
    uint32_t n = (pool->host_mask + 1) / SWEEPS, at = load_relaxed(&pool->control->host_sweep);
    for (uint32_t i = 0; i < n; i++) {
        at = (at + 1) & pool->host_mask;
        const struct host_record *record = &pool->hosts[at];
        if (pool->host_keys[at] && !record->bans && record->until + FORGET_MS / 100 <= stamp) gyre__keyed_drop(&table, at);
    }
    store_relaxed(&pool->control->host_sweep, at);
}

/* ---- throttles ---- */

static uint64_t ends(uint64_t throttle)
{
    return throttle >> 24;
}

/* `word` after a request to slow down: for exactly `seconds`, or, when that is 0, for as long as its row says. */
static uint64_t throttled(uint64_t word, uint64_t now, double seconds)
{
    uint64_t end = ends(word), length = word & LENGTH_MASK;
    uint64_t asked = seconds > 0 ? now + (uint64_t)ceil(fmin(seconds, MAX_WAIT) * 1000) : 0;
    if (end > now) return (asked > end ? asked : end) << 24 | length;
    if (end + FORGET_MS <= now) length = 0;
    if (!asked || !length) length = length ? 2 * length : FIRST_MS;
    if (length > LONGEST_MS) length = LONGEST_MS;
    return (asked ? asked : now + length) << 24 | length;
}

/* Caller holds the lock; successes may change the word meanwhile. */
static void throttle(struct gyre_pool *pool, uint64_t host, double seconds)
{
    struct host_record *record = &pool->hosts[gyre__host_make(pool, host, NULL)];
    uint64_t word = load_relaxed(&record->throttle), now = gyre__clock_ms(pool), next;
    do next = throttled(word, now, seconds);
    while (!compare_swap(&record->throttle, &word, next));
    gyre__host_lasts(record, stamp_of_ms(ends(next) + 99));
}

/* Lock-free. */
static void relax(struct gyre_pool *pool, uint64_t host)
{
    uint32_t at = host_find(pool, host);
    if (at == NO_BIT) return;
    uint64_t *throttle_word = &pool->hosts[at].throttle, word = load_relaxed(throttle_word), next;
    do {
        uint64_t length = (word & LENGTH_MASK) / 2;
        if (!(word & LENGTH_MASK) || ends(word) > gyre__clock_ms(pool)) return;
        next = ends(word) << 24 | (length < FIRST_MS ? 0 : length);
    } while (!compare_swap(throttle_word, &word, next));
}

void gyre__host_verdict(struct gyre_pool *pool, const struct gyre_lease *lease, const struct ending *ending)
{
    if (ending->verdict == GYRE_OK) {
        if (load_relaxed(&pool->control->hosts)) relax(pool, ending->host);
        return;
    }
    if (ending->verdict != GYRE_BANNED && ending->verdict != GYRE_THROTTLED) return;
    gyre__lock(pool);
    if (ending->verdict == GYRE_THROTTLED) throttle(pool, ending->host, ending->retry_after);
    else if (slot_of_id(pool, lease->id) == lease->slot) gyre__ban_verdict(pool, lease->slot, ending->host, ending->retry_after);
    gyre__unlock(pool);
}

/* ---- requests ---- */

/* Seconds that the host is throttled for yet. */
static double delay(const struct gyre_pool *pool, uint32_t at)
{
    uint64_t word = load_relaxed(&pool->hosts[at].throttle), now = word ? gyre__clock_ms(pool) : 0;
    return ends(word) > now ? (double)(ends(word) - now) / 1000.0 : 0.0;
}

/* A host known by its hash only, from verdicts: now its name is known too. */
static void learn_name(struct gyre_pool *pool, uint64_t hash, const char *name)
{
    if (!gyre__trylock(pool)) return;
    uint32_t at = host_find(pool, hash);
    if (at != NO_BIT && !pool->hosts[at].size) put_name(&pool->hosts[at], name);
    gyre__unlock(pool);
}

int gyre__host_enter(struct gyre_pool *pool, const char *name, uint64_t *host)
{
    *host = 0;
    if (!*name) return 0;
    *host = gyre__host_hash(name);
    if (!*host) return gyre__fail(GYRE_EINVALID, "host '%.40s...' is no host name", name);
    uint32_t at = load_relaxed(&pool->control->hosts) ? host_find(pool, *host) : NO_BIT;
    if (at == NO_BIT) return 0;
    double wait = delay(pool, at);
    if (!load_relaxed(&pool->hosts[at].size)) learn_name(pool, *host, name);
    return wait > 0 ? gyre__fail(GYRE_EBUSY, "%.120s is throttled for another %.1f seconds", name, wait) : 0;
}

uint64_t gyre__host_banning(const struct gyre_pool *pool, const char *name)
{
    uint64_t hash = load_relaxed(&pool->control->hosts) ? gyre__host_hash(name) : 0;
    uint32_t at = hash ? host_find(pool, hash) : NO_BIT;
    return at != NO_BIT && load_relaxed(&pool->hosts[at].bans) ? hash : 0;
}

GYRE_API int gyre_lease_host(struct gyre_lease *lease, const char *host)
{
    uint64_t hash = gyre__host_hash(host);
    if (!lease || !hash) return gyre__fail(GYRE_EINVALID, "no lease, or no host name of 1 to %u bytes", MAX_HOST_NAME);
    lease->host = hash;
    return 0;
}

GYRE_API double gyre_host_delay(struct gyre_pool *pool, const char *host)
{
    uint64_t hash = pool ? gyre__host_hash(host) : 0;
    uint32_t at = hash ? host_find(pool, hash) : NO_BIT;
    return at == NO_BIT ? 0.0 : delay(pool, at);
}

GYRE_API int gyre_host_throttle(struct gyre_pool *pool, const char *host, double seconds)
{
    uint64_t hash = gyre__host_hash(host);
    if (!pool || !hash) return gyre__fail(GYRE_EINVALID, "no pool, or no host name");
    if (!(seconds >= 0 && seconds <= MAX_WAIT))
        return gyre__fail(GYRE_EINVALID, "throttle of %g seconds is not between 0 and %.0f", seconds, MAX_WAIT);
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    if (seconds > 0 || host_find(pool, hash) != NO_BIT) {
        struct host_record *record = &pool->hosts[gyre__host_make(pool, hash, host)];
        uint64_t word = load_relaxed(&record->throttle), end = gyre__clock_ms(pool) + (uint64_t)ceil(seconds * 1000), next;
        do next = seconds > 0 ? end << 24 | (word & LENGTH_MASK) : 0;
        while (!compare_swap(&record->throttle, &word, next));
        gyre__host_lasts(record, stamp_of_ms(end + 99));
    }
    gyre__unlock(pool);
    return 0;
}

GYRE_API int gyre_throttle_next(struct gyre_pool *pool, uint32_t *cursor, struct gyre_throttle *out)
{
    if (!pool || !cursor || !out || out->size < sizeof *out)
        return gyre__fail(GYRE_EINVALID, "no cursor, or throttle.size is not set");
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    uint32_t at = *cursor;
    uint64_t word = 0, now = gyre__clock_ms(pool);
    for (; at <= pool->host_mask; at++) {
        word = pool->host_keys[at] ? load_relaxed(&pool->hosts[at].throttle) : 0;
        if (ends(word) > now || (word & LENGTH_MASK && ends(word) + FORGET_MS > now)) break;
    }
    bool found = at <= pool->host_mask;
    if (found) {
        out->length = (uint32_t)(word & LENGTH_MASK);
        out->hash = pool->host_keys[at];
        out->left = delay(pool, at);
        gyre__host_name(pool, out->hash, out->host);
    }
    gyre__unlock(pool);
    *cursor = found ? at + 1 : 0;
    return found;
}

GYRE_API int gyre_throttle_restore(struct gyre_pool *pool, const struct gyre_throttle *given)
{
    if (!pool || !given || given->size < sizeof *given)
        return gyre__fail(GYRE_EINVALID, "no pool, or throttle.size is not set");
    if (!given->hash || !(given->left >= 0 && given->left <= MAX_WAIT) || given->length > LONGEST_MS)
        return gyre__fail(GYRE_EINVALID, "a throttle of no host, or of %g seconds", given->left);
    const char *name = gyre__host_hash(given->host) == given->hash ? given->host : NULL;
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    struct host_record *record = &pool->hosts[gyre__host_make(pool, given->hash, name)];
    uint64_t end = gyre__clock_ms(pool) + (uint64_t)ceil(given->left * 1000), word = load_relaxed(&record->throttle);
    while (!compare_swap(&record->throttle, &word, end << 24 | given->length)) {}
    gyre__host_lasts(record, stamp_of_ms(end + 99));
    gyre__unlock(pool);
    return 0;
}

/* ---- names, repair ---- */

/* "" when the name is not known; "..." before one that was cut. */
void gyre__host_name(const struct gyre_pool *pool, uint64_t hash, char out[256])
{
    uint32_t at = host_find(pool, hash), dots = 0;
    out[0] = 0;
    if (at == NO_BIT) return;
    uint16_t size = load_acquire(&pool->hosts[at].size), kept = size & (uint16_t)~CUT;
    if (!kept || kept > HOST_TEXT) return;
    if (size & CUT) memcpy(out, "...", dots = 3);
    memcpy(out + dots, pool->hosts[at].text, kept);
    out[dots + kept] = 0;
}

const char *gyre__host_fault(const struct gyre_pool *pool, uint32_t at)
{
    uint64_t hash = pool->host_keys[at];
    const struct host_record *record = &pool->hosts[at];
    uint32_t kept = record->size & ~CUT;
    if (!hash) return NULL;
    if (!keys_in_place(pool->host_keys, pool->host_mask, at)) return "a host out of its place";
    if (kept > HOST_TEXT || (kept && !(record->size & CUT) && hash_of(record->text, kept) != hash))
        return "a host with another's name";
    if (record->judged > record->bans) return "a host with more bans by verdict than bans";
    if (ends(load_relaxed(&record->throttle)) > gyre__clock_ms(pool) + (uint64_t)(MAX_WAIT * 1000)) return "an endless throttle";
    if (record->blamed > clock_stamp(pool) + BLAMED + 10) return "an endless blame";
    return NULL;
}

/* What is unsound goes; counts are made anew by ban.c afterwards. Others look meanwhile. Caller holds the lock. */
void gyre__host_repair(struct gyre_pool *pool)
{
    struct keyed table = table_of(pool);
    uint32_t used = 0;
    for (uint32_t at = 0; at <= pool->host_mask; at++) {
        if (!pool->host_keys[at]) continue;
        store_relaxed(&pool->hosts[at].bans, BANS_RECOUNTED);
        store_relaxed(&pool->hosts[at].judged, 0u);
        if (gyre__host_fault(pool, at)) {
            gyre__keyed_wipe(&table, at);
            continue;
        }
        uint32_t limit = clock_stamp(pool) + (uint32_t)(MAX_WAIT * 10) + 1;
        if (pool->hosts[at].until > limit) store_relaxed(&pool->hosts[at].until, limit);
        used++;
    }
    store_relaxed(&pool->control->hosts, used);
}
