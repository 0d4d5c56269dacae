/*
 * Everything that can be derived from the slots, made anew: bitmaps, counts, index, free text. Runs when the lock was
 * taken from a dead process, and when a file is opened that was not closed properly. O(max_proxies). Caller holds
 * the segment lock.
 */
#include "pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Can the identity be read, and is its text no other proxy's? `used` is a map of blocks, or NULL. */
static bool mend_identity(struct gyre_pool *pool, uint32_t slot, unsigned char *used)
{
    struct slot_identity *identity = &pool->identity[slot];
    struct gyre_url url;
    bool sound = gyre__text_get(pool, slot, &url) == 0 && url.port && *url.host && url.scheme >= GYRE_HTTP &&
                 url.scheme <= GYRE_SOCKS5H && !(used && memchr(used + identity->text, 1, identity->blocks));
    if (sound) identity->hash = gyre__url_hash(&url);
    if (sound && used) memset(used + identity->text, 1, identity->blocks);
    explicit_bzero(&url, sizeof url);
    return sound;
}

static void mend_flags(struct gyre_pool *pool, uint32_t slot)
{
    uint32_t *flags = &pool->slots[slot].flags, stamp = clock_stamp(pool);
    uint32_t longest = (uint32_t)(pool->header->config.breaker_max * 10) + 1;
    struct slot_health *health = &pool->health[slot];
    if (load_relaxed(flags) & SLOT_OPEN) fetch_and(flags, ~(uint32_t)(SLOT_HALF | SLOT_PROBE));
    if (!(load_relaxed(flags) & SLOT_HALF)) fetch_and(flags, ~(uint32_t)SLOT_PROBE);
    if (health->until > stamp && health->until - stamp > longest) store_relaxed(&health->until, stamp + longest);
}

static void mend_labels(struct gyre_pool *pool, uint32_t slot)
{
    struct slot_label label = pool->labels[slot];
    uint32_t kept = 0;
    if (!gyre__label_is_word(pool, label.country)) label.country = 0;
    if (!gyre__label_is_word(pool, label.region)) label.region = 0;
    for (uint32_t i = 0; i < label.tag_count && i < MAX_TAGS; i++)
        if (gyre__label_is_word(pool, label.tags[i])) label.tags[kept++] = label.tags[i];
    label.tag_count = (uint16_t)kept;
    if (memcmp(&label, &pool->labels[slot], sizeof label) != 0) gyre__label_store(pool, slot, &label);
}

static void mend_values(struct gyre_pool *pool, uint32_t slot)
{
    struct gyre_slot *hot = &pool->slots[slot];
    float rate = load_float(&hot->success_rate), weight = load_float(&hot->weight);
    double ema = load_double(&hot->ema_ms);
    uint32_t stamp = clock_stamp(pool);
    if (!load_relaxed(&hot->generation)) store_release(&hot->generation, 1u);
    if (!(rate >= 0.0f && rate <= 1.0f)) store_float(&hot->success_rate, 1.0f);
    if (!(weight >= 0.0f) || isinf(weight)) store_float(&hot->weight, 1.0f);
    if (!isnan(ema) && !(ema >= 0 && ema <= 86400000.0)) store_relaxed((uint64_t *)(void *)&hot->ema_ms, double_bits(NAN));
    if (load_relaxed(&hot->window_bucket) > stamp / pool->bucket_width + 2) gyre__window_reset(pool, slot, stamp);
}

/* A slot whose proxy is being added or removed by a dead process is empty; one in use gets sound values. */
static void mend_slot(struct gyre_pool *pool, uint32_t slot, unsigned char *used)
{
    struct gyre_slot *hot = &pool->slots[slot];
    struct slot_identity *identity = &pool->identity[slot];
    fetch_and(&hot->flags, ~(uint32_t)SLOT_QUIET);
    if (load_relaxed(&hot->flags) & SLOT_LIVE) {
        if (!mend_identity(pool, slot, used)) {
            store_release(&hot->generation, load_relaxed(&hot->generation) + 1);
            store_release(&hot->flags, 0u);
        }
    }
    if (!(load_relaxed(&hot->flags) & SLOT_LIVE)) {
        if (identity->blocks) memset(identity, 0, sizeof *identity);
        return;
    }
    mend_values(pool, slot);
    mend_labels(pool, slot);
    mend_flags(pool, slot);
    gyre__limit_mend(pool, slot);
}

