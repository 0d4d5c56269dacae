/* keyed.c: who makes room in the tables of hosts and bans. */
#include "keyed.h"

#define SAMPLE 1024u /* so many entries at most are compared for the one that ends soonest */

static uint32_t until(const struct keyed *table, uint32_t at)
{
    return load_relaxed((const uint32_t *)(const void *)(table->records + at * table->size + table->until));
}

/* Of `n` places from `from` on, the one that ends first; NO_BIT when all are free. */
static uint32_t soonest(const struct keyed *table, uint32_t from, uint32_t n)
{
    uint32_t best = NO_BIT;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (from + i) & table->mask;
        if (table->keys[at] && (best == NO_BIT || until(table, at) < until(table, best))) best = at;
    }
    return best;
}

void gyre__keyed_wipe(const struct keyed *table, uint32_t at)
{
    store_release(&table->keys[at], UINT64_C(0));
    wipe_words(table->records + at * table->size, table->size);
}

void gyre__keyed_drop(const struct keyed *table, uint32_t at)
{
    if (table->undo) table->undo(table->pool, at);
    gyre__keyed_wipe(table, at);
    if (*table->count) store_relaxed(table->count, *table->count - 1);
}

/* Full: what has ended goes first, then what ends soonest (in a large table: of a sample). */
static void make_room(const struct keyed *table)
{
    uint32_t all = table->mask + 1;
    for (uint32_t from = 0; *table->count >= table->most && from < all; from += SAMPLE) {
        uint32_t victim = soonest(table, *table->sweep + from, all < SAMPLE ? all : SAMPLE);
        if (victim != NO_BIT) gyre__keyed_drop(table, victim);
    }
}

uint32_t gyre__keyed_place(const struct keyed *table, uint64_t key)
{
    uint32_t home = keys_home(key, table->mask), at = home;
    make_room(table);
    for (uint32_t i = 0; i < WAYS; i++)
        if (!table->keys[at = (home + i) & table->mask]) break;
    if (table->keys[at]) gyre__keyed_drop(table, at = soonest(table, home, WAYS));
    wipe_words(table->records + at * table->size, table->size);
    return at;
}

void gyre__keyed_publish(const struct keyed *table, uint32_t at, uint64_t key)
{
    store_release(&table->keys[at], key);
    store_relaxed(table->count, *table->count + 1);
}
