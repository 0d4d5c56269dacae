/*
 * The table of sessions: buckets of 16 places. An id may be in one of two buckets, which its hash names; so a table that is
 * three quarters full has a place for every newcomer. A bucket is
 *
 *     tags[bucket].tag[16]         one line: 32 bits of the hash of each id, 0 for a free place
 *     sessions[bucket * 16 + way]  a quarter of a line each: proxy, last use, 24 other bits of the hash
 *     heads[...], tails[...]       the first 16 bytes of the id, and the rest of a long one
 *     created[...]                 stamp at which it got this proxy, read only where sessions have a lifetime
 *     locks[bucket]                a word lock, taken to write any of it but `last`
 *
 * so that finding a session reads two lines and takes no lock. It is known by its bucket and those 56 bits, not by the text:
 * of 4,194,304 sessions, the most there can be, two are one with a probability below 1 in 100,000,000, and who does not know the
 * segment's seed cannot look for such two. The text would be 100,000 lines more at 100,000 sessions, which a cache has no room
 * for: a cycle took 38 ns of 144 longer.
 *
 * A place is emptied by its tag, written under an odd version, and given its tag last: it is sound after every single store,
 * whoever is killed in between.
 */
#ifndef GYRE_SESSION_H
#define GYRE_SESSION_H

#include "pool.h"

#include <string.h>
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
#include <emmintrin.h>
#endif

#define NO_SESSION UINT32_MAX

/* An id, ready to be looked for. */
struct session_key {
    const char *id;
    uint64_t hash;
    uint32_t size;
    uint32_t bucket[2]; /* the same twice in a table of one bucket */
    uint32_t tag;
    uint32_t seal; /* without a version */
};

/* What was read of a session, all of one moment. */
struct session_seen {
    uint64_t proxy;
    uint32_t created, last; /* created: 0 without a lifetime */
};

#define SEAL_VERSION UINT32_C(0xff) /* the version's bits of a seal */

static inline uint64_t session_word(const char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint32_t session_half_word(const char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Sixteen bytes more of an id: multiplied, and nothing of the product dropped. */
static inline void session_mix(uint64_t state[2], const uint64_t seed[2], uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)(a ^ state[0]) * (b ^ state[1]);
    state[0] = (uint64_t)product ^ seed[0];
    state[1] = (uint64_t)(product >> 64) ^ seed[1];
}

/*
 * The hash of an id, 128 bits wide, keyed by the segment's two seeds: who does not know them cannot aim at one bucket, nor at
 * another's session. If one followed from the other in a simple way, ids could be made whose factors are exchanged. An id that
 * does not end with a block is read to its end from eight or sixteen bytes before it.
 */
static inline void session_hash(uint64_t state[2], const uint64_t seed[2], const char *id, uint32_t size)
{
    const char *end = id + size;
    state[0] = seed[0] ^ size * UINT64_C(0x9e3779b97f4a7c15); /* unlike any difference of two ids, which could undo it */
    state[1] = seed[1];
    if (size > 16) {
        for (; end - id > 16; id += 16) session_mix(state, seed, session_word(id), session_word(id + 8));
        session_mix(state, seed, session_word(end - 16), session_word(end - 8));
    } else if (size >= 8) {
        session_mix(state, seed, session_word(id), session_word(end - 8));
    } else if (size >= 4) {
        session_mix(state, seed, session_half_word(id), session_half_word(end - 4));
    } else {
        session_mix(state, seed, (unsigned char)id[0], (uint64_t)(unsigned char)id[size / 2] << 8 | (unsigned char)end[-1]);
    }
}

/* False when the id is empty or too long. Its characters are checked only where it would be written. The key points to it. */
static inline bool session_key_make(const struct gyre_pool *pool, const char *id, struct session_key *key)
{
    uint64_t state[2];
    size_t size = strnlen(id, SESSION_ID + 1);
    if (unlikely(size - 1 >= SESSION_ID)) return false;
    session_hash(state, pool->session_seed, id, (uint32_t)size);
    __uint128_t folded = (__uint128_t)state[0] * (state[1] ^ UINT64_C(0xd1342543de82ef95));
    key->id = id;
    key->size = (uint32_t)size;
    key->hash = (uint64_t)folded ^ (uint64_t)(folded >> 64);
    uint32_t high = (uint32_t)(key->hash >> 32), low = (uint32_t)key->hash, buckets = pool->session_buckets;
    key->tag = high ^ low ? high ^ low : 1;
    key->seal = (uint32_t)((state[0] + (state[1] << 32 | state[1] >> 32)) * UINT64_C(0xaf251af3b0f025b5) >> 32) & ~SEAL_VERSION;
    key->bucket[0] = (uint32_t)((uint64_t)high * buckets >> 32);
    key->bucket[1] = (uint32_t)((uint64_t)low * buckets >> 32);
    if (unlikely(key->bucket[0] == key->bucket[1])) key->bucket[1] = key->bucket[1] + 1 < buckets ? key->bucket[1] + 1 : 0;
    return true;
}

/* The place in its bucket that an id gets if it is free: more than half of all are there. It is looked at first, so that a
 * processor that foresees this goes on from the hash alone, before tags and entry have come. */
static inline uint32_t session_home(const struct session_key *key)
{
    return key->tag % SESSION_WAYS;
}

/* Which of the bucket's places have this tag, as bits. */
static inline uint32_t session_match(const struct session_tags *tags, uint32_t tag)
{
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
    const __m128i *four = (const __m128i *)(const void *)tags->tag;
    __m128i wanted = _mm_set1_epi32((int)tag);
    __m128i low = _mm_packs_epi32(_mm_cmpeq_epi32(four[0], wanted), _mm_cmpeq_epi32(four[1], wanted));
    __m128i high = _mm_packs_epi32(_mm_cmpeq_epi32(four[2], wanted), _mm_cmpeq_epi32(four[3], wanted));
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high));
#else
    uint32_t bits = 0;
    for (uint32_t i = 0; i < SESSION_WAYS; i++) bits |= (uint32_t)(load_acquire(&tags->tag[i]) == tag) << i;
    return bits;
