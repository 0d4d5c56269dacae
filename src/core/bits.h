/*
 * A bitmap over slots with two levels of summary, so that the next set bit among a million is found in a few word
 * reads. Bit k of a summary word says that word k below it may have bits set.
 *
 * Readers are lock-free. Writers may race: whoever writes a summary bit looks at the word below again, and whoever changes a
 * word looks at its summary bit afterwards; so the last of them leaves it right. In between a reader may miss a bit that is
 * just being set.
 */
#ifndef GYRE_BITS_H
#define GYRE_BITS_H

#include "atomic.h"

#include <stddef.h>

#define NO_BIT UINT32_MAX

struct bits {
    uint64_t *word, *summary, *top;
    uint32_t words, summaries, tops;
};

/* Describes the bitmap over `count` bits at `memory`. */
static inline struct bits bits_at(void *memory, uint32_t count)
{
    struct bits b;
    b.words = (count + 63) / 64;
    b.summaries = (b.words + 63) / 64;
    b.tops = (b.summaries + 63) / 64;
    b.word = (uint64_t *)memory;
    b.summary = b.word + b.words;
    b.top = b.summary + b.summaries;
    return b;
}

static inline bool bits_test(const struct bits *b, uint32_t i)
{
    return load_relaxed(&b->word[i / 64]) >> (i % 64) & 1;
}

/* Bit i has been set, or its word emptied: makes the summaries what is below them. Lock-free. */
void gyre__bits_agree(const struct bits *b, uint32_t i);

static inline void bits_set(const struct bits *b, uint32_t i)
{
    uint64_t summary_bit = UINT64_C(1) << (i / 64 % 64), top_bit = UINT64_C(1) << (i / 4096 % 64);
    fetch_or(&b->word[i / 64], UINT64_C(1) << (i % 64));
    /* Seen set here they may be cleared right after; but then the clear looks at the word after us. */
    if (unlikely(!(load_acquire(&b->summary[i / 4096]) & summary_bit && load_acquire(&b->top[i / 262144]) & top_bit)))
        gyre__bits_agree(b, i);
}

static inline void bits_clear(const struct bits *b, uint32_t i)
{
    uint64_t bit = UINT64_C(1) << (i % 64);
    if (unlikely(!(fetch_and(&b->word[i / 64], ~bit) & ~bit))) gyre__bits_agree(b, i);
}

/* First set bit at or after i, or NO_BIT. Lock-free. */
uint32_t gyre__bits_next(const struct bits *b, uint32_t i);

/* The k-th set bit, from 0, or NO_BIT. O(words). */
uint32_t gyre__bits_select(const struct bits *b, uint32_t k);

/* Makes the summaries what the words say: after a process died between the two. Others may set and clear meanwhile. */
void gyre__bits_mend(const struct bits *b);

/* Number of set bits. O(words). */
uint32_t gyre__bits_count(const struct bits *b);

/* Bytes that bits_at wants for n bits. */
static inline size_t bits_bytes(uint32_t n)
{
    uint32_t words = (n + 63) / 64, summaries = (words + 63) / 64, tops = (summaries + 63) / 64;
    return 8 * ((size_t)words + summaries + tops);
}

/* First bit at or after i that is set in all of some bitmaps of one size, or NO_BIT; and is not set in another one. Lock-free. */
uint32_t gyre__bits_next_all(const struct bits *const *maps, uint32_t count, uint32_t i);
uint32_t gyre__bits_next_without(const struct bits *const *maps, uint32_t count, const struct bits *without, uint32_t i);

/* The fast half of gyre__bits_next: the answer is usually in the same word. */
static inline uint32_t bits_next(const struct bits *b, uint32_t i)
{
    if (unlikely(i >= b->words * 64)) return NO_BIT;
    uint64_t word = load_relaxed(&b->word[i / 64]) >> (i % 64);
    if (likely(word)) return i + (uint32_t)__builtin_ctzll(word);
    return gyre__bits_next(b, (i / 64 + 1) * 64);
}

#endif
