/*
 * Does everything in the segment agree? Reads all of it under the lock and says what does not; repair.c mends. Threads go
 * on meanwhile: what they change without the lock (eligible and paced bits, `use`, lease entries) is a finding only when it
 * stays wrong, or when it has not moved between two looks.
 */
#include "host.h"
#include "lease.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE 500u /* ms that all waits together may take */

struct audit {
    struct gyre_pool *pool;
    struct gyre_check *report;
    uint32_t stamp, waited;
};

void gyre__finding(struct gyre_check *report, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!report->findings++) vsnprintf(report->first, sizeof report->first, format, args);
    va_end(args);
}

/* ---- bitmaps ---- */

static bool has_stray(const uint64_t *words, uint32_t count, uint32_t bits)
{
    return bits % 64 && load_relaxed(&words[count - 1]) >> (bits % 64);
}

/* Is each summary bit set just where the word below is not empty? */
static bool level_agrees(const uint64_t *below, uint32_t count, const uint64_t *above)
{
    for (uint32_t i = 0; i < count; i++)
        if ((load_relaxed(&above[i / 64]) >> (i % 64) & 1) != (load_relaxed(&below[i]) != 0)) return false;
    return true;
}

static bool bits_agree(const struct bits *b)
{
    return level_agrees(b->word, b->words, b->summary) && level_agrees(b->summary, b->summaries, b->top) &&
           !has_stray(b->summary, b->summaries, b->words) && !has_stray(b->top, b->tops, b->summaries);
}

static bool wait_a_little(struct audit *audit)
{
    if (audit->waited >= PATIENCE) return false;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    audit->waited++;
    return true;
}

static void check_bitmaps(struct audit *audit)
{
    const struct gyre_pool *pool = audit->pool;
    const struct {
        const char *name;
        const struct bits *bits;
    } maps[] = {{"eligible", &pool->eligible}, {"living", &pool->live},   {"free", &pool->free},
                {"benched", &pool->benched},   {"paced", &pool->paced}, {"mortal", &pool->mortal}};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        bool agree = bits_agree(maps[i].bits);
        while (!agree && wait_a_little(audit)) agree = bits_agree(maps[i].bits);
        if (!agree) gyre__finding(audit->report, "the bitmap of %s proxies contradicts its summary", maps[i].name);
    }
}

/* ---- slots ---- */

static const char *eligibility_fault(struct gyre_pool *pool, uint32_t slot)
{
    uint32_t flags = load_acquire(&pool->slots[slot].flags), limit = load_relaxed(&pool->labels[slot].max_active);
    bool open = (flags & (SLOT_LIVE | SLOT_OUT)) == SLOT_LIVE, eligible = bits_test(&pool->eligible, slot);
    if (open && flags & SLOT_LIMITED && limit) open = use_active(load_acquire(&pool->slots[slot].use)) < limit;
    bool waits = flags & SLOT_LIMITED && gyre__limit_waits(pool, slot);
    if (eligible && !(open && !waits)) return "is eligible, against its flags or limits";
    bool paced = bits_test(&pool->paced, slot) && load_relaxed(&pool->control->due_paced) != UINT32_MAX;
    if (open && !eligible && !paced) return waits ? "waits for its rate, and nobody will look" : "is not eligible, and nothing speaks against it";
    return NULL;
}

static const char *flags_fault(const struct gyre_pool *pool, uint32_t slot, uint32_t flags)
{
    bool limited = pool->labels[slot].max_active || limit_has_rate(pool, slot);
    if (flags & SLOT_OPEN && flags & SLOT_HALF) return "is open and half-open at once";
    if (flags & SLOT_PROBE && !(flags & SLOT_HALF)) return "has a probe out and is not half-open";
    if (flags & SLOT_QUIET) return "was left quiet";
    if (limited != !!(flags & SLOT_LIMITED)) return "has a limit that its flags do not know, or the reverse";
    if (!!(flags & (SLOT_OPEN | SLOT_HALF)) != bits_test(&pool->benched, slot)) return "is benched in one place only";
    if (!bits_test(&pool->live, slot)) return "is missing in the bitmap of living proxies";
    if (bits_test(&pool->free, slot)) return "is free and in use at once";
    if (!!load_relaxed(&pool->health[slot].expires) != bits_test(&pool->mortal, slot)) return "has a TTL in one place only";
    return NULL;
}

