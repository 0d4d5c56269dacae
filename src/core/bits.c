/*
 * Searches over the summarised bitmap of bits.h. Owns nothing, calls nothing.
 */
#include "bits.h"

/* First set bit at or after i of a plain array of words, or NO_BIT. */
static uint32_t scan(const uint64_t *words, uint32_t count, uint32_t i)
{
    uint32_t w = i / 64;
    if (w >= count) return NO_BIT;
    uint64_t word = load_relaxed(&words[w]) >> (i % 64);
    if (word) return i + (uint32_t)__builtin_ctzll(word);
    while (++w < count) {
        word = load_relaxed(&words[w]);
        if (word) return w * 64 + (uint32_t)__builtin_ctzll(word);
    }
    return NO_BIT;
}

/* First word at or after w whose summary bit is set, or NO_BIT. */
static uint32_t next_word(const struct bits *b, uint32_t w)
{
    while (w < b->words) {
        uint64_t summary = load_relaxed(&b->summary[w / 64]) >> (w % 64);
        if (summary) return w + (uint32_t)__builtin_ctzll(summary);
        uint32_t next = scan(b->top, b->tops, w / 64 + 1);
        if (next == NO_BIT || next >= b->summaries) return NO_BIT;
        w = next * 64;
    }
    return NO_BIT;
}

uint32_t gyre__bits_next(const struct bits *b, uint32_t i)
{
    uint32_t w = i / 64;
    if (w >= b->words) return NO_BIT;
    uint64_t word = load_relaxed(&b->word[w]) >> (i % 64);
    if (word) return i + (uint32_t)__builtin_ctzll(word);
    for (w = next_word(b, w + 1); w != NO_BIT && w < b->words; w = next_word(b, w + 1)) {
        word = load_relaxed(&b->word[w]);
        if (word) return w * 64 + (uint32_t)__builtin_ctzll(word);
    }
    return NO_BIT;
}

/* `without` may be NULL, and is known where this is inlined: one search for both. */
static inline uint64_t all_words(const struct bits *const *maps, uint32_t count, const struct bits *without, uint32_t w)
{
    uint64_t word = load_relaxed(&maps[0]->word[w]);
    if (without) word &= ~load_relaxed(&without->word[w]);
    for (uint32_t m = 1; m < count; m++) word &= load_relaxed(&maps[m]->word[w]);
    return word;
}

static inline uint64_t all_summaries(const struct bits *const *maps, uint32_t count, uint32_t s)
{
    uint64_t word = load_relaxed(&maps[0]->summary[s]);
    for (uint32_t m = 1; m < count; m++) word &= load_relaxed(&maps[m]->summary[s]);
    return word;
}

/* The summaries of `without` are of no use: they say which words have bits, not which are full. */
static inline __attribute__((always_inline)) uint32_t next_all(const struct bits *const *maps, uint32_t count,
                                                               const struct bits *without, uint32_t i)
{
    uint32_t w = i / 64, words = maps[0]->words;
    if (w >= words) return NO_BIT;
    uint64_t word = all_words(maps, count, without, w) >> (i % 64);
    if (word) return i + (uint32_t)__builtin_ctzll(word);
    for (w++; w < words; w++) {
        uint64_t below = all_summaries(maps, count, w / 64) >> (w % 64);
        if (!below) {
            w |= 63; /* nothing under the rest of this summary word */
            continue;
        }
        w += (uint32_t)__builtin_ctzll(below);
        word = w < words ? all_words(maps, count, without, w) : 0;
        if (word) return w * 64 + (uint32_t)__builtin_ctzll(word);
    }
    return NO_BIT;
}

uint32_t gyre__bits_next_all(const struct bits *const *maps, uint32_t count, uint32_t i)
{
    return next_all(maps, count, NULL, i);
}

uint32_t gyre__bits_next_without(const struct bits *const *maps, uint32_t count, const struct bits *without, uint32_t i)
{
    return next_all(maps, count, without, i);
}

uint32_t gyre__bits_select(const struct bits *b, uint32_t k)
{
    for (uint32_t w = 0; w < b->words; w++) {
        uint64_t word = load_relaxed(&b->word[w]);
        uint32_t n = (uint32_t)__builtin_popcountll(word);
        if (k >= n) {
            k -= n;
            continue;
        }
        while (k--) word &= word - 1;
        return w * 64 + (uint32_t)__builtin_ctzll(word);
    }
    return NO_BIT;
}

uint32_t gyre__bits_count(const struct bits *b)
{
    uint32_t n = 0;
    for (uint32_t w = 0; w < b->words; w++) n += (uint32_t)__builtin_popcountll(load_relaxed(&b->word[w]));
    return n;
}

/* A clear is written in any case: were it left out where the bit is seen clear, a set could come after the look. */
static void agree(const uint64_t *below, uint64_t *above, uint64_t bit)
{
    bool any = load_acquire(below) != 0, seen;
    do {
        seen = any;
        if (!seen) fetch_and(above, ~bit);
        else if (!(load_acquire(above) & bit)) fetch_or(above, bit);
        any = load_acquire(below) != 0;
    } while (any != seen);
}

void gyre__bits_agree(const struct bits *b, uint32_t i)
{
    agree(&b->word[i / 64], &b->summary[i / 4096], UINT64_C(1) << (i / 64 % 64));
    agree(&b->summary[i / 4096], &b->top[i / 262144], UINT64_C(1) << (i / 4096 % 64));
}

static void mend_level(const uint64_t *below, uint32_t count, uint64_t *above)
{
    for (uint32_t i = 0; i < count; i++) agree(&below[i], &above[i / 64], UINT64_C(1) << (i % 64));
    if (count % 64) fetch_and(&above[count / 64], (UINT64_C(1) << (count % 64)) - 1);
}

void gyre__bits_mend(const struct bits *b)
{
    mend_level(b->word, b->words, b->summary);
    mend_level(b->summary, b->summaries, b->top);
}
