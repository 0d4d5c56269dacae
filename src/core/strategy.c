/*
 * The active strategy of a segment. How to pick natively is in one word of the control page, together with the generation,
 * so that acquire reads both at once; name, fallback and options are in one of two records: the one that the generation's
 * lowest bit names. A writer, under the segment lock, fills the other record and then stores the word: killed anywhere, it
 * leaves the old strategy or the new one. A reader takes no lock: a record is only written to again after two more stores
 * of the word. Owns REGION_STRATEGY and control->strategy.
 */
#include "pool.h"

#include <string.h>

_Static_assert(sizeof(struct gyre_strategy) == STRATEGY_WORDS * 8, "a strategy fills its record: bump GYRE_ABI");
#define TRIES 64u

/* The built-in strategy that a picker carries out. */
static const char *const builtin[] = {"",     "round-robin", "random",  "least-used", "least-active",
                                      "performance", "weighted", "consistent-hash"};

static uint32_t generation_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint64_t word_of(const struct gyre_strategy *strategy, uint32_t generation)
{
    uint32_t bits = strategy->picker | strategy->choices << STRATEGY_CHOICES_AT | (strategy->random_ties ? STRATEGY_TIES : 0) |
                    (strategy->scripted ? STRATEGY_SCRIPTED : 0);
    return (uint64_t)generation << 32 | bits;
}