static const char *identity_fault(struct gyre_pool *pool, uint32_t slot)
{
    struct gyre_url url;
    bool readable = gyre__text_get(pool, slot, &url) == 0;
    const char *why = NULL;
    if (!readable) why = "has no readable identity";
    else if (url.scheme < GYRE_HTTP || url.scheme > GYRE_SOCKS5H || !url.port || !*url.host) why = "has an impossible identity";
    else if (gyre__url_hash(&url) != pool->identity[slot].hash) why = "has another identity's hash";
    else if (gyre__index_find(pool, &url, pool->identity[slot].hash) != slot) why = "is not found by its identity";
    explicit_bzero(&url, sizeof url);
    return why;
}

static const char *values_fault(const struct audit *audit, uint32_t slot)
{
    const struct gyre_pool *pool = audit->pool;
    const struct gyre_slot *hot = &pool->slots[slot];
    const struct slot_health *health = &pool->health[slot];
    float rate = load_float(&hot->success_rate), weight = load_float(&hot->weight);
    double ema = load_double(&hot->ema_ms);
    if (!load_relaxed(&hot->generation)) return "has generation 0";
    if (!(rate >= 0.0f && rate <= 1.0f)) return "has an impossible success rate";
    if (!(weight >= 0.0f && weight * 0.0f == 0.0f)) return "has an impossible weight";
    if (ema == ema && !(ema >= 0.0 && ema <= 86400000.0)) return "has an impossible average latency";
    if (load_relaxed(&hot->flags) & SLOT_OPEN &&
        load_relaxed(&health->until) > audit->stamp + (uint32_t)(pool->header->config.breaker_max * 10) + 10)
        return "is benched without end";
    if (load_relaxed(&hot->window_bucket) > audit->stamp / pool->bucket_width + 2) return "has a window in the future";
    if (load_relaxed(&hot->flags) & SLOT_OPEN && load_relaxed(&health->until) < pool->control->due)
        return "is benched, and nobody will look";
    if (health->expires && health->expires < pool->control->due_mortal) return "has a TTL, and nobody will look";
    return NULL;
}

static const char *labels_fault(const struct gyre_pool *pool, uint32_t slot)
{
    const struct slot_label *label = &pool->labels[slot];
    bool country = !label->country || gyre__label_is_word(pool, label->country);
    bool region = !label->region || gyre__label_is_word(pool, label->region);
    if (!country || !region || label->tag_count > MAX_TAGS) return "has labels that are none";
    for (uint32_t i = 0; i < label->tag_count; i++)
        if (!gyre__label_is_word(pool, label->tags[i])) return "has tags that are none";
    return NULL;
}

static void check_living(struct audit *audit, uint32_t slot)
{
    struct gyre_pool *pool = audit->pool;
    const char *why = flags_fault(pool, slot, load_acquire(&pool->slots[slot].flags));
    if (!why) why = identity_fault(pool, slot);
    if (!why) why = values_fault(audit, slot);
    if (!why) why = labels_fault(pool, slot);
    if (!why) why = gyre__limit_fault(pool, slot);
    if (why) gyre__finding(audit->report, "the proxy in slot %u %s", slot, why);
}

static void check_slots(struct audit *audit)
{
    struct gyre_pool *pool = audit->pool;
    struct segment_control *control = pool->control;
    uint32_t live = 0, benched = 0;
    for (uint32_t slot = 0; slot < pool->max_proxies; slot++) {
        uint32_t flags = load_acquire(&pool->slots[slot].flags);
        if (flags & SLOT_LIVE) {
            live++;
            benched += (flags & (SLOT_OPEN | SLOT_HALF)) != 0;
            check_living(audit, slot);
            if (slot >= control->high) gyre__finding(audit->report, "slot %u is above the highest known, %u", slot, control->high);
        } else if (bits_test(&pool->live, slot) || !bits_test(&pool->free, slot) || pool->identity[slot].blocks ||
                   bits_test(&pool->benched, slot)) {
            gyre__finding(audit->report, "slot %u is empty, but not everywhere", slot);
        }
        const char *why = eligibility_fault(pool, slot);
        while (why && wait_a_little(audit)) why = eligibility_fault(pool, slot);
        if (why) gyre__finding(audit->report, "slot %u %s", slot, why);
    }
    if (live != control->live) gyre__finding(audit->report, "%u proxies live, %u are counted", live, control->live);
    if (benched != control->benched) gyre__finding(audit->report, "%u proxies are benched, %u are counted", benched, control->benched);
}

