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

enum {
    FIRST_ROOM = 64,
    LANE_STEP = 7, /* an identity's first shard is the next one's second otherwise, and so on */
};

/* FNV-1a: the keys are the user's own list. */
static uint64_t hash_of(uint64_t h, const char *text)
{
    for (; *text; text++) h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return (h ^ '\n') * UINT64_C(1099511628211);
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

static void free_text(char *text)
{
    if (text) explicit_bzero(text, strlen(text));
    free(text);
}

static void free_identity(struct gyre__identity *identity)
{
    clear_shares(&identity->own);
    free_text(identity->proxy);
    free_text(identity->session);
    free_text(identity->endpoint);
    free_text(identity->credentials);
    free(identity);
}

static void drop(struct gyre__identities *table, struct gyre__identity *identity)
{
    unlink_idle(table, identity);
    take_out(table, identity);
    free_identity(identity);
}

static struct gyre__identity *make(const char *proxy, const char *session, int apart, int variant)
{
    struct gyre__identity *identity = calloc(1, sizeof *identity);
    if (!identity) return NULL;
    identity->proxy = strdup(proxy);
    identity->session = strdup(session);
    identity->apart = apart;
    identity->variant = variant;
    if (identity->proxy && identity->session) return identity;
    free_identity(identity);
    return NULL;
}

static void add(struct gyre__identities *table, struct gyre__identity *identity, uint64_t hash)
{
    identity->hash = hash;
    identity->shard = table->next_shard++ % GYRE__SHARDS;
    identity->scope = identity->apart ? new_scope(table) : 0;
    identity->shares = identity->apart ? &identity->own : &table->common;
    identity->next = *bucket_of(table, hash);
    *bucket_of(table, hash) = identity;
    table->count++;
    link_idle(table, identity);
}

static int is_of(const struct gyre__identity *identity, const char *proxy, const char *session, int apart, int variant)
{
    return !identity->forgotten && identity->apart == apart && identity->variant == variant &&
           strcmp(identity->proxy, proxy) == 0 && strcmp(identity->session, session) == 0;
}

struct gyre__identity *gyre__identity_get(struct gyre__identities *table, const char *proxy, const char *session,
                                          int apart, int variant)
{
    if (!session) session = "";
    uint64_t hash = hash_of(hash_of(UINT64_C(14695981039346656037), proxy), session);
    hash ^= hash >> 32;
    struct gyre__identity *identity = table->room ? *bucket_of(table, hash) : NULL;
    while (identity && (identity->hash != hash || !is_of(identity, proxy, session, apart, variant)))
        identity = identity->next;
    if (!identity) {
        if (grow(table) < 0 || !(identity = make(proxy, session, apart, variant))) return NULL;
        add(table, identity, hash);
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

unsigned gyre__identity_enter(struct gyre__identity *identity)
{
    unsigned lane = 0;
    while (lane < GYRE__LANES - 1 && identity->lanes[lane] >= GYRE__LANE) lane++;
    identity->lanes[lane]++;
    return lane;
}

void gyre__identity_leave(struct gyre__identity *identity, unsigned lane)
{
    identity->lanes[lane]--;
}

unsigned gyre__identity_shard(const struct gyre__identity *identity, unsigned lane)
{
    return (identity->shard + lane * LANE_STEP) % GYRE__SHARDS;
}

void gyre__identity_renew(struct gyre__identities *table, struct gyre__identity *identity, uint32_t scope)
{
    if (scope && scope == identity->scope) identity->scope = new_scope(table);
}

void gyre__identity_meet(struct gyre__identity *identity)
{
    if (!identity->apart) identity->shard = (unsigned)(hash_of(0, identity->endpoint) >> 32) % GYRE__SHARDS;
}

CURLSH *gyre__identity_share(struct gyre__identity *identity, int cookies)
{
    CURLSH **place = cookies ? &identity->shares->all : &identity->shares->tls, *share = *place;
    if (share || !(share = curl_share_init())) return share;
    /* What is not shared the easy handle keeps, and takes along to the next identity. */
    if (curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK ||
        (cookies && curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE) != CURLSHE_OK)) {
        curl_share_cleanup(share);
        return NULL;
    }
    return *place = share;
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
