/*
 * Bans of a proxy by a host: a `banned` verdict benches the proxy for the lease's host and for no other. Backoff as
 * scrapy-rotating-proxies has it, with full jitter: a random time in (0, 60 s * 2^k], at most an hour, k the bans in a
 * row; the row is forgotten an hour after the last ban has ended. (There the base is 300 s, but a ban counts for all hosts.)
 *
 * Never more than max_benched of the living proxies are banned by one host's verdicts at once: beyond that the rule that
 * reads the responses is likelier wrong than the proxies, and the ban is refused and counted.
 *
 * host_record.bans says whether a pick has to look here at all; then each candidate costs one look-up. It is lowered
 * when a sweep meets the ban that ended, so it may be too large for some seconds, never too small.
 */
#include "host.h"

#include <math.h>
#include <stddef.h>

#define BASE 60.0
#define LONGEST 3600.0
#define MEMORY 36000u /* stamps: an hour */
#define SWEEPS 32u

bool gyre__ban_holds(const struct gyre_pool *pool, uint64_t host, uint32_t slot)
{
    uint32_t stamp = load_relaxed(&pool->control->tick);
    uint64_t id = make_id(load_relaxed(&pool->slots[slot].generation), slot);
    uint32_t at = keys_find(pool->ban_keys, pool->ban_mask, ban_key(host, id));
    if (at == NO_BIT) return false;
    const struct ban_record *ban = &pool->bans[at];
    return load_relaxed(&ban->until) > stamp && load_relaxed(&ban->id) == id && load_relaxed(&ban->host) == host;
}

/* ---- counts at the host ---- */

/* The host that counts the ban, or NO_BIT: none, or it was pushed out of a full table. Caller holds the lock. */
uint32_t gyre__ban_counted_at(const struct gyre_pool *pool, const struct ban_record *ban)
{
    uint32_t host = ban->bits & BAN_COUNTED ? host_find(pool, ban->host) : NO_BIT;
    return host != NO_BIT && pool->hosts[host].serial == ban->serial ? host : NO_BIT;
}

static void count_at(struct gyre_pool *pool, struct ban_record *ban, uint32_t host)
{
    struct host_record *record = &pool->hosts[host];
    ban->bits |= BAN_COUNTED;
    ban->serial = record->serial;
    store_relaxed(&record->bans, record->bans + 1);
    if (ban->bits & BAN_JUDGED) store_relaxed(&record->judged, record->judged + 1);
    gyre__host_lasts(record, ban->until);
}

static void uncount(struct gyre_pool *pool, struct ban_record *ban)
{
    uint32_t host = gyre__ban_counted_at(pool, ban);
    bool judged = ban->bits & BAN_JUDGED;
    ban->bits &= (uint16_t)~BAN_COUNTED;
    if (host == NO_BIT) return;
    struct host_record *record = &pool->hosts[host];
    if (judged && record->judged) store_relaxed(&record->judged, record->judged - 1);
    if (record->bans) store_relaxed(&record->bans, record->bans - 1);
}

/* Takes the ended ones off now, not more than ten times a second. O(max_bans). */
static void recount(struct gyre_pool *pool, uint64_t host, uint32_t at, uint32_t stamp)
{
    struct host_record *record = &pool->hosts[at];
    if (record->recount == stamp) return;
    record->recount = stamp;
    for (uint32_t i = 0; i <= pool->ban_mask; i++)
        if (pool->ban_keys[i] && pool->bans[i].host == host &&
            (pool->bans[i].until <= stamp || slot_of_id(pool, pool->bans[i].id) == NO_BIT))
            uncount(pool, &pool->bans[i]);
}

/* ---- the table ---- */

static void undo(struct gyre_pool *pool, uint32_t at)
{
    uncount(pool, &pool->bans[at]);
}