/* ---- index, texts, labels ---- */

static void check_index(struct audit *audit)
{
    const struct gyre_pool *pool = audit->pool;
    uint32_t tombs = 0, entries = 0;
    for (uint32_t i = 0; i < pool->header->index_size; i++) {
        uint32_t entry = pool->index[i], slot = entry - 1;
        if (!entry) continue;
        if (entry == UINT32_MAX) {
            tombs++;
            continue;
        }
        entries++;
        if (slot >= pool->max_proxies || !(load_relaxed(&pool->slots[slot].flags) & SLOT_LIVE))
            gyre__finding(audit->report, "index entry %u names slot %u, where no proxy is", i, slot);
    }
    if (tombs != pool->control->tombstones)
        gyre__finding(audit->report, "the index has %u removed entries, %u are counted", tombs, pool->control->tombstones);
    if (entries != pool->control->live)
        gyre__finding(audit->report, "the index has %u entries for %u proxies", entries, pool->control->live);
}

/* Marks an extent in the map of blocks; false when it is none, or some of it has been marked before. */
static bool mark_extent(const struct gyre_pool *pool, unsigned char *map, uint32_t first, uint32_t blocks)
{
    uint32_t all = pool->header->text_blocks;
    if (!blocks || blocks >= TEXT_CLASSES || first >= all || blocks > all - first) return false;
    if (memchr(map + first, 1, blocks)) return false;
    memset(map + first, 1, blocks);
    return true;
}

static void check_free_texts(struct audit *audit, unsigned char *map, uint32_t blocks)
{
    const struct gyre_pool *pool = audit->pool;
    uint32_t next = pool->control->text_free[blocks];
    while (next) {
        if (!mark_extent(pool, map, next - 1, blocks)) {
            gyre__finding(audit->report, "the list of free texts of %u blocks runs into other texts at block %u", blocks, next - 1);
            return;
        }
        memcpy(&next, pool->text + (size_t)(next - 1) * TEXT_BLOCK, sizeof next);
    }
}

static int check_texts(struct audit *audit)
{
    const struct gyre_pool *pool = audit->pool;
    uint32_t all = pool->header->text_blocks, end = pool->control->text_next;
    unsigned char *map = calloc(all, 1);
    if (!map) return gyre__fail(GYRE_ESYSTEM, "no memory to check the texts");
    for (uint32_t slot = 0; slot < pool->max_proxies; slot++) {
        const struct slot_identity *identity = &pool->identity[slot];
        if (!(load_relaxed(&pool->slots[slot].flags) & SLOT_LIVE)) continue;
        if (!mark_extent(pool, map, identity->text, identity->blocks))
            gyre__finding(audit->report, "the text of slot %u overlaps another's", slot);
    }
    for (uint32_t blocks = 1; blocks < TEXT_CLASSES; blocks++) check_free_texts(audit, map, blocks);
    if (end > all) gyre__finding(audit->report, "the texts end at block %u of %u", end, all);
    else if (memchr(map, 0, end)) gyre__finding(audit->report, "blocks of text are neither used nor free");
    else if (memchr(map + end, 1, all - end)) gyre__finding(audit->report, "a text lies beyond the last one");
    free(map);
    return 0;
}

static void check_labels(struct audit *audit)
{
    const struct gyre_pool *pool = audit->pool;
    uint32_t labels = pool->control->labels;
    if (labels < 1 || labels > MAX_LABELS) {
        gyre__finding(audit->report, "%u labels are counted, at most %u fit", labels, MAX_LABELS);
        return;
    }
    for (uint32_t i = 1; i < labels; i++)
        if (pool->label_texts[i].size > LABEL_TEXT)
            gyre__finding(audit->report, "label %u has an impossible length", i);
}

