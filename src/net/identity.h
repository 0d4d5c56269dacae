/*
 * identity.h: who a request is, as far as the other side can tell: a proxy's endpoint, the credentials, the session.
 *
 * What libcurl would use again (connections, TLS sessions) and what it would show again (cookies) stays within an identity:
 * by itself it sends one user's request over the tunnel of another user of the gateway, and resumes through one proxy the TLS
 * session that it got through another, which tells the target that both are one person.
 *
 * - Connections: each identity has a number of its own as its address scope (CURLOPT_ADDRESS_SCOPE), which libcurl has in
 *   the key of its connection cache, and which means nothing to the kernel but for link-local IPv6 addresses. So any
 *   number of identities share one CURLM, and a look for a connection looks at no other identity's (a CURLM for
 *   each would cost 33 KiB, and 1,000 users of one gateway in one CURLM 40 times the time per request).
 * - TLS sessions and cookies: in CURLSH objects of its own, made when first needed.
 */
#ifndef GYRE_NET_IDENTITY_H
#define GYRE_NET_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include <curl/curl.h>

enum {
    GYRE__SHARDS = 64,               /* CURLMs over which identities are spread */
    GYRE__MAX_IDENTITIES = 131072,   /* kept at once, those in use apart: as many as a pool has sessions */
};

struct gyre__shares {
    CURLSH *tls, *all; /* TLS sessions; TLS sessions and cookies. NULL until needed */
};

struct gyre__identity {
    char *key;
    const char *session; /* in key; "" for none */
    uint64_t hash;
    unsigned shard;      /* below GYRE__SHARDS */
    uint32_t scope;      /* 0: not kept apart */
    unsigned users;      /* transfers under way */
    int forgotten;       /* its users finish, nobody finds it any more */
    struct gyre__shares own, *shares;
    struct gyre__identity *next;           /* in its bucket */
    struct gyre__identity *newer, *older;  /* by last use, while it has no user */
};

struct gyre__identities {
    struct gyre__identity **buckets; /* a hash table with chains */
    size_t room, count, idle, most;
    struct gyre__identity *newest, *oldest;
    struct gyre__shares common;      /* of those that are not kept apart */
    uint32_t next_scope;
    unsigned next_shard;
};

/* `most`: identities without a user beyond so many are forgotten, the longest unused first. */
void gyre__identities_init(struct gyre__identities *identities, size_t most);

/*
 * The identity of these texts, found or made, with a user more. With `credentials` NULL it is that of everybody at this
 * endpoint, not kept apart from anybody. NULL: no memory.
 */
struct gyre__identity *gyre__identity_get(struct gyre__identities *identities, const char *endpoint,
                                          const char *credentials, const char *session);

/* The user is gone, and its easy handle holds no share of the identity's any more. NULL is allowed. */
void gyre__identity_put(struct gyre__identities *identities, struct gyre__identity *identity);

/* What to set as the easy handle's CURLOPT_SHARE; NULL: no memory. Lives as long as the user. */
CURLSH *gyre__identity_share(struct gyre__identity *identity, int cookies);

/* Forgets what is kept for a session: its next request is a stranger's. Those under way go on as they are. */
void gyre__identities_forget(struct gyre__identities *identities, const char *session);

/* Frees all; none has a user any more. */
void gyre__identities_clear(struct gyre__identities *identities);

#endif
