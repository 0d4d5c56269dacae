/*
 * Identity to slot: open addressing with linear probing over REGION_INDEX, at most half full; entries are slot + 1. It is
 * derived from the slots. Caller holds the segment lock throughout.
 */
#include "pool.h"

#include <string.h>

#define EMPTY 0u
#define TOMB UINT32_MAX

/* Does the entry name this proxy? */
static bool matches(struct gyre_pool *pool, uint32_t entry, const struct gyre_url *url, uint32_t hash)
{
    uint32_t slot = entry - 1;
    struct gyre_url other;
    if (slot >= pool->max_proxies || pool->identity[slot].hash != hash) return false;
    if (!(load_relaxed(&pool->slots[slot].flags) & SLOT_LIVE)) return false;
    bool same = gyre__text_get(pool, slot, &other) == 0 && gyre__url_equal(url, &other);
    explicit_bzero(&other, sizeof other);
    return same;
}

uint32_t gyre__index_find(struct gyre_pool *pool, const struct gyre_url *url, uint32_t hash)
{
    uint32_t mask = pool->header->index_size - 1;
    for (uint32_t i = 0; i <= mask; i++) {
        uint32_t entry = pool->index[(hash + i) & mask];
        if (entry == EMPTY) return NO_BIT;
        if (entry != TOMB && matches(pool, entry, url, hash)) return entry - 1;
    }
    return NO_BIT;
}

void gyre__index_add(struct gyre_pool *pool, uint32_t slot, uint32_t hash)
{
    uint32_t mask = pool->header->index_size - 1;
    for (uint32_t i = 0; i <= mask; i++) {
        uint32_t *entry = &pool->index[(hash + i) & mask];
        if (*entry != EMPTY && *entry != TOMB) continue;
        if (*entry == TOMB) pool->control->tombstones--;
        *entry = slot + 1;
        return;
    }
}

void gyre__index_remove(struct gyre_pool *pool, uint32_t slot, uint32_t hash)
{
    uint32_t mask = pool->header->index_size - 1;
    for (uint32_t i = 0; i <= mask; i++) {
        uint32_t *entry = &pool->index[(hash + i) & mask];
        if (*entry == EMPTY) return;
        if (*entry != slot + 1) continue;
        *entry = TOMB;
        if (++pool->control->tombstones > pool->header->index_size / 4) gyre__index_rebuild(pool);
        return;
    }
}

void gyre__index_rebuild(struct gyre_pool *pool)
{
    memset(pool->index, 0, (size_t)pool->header->index_size * sizeof *pool->index);
    pool->control->tombstones = 0;
    for (uint32_t slot = bits_next(&pool->live, 0); slot != NO_BIT; slot = bits_next(&pool->live, slot + 1))
        gyre__index_add(pool, slot, pool->identity[slot].hash);
}
