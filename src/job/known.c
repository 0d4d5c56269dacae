/* known.c: a direct-mapped table of texts. Owns copies. libc only. */
#include "known.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a over eight bytes at a time, mixed at the end as MurmurHash3 does: good enough for a table, no secret. */
uint64_t gyre__known_hash(const char *url, size_t size)
{
    uint64_t h = UINT64_C(14695981039346656037) ^ size, word;

    for (; size >= sizeof word; url += sizeof word, size -= sizeof word) {
        memcpy(&word, url, sizeof word);
        h = (h ^ word) * UINT64_C(1099511628211);
        h ^= h >> 29;
    }
    for (; size > 0; url++, size--) h = (h ^ (unsigned char)*url) * UINT64_C(1099511628211);
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

int gyre__known_has(const struct gyre__known *known, const char *url, size_t size, uint64_t hash)
{
    const char *there = known->urls[hash % GYRE__KNOWN_ROOM];
    return there && strncmp(there, url, size) == 0 && there[size] == '\0';
}

void gyre__known_add(struct gyre__known *known, const char *url, size_t size, uint64_t hash)
{
    char *copy = strndup(url, size);
    if (!copy) return; /* it is a cache */
    free(known->urls[hash % GYRE__KNOWN_ROOM]);
    known->urls[hash % GYRE__KNOWN_ROOM] = copy;
}

void gyre__known_clear(struct gyre__known *known)
{
    for (size_t i = 0; i < GYRE__KNOWN_ROOM; i++) free(known->urls[i]);
    memset(known, 0, sizeof *known);
}
