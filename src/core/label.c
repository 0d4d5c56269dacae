/*
 * Labels: what the user says of a proxy beside its URL. Country, region and tags are words interned in REGION_LABELS
 * (a word that a proxy has never changes, so readers of views need no lock), found through REGION_LABEL_INDEX.
 */
#include "ascii.h"
#include "view.h"

#include <float.h>
#include <math.h>
#include <string.h>

static uint32_t hash_word(const char *word, size_t size)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)word[i]) * 16777619u;
    return hash ^ hash >> 15;
}

static uint32_t label_count(const struct gyre_pool *pool)
{
    uint32_t count = load_acquire(&pool->control->labels);
    return count <= MAX_LABELS ? count : MAX_LABELS;
}

static bool is_word(const struct gyre_pool *pool, uint32_t id, const char *word, size_t size)
{
    const struct label_text *label = &pool->label_texts[id];
    return id < label_count(pool) && label->size == size && size <= LABEL_TEXT && !memcmp(label->text, word, size);
}

/* Has this number a word? Those that nobody used when the table was full have none. */
bool gyre__label_is_word(const struct gyre_pool *pool, uint32_t id)
{
    return id && id < label_count(pool) && pool->label_texts[id].size && pool->label_texts[id].size <= LABEL_TEXT;
}

/* Marks the words of one proxy. */
static void mark_used(const struct slot_label *label, uint8_t *used)
{
    used[label->country % MAX_LABELS] = used[label->region % MAX_LABELS] = 1;
    for (uint32_t i = 0; i < label->tag_count && i < MAX_TAGS; i++) used[label->tags[i] % MAX_LABELS] = 1;
}

/* The table is full: forgets the words no proxy has, and `pending`, which is being made, has not either. O(proxies). */
static void forget_unused(struct gyre_pool *pool, const struct slot_label *pending)
{
    uint8_t used[MAX_LABELS] = {1};
    mark_used(pending, used);
    for (uint32_t slot = bits_next(&pool->live, 0); slot != NO_BIT; slot = bits_next(&pool->live, slot + 1))
        mark_used(&pool->labels[slot], used);
    for (uint32_t id = 1; id < label_count(pool); id++)
        if (!used[id]) pool->label_texts[id].size = 0;
    gyre__label_rebuild(pool);
}

/* A number without a word, or 0. */
static uint32_t unused_id(const struct gyre_pool *pool)
{
    uint32_t count = label_count(pool);
    if (count < MAX_LABELS) return count;
    for (uint32_t id = 1; id < MAX_LABELS; id++)
        if (!pool->label_texts[id].size) return id;
    return 0;
}

static uint16_t find_word(struct gyre_pool *pool, const char *word, size_t size, uint16_t **free_entry)
{
    uint32_t mask = 2 * MAX_LABELS - 1, hash = hash_word(word, size);
    for (uint32_t i = 0; i <= mask; i++) {
        uint16_t *entry = &pool->label_index[(hash + i) & mask];
        if (*entry && is_word(pool, *entry, word, size)) return *entry;
        *free_entry = entry;
        if (!*entry) return 0;
    }
    return 0;
}

/* The number of a word, new or known; 0 when the table is full. Caller holds the lock. */
static uint16_t intern(struct gyre_pool *pool, const char *word, size_t size, const struct slot_label *pending)
{
    uint16_t *entry = NULL, known = find_word(pool, word, size, &entry);
    if (known) return known;
    uint32_t id = unused_id(pool);
    if (!id) {
        forget_unused(pool, pending);
        find_word(pool, word, size, &entry);
        id = unused_id(pool);
    }
    if (!id || *entry) return 0;
    memcpy(pool->label_texts[id].text, word, size);
    store_release(&pool->label_texts[id].size, (uint8_t)size);
    if (id >= label_count(pool)) store_release(&pool->control->labels, id + 1); /* pairs with label_count */
    *entry = (uint16_t)id;
    return *entry;
}

void gyre__label_rebuild(struct gyre_pool *pool)
{
    uint32_t mask = 2 * MAX_LABELS - 1, count = label_count(pool);
    memset(pool->label_index, 0, 2 * MAX_LABELS * sizeof *pool->label_index);
    for (uint32_t id = 1; id < count; id++) {
        const struct label_text *label = &pool->label_texts[id];
        if (!gyre__label_is_word(pool, id)) continue;
        uint32_t at = hash_word(label->text, label->size);
        while (pool->label_index[at & mask]) at++;
        pool->label_index[at & mask] = (uint16_t)id;
    }
}

static char as_it_is(char c)
{
    return c;
}

/* Trims, changes case, checks and interns one word. 0 or an error; *id 0 for an empty word. */
static int put_word(struct gyre_pool *pool, const struct slot_label *pending, const char *what, const char *from,
                    size_t size, char (*fold)(char), uint16_t *id)
{
    char word[LABEL_TEXT];
    ascii_trim(&from, &size);
    *id = 0;
    if (!size) return 0;
    if (size > LABEL_TEXT) return gyre__fail(GYRE_EINVALID, "%s '%.20s...' is longer than %u bytes", what, from, LABEL_TEXT);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)from[i];
        if (c < 32 || c == 127 || c == ',') return gyre__fail(GYRE_EINVALID, "%s has a comma or control character", what);
        word[i] = fold((char)c);
    }
    *id = intern(pool, word, size, pending);
    return *id ? 0 : gyre__fail(GYRE_EFULL, "the segment holds %u different labels already", MAX_LABELS - 1);
}

