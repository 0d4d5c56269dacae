/*
 * known.h: URLs that are certainly in the state file already: most links of a page were on the page before. A cache of
 * bounded size; what it says is exact, what it does not say has to be looked up. Not thread-safe.
 */
#ifndef GYRE_JOB_KNOWN_H
#define GYRE_JOB_KNOWN_H

#include <stddef.h>
#include <stdint.h>

enum { GYRE__KNOWN_ROOM = 16384 };

struct gyre__known {
    uint64_t key[2];              /* secret, and of the state file, which has the hashes too */
    char *urls[GYRE__KNOWN_ROOM]; /* by hash; a newer one takes the place of an older */
};

/* A hash of which nobody who does not know the key can make two URLs that have the same. */
uint64_t gyre__known_hash(const struct gyre__known *known, const char *url, size_t size);
int gyre__known_has(const struct gyre__known *known, const char *url, size_t size, uint64_t hash);
void gyre__known_add(struct gyre__known *known, const char *url, size_t size, uint64_t hash);
void gyre__known_clear(struct gyre__known *known);

#endif