static struct keyed table_of(struct gyre_pool *pool)
{
    return (struct keyed){.pool = pool,
                          .keys = pool->ban_keys,
                          .records = (char *)pool->bans,
                          .size = sizeof *pool->bans,
                          .until = offsetof(struct ban_record, until),
                          .mask = pool->ban_mask,
                          .most = pool->header->max_bans,
                          .count = &pool->control->bans,
                          .sweep = &pool->control->ban_sweep,
                          .undo = undo};
}

static void drop(struct gyre_pool *pool, uint32_t at)
{
    struct keyed table = table_of(pool);
    gyre__keyed_drop(&table, at);
}

/* The pair's record, found or made. */
static struct ban_record *make(struct gyre_pool *pool, uint64_t host, uint64_t id)
{
    uint64_t key = ban_key(host, id);
    uint32_t at = keys_find(pool->ban_keys, pool->ban_mask, key);
    if (at != NO_BIT) return &pool->bans[at];
    struct keyed table = table_of(pool);
    at = gyre__keyed_place(&table, key);
    store_relaxed(&pool->bans[at].host, host);
    store_relaxed(&pool->bans[at].id, id);
    gyre__keyed_publish(&table, at, key);
    return &pool->bans[at];
}

/* Bans that have ended are taken off their host's count, and forgotten in time. Caller holds the lock. */
void gyre__ban_due(struct gyre_pool *pool, uint32_t stamp)
{
    uint32_t n = (pool->ban_mask + 1) / SWEEPS, at = load_relaxed(&pool->control->ban_sweep);
    for (uint32_t i = 0; i < n; i++) {
        at = (at + 1) & pool->ban_mask;
        if (!pool->ban_keys[at]) continue;
        struct ban_record *ban = &pool->bans[at];
        if (ban->forget <= stamp || slot_of_id(pool, ban->id) == NO_BIT) drop(pool, at);
        else if (ban->until <= stamp) uncount(pool, ban);
    }
    store_relaxed(&pool->control->ban_sweep, at);
}

/* ---- banning ---- */

static void set(struct gyre_pool *pool, struct ban_record *ban, uint32_t host, uint32_t until, uint32_t forget, uint16_t bits)
{
    uncount(pool, ban);
    ban->bits = bits;
    ban->forget = forget;
    store_relaxed(&ban->until, until);
    count_at(pool, ban, host);
}

static uint32_t stamps_of(double seconds)
{
    double stamps = ceil(fmin(seconds, MAX_WAIT) * 10);
    return stamps < 1 ? 1 : (uint32_t)stamps;
}

/* Would one more ban by a verdict of this host be too many? */
static bool too_many(struct gyre_pool *pool, uint64_t hash, uint32_t host, uint32_t stamp)
{
    double most = pool->header->config.max_benched * load_relaxed(&pool->control->live);
    if (pool->hosts[host].judged + 1 > most) recount(pool, hash, host, stamp);
    return pool->hosts[host].judged + 1 > most;
}

static uint32_t bench_for(struct gyre_pool *pool, const struct ban_record *ban, double retry_after)
{
    if (retry_after > 0) return stamps_of(retry_after);
    uint32_t doublings = ban->strikes < 16 ? ban->strikes : 16;
    return stamps_of(random_unit(&pool->control->random) * fmin(ldexp(BASE, (int)doublings), LONGEST));
}

