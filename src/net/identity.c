/*
 * identity.c: the table behind identity.h.
 * Owns copies of endpoints and credentials, wiped when freed. libc only; one thread.
 */
#include "identity.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct gyre__identity {
    char *key;      /* endpoint, or endpoint '\n' credentials: neither part may hold a line end */
    unsigned shard; /* of an endpoint: where its first identity went */
    unsigned users; /* of an endpoint: how many identities it has */
};

static uint64_t hash(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a: the keys are the user's own list */
    for (; *text; text++) h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return h;
}

/* The slot that holds the key, or the empty one where it belongs. There is always an empty one. */
static struct gyre__identity *find(struct gyre__identities *table, const char *key)
{
    size_t i = hash(key) & (table->room - 1);
    while (table->slots[i].key && strcmp(table->slots[i].key, key) != 0) i = (i + 1) & (table->room - 1);
    return &table->slots[i];
}

/* Keeps the table at most half full, counting two additions to come. Returns 0 or -1. */
static int grow(struct gyre__identities *table)
{
    if ((table->count + 2) * 2 <= table->room) return 0;

    struct gyre__identities bigger = {.room = table->room ? table->room * 2 : 64};
    if (!(bigger.slots = calloc(bigger.room, sizeof *bigger.slots))) return -1;
    for (size_t i = 0; i < table->room; i++)
        if (table->slots[i].key) *find(&bigger, table->slots[i].key) = table->slots[i];
    free(table->slots);
    table->slots = bigger.slots;
    table->room = bigger.room;
    return 0;
}

static struct gyre__identity *add(struct gyre__identities *table, const char *key)
{
    struct gyre__identity *slot = find(table, key);
    if (slot->key) return slot;
    if (!(slot->key = strdup(key))) return NULL;
    slot->shard = slot->users = 0;
    table->count++;
    return slot;
}

/* The n-th identity of an endpoint: around the common shards first, then each in one further up. */
static unsigned place(unsigned first, unsigned n, unsigned shards)
{
    unsigned common = shards < GYRE__COMMON_SHARDS ? shards : GYRE__COMMON_SHARDS;
    return n < common ? (first + n) % common : n;
}

static int assign(struct gyre__identities *table, const char *endpoint, const char *key, unsigned shards,
                  unsigned *shard)
{
    struct gyre__identity *owner = find(table, endpoint);
    if (!owner->key) {
        if (!(owner = add(table, endpoint))) return 1;
        owner->shard = table->endpoints++;
    }
    *shard = place(owner->shard, owner->users, shards);
    if (owner->users >= shards) {
        *shard = owner->shard % shards;
        return 1;
    }
    owner->users++;

    struct gyre__identity *identity = add(table, key);
    if (!identity) return 1; /* its place stays empty, and it comes here again */
    identity->shard = *shard;
    return 0;
}

int gyre__identity_shard(struct gyre__identities *table, const char *endpoint, const char *credentials,
                         unsigned shards, unsigned *shard)
{
    size_t length = strlen(endpoint) + strlen(credentials) + 2;
    char *key = malloc(length);
    int result = 1;

    *shard = 0;
    if (key && grow(table) == 0) {
        strcpy(key, endpoint);
        strcat(key, "\n");
        strcat(key, credentials);
        struct gyre__identity *known = find(table, key);
        if (known->key) {
            *shard = known->shard;
            result = 0;
        } else {
            result = assign(table, endpoint, key, shards, shard);
        }
        explicit_bzero(key, length);
    }
    free(key);
    return result;
}

void gyre__identities_clear(struct gyre__identities *table)
{
    for (size_t i = 0; i < table->room; i++) {
        char *key = table->slots[i].key;
        if (key) explicit_bzero(key, strlen(key));
        free(key);
    }
    free(table->slots);
    memset(table, 0, sizeof *table);
}
