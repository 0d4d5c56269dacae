/*
 * identity.h: which CURLM a proxy's connections live in.
 *
 * An identity is a proxy's endpoint and its credentials. For an HTTP proxy libcurl compares only the endpoint when
 * it looks for a connection to use again, so that a tunnel made by one user of a gateway would carry another user's
 * request. A CURLM's connection cache is its own: two identities of one endpoint are never given the same shard.
 */
#ifndef GYRE_NET_IDENTITY_H
#define GYRE_NET_IDENTITY_H

#include <stddef.h>

/* Shards over which identities are spread as long as none has to be kept from another. */
enum { GYRE__COMMON_SHARDS = 64 };

struct gyre__identities {
    struct gyre__identity *slots; /* a hash table, open addressing */
    size_t room, count;
    unsigned endpoints;
};

/*
 * Stores the shard of an identity in *shard, below `shards`; the same for the same texts as long as the table lives.
 * Returns 0, or 1 when the endpoint has more identities than there are shards (or no memory is left): then
 * connections of this one must be neither taken from a cache nor left in one.
 */
int gyre__identity_shard(struct gyre__identities *identities, const char *endpoint, const char *credentials,
                         unsigned shards, unsigned *shard);

/* Wipes and frees the table. */
void gyre__identities_clear(struct gyre__identities *identities);

#endif
