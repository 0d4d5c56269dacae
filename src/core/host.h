/*
 * Hosts, the targets of requests: which of them throttle, and which proxies they ban. host.c owns REGION_HOSTS, ban.c
 * REGION_BANS, tables of keyed.h both.
 */
#ifndef GYRE_HOST_H
#define GYRE_HOST_H

#include "keyed.h"

#define MAX_HOST_NAME 255u
#define BLAMED 600u /* stamps for which a host is blamed */
#define MAX_WAIT 604800.0 /* seconds: longest ban and throttle, a week */

/* In host_record.bans while repair counts them anew: who looks sees some. */
#define BANS_RECOUNTED 0x80000000u

enum ban_bit {
    BAN_COUNTED = 1, /* in host_record.bans */
    BAN_JUDGED = 2,  /* made by a verdict; with COUNTED also in host_record.judged */
};

/* Hash of a name without regard to case or a dot at its end; 0 for no name or too long a one. Pure. */
uint64_t gyre__host_hash(const char *name);

/* The host's index, or NO_BIT. Lock-free. */
static inline uint32_t host_find(const struct gyre_pool *pool, uint64_t hash)
{
    return keys_find(pool->host_keys, pool->host_mask, hash);
}

/* For these the caller holds the segment lock. */
uint32_t gyre__host_make(struct gyre_pool *pool, uint64_t hash, const char *name); /* found or made */
uint32_t gyre__ban_counted_at(const struct gyre_pool *pool, const struct ban_record *ban);
void gyre__host_lasts(struct host_record *record, uint32_t until);
void gyre__ban_lift_judged(struct gyre_pool *pool, uint64_t host); /* O(max_bans) */

/* Counts a ban by a verdict of the host at index `at`, and says whether it is the host's fault, or the rule's: then the
 * ban must not be. Caller holds the segment lock. */
bool gyre__blame(struct gyre_pool *pool, uint64_t host, uint32_t at, uint32_t stamp);

/* Key of the pair in the table of bans; never 0. */
static inline uint64_t ban_key(uint64_t host, uint64_t id)
{
    uint64_t z = host ^ (id * UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    z ^= z >> 32;
    return z ? z : 1;
}

#endif
