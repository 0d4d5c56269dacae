/*
 * Views and the ring of changes. A view belongs to one thread and needs no lock; the ring is written under the segment
 * lock and read without it. What may be missed when the ring has gone round is found by building the view anew.
 */
#include "ascii.h"
#include "view.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VIEWS 256u

void gyre__view_changed(struct gyre_pool *pool, uint32_t slot)
{
    uint64_t epoch = load_relaxed(&pool->control->epoch);
    store_release(&pool->changes[epoch % CHANGES], slot); /* after the epoch of the one before: who reads this one sees that */
    store_release(&pool->control->epoch, epoch + 1); /* pairs with bring_up_to_date */
}

/* ---- membership ---- */

static bool same_word(const struct gyre_pool *pool, uint32_t id, const char *word, size_t size, bool fold)
{
    const struct label_text *label = &pool->label_texts[id < MAX_LABELS ? id : 0];
    if (!id || label->size != size || size > LABEL_TEXT) return false;
    return fold ? ascii_same(label->text, word, size) : !memcmp(label->text, word, size);
}

/* "*" is a proxy that can be anywhere: a gateway that is told where. */
static bool is_in(const struct gyre_pool *pool, uint32_t id, const char *country, size_t size)
{
    return same_word(pool, id, country, size, true) || same_word(pool, id, "*", 1, false);
}

/* Does one of the first `most` countries of the list let it through? As next_filter() takes them: an empty one lets all. */
static bool is_in_any(const struct gyre_pool *pool, uint32_t id, const char *countries, uint32_t most)
{
    while (countries && most--) {
        size_t size = strcspn(countries, ",");
        if (!size || is_in(pool, id, countries, size)) return true;
        countries = countries[size] ? countries + size + 1 : NULL;
    }
    return false;
}

bool gyre__view_had(const struct gyre_pool *pool, const struct gyre_request *request, uint32_t turn, uint32_t slot)
{
    return turn && is_in_any(pool, load_relaxed(&pool->labels[slot].country), request->country, turn);
}

/* With a point, whatever the program's locale has. For "C" the C library allocates nothing. */
static double number_of(const char *text, char **end)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double number = plain ? strtod_l(text, end, plain) : strtod(text, end);
    if (plain) freelocale(plain);
    return number;
}

enum cost_term gyre__cost_term(const char *term, size_t size, double *limit)
{
    char number[40], *end;
    ascii_trim(&term, &size);
    if (size < 5 || !ascii_same(term, "cost", 4) || !strchr("<>=", term[4])) return COST_NONE;
    bool most = size > 5 && term[4] == '<' && term[5] == '=';
    size_t at = most ? 6 : 5;
    if ((!most && term[4] != '=') || at == size || size >= sizeof number) return COST_BROKEN;
    memcpy(number, term + at, size - at);
    number[size - at] = 0;
    double value = number_of(number, &end);
    if (*end || end == number || isnan(value)) return COST_BROKEN;
    if (limit) *limit = value;
    return most ? COST_MOST : COST_IS;
}

static bool has_tags(const struct gyre_pool *pool, const struct slot_label *label, const char *tags)
{
    while (*tags) {
        size_t whole = strcspn(tags, ","), size = whole;
        const char *tag = tags;
        ascii_trim(&tag, &size);
        double cost = load_double(&label->cost), limit; /* an unknown cost fits nothing */
        enum cost_term term = gyre__cost_term(tag, size, &limit);
        bool found = !size || (term == COST_IS && cost == limit) || (term == COST_MOST && cost <= limit);
        if (term != COST_NONE && !found) return false;
        for (uint32_t i = 0; i < load_relaxed(&label->tag_count) && i < MAX_TAGS && !found; i++)
            found = same_word(pool, load_relaxed(&label->tags[i]), tag, size, true);
        if (!found) return false;
        tags += whole + (tags[whole] == ',');
    }
    return true;
}

bool gyre__view_admits(const struct gyre_pool *pool, const struct gyre_request *request, uint32_t slot)
{
    const struct slot_label *label = &pool->labels[slot];
    if (!request) return true;
    if (request->country && !is_in_any(pool, load_relaxed(&label->country), request->country, UINT32_MAX)) return false;
    if (request->region && *request->region &&
        !same_word(pool, load_relaxed(&label->region), request->region, strlen(request->region), false)) return false;
    return !request->tags || has_tags(pool, label, request->tags);
}

