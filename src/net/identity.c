/*
 * identity.c: the table behind identity.h.
 * Owns copies of endpoints, credentials and session ids, wiped when freed, and the CURLSH objects. May call libcurl's share
 * interface; one thread, so no lock functions.
 */
#include "identity.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/*
 * Scopes count up from a random number in the upper half: a URL may name a scope itself ("http://[fe80::1%7]/"), and a
 * redirect to such a URL must not be able to name an identity's.
 */
#define FIRST_SCOPE UINT32_C(0x80000000)

enum { FIRST_ROOM = 64 };

static uint64_t hash_of(const char *text, size_t size)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a: the keys are the user's own list */
    for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    return h ^ h >> 32;
}

void gyre__identities_init(struct gyre__identities *table, size_t most)
{
    memset(table, 0, sizeof *table);
    table->most = most;
    if (getrandom(&table->next_scope, sizeof table->next_scope, 0) < 0) table->next_scope = 0;
}

static uint32_t new_scope(struct gyre__identities *table)
{
    table->next_scope = (table->next_scope + 1) | FIRST_SCOPE;
    if (table->next_scope == UINT32_MAX) table->next_scope = FIRST_SCOPE; /* which libcurl does not take */
    return table->next_scope;
}

/* ---- unused ones, by last use ---- */

static void unlink_idle(struct gyre__identities *table, struct gyre__identity *identity)
{
    if (identity->newer) identity->newer->older = identity->older;
    else table->newest = identity->older;
    if (identity->older) identity->older->newer = identity->newer;
    else table->oldest = identity->newer;
    identity->newer = identity->older = NULL;
    table->idle--;
}

static void link_idle(struct gyre__identities *table, struct gyre__identity *identity)
{
    identity->older = table->newest;
    if (table->newest) table->newest->newer = identity;
    else table->oldest = identity;
    table->newest = identity;
    table->idle++;
}

/* ---- the table ---- */

static struct gyre__identity **bucket_of(const struct gyre__identities *table, uint64_t hash)
{
    return &table->buckets[hash & (table->room - 1)];
}

/* Doubles the table when it is full. Returns 0 or -1. */
static int grow(struct gyre__identities *table)
{
    if (table->count < table->room) return 0;

    struct gyre__identities bigger = {.room = table->room ? table->room * 2 : FIRST_ROOM};
    if (!(bigger.buckets = calloc(bigger.room, sizeof *bigger.buckets))) return -1;
    for (size_t i = 0; i < table->room; i++) {
        for (struct gyre__identity *each = table->buckets[i], *next; each; each = next) {
            next = each->next;
            each->next = *bucket_of(&bigger, each->hash);
            *bucket_of(&bigger, each->hash) = each;
        }
    }
    free(table->buckets);
    table->buckets = bigger.buckets;
    table->room = bigger.room;
    return 0;
}

static void take_out(struct gyre__identities *table, struct gyre__identity *identity)
{
    struct gyre__identity **link = bucket_of(table, identity->hash);
    while (*link != identity) link = &(*link)->next;
    *link = identity->next;
    table->count--;
}

static void clear_shares(struct gyre__shares *shares)
{
    if (shares->tls) curl_share_cleanup(shares->tls);
    if (shares->all) curl_share_cleanup(shares->all);
    shares->tls = shares->all = NULL;
}

static void free_identity(struct gyre__identity *identity)
{
    clear_shares(&identity->own);
    if (identity->key) explicit_bzero(identity->key, strlen(identity->key));
    free(identity->key);
    free(identity);
}

static void drop(struct gyre__identities *table, struct gyre__identity *identity)
{
    unlink_idle(table, identity);
    take_out(table, identity);
    free_identity(identity);
}

/* "endpoint", or "endpoint \n credentials \n session": none of them may hold a line end. */
static char *make_key(const char *endpoint, const char *credentials, const char *session, size_t *session_at)
{
    size_t sizes[] = {strlen(endpoint), credentials ? strlen(credentials) : 0, credentials && session ? strlen(session) : 0};
    char *key = malloc(sizes[0] + sizes[1] + sizes[2] + 3);
    if (!key) return NULL;
    memcpy(key, endpoint, sizes[0]);
    char *at = key + sizes[0];
    if (credentials) {
        *at++ = '\n';
        memcpy(at, credentials, sizes[1]);
        at += sizes[1];
        *at++ = '\n';
        if (sizes[2] > 0) memcpy(at, session, sizes[2]);
    }
    *session_at = (size_t)(at - key);
    at[sizes[2]] = '\0';
    return key;
}

/* Takes over the key. */
static struct gyre__identity *add(struct gyre__identities *table, char *key, size_t session_at, uint64_t hash, int apart)
{
    struct gyre__identity *identity = grow(table) < 0 ? NULL : calloc(1, sizeof *identity);
    if (!identity) {
        explicit_bzero(key, strlen(key));
        free(key);
        return NULL;
    }
    identity->key = key;
    identity->session = key + session_at;
    identity->hash = hash;
    identity->shard = table->next_shard++ % GYRE__SHARDS;
    identity->scope = apart ? new_scope(table) : 0;
    identity->shares = apart ? &identity->own : &table->common;
    identity->next = *bucket_of(table, hash);
    *bucket_of(table, hash) = identity;
    table->count++;
    link_idle(table, identity);
    return identity;
}

struct gyre__identity *gyre__identity_get(struct gyre__identities *table, const char *endpoint, const char *credentials,
                                          const char *session)
{
    size_t session_at;
    char *key = make_key(endpoint, credentials, session, &session_at);
    if (!key) return NULL;

    uint64_t hash = hash_of(key, strlen(key));
    struct gyre__identity *identity = table->room ? *bucket_of(table, hash) : NULL;
    while (identity && (identity->hash != hash || identity->forgotten || strcmp(identity->key, key) != 0))
        identity = identity->next;
    if (identity) {
        explicit_bzero(key, strlen(key));
        free(key);
    } else if (!(identity = add(table, key, session_at, hash, credentials != NULL))) {
        return NULL;
    }
    if (identity->users++ == 0) unlink_idle(table, identity);
    return identity;
}

void gyre__identity_put(struct gyre__identities *table, struct gyre__identity *identity)
{
    if (!identity || --identity->users > 0) return;
    link_idle(table, identity);
    if (identity->forgotten) drop(table, identity);
    while (table->idle > table->most) drop(table, table->oldest);
}

CURLSH *gyre__identity_share(struct gyre__identity *identity, int cookies)
{
    CURLSH **share = cookies ? &identity->shares->all : &identity->shares->tls;
    if (*share) return *share;
    if (!(*share = curl_share_init())) return NULL;
    curl_share_setopt(*share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    if (cookies) curl_share_setopt(*share, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
    return *share;
}

void gyre__identities_forget(struct gyre__identities *table, const char *session)
{
    if (!*session) return;
    for (size_t i = 0; i < table->room; i++) {
        for (struct gyre__identity *each = table->buckets[i], *next; each; each = next) {
            next = each->next;
            if (strcmp(each->session, session) != 0) continue;
            if (each->users == 0) drop(table, each);
            else each->forgotten = 1;
        }
    }
}

void gyre__identities_clear(struct gyre__identities *table)
{
    while (table->oldest) drop(table, table->oldest);
    clear_shares(&table->common);
    free(table->buckets);
    memset(table, 0, sizeof *table);
}
