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
 *   A scope in a URL would take its place: a request for such a URL gets a connection of its own, and a redirect to one, by
 *   which a target could have strangers meet on one connection, is not followed.
 * - Lanes: looking for a connection, libcurl walks over all that the identity has in the CURLM, mostly busy ones. So one with
 *   many transfers has its connections in several CURLMs; a transfer goes to the first that has room, where another has just
 *   ended.
 * - TLS sessions and cookies: in CURLSH objects of its own, made when first needed.
 */
#ifndef GYRE_NET_IDENTITY_H
#define GYRE_NET_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include <curl/curl.h>

enum {
    GYRE__SHARDS = 64,               /* CURLMs over which identities are spread */
    GYRE__LANES = 16,                /* of them in which one identity may have connections */
    GYRE__LANE = 64,                 /* transfers in each before the next is used; the last has no such limit */
    GYRE__MAX_IDENTITIES = 131072,   /* kept at once, those in use apart: as many as a pool has sessions */
};

struct gyre__shares {
    CURLSH *tls, *all;   /* TLS sessions; TLS sessions and cookies. NULL until needed */
    size_t cookie_bytes; /* that have come since the cookies were last weighed */
};

struct gyre__identity {
    char *proxy, *session; /* what it was asked for by: a URL and credentials, "" for direct; "" for none */
    int apart, variant;
    uint64_t hash;
    unsigned shard;      /* of its first lane, below GYRE__SHARDS */
    uint32_t scope;      /* 0: not kept apart */
    unsigned users;      /* transfers under way */
    uint32_t lanes[GYRE__LANES]; /* and in each of its CURLMs */
    int forgotten;       /* its users finish, nobody finds it any more */
    struct gyre__shares own, *shares;
    /* What setup.c makes of `proxy` once, for libcurl: */
    char *endpoint;      /* scheme://host:port; NULL until then */
    char *credentials;   /* "user:password", percent-encoded; NULL: none */
    int socks, secure;
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
 * The identity of these, found or made, with a user more. `apart` 0: not kept apart from others by what it uses.
 * `variant` tells apart what `endpoint` may be made of one `proxy`. NULL: no memory.
 */
struct gyre__identity *gyre__identity_get(struct gyre__identities *identities, const char *proxy, const char *session,
                                          int apart, int variant);

/* The user is gone, and its easy handle holds no share of the identity's any more. NULL is allowed. */
void gyre__identity_put(struct gyre__identities *identities, struct gyre__identity *identity);

/* A place among its connections for one transfer: a lane, to be left when the transfer has ended. */
unsigned gyre__identity_enter(struct gyre__identity *identity);
void gyre__identity_leave(struct gyre__identity *identity, unsigned lane);

/* The CURLM of a lane, below GYRE__SHARDS. */
unsigned gyre__identity_shard(const struct gyre__identity *identity, unsigned lane);

/*
 * A transfer that began with this scope met a connection that libcurl keeps and that carries nothing any more: from now on
 * the identity uses others. Nothing happens when it does already, or when it is not kept apart.
 */
void gyre__identity_renew(struct gyre__identities *identities, struct gyre__identity *identity, uint32_t scope);

/* Whose identity is not kept apart goes where all do that have its endpoint, or they could not share. */
void gyre__identity_meet(struct gyre__identity *identity);

/* What to set as the easy handle's CURLOPT_SHARE; NULL: no memory. Lives as long as the user. */
CURLSH *gyre__identity_share(struct gyre__identity *identity, int cookies);

/* Forgets what is kept for a session: its next request is a stranger's. Those under way go on as they are. */
void gyre__identities_forget(struct gyre__identities *identities, const char *session);

/* Frees all; none has a user any more. */
void gyre__identities_clear(struct gyre__identities *identities);

#endif