/* ---- hosts and bans ---- */

static void check_hosts(struct audit *audit)
{
    const struct gyre_pool *pool = audit->pool;
    uint32_t hosts = 0, bans = 0;
    uint64_t counted = 0, in_force = 0;
    for (uint32_t at = 0; at <= pool->host_mask; at++) {
        const char *why = gyre__host_fault(pool, at);
        hosts += pool->host_keys[at] != 0;
        if (pool->host_keys[at]) counted += (uint64_t)pool->hosts[at].judged << 32 | pool->hosts[at].bans;
        if (why) gyre__finding(audit->report, "entry %u of the hosts is %s", at, why);
    }
    for (uint32_t at = 0; at <= pool->ban_mask; at++) {
        const char *why = gyre__ban_fault(pool, at);
        bans += pool->ban_keys[at] != 0;
        if (pool->ban_keys[at] && gyre__ban_counted_at(pool, &pool->bans[at]) != NO_BIT)
            in_force += (uint64_t)(pool->bans[at].bits & BAN_JUDGED ? 1 : 0) << 32 | 1;
        if (why) gyre__finding(audit->report, "entry %u of the bans is %s", at, why);
    }
    if (counted != in_force) gyre__finding(audit->report, "%u bans are in force, %u of them by verdicts; the hosts count %u and %u",
                                          (uint32_t)in_force, (uint32_t)(in_force >> 32), (uint32_t)counted, (uint32_t)(counted >> 32));
    if (hosts != pool->control->hosts || hosts > pool->header->max_hosts)
        gyre__finding(audit->report, "there are %u hosts, %u are counted", hosts, pool->control->hosts);
    if (bans != pool->control->bans || bans > pool->header->max_bans)
        gyre__finding(audit->report, "there are %u bans, %u are counted", bans, pool->control->bans);
}

static void check_control(struct audit *audit)
{
    const struct gyre_pool *pool = audit->pool;
    const struct segment_control *control = pool->control;
    uint32_t chunks = load_relaxed(&control->chunks); /* raised without the lock */
    if (control->high > pool->max_proxies || chunks > pool->max_leases / LEASE_CHUNK)
        gyre__finding(audit->report, "the highest slot, %u, or lease chunk, %u, is beyond the end", control->high, chunks);
    for (uint32_t i = 0; i < MAX_PROCESSES; i++)
        if (load_relaxed(&pool->processes[i].state) > PROCESS_LEAVING)
            gyre__finding(audit->report, "process %u has no known state", i);
}

static int check_all(struct gyre_pool *pool, struct gyre_check *report)
{
    struct audit audit = {.pool = pool, .report = report, .stamp = clock_stamp(pool)};
    check_control(&audit);
    check_bitmaps(&audit);
    check_labels(&audit);
    check_slots(&audit);
    check_index(&audit);
    check_hosts(&audit);
    gyre__session_audit(pool, report);
    gyre__counter_audit(pool, report);
    gyre__strategy_audit(pool, report);
    int bad = check_texts(&audit);
    return bad ? bad : gyre__audit_leases(pool, report);
}

GYRE_API int gyre_pool_check(struct gyre_pool *pool, struct gyre_check *report)
{
    struct gyre_check own = {.size = sizeof own};
    if (!pool || (report && report->size < sizeof *report)) return gyre__fail(GYRE_EINVALID, "no pool, or report.size is not set");
    if (!report) report = &own;
    report->findings = 0;
    report->first[0] = 0;
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    int bad = check_all(pool, report);
    gyre__unlock(pool);
    return bad ? bad : (int)report->findings;
}

GYRE_API int gyre_pool_repair(struct gyre_pool *pool)
{
    int bad = begin_call(pool);
    if (bad) return bad;
    gyre__lock(pool);
    gyre__process_find_dead(pool);
    gyre__repair(pool);
    gyre__settle(pool);
    bad = gyre__audit_leases(pool, NULL);
    gyre__unlock(pool);
    return bad;
}
