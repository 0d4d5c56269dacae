/*
 * Counters by name, for strategies and jobs that count across threads and processes. A table of open addressing whose
 * entries never go away: a name that is found needs no lock, a new one is written under the segment's. Owns
 * REGION_COUNTERS.
 */
#include "pool.h"

#include <math.h>
#include <string.h>

struct counter_key {
    const char *name;
    uint32_t size, hash;
};

/* FNV-1a; never 0. */
static uint32_t hash_name(const char *name, uint32_t size)
{
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    return hash ? hash : 1;
}

static int make_key(struct gyre_pool *pool, const char *name, struct counter_key *key)
{
    if (!pool || !name) return gyre__fail(GYRE_EINVALID, "no pool, or no name of a counter");
    uint32_t size = (uint32_t)strnlen(name, COUNTER_NAME);
    if (!size || size == COUNTER_NAME)
        return gyre__fail(GYRE_EINVALID, "the name of a counter has 1 to %u bytes", COUNTER_NAME - 1);
    for (uint32_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return gyre__fail(GYRE_EINVALID, "the name of a counter has a control character at %u", i + 1);
    *key = (struct counter_key){name, size, hash_name(name, size)};
    return thread_get(pool) ? 0 : GYRE_ESYSTEM;
}

static bool is_named(const struct counter_entry *entry, const struct counter_key *key)
{
    return entry->size == key->size && !memcmp(entry->name, key->name, key->size);
}

/* The entry of that name, or the free one where it would be, or NULL when there is neither. Lock-free: what is read behind
 * a hash that is not 0 does not change any more. */
static struct counter_entry *find(const struct gyre_pool *pool, const struct counter_key *key)
{
    for (uint32_t i = 0; i < COUNTER_PLACES; i++) {
        struct counter_entry *entry = &pool->counters[(key->hash + i) % COUNTER_PLACES];
        uint32_t hash = load_acquire(&entry->hash);
        if (!hash || (hash == key->hash && is_named(entry, key))) return entry;
    }
    return NULL;
}

static uint32_t count_names(const struct gyre_pool *pool)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < COUNTER_PLACES; i++) n += load_relaxed(&pool->counters[i].hash) != 0;
    return n;
}

/* Caller holds the segment lock, so nobody else takes the same free entry. */
static struct counter_entry *create(struct gyre_pool *pool, const struct counter_key *key)
{
    struct counter_entry *entry = find(pool, key);
    if (entry && load_relaxed(&entry->hash)) return entry;
    if (!entry || count_names(pool) >= MAX_COUNTERS) return NULL;
    store_relaxed(&entry->value, double_bits(0.0));
    memset(entry->name, 0, sizeof entry->name);
    memcpy(entry->name, key->name, key->size);
    entry->size = key->size;
    store_release(&entry->hash, key->hash);
    return entry;
}

static double value_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return isfinite(value) ? value : 0.0; /* only a damaged segment has others */
}

static int add(struct counter_entry *entry, double delta, double *out)
{
    uint64_t seen = load_relaxed(&entry->value);
    double next;
    do {
        next = value_of(seen) + delta;
        if (!isfinite(next)) return gyre__fail(GYRE_EINVALID, "the counter would become infinite");
    } while (!compare_swap(&entry->value, &seen, double_bits(next)));
    if (out) *out = next;
    return 0;
}

/* What the library cannot have written, or NULL. Caller holds the segment lock. */
static const char *fault(const struct gyre_pool *pool, const struct counter_entry *entry)
{
    struct counter_key key = {entry->name, entry->size, entry->hash};
    uint64_t bits = load_relaxed(&entry->value);
    if (!entry->size) return NULL; /* one that was mended */
    if (entry->size >= COUNTER_NAME || memchr(entry->name, 0, entry->size) || entry->name[entry->size])
        return "has no name";
    if (hash_name(entry->name, entry->size) != entry->hash || find(pool, &key) != entry) return "is where nobody finds it";
    return double_bits(value_of(bits)) == bits ? NULL : "has no value";
}

/* A damaged name cannot be taken away, since others may stand behind it: it keeps its place and is nobody's. */
void gyre__counter_audit(struct gyre_pool *pool, struct gyre_check *report)
{
    for (uint32_t i = 0; i < COUNTER_PLACES; i++) {
        struct counter_entry *entry = &pool->counters[i];
        const char *why = entry->hash ? fault(pool, entry) : NULL;
        if (why && report) gyre__finding(report, "counter %u %s", i, why);
        else if (why && strcmp(why, "has no value")) entry->size = 0;
        else if (why) store_relaxed(&entry->value, double_bits(0.0));
    }
}

GYRE_API int gyre_counter_add(struct gyre_pool *pool, const char *name, double delta, double *value)
{
    struct counter_key key;
    int bad = make_key(pool, name, &key);
    if (bad) return bad;
    if (!isfinite(delta)) return gyre__fail(GYRE_EINVALID, "%g cannot be added to a counter", delta);
    struct counter_entry *entry = find(pool, &key);
    if (unlikely(!entry || !load_acquire(&entry->hash))) {
        gyre__lock(pool);
        entry = create(pool, &key);
        gyre__unlock(pool);
        if (!entry) return gyre__fail(GYRE_EFULL, "there are %u counters already", MAX_COUNTERS);
    }
    return add(entry, delta, value);
}

GYRE_API int gyre_counter_get(struct gyre_pool *pool, const char *name, double *value)
{
    struct counter_key key;
    int bad = make_key(pool, name, &key);
    if (bad) return bad;
    const struct counter_entry *entry = find(pool, &key);
    if (!entry || !load_acquire(&entry->hash)) return gyre__fail(GYRE_ENOT_FOUND, "no counter of that name");
    if (value) *value = value_of(load_relaxed(&entry->value));
    return 0;
}

GYRE_API int gyre_counter_next(struct gyre_pool *pool, uint64_t *cursor, struct gyre_counter *counter)
{
    if (!pool || !cursor || !counter || counter->size < sizeof *counter)
        return gyre__fail(GYRE_EINVALID, "no pool, cursor or counter, or its size is not set");
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    for (uint64_t i = *cursor; i < COUNTER_PLACES; i++) {
        const struct counter_entry *entry = &pool->counters[i];
        if (!load_acquire(&entry->hash) || !entry->size || entry->size >= COUNTER_NAME) continue;
        memcpy(counter->name, entry->name, sizeof counter->name);
        counter->name[entry->size] = 0;
        counter->value = value_of(load_relaxed(&entry->value));
        *cursor = i + 1;
        return 1;
    }
    *cursor = 0;
    return 0;
}