#endif
}

/* When a session got its proxy, for who wants to know whether its life is over: without a lifetime nobody does. */
static inline uint32_t session_created(const struct gyre_pool *pool, uint32_t at)
{
    return unlikely(pool->session_lifetime != UINT32_MAX) ? load_acquire(&pool->session_created[at]) : 0;
}

/* Reads entry `at` if it is the key's and nobody writes it meanwhile. Lock-free. */
static inline bool session_read(const struct gyre_pool *pool, uint32_t at, const struct session_key *key,
                                struct session_seen *seen)
{
    const struct session_entry *entry = &pool->sessions[at];
    uint32_t seal = load_acquire(&entry->seal);
    if (unlikely((seal ^ key->seal) & (~SEAL_VERSION | 1))) return false; /* another's, or being written */
    seen->last = load_acquire(&entry->last); /* before the proxy: see session_give */
    seen->created = session_created(pool, at);
    seen->proxy = load_acquire(&entry->proxy);
    return likely(load_relaxed(&entry->seal) == seal); /* pairs with the odd version of session_write */
}

/* The entry that session_find will most likely read. Not the tags, which it reads at once: to prefetch them costs more than it
 * brings (on a Zen 3, with 100,000 sessions, 80 ns of 350). */
static inline void session_prefetch(const struct gyre_pool *pool, const struct session_key *key)
{
    __builtin_prefetch(&pool->sessions[key->bucket[0] * SESSION_WAYS + session_home(key)]);
}

static inline uint32_t *session_tag(const struct gyre_pool *pool, uint32_t at)
{
    return &pool->session_tags[at / SESSION_WAYS].tag[at % SESSION_WAYS];
}

/* The key's entry, or NO_SESSION. Lock-free; one that is being assigned or replaced may be missed, so who finds none and
 * wants to act on that looks again under the buckets' locks. */
static inline uint32_t session_find(const struct gyre_pool *pool, const struct session_key *key,
                                    struct session_seen *seen)
{
    session_prefetch(pool, key);
    uint32_t home = key->bucket[0] * SESSION_WAYS + session_home(key);
    if (likely(load_acquire(session_tag(pool, home)) == key->tag) && likely(session_read(pool, home, key, seen))) return home;
    for (uint32_t k = 0; k < 2; k++) {
        uint32_t ways = session_match(&pool->session_tags[key->bucket[k]], key->tag);
        for (; ways; ways &= ways - 1) {
            uint32_t at = key->bucket[k] * SESSION_WAYS + (uint32_t)__builtin_ctz(ways);
            if (likely(session_read(pool, at, key, seen))) return at;
        }
    }
    return NO_SESSION;
}

static inline uint32_t session_age(uint32_t stamp, uint32_t then)
{
    return stamp > then ? stamp - then : 0; /* another thread's clock may be ahead by a little */
}

static inline bool session_is_over(const struct gyre_pool *pool, const struct session_seen *seen, uint32_t stamp)
{
    if (unlikely(session_age(stamp, seen->last) >= pool->session_ttl)) return true;
    return unlikely(pool->session_lifetime != UINT32_MAX) && session_age(stamp, seen->created) >= pool->session_lifetime;
}

/* Slides the idle time. Lock-free; if the place was given to another session just now, that one is as young anyway. */
static inline void session_touch(const struct gyre_pool *pool, uint32_t at, const struct session_seen *seen,
                                 uint32_t stamp)
{
    if (seen->last < stamp) store_relaxed(&pool->sessions[at].last, stamp);
}

/* Is c a character of ids? */
bool gyre__session_letter(unsigned char c);

/* 0, or GYRE_EINVALID and what is wrong with the id. */
int gyre__session_check_id(const char *id);

#endif