/* FNV-1a over words. */
static uint64_t checksum_of(const uint64_t *word)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 0; i < STRATEGY_WORDS; i++) hash = (hash ^ word[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* What the word alone says. */
static void describe_native(uint64_t word, struct gyre_strategy *out)
{
    memset(out, 0, sizeof *out);
    out->size = sizeof *out;
    out->generation = generation_of(word);
    out->picker = (uint32_t)word & STRATEGY_PICKER;
    out->choices = strategy_choices((uint32_t)word);
    out->random_ties = (word & STRATEGY_TIES) != 0;
}

/* The record of this word, unless it is damaged; or, without the lock, has been written to meanwhile. */
static bool read_record(const struct gyre_pool *pool, uint64_t word, struct gyre_strategy *out)
{
    const struct strategy_entry *entry = &pool->strategies[generation_of(word) % 2];
    uint64_t copy[STRATEGY_WORDS], checksum = load_acquire(&entry->checksum);
    for (uint32_t i = 0; i < STRATEGY_WORDS; i++) copy[i] = load_acquire(&entry->word[i]);
    if (checksum != checksum_of(copy)) return false;
    memcpy(out, copy, sizeof *out);
    word &= ~(uint64_t)STRATEGY_LOGGED;
    return out->generation == generation_of(word) && word_of(out, out->generation) == word && !out->name[sizeof out->name - 1] &&
           !out->fallback[sizeof out->fallback - 1] && !out->options[sizeof out->options - 1];
}

static int check(const struct gyre_strategy *strategy)
{
    if (strategy->size < sizeof *strategy) return gyre__fail(GYRE_EINVALID, "strategy.size is not set");
    if (!strategy->picker || strategy->picker > GYRE_PICK_HASH)
        return gyre__fail(GYRE_EINVALID, "%u is no picker", strategy->picker);
    if (strategy->choices > 64) return gyre__fail(GYRE_EINVALID, "strategy.choices %u is above 64", strategy->choices);
    if (!*strategy->name || !memchr(strategy->name, 0, sizeof strategy->name))
        return gyre__fail(GYRE_EINVALID, "the name of a strategy has 1 to %zu bytes", sizeof strategy->name - 1);
    if (!memchr(strategy->fallback, 0, sizeof strategy->fallback))
        return gyre__fail(GYRE_EINVALID, "the name of a fallback has up to %zu bytes", sizeof strategy->fallback - 1);
    if (!memchr(strategy->options, 0, sizeof strategy->options))
        return gyre__fail(GYRE_EINVALID, "the options of a strategy have up to %zu bytes", sizeof strategy->options - 1);
    return 0;
}

/* A copy without what may stand behind the end of its texts. */
static void copy_clean(struct gyre_strategy *to, const struct gyre_strategy *from)
{
    memset(to, 0, sizeof *to);
    to->size = sizeof *to;
    to->picker = from->picker;
    to->choices = from->choices;
    to->random_ties = from->random_ties != 0;
    to->scripted = from->scripted != 0;
    memcpy(to->name, from->name, strlen(from->name));
    memcpy(to->fallback, from->fallback, strlen(from->fallback));
    memcpy(to->options, from->options, strlen(from->options));
}

/* Caller holds the segment lock. */
static uint32_t publish(struct gyre_pool *pool, struct gyre_strategy *strategy)
{
    uint64_t copy[STRATEGY_WORDS];
    uint32_t generation = generation_of(load_relaxed(&pool->control->strategy)) + 1;
    if (!generation) generation = 2; /* 0 means that none was ever set; the record stays the other one */
    struct strategy_entry *entry = &pool->strategies[generation % 2];
    strategy->generation = generation;
    memcpy(copy, strategy, sizeof copy);
    for (uint32_t i = 0; i < STRATEGY_WORDS; i++) store_release(&entry->word[i], copy[i]);
    store_release(&entry->checksum, checksum_of(copy));
    uint64_t logged = load_relaxed(&pool->control->strategy) & STRATEGY_LOGGED;
    store_release(&pool->control->strategy, word_of(strategy, generation) | logged); /* pairs with the loads of gyre_strategy_get */
    return generation;
}

void gyre__strategy_mark_log(struct gyre_pool *pool)
{
    uint64_t word = load_relaxed(&pool->control->strategy), logged = load_relaxed(&pool->control->log_sample) ? STRATEGY_LOGGED : 0;
    store_release(&pool->control->strategy, (word & ~(uint64_t)STRATEGY_LOGGED) | logged);
}

GYRE_API int gyre_strategy_set(struct gyre_pool *pool, const struct gyre_strategy *strategy, uint32_t *generation)
{
    if (!pool || !strategy) return gyre__fail(GYRE_EINVALID, "no pool, or no strategy");
    int bad = check(strategy);
    if (bad) return bad;
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    struct gyre_strategy copy;
    copy_clean(&copy, strategy);
    gyre__lock(pool);
    uint32_t now = publish(pool, &copy);
    gyre__unlock(pool);
    if (generation) *generation = now;
    return 0;
}

GYRE_API int gyre_strategy_get(struct gyre_pool *pool, struct gyre_strategy *strategy)
{
    if (!pool || !strategy || strategy->size < sizeof *strategy)
        return gyre__fail(GYRE_EINVALID, "no pool, no strategy, or its size is not set");
    uint64_t word = load_acquire(&pool->control->strategy);
    for (uint32_t i = 0; i < TRIES; i++) {
        if (!generation_of(word)) {
            describe_native(word, strategy);
            return 0;
        }
        bool sound = read_record(pool, word, strategy);
        uint64_t again = load_acquire(&pool->control->strategy);
        if (again == word) return sound ? 0 : gyre__fail(GYRE_ECORRUPT, "the record of the strategy is damaged");
        word = again;
    }
    /* Somebody changes it all the time: not while we hold the lock. */
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__lock(pool);
    word = load_relaxed(&pool->control->strategy);
    bool sound = read_record(pool, word, strategy);
    gyre__unlock(pool);
    return sound ? 0 : gyre__fail(GYRE_ECORRUPT, "the record of the strategy is damaged");
}

#define LOW_HALF (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 1)

GYRE_API const uint32_t *gyre_strategy_generation(struct gyre_pool *pool)
{
    return pool ? (const uint32_t *)(const void *)&pool->control->strategy + !LOW_HALF : NULL;
}

GYRE_API const uint32_t *gyre_pool_epoch(struct gyre_pool *pool)
{
    return pool ? (const uint32_t *)(const void *)&pool->control->epoch + LOW_HALF : NULL;
}

uint32_t gyre__strategy_name(struct gyre_pool *pool, char *name, size_t size)
{
    struct gyre_strategy strategy = {.size = sizeof strategy};
    if (gyre_strategy_get(pool, &strategy) != 0) return 0;
    size_t n = strnlen(strategy.name, size - 1);
    memcpy(name, strategy.name, n);
    name[n] = 0;
    return strategy.generation;
}

/* What the library cannot have written, or NULL. */
static const char *fault(const struct gyre_pool *pool, uint64_t word)
{
    struct gyre_strategy strategy;
    uint32_t picker = (uint32_t)word & STRATEGY_PICKER;
    if (!picker || picker > GYRE_PICK_HASH || strategy_choices((uint32_t)word) > 64) return "names no picker";
    return generation_of(word) && !read_record(pool, word, &strategy) ? "has a damaged record" : NULL;
}

void gyre__strategy_audit(struct gyre_pool *pool, struct gyre_check *report)
{
    uint64_t word = load_relaxed(&pool->control->strategy);
    const char *why = fault(pool, word);
    if (!report) gyre__strategy_mark_log(pool);
    if (why && report) gyre__finding(report, "the strategy %s", why);
    if (!why || report) return;
    uint32_t picker = pool->header->config.picker;
    if (!picker || picker > GYRE_PICK_HASH) picker = GYRE_PICK_ROUND_ROBIN;
    struct gyre_strategy native = {.size = sizeof native, .picker = picker};
    memcpy(native.name, builtin[picker], strlen(builtin[picker]));
    publish(pool, &native);
}
