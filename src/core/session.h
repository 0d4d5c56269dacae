/*
 * The table of sessions: buckets of 16 places. An id may be in one of two buckets, which its hash names; so a table that is
 * three quarters full has a place for every newcomer. A bucket is
 *
 *     tags[bucket].tag[16]         one line: 32 bits of the hash of each id, 0 for a free place
 *     sessions[bucket * 16 + way]  half a line each: proxy, last use, the first 16 bytes of the id
 *     tails[...]                   the rest of the id, read for long ones only
 *     created[...]                 stamp at which it got this proxy, read only where sessions have a lifetime
 *     locks[bucket]                a word lock, taken to write any of it but `last`
 *
 * so that finding a session reads two lines, sometimes three, and takes no lock. A place is emptied by its tag, written
 * under an odd version, and given its tag last: it is sound after every single store, whoever is killed in between.
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
    uint64_t word[SESSION_ID / 8]; /* filled up with zeros to an even number of words, and two at least */
    uint64_t hash;
    uint32_t size;
    uint32_t bucket[2]; /* the same twice in a table of one bucket */
    uint32_t tag;
};

/* What was read of a session, all of one moment. */
struct session_seen {
    uint64_t proxy;
    uint32_t created, last; /* created: 0 without a lifetime */
};

static inline uint64_t session_fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiply and fold, two words a step, keyed by the segment's seed: who does not know it cannot aim at one bucket. */
static inline uint64_t session_hash(uint64_t seed, const uint64_t *word, uint32_t size)
{
    uint64_t hash = size;
    for (uint32_t i = 0; i * 8 < size; i += 2) hash = session_fold(word[i] ^ seed, word[i + 1] ^ hash ^ ~seed);
    return session_fold(hash ^ seed, UINT64_C(0xd1342543de82ef95));
}

/* The bytes of an id as words. A call of memcpy for a size the compiler does not know would take longer. */
static inline void session_words(uint64_t *word, const char *id, size_t size)
{
    size_t n = size / 8, rest = size % 8;
    for (size_t i = 0; i < n; i++) memcpy(&word[i], id + i * 8, 8);
    if (rest) {
        word[n] = 0;
        if (size < 8) {
            memcpy(&word[n], id, rest);
        } else { /* the last eight bytes, without those that were copied already */
            memcpy(&word[n], id + size - 8, 8);
            if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) word[n] >>= 64 - 8 * rest;
            else word[n] <<= 64 - 8 * rest;
        }
        n++;
    }
    if (n % 2) word[n] = 0;
}

/* False when the id is empty or too long. Its characters are checked only where it would be written. */
static inline bool session_key_make(const struct gyre_pool *pool, const char *id, struct session_key *key)
{
    size_t size = strnlen(id, SESSION_ID + 1);
    if (unlikely(size - 1 >= SESSION_ID)) return false;
    key->size = (uint32_t)size;
    session_words(key->word, id, size);
    key->hash = session_hash(pool->session_seed, key->word, key->size);
    uint32_t high = (uint32_t)(key->hash >> 32), low = (uint32_t)key->hash, buckets = pool->session_buckets;
    key->tag = high ^ low ? high ^ low : 1;
    key->bucket[0] = (uint32_t)((uint64_t)high * buckets >> 32);
    key->bucket[1] = (uint32_t)((uint64_t)low * buckets >> 32);
    if (unlikely(key->bucket[0] == key->bucket[1])) key->bucket[1] = key->bucket[1] + 1 < buckets ? key->bucket[1] + 1 : 0;
    return true;
}

/* The place in its bucket that an id gets if it is free: more than half of all are there, and finding them waits for the
 * tags and the entry at once. */
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

/* Words of an id that are in its tail, with the zero after its end: none when the entry's show the end. */
static inline uint32_t session_rest(uint32_t size)
{
    if (likely(size < SESSION_INLINE * 8)) return 0;
    return size < SESSION_ID ? size / 8 + 1 - SESSION_INLINE : SESSION_TAIL;
}

/* Word i of an id's tail. The key has zeros to an even number of words only. */
static inline uint64_t session_tail_word(const struct session_key *key, uint32_t i)
{
    return (i + SESSION_INLINE) * 8 < key->size ? key->word[i + SESSION_INLINE] : 0;
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
    uint32_t version = load_acquire(&entry->version), rest = session_rest(key->size);
    if (unlikely(version & 1 || load_acquire(&entry->text[0]) != key->word[0] || load_acquire(&entry->text[1]) != key->word[1]))
        return false;
    for (uint32_t i = 0; i < rest; i++)
        if (unlikely(load_acquire(&pool->session_tails[at].text[i]) != session_tail_word(key, i))) return false;
    seen->last = load_acquire(&entry->last); /* before the proxy: see session_give */
    seen->created = session_created(pool, at);
    seen->proxy = load_acquire(&entry->proxy);
    return likely(load_relaxed(&entry->version) == version); /* pairs with the odd version of session_write */
}

/* The entry that session_find will most likely read. Not the tags, which it reads at once: to prefetch them costs more than it
 * brings (on a Zen 3, with 100,000 sessions, 80 ns of 350). */
static inline void session_prefetch(const struct gyre_pool *pool, const struct session_key *key)
{
    __builtin_prefetch(&pool->sessions[key->bucket[0] * SESSION_WAYS + session_home(key)]);
}

/* The key's entry, or NO_SESSION. Lock-free; one that is being assigned or replaced may be missed, so who finds none and
 * wants to act on that looks again under the buckets' locks. */
static inline uint32_t session_find(const struct gyre_pool *pool, const struct session_key *key,
                                    struct session_seen *seen)
{
    session_prefetch(pool, key);
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

static inline uint32_t *session_tag(const struct gyre_pool *pool, uint32_t at)
{
    return &pool->session_tags[at / SESSION_WAYS].tag[at % SESSION_WAYS];
}

/* Is c a character of ids? */
bool gyre__session_letter(unsigned char c);

/* 0, or GYRE_EINVALID and what is wrong with the id. */
int gyre__session_check_id(const char *id);

#endif