/* text is country, region and tags, each ended by a NUL. */
static bool belongs(const struct gyre_pool *pool, const struct view *view, uint32_t slot)
{
    const struct slot_label *label = &pool->labels[slot];
    const char *country = view->text, *region = country + strlen(country) + 1, *tags = region + strlen(region) + 1;
    if (!(load_acquire(&pool->slots[slot].flags) & SLOT_LIVE)) return false;
    if (*country && !is_in(pool, load_relaxed(&label->country), country, strlen(country))) return false;
    if (*region && !same_word(pool, load_relaxed(&label->region), region, strlen(region), false)) return false;
    return has_tags(pool, label, tags);
}

static void put(struct gyre_pool *pool, struct view *view, uint32_t slot)
{
    bool is = bits_test(&view->member, slot), should = belongs(pool, view, slot);
    if (is == should) return;
    if (should) {
        view->place[slot] = view->count;
        view->dense[view->count++] = slot;
        bits_set(&view->member, slot);
    } else {
        uint32_t last = view->dense[--view->count];
        view->dense[view->place[slot]] = last;
        view->place[last] = view->place[slot];
        bits_clear(&view->member, slot);
    }
}

static void build(struct gyre_pool *pool, struct view *view)
{
    for (uint32_t slot = 0; slot < pool->max_proxies; slot = slot + 1) {
        slot = bits_next(&pool->live, slot);
        if (slot == NO_BIT) break;
        put(pool, view, slot);
    }
    for (uint32_t i = view->count; i-- > 0;) put(pool, view, view->dense[i]); /* those that left */
}

/* Replays what changed since; anew when the ring went round, before or meanwhile. */
static void bring_up_to_date(struct gyre_pool *pool, struct view *view, uint64_t now)
{
    uint64_t then = view->epoch;
    bool whole = now - then > CHANGES / 2 || now < then;
    for (uint64_t e = then; e < now && !whole; e++) {
        uint32_t slot = load_acquire(&pool->changes[e % CHANGES]); /* before the second look at the epoch */
        if (slot < pool->max_proxies) put(pool, view, slot);
    }
    if (whole || load_acquire(&pool->control->epoch) - then >= CHANGES) build(pool, view);
    view->epoch = now;
}

/* ---- lookup ---- */

static uint32_t hash_part(uint32_t hash, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return (hash ^ 0xffu) * 16777619u;
}

static uint32_t hash_filter(const struct filter *f)
{
    uint32_t hash = hash_part(2166136261u, f->country, f->country_size);
    hash = hash_part(hash, f->region, f->region_size);
    hash = hash_part(hash, f->tags, f->tags_size);
    return f->state ? (hash ^ f->state) * 16777619u : hash;
}

static bool is_for(const struct view *view, const struct filter *f)
{
    const char *at = view->text;
    if (!at || view->state != f->state) return false;
    if (strncmp(at, f->country, f->country_size) || at[f->country_size]) return false;
    at += f->country_size + 1;
    if (strncmp(at, f->region, f->region_size) || at[f->region_size]) return false;
    at += f->region_size + 1;
    return !strncmp(at, f->tags, f->tags_size) && !at[f->tags_size];
}

static char *join(const struct filter *f)
{
    char *text = calloc(1, f->country_size + f->region_size + f->tags_size + 3), *at = text;
    if (!text) return NULL;
    memcpy(at, f->country, f->country_size);
    at += f->country_size + 1;
    memcpy(at, f->region, f->region_size);
    memcpy(at + f->region_size + 1, f->tags, f->tags_size);
    return text;
}

/* The cursor that all views of this filter share, in every process. When there are more filters than places two may
 * share one; each is then still served in turn, only not exactly. */
static uint32_t find_cursor(struct gyre_pool *pool, uint32_t hash)
{
    uint32_t key = hash ? hash : 1;
    for (uint32_t i = 0; i < VIEW_CURSORS - 1; i++) {
        uint32_t at = 1 + (hash + i) % (VIEW_CURSORS - 1), seen = load_acquire(&pool->cursors[at].key);
        if (!seen && compare_swap(&pool->cursors[at].key, &seen, key)) return at;
        if (seen == key) return at;
    }
    return 1 + hash % (VIEW_CURSORS - 1);
}

static void free_view(struct view *view)
{
    free(view->text);
    free(view->member.word);
    free(view->dense);
    free(view->place);
    free(view->level.list);
    free(view->level.seen);
    free(view->alias.entry);
    free(view);
}