/* A lease of the proxy for this host ended as banned. Caller holds the lock. */
void gyre__ban_verdict(struct gyre_pool *pool, uint32_t slot, uint64_t hash, double retry_after)
{
    uint32_t stamp = clock_stamp(pool), host = gyre__host_make(pool, hash, NULL);
    uint64_t id = make_id(load_relaxed(&pool->slots[slot].generation), slot);
    uint32_t at = keys_find(pool->ban_keys, pool->ban_mask, ban_key(hash, id));
    if (at != NO_BIT && pool->bans[at].until > stamp) { /* of a lease from before the ban: it says nothing new */
        uint32_t until = retry_after > 0 ? stamp + stamps_of(retry_after) : 0;
        struct ban_record *ban = &pool->bans[at];
        if (until > ban->until) set(pool, ban, host, until, until + MEMORY, ban->bits & BAN_JUDGED);
        return;
    }
    if (at != NO_BIT) uncount(pool, &pool->bans[at]);
    if (gyre__blame(pool, hash, host, stamp) || too_many(pool, hash, host, stamp)) {
        store_relaxed(&pool->control->ban_refused, pool->control->ban_refused + 1);
        store_relaxed(&pool->hosts[host].refused, pool->hosts[host].refused + 1);
        return;
    }
    struct ban_record *ban = make(pool, hash, id);
    if (ban->forget <= stamp) ban->strikes = 0;
    uint32_t until = stamp + bench_for(pool, ban, retry_after);
    if (ban->strikes < UINT16_MAX) ban->strikes++;
    set(pool, ban, gyre__host_make(pool, hash, NULL), until, until + MEMORY, BAN_JUDGED);
}

void gyre__ban_lift_judged(struct gyre_pool *pool, uint64_t host)
{
    for (uint32_t at = 0; at <= pool->ban_mask; at++)
        if (pool->ban_keys[at] && pool->bans[at].host == host && pool->bans[at].bits & BAN_JUDGED) drop(pool, at);
}

static int check_host(const struct gyre_pool *pool, const char *host, uint64_t *hash)
{
    *hash = gyre__host_hash(host);
    return pool && *hash ? 0 : gyre__fail(GYRE_EINVALID, "no pool, or no host name of 1 to %u bytes", MAX_HOST_NAME);
}

GYRE_API int gyre_host_ban(struct gyre_pool *pool, uint64_t id, const char *host, double seconds)
{
    uint64_t hash;
    int bad = check_host(pool, host, &hash);
    if (bad) return bad;
    if (!(seconds > 0 && seconds <= MAX_WAIT))
        return gyre__fail(GYRE_EINVALID, "ban of %g seconds is not between 0 and %.0f", seconds, MAX_WAIT);
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    uint32_t slot = slot_of_id(pool, id);
    if (slot != NO_BIT) {
        struct ban_record *ban = make(pool, hash, id);
        uint32_t until = clock_stamp(pool) + stamps_of(seconds);
        set(pool, ban, gyre__host_make(pool, hash, host), until, until, 0);
    }
    gyre__unlock(pool);
    return slot == NO_BIT ? gyre__fail(GYRE_ENOT_FOUND, "no proxy with id %llu", (unsigned long long)id) : 0;
}

GYRE_API int gyre_ban_restore(struct gyre_pool *pool, const struct gyre_ban *ban)
{
    if (!pool || !ban || ban->size < sizeof *ban) return gyre__fail(GYRE_EINVALID, "no pool, or ban.size is not set");
    const char *name = ban->hash && gyre__host_hash(ban->host) == ban->hash ? ban->host : NULL;
    double left = ban->until - gyre_pool_time(pool);
    if (!ban->hash || !(left > 0 && left <= MAX_WAIT))
        return gyre__fail(GYRE_EINVALID, "a ban of no host, or one that ends in %g seconds", left);
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    uint32_t slot = slot_of_id(pool, ban->id);
    if (slot != NO_BIT) {
        struct ban_record *record = make(pool, ban->hash, ban->id);
        uint32_t until = clock_stamp(pool) + stamps_of(left - 0.001); /* a tenth is a tenth, whatever the double says */
        uint32_t memory = ban->judged ? MEMORY : 0;
        record->strikes = (uint16_t)(ban->strikes < UINT16_MAX ? ban->strikes : UINT16_MAX);
        set(pool, record, gyre__host_make(pool, ban->hash, name), until, until + memory, ban->judged ? BAN_JUDGED : 0);
    }
    gyre__unlock(pool);
    return slot == NO_BIT ? gyre__fail(GYRE_ENOT_FOUND, "no proxy with id %llu", (unsigned long long)ban->id) : 0;
}