static bool has_tag(const struct slot_label *label, uint16_t id)
{
    uint32_t i = 0;
    while (i < label->tag_count && label->tags[i] != id) i++;
    return i < label->tag_count;
}

static int put_tags(struct gyre_pool *pool, const char *tags, struct slot_label *label)
{
    label->tag_count = 0;
    while (*tags) {
        size_t size = strcspn(tags, ",");
        uint16_t id;
        if (gyre__cost_term(tags, size, NULL) != COST_NONE)
            return gyre__fail(GYRE_EINVALID, "tag '%.*s' reads as a comparison of costs", size < 60 ? (int)size : 60, tags);
        int bad = put_word(pool, label, "tag", tags, size, ascii_lower, &id);
        if (bad) return bad;
        if (has_tag(label, id)) id = 0; /* given twice */
        if (id && label->tag_count == MAX_TAGS)
            return gyre__fail(GYRE_EINVALID, "more than %u tags on one proxy", MAX_TAGS);
        if (id) label->tags[label->tag_count++] = id;
        tags += size + (tags[size] == ',');
    }
    return 0;
}

static int check_number(const char *what, double value)
{
    if (isfinite(value) && value >= 0) return 0;
    return gyre__fail(GYRE_EINVALID, "%s %g is not a number from 0 up", what, value);
}

/* The slot keeps it as a float, which must not become infinite, nor 0. */
static int check_weight(double weight)
{
    int bad = check_number("weight", weight);
    if (!bad && weight > FLT_MAX) bad = gyre__fail(GYRE_EINVALID, "weight %g is above %g", weight, FLT_MAX);
    if (!bad && weight > 0 && (float)weight == 0)
        bad = gyre__fail(GYRE_EINVALID, "weight %g is below %g and not 0", weight, (double)FLT_TRUE_MIN);
    return bad;
}

/* By whole words: others read single fields meanwhile. */
void gyre__label_store(struct gyre_pool *pool, uint32_t slot, const struct slot_label *label)
{
    uint64_t words[sizeof *label / sizeof(uint64_t)], *to = (uint64_t *)(void *)&pool->labels[slot];
    memcpy(words, label, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) store_relaxed(&to[i], words[i]);
}

/* Writes what the spec sets into the slot's labels; all of it or, on an error, nothing. */
int gyre__label_apply(struct gyre_pool *pool, uint32_t slot, const struct gyre_proxy_spec *spec)
{
    struct slot_label label = pool->labels[slot];
    int bad = 0;
    if (spec->has_weight) bad = check_weight(label.weight = spec->weight);
    if (!bad && spec->has_cost) bad = check_number("cost", label.cost = spec->cost);
    if (!bad && spec->has_max_active && spec->max_active >= ACTIVE_MASK / 2)
        bad = gyre__fail(GYRE_EINVALID, "max_active %u is too large", spec->max_active);
    if (spec->has_max_active) label.max_active = spec->max_active;
    if (!bad && spec->country)
        bad = put_word(pool, &label, "country", spec->country, strlen(spec->country), ascii_upper, &label.country);
    if (!bad && spec->region) bad = put_word(pool, &label, "region", spec->region, strlen(spec->region), as_it_is, &label.region);
    if (!bad && spec->tags) bad = put_tags(pool, spec->tags, &label);
    if (bad) return bad;
    gyre__label_store(pool, slot, &label);
    store_float(&pool->slots[slot].weight, (float)label.weight);
    return 0;
}

static size_t append(const struct gyre_pool *pool, uint32_t id, char *buffer, size_t size, size_t at)
{
    if (!id || id >= label_count(pool)) return at;
    const struct label_text *label = &pool->label_texts[id];
    if (label->size > LABEL_TEXT || at + (at > 0) + label->size + 1 > size) return at;
    if (at) buffer[at++] = ',';
    memcpy(buffer + at, label->text, label->size);
    at += label->size;
    buffer[at] = 0;
    return at;
}

/* Caller holds the lock. */
void gyre__label_read(const struct gyre_pool *pool, uint32_t slot, struct gyre_proxy *proxy)
{
    const struct slot_label *label = &pool->labels[slot];
    proxy->weight = label->weight;
    proxy->cost = label->cost;
    proxy->max_active = label->max_active;
    proxy->country[0] = proxy->region[0] = proxy->tags[0] = 0;
    append(pool, label->country, proxy->country, sizeof proxy->country, 0);
    append(pool, label->region, proxy->region, sizeof proxy->region, 0);
    size_t at = 0;
    for (uint32_t i = 0; i < label->tag_count && i < MAX_TAGS; i++)
        at = append(pool, label->tags[i], proxy->tags, sizeof proxy->tags, at);
}
