/*
 * The sliding window, without a write on the hot path: the first lease of a proxy in each bucket (an eighth of the
 * window) notes the totals so far, and what lies in the window is the totals now minus the oldest note still inside. It
 * covers the running bucket and the seven before it, so between 7/8 of the window and all of it. Under contention a
 * lease at the edge may be counted in the neighbouring bucket; after a kill at the wrong instant one note may be missing,
 * and the next one serves.
 */
#include "pool.h"

#include <string.h>

/* Totals now, as 32-bit values that may wrap: only differences are used. */
static void totals(const struct gyre_pool *pool, uint32_t slot, uint32_t out[3])
{
    const struct gyre_slot *hot = &pool->slots[slot];
    uint64_t failed = load_relaxed(&hot->failed), aborted = load_relaxed(&hot->aborted);
    uint64_t use = load_relaxed(&hot->use);
    out[0] = (uint32_t)use_started(use);
    out[1] = (uint32_t)(use_started(use) - use_active(use) - failed - aborted);
    out[2] = (uint32_t)failed;
}

/* What was counted since. A lease that is just failing is among the failures and still among those in flight: for a moment less
 * may have succeeded than before. */
static uint32_t since(uint32_t now, uint32_t then)
{
    return now - then > INT32_MAX ? 0 : now - then;
}

static void note(struct gyre_pool *pool, uint32_t slot, uint32_t bucket)
{
    struct window_entry *entry = &pool->windows[slot].entry[bucket % WINDOW_BUCKETS];
    uint32_t now[3];
    totals(pool, slot, now);
    store_release(&entry->bucket, 0u); /* pairs with the second look of window_read */
    store_relaxed(&entry->started, now[0]);
    store_relaxed(&entry->succeeded, now[1]);
    store_relaxed(&entry->failed, now[2]);
    store_release(&entry->bucket, bucket);
}

/* The first of a new bucket. Lock-free; one of several that come at once notes. */
void gyre__window_roll(struct gyre_pool *pool, uint32_t slot, uint32_t bucket)
{
    uint32_t seen = load_relaxed(&pool->slots[slot].window_bucket);
    if (seen < bucket && compare_swap(&pool->slots[slot].window_bucket, &seen, bucket)) note(pool, slot, bucket);
}

/* out: started, succeeded, failed in the window that ends at `stamp`. Lock-free. */
void gyre__window_read(const struct gyre_pool *pool, uint32_t slot, uint32_t stamp, uint64_t out[3])
{
    uint32_t last = stamp / pool->bucket_width + 1, first = last >= WINDOW_BUCKETS ? last - WINDOW_BUCKETS + 1 : 1;
    uint32_t now[3], oldest = UINT32_MAX, then[3] = {0, 0, 0};
    totals(pool, slot, now);
    for (uint32_t i = 0; i < WINDOW_BUCKETS; i++) {
        const struct window_entry *entry = &pool->windows[slot].entry[i];
        uint32_t bucket = load_acquire(&entry->bucket);
        if (bucket < first || bucket > last || bucket >= oldest) continue;
        uint32_t read[3] = {load_relaxed(&entry->started), load_relaxed(&entry->succeeded), load_relaxed(&entry->failed)};
        if (load_acquire(&entry->bucket) != bucket) continue;
        oldest = bucket;
        memcpy(then, read, sizeof then);
    }
    for (int i = 0; i < 3; i++) out[i] = oldest == UINT32_MAX ? 0 : since(now[i], then[i]);
}

/* Starts the window afresh from the totals now. Caller holds the segment lock. */
void gyre__window_reset(struct gyre_pool *pool, uint32_t slot, uint32_t stamp)
{
    uint32_t bucket = stamp / pool->bucket_width + 1;
    for (uint32_t i = 0; i < WINDOW_BUCKETS; i++) store_release(&pool->windows[slot].entry[i].bucket, 0u);
    store_relaxed(&pool->slots[slot].window_bucket, bucket);
    note(pool, slot, bucket);
}

/* The notes inside the window, newest or oldest first, as counts since then. Returns how many. */
uint32_t gyre__window_notes(const struct gyre_pool *pool, uint32_t slot, uint32_t stamp, uint32_t active,
                            struct gyre_window_note *notes)
{
    uint32_t last = stamp / pool->bucket_width + 1, first = last >= WINDOW_BUCKETS ? last - WINDOW_BUCKETS + 1 : 1;
    uint32_t now[3], count = 0;
    totals(pool, slot, now);
    for (uint32_t i = 0; i < WINDOW_BUCKETS; i++) {
        const struct window_entry *entry = &pool->windows[slot].entry[i];
        uint32_t bucket = load_acquire(&entry->bucket), started = since(now[0], load_relaxed(&entry->started));
        if (bucket < first || bucket > last) continue;
        notes[count++] = (struct gyre_window_note){
            .ago = (stamp - (bucket - 1) * pool->bucket_width) / 10.0,
            .started = started > active ? started - active : 0,
            .succeeded = since(now[1], load_relaxed(&entry->succeeded)),
            .failed = since(now[2], load_relaxed(&entry->failed)),
        };
    }
    return count;
}

/* Of two notes that fall into one bucket (it may be wider here) the older counts. */
void gyre__window_restore(struct gyre_pool *pool, uint32_t slot, uint32_t stamp, const struct gyre_window_note *notes,
                          uint32_t count)
{
    uint32_t now[3], newest = 0;
    totals(pool, slot, now);
    for (uint32_t i = 0; i < WINDOW_BUCKETS; i++) store_release(&pool->windows[slot].entry[i].bucket, 0u);
    for (uint32_t i = 0; i < count; i++) {
        double stamps = notes[i].ago * 10.0 + 0.5;
        uint32_t bucket = (stamps < stamp ? stamp - (uint32_t)stamps : 0) / pool->bucket_width + 1;
        struct window_entry *entry = &pool->windows[slot].entry[bucket % WINDOW_BUCKETS];
        uint32_t there = load_relaxed(&entry->bucket);
        if (there > bucket || (there == bucket && now[0] - load_relaxed(&entry->started) >= notes[i].started)) continue;
        store_release(&entry->bucket, 0u);
        store_relaxed(&entry->started, now[0] - notes[i].started);
        store_relaxed(&entry->succeeded, now[1] - notes[i].succeeded);
        store_relaxed(&entry->failed, now[2] - notes[i].failed);
        store_release(&entry->bucket, bucket);
        if (bucket > newest) newest = bucket;
    }
    store_relaxed(&pool->slots[slot].window_bucket, newest);
}
