/*
 * Blame: who is at fault when a host bans most of the pool at once. Proxies are banned one after the other, as their
 * reputations go; all of them within seconds is a rule that takes every page for a ban, or a host that refuses
 * everybody. To bench them would stop the work and help nobody.
 *
 * A host counts its bans by verdicts in two halves of the window. Over the limit it is blamed until a time, its bans by
 * verdicts are lifted, and each further ban over the limit moves that time on.
 */
#include "host.h"

#define HALF 50u      /* stamps: half of the window */
#define LEAST 3u      /* verdicts: two may be chance, however small the pool */

static uint32_t count(struct host_record *record, uint32_t stamp)
{
    uint32_t bucket = stamp / HALF;
    if (bucket != record->burst_bucket) {
        record->burst_before = bucket == record->burst_bucket + 1 ? record->burst : 0;
        record->burst = 0;
        record->burst_bucket = bucket;
    }
    if (record->burst < UINT32_MAX / 2) record->burst++;
    return record->burst + record->burst_before;
}

bool gyre__blame(struct gyre_pool *pool, uint64_t host, uint32_t at, uint32_t stamp)
{
    struct host_record *record = &pool->hosts[at];
    uint32_t bans = count(record, stamp);
    if (pool->header->config.max_benched >= 1.0) return false;
    bool before = record->blamed > stamp;
    if (bans < LEAST || bans <= load_relaxed(&pool->control->live) / 2) return before;
    store_relaxed(&record->blamed, stamp + BLAMED);
    gyre__host_lasts(record, stamp + BLAMED);
    if (before) return true;
    store_relaxed(&pool->control->ban_blamed, pool->control->ban_blamed + 1);
    gyre__ban_lift_judged(pool, host);
    return true;
}

GYRE_API double gyre_host_blamed(struct gyre_pool *pool, const char *host)
{
    uint64_t hash = pool ? gyre__host_hash(host) : 0;
    uint32_t at = hash ? host_find(pool, hash) : NO_BIT, stamp = at == NO_BIT ? 0 : clock_stamp(pool);
    uint32_t until = at == NO_BIT ? 0 : load_relaxed(&pool->hosts[at].blamed);
    return until > stamp ? (until - stamp) / 10.0 : 0.0;
}
