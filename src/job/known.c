/* known.c: a direct-mapped table of texts. Owns copies. libc only. */
#include "known.h"

#include <stdlib.h>
#include <string.h>

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static void mix(uint64_t v[4], int rounds)
{
    for (; rounds > 0; rounds--) {
        v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
        v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
    }
}

static void take(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v, 2);
    v[0] ^= word;
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012), of little-endian words where the machine is. Links come from strangers. */
uint64_t gyre__known_hash(const struct gyre__known *known, const char *url, size_t size)
{
    const uint64_t *key = known->key;
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word, last = (uint64_t)size << 56;
    const char *end = url + size / sizeof word * sizeof word;

    for (; url < end; url += sizeof word) {
        memcpy(&word, url, sizeof word);
        take(v, word);
    }
    for (size_t i = 0; i < size % sizeof word; i++) last |= (uint64_t)(unsigned char)end[i] << 8 * i;
    take(v, last);
    v[2] ^= 0xff;
    mix(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
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