/* A thread that uses very many filters keeps the newest. */
static void forget_oldest(struct thread *thread)
{
    struct view **at = &thread->views;
    uint32_t count = 0;
    for (; *at && (*at)->next; at = &(*at)->next) count++;
    if (count < MAX_VIEWS) return;
    if (*at == thread->all_view) thread->all_view = NULL;
    if (*at == thread->last_view) thread->last_view = NULL;
    if (*at == thread->last_stated) thread->last_stated = NULL;
    free_view(*at);
    *at = NULL;
}

static struct view *make(struct gyre_pool *pool, struct thread *thread, const struct filter *filter, uint32_t hash)
{
    struct view *view = calloc(1, sizeof *view);
    if (!view) return NULL;
    view->all = !filter || !(filter->country_size | filter->region_size | filter->tags_size);
    if (filter) {
        view->text = join(filter);
        view->state = filter->state;
        view->hash = hash;
        view->cursor = find_cursor(pool, hash);
    }
    if (filter && !view->text) {
        free_view(view);
        return NULL;
    }
    if (!view->all) {
        void *memory = calloc(1, bits_bytes(pool->max_proxies));
        view->dense = calloc(pool->max_proxies, sizeof *view->dense);
        view->place = calloc(pool->max_proxies, sizeof *view->place);
        view->member = bits_at(memory, pool->max_proxies);
        if (!memory || !view->dense || !view->place) {
            free_view(view);
            return NULL;
        }
        uint64_t now = load_acquire(&pool->control->epoch);
        build(pool, view);
        view->epoch = now;
    }
    forget_oldest(thread);
    if (!filter) thread->all_view = view;
    view->next = thread->views;
    thread->views = view;
    return view;
}

/* Is the part that begins at *at the given text? Moves *at behind it. */
static bool is_part(const char **at, const char *text)
{
    const char *own = *at;
    if (!text) text = "";
    while (*own && *own == *text) own++, text++;
    *at = own + 1;
    return !*own && !*text;
}

struct view *gyre__view_last(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request)
{
    struct view *view = thread->last_view;
    if (!view || view->all) return NULL;
    const char *at = view->text;
    if (!is_part(&at, request->country) || !is_part(&at, request->region) || !is_part(&at, request->tags)) return NULL;
    uint64_t epoch = load_acquire(&pool->control->epoch);
    if (unlikely(view->epoch != epoch)) bring_up_to_date(pool, view, epoch);
    return view;
}

static bool serves(const struct view *view, const struct filter *filter, uint32_t hash)
{
    return filter ? view->hash == hash && is_for(view, filter) : !view->text;
}

/* The last view that asks for a state is remembered apart: the quick way, which does not look for one, must not meet it. */
struct view *gyre__view_get(struct gyre_pool *pool, struct thread *thread, const struct filter *filter)
{
    uint32_t hash = filter ? hash_filter(filter) : 0;
    struct view **last = filter && filter->state ? &thread->last_stated : &thread->last_view, *view = *last;
    if (!view || !serves(view, filter, hash)) {
        view = thread->views;
        while (view && !serves(view, filter, hash)) view = view->next;
        if (!view) view = make(pool, thread, filter, hash);
        *last = view;
    }
    if (!view) {
        gyre__fail(GYRE_ESYSTEM, "no memory for a view");
        return NULL;
    }
    uint64_t epoch = load_acquire(&pool->control->epoch);
    if (unlikely(view->epoch != epoch) && !view->all) bring_up_to_date(pool, view, epoch);
    return view;
}

void gyre__view_free_all(struct thread *thread)
{
    while (thread->views) {
        struct view *view = thread->views;
        thread->views = view->next;
        free_view(view);
    }
    thread->last_view = thread->all_view = thread->last_stated = NULL;
}

uint32_t gyre__view_count(const struct gyre_pool *pool, const struct view *view)
{
    if (view->all && !view->state) return gyre__bits_count(&pool->eligible);
    uint32_t n = 0;
    for (uint32_t w = 0; w < pool->eligible.words; w++) {
        uint64_t word = load_relaxed(&pool->eligible.word[w]) & view_state_word(pool, view, w);
        if (!view->all) word &= load_relaxed(&view->member.word[w]);
        n += (uint32_t)__builtin_popcountll(word);
    }
    return n;
}

uint32_t gyre__view_next_stated(const struct gyre_pool *pool, const struct view *view, uint32_t i)
{
    const struct bits *maps[] = {&pool->eligible, view->all ? &pool->benched : &view->member, &pool->benched};
    if (view->state == GYRE_HALF_OPEN) return gyre__bits_next_all(maps, view->all ? 2 : 3, i);
    return gyre__bits_next_without(maps, view->all ? 1 : 2, &pool->benched, i);
}