struct counts {
    uint32_t live, benched, high;
};

static void count_slot(struct gyre_pool *pool, uint32_t slot, struct counts *counts)
{
    uint32_t flags = load_relaxed(&pool->slots[slot].flags);
    if (flags & SLOT_LIVE) {
        bits_set(&pool->live, slot);
        bits_clear(&pool->free, slot);
        counts->live++;
        counts->high = slot + 1;
    } else {
        bits_clear(&pool->live, slot);
        bits_set(&pool->free, slot);
        gyre__limit_forget(pool, slot);
    }
    if (flags & SLOT_LIVE && flags & (SLOT_OPEN | SLOT_HALF)) {
        counts->benched++;
        bits_set(&pool->benched, slot);
    } else {
        bits_clear(&pool->benched, slot);
    }
    gyre__health_refresh(pool, slot);
}

static void mend_control(struct gyre_pool *pool)
{
    struct segment_control *control = pool->control;
    uint32_t chunks = 0;
    if (control->labels < 1 || control->labels > MAX_LABELS) store_relaxed(&control->labels, 1u);
    for (uint32_t i = 1; i < control->labels; i++)
        if (pool->label_texts[i].size > LABEL_TEXT)
            memcpy(&pool->label_texts[i], &(struct label_text){1, "?"}, sizeof(struct label_text));
    for (uint32_t c = 0; c < pool->max_leases / LEASE_CHUNK; c++)
        if (load_relaxed(&pool->chunks[c])) chunks = c + 1;
    if (load_relaxed(&control->chunks) > pool->max_leases / LEASE_CHUNK) store_relaxed(&control->chunks, chunks);
    for (uint32_t i = 0; i < MAX_PROCESSES; i++) /* alive or not, that is found out */
        if (load_relaxed(&pool->processes[i].state) > PROCESS_LEAVING) store_relaxed(&pool->processes[i].state, (uint32_t)PROCESS_ALIVE);
}

/* Of two proxies with one identity the index names one; the other goes. */
static void drop_doubles(struct gyre_pool *pool)
{
    for (uint32_t slot = bits_next(&pool->live, 0); slot != NO_BIT; slot = bits_next(&pool->live, slot + 1)) {
        struct gyre_url url;
        if (gyre__text_get(pool, slot, &url) == 0 && gyre__index_find(pool, &url, pool->identity[slot].hash) != slot)
            gyre__proxy_withdraw(pool, slot);
        explicit_bzero(&url, sizeof url);
    }
}

void gyre__repair(struct gyre_pool *pool)
{
    struct segment_control *control = pool->control;
    const struct bits *maps[] = {&pool->eligible, &pool->live, &pool->free, &pool->benched, &pool->paced, &pool->mortal};
    unsigned char *used = calloc(pool->header->text_blocks, 1);
    struct counts counts = {0};
    mend_control(pool);
    for (uint32_t slot = 0; slot < pool->max_proxies; slot++) {
        mend_slot(pool, slot, used);
        count_slot(pool, slot, &counts);
    }
    store_relaxed(&control->live, counts.live);
    store_relaxed(&control->benched, counts.benched);
    store_relaxed(&control->high, counts.high);
    free(used);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) gyre__bits_mend(maps[i]);
    store_relaxed(&control->due, 0u);
    store_relaxed(&control->due_paced, 0u);
    store_relaxed(&control->due_mortal, 0u);
    if (control->levels_on) gyre__least_rebuild(pool);
    store_release(&control->epoch, control->epoch + CHANGES); /* every view is built anew */
    gyre__text_rebuild(pool);
    gyre__label_rebuild(pool);
    gyre__index_rebuild(pool);
    drop_doubles(pool);
    gyre__session_audit(pool, NULL);
    gyre__counter_audit(pool, NULL);
    gyre__strategy_audit(pool, NULL);
    gyre__host_repair(pool);
    gyre__ban_repair(pool);
}