GYRE_API int gyre_host_unban(struct gyre_pool *pool, uint64_t id, const char *host)
{
    uint64_t hash = 0;
    int bad = !pool || host || !id ? check_host(pool, host, &hash) : 0, lifted = 0;
    if (bad) return bad;
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    uint32_t stamp = clock_stamp(pool);
    for (uint32_t at = 0; at <= pool->ban_mask; at++) {
        const struct ban_record *ban = &pool->bans[at];
        if (!pool->ban_keys[at] || (hash && ban->host != hash) || (id && ban->id != id)) continue;
        lifted += ban->until > stamp;
        drop(pool, at);
    }
    gyre__unlock(pool);
    return lifted;
}

GYRE_API int gyre_host_next(struct gyre_pool *pool, uint32_t *cursor, struct gyre_ban *out)
{
    if (!pool || !cursor || !out || out->size < sizeof *out) return gyre__fail(GYRE_EINVALID, "no cursor, or ban.size is not set");
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    uint32_t at = *cursor, stamp = clock_stamp(pool);
    while (at <= pool->ban_mask && (!pool->ban_keys[at] || pool->bans[at].until <= stamp ||
                                    slot_of_id(pool, pool->bans[at].id) == NO_BIT)) at++;
    bool found = at <= pool->ban_mask;
    if (found) {
        const struct ban_record *ban = &pool->bans[at];
        out->strikes = ban->strikes;
        out->judged = ban->bits & BAN_JUDGED ? 1 : 0;
        out->id = ban->id;
        out->until = stamp_seconds(ban->until);
        out->hash = ban->host;
        gyre__host_name(pool, ban->host, out->host);
    }
    gyre__unlock(pool);
    *cursor = found ? at + 1 : 0;
    return found;
}

/* ---- repair ---- */

const char *gyre__ban_fault(const struct gyre_pool *pool, uint32_t at)
{
    uint64_t key = pool->ban_keys[at];
    const struct ban_record *ban = &pool->bans[at];
    if (!key) return NULL;
    if (!keys_in_place(pool->ban_keys, pool->ban_mask, at)) return "a ban out of its place";
    if (!ban->host || key != ban_key(ban->host, ban->id)) return "a ban with another's key";
    if (ban->until > clock_stamp(pool) + stamps_of(MAX_WAIT)) return "an endless ban";
    /* of a proxy that was removed it need not: recount() takes it off, the sweep drops it later */
    bool holds = ban->until > clock_stamp(pool) && slot_of_id(pool, ban->id) != NO_BIT;
    if (holds && !(ban->bits & BAN_COUNTED)) return "a ban that its host does not count";
    return NULL;
}

/* What is unsound goes, the rest is counted. Caller holds the lock and has repaired the hosts. */
void gyre__ban_repair(struct gyre_pool *pool)
{
    struct keyed table = table_of(pool);
    uint32_t stamp = clock_stamp(pool), used = 0;
    for (uint32_t at = 0; at <= pool->ban_mask; at++) {
        struct ban_record *ban = &pool->bans[at];
        if (!pool->ban_keys[at]) continue;
        ban->bits = (ban->bits & BAN_JUDGED) | BAN_COUNTED;
        if (gyre__ban_fault(pool, at)) {
            gyre__keyed_wipe(&table, at);
            continue;
        }
        ban->bits &= BAN_JUDGED;
        if (ban->until > stamp) count_at(pool, ban, gyre__host_make(pool, ban->host, NULL));
    }
    for (uint32_t at = 0; at <= pool->ban_mask; at++) used += pool->ban_keys[at] != 0;
    store_relaxed(&pool->control->bans, used);
    for (uint32_t at = 0; at <= pool->host_mask; at++)
        if (pool->host_keys[at]) store_relaxed(&pool->hosts[at].bans, pool->hosts[at].bans & ~BANS_RECOUNTED);
}
