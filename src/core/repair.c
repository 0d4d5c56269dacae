/*
 * Everything that can be derived from the slots, made anew: bitmaps, counts, index, free text. Runs when the lock was
 * taken from a dead process, and when a file is opened that was not closed properly. O(max_proxies). Caller holds
 * the segment lock.
 */
#include "pool.h"

#include <math.h>
#include <string.h>

/* A slot whose proxy is being added or removed by a dead process is empty; one in use gets sound values. */
static void mend_slot(struct gyre_pool *pool, uint32_t slot)
{
    struct gyre_slot *hot = &pool->slots[slot];
    struct slot_identity *identity = &pool->identity[slot];
    struct gyre_url url;
    fetch_and(&hot->flags, ~(uint32_t)SLOT_QUIET);
    if (load_relaxed(&hot->flags) & SLOT_LIVE) {
        bool sound = gyre__text_get(pool, slot, &url) == 0;
        explicit_bzero(&url, sizeof url);
        if (!sound) {
            store_release(&hot->generation, load_relaxed(&hot->generation) + 1);
            store_release(&hot->flags, 0u);
        }
    }
    if (!(load_relaxed(&hot->flags) & SLOT_LIVE)) {
        if (identity->blocks) memset(identity, 0, sizeof *identity);
        return;
    }
    float rate = load_float(&hot->success_rate), weight = load_float(&hot->weight);
    if (!(rate >= 0.0f && rate <= 1.0f)) store_float(&hot->success_rate, 1.0f);
    if (!(weight >= 0.0f) || isinf(weight)) store_float(&hot->weight, 1.0f);
    gyre__limit_mend(pool, slot);
}

static void count_slot(struct gyre_pool *pool, uint32_t slot)
{
    struct segment_control *control = pool->control;
    uint32_t flags = load_relaxed(&pool->slots[slot].flags);
    if (flags & SLOT_LIVE) {
        bits_set(&pool->live, slot);
        bits_clear(&pool->free, slot);
        control->live++;
        control->high = slot + 1;
    } else {
        bits_clear(&pool->live, slot);
        bits_set(&pool->free, slot);
    }
    if (flags & SLOT_LIVE && flags & (SLOT_OPEN | SLOT_HALF)) control->benched++;
    if (flags & SLOT_LIVE && flags & SLOT_OPEN) bits_set(&pool->benched, slot);
    else bits_clear(&pool->benched, slot);
    gyre__health_refresh(pool, slot);
}

void gyre__repair(struct gyre_pool *pool)
{
    struct segment_control *control = pool->control;
    control->live = control->benched = control->high = 0;
    if (control->labels < 1 || control->labels > MAX_LABELS) control->labels = 1;
    for (uint32_t slot = 0; slot < pool->max_proxies; slot++) {
        mend_slot(pool, slot);
        count_slot(pool, slot);
    }
    store_relaxed(&control->due, 0u);
    store_relaxed(&control->due_paced, 0u);
    store_relaxed(&control->due_mortal, 0u);
    if (control->levels_on) gyre__least_rebuild(pool);
    control->epoch += CHANGES; /* every view is built anew */
    gyre__text_rebuild(pool);
    gyre__label_rebuild(pool);
    gyre__index_rebuild(pool);
    gyre__session_repair(pool);
    gyre__host_repair(pool);
    gyre__ban_repair(pool);
}
