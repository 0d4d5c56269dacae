/*
 * xoshiro256++ (Blackman, Vigna 2019), seeded by splitmix64. A generator is four words that one thread, or the holder of
 * the segment's lock, owns.
 */
#ifndef GYRE_RANDOM_H
#define GYRE_RANDOM_H

#include <stdint.h>

static inline uint64_t random_mix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline void random_seed(uint64_t state[4], uint64_t seed, uint64_t stream)
{
    uint64_t mix = seed ^ (stream * UINT64_C(0xd1342543de82ef95));
    for (int i = 0; i < 4; i++) state[i] = random_mix(&mix);
}

static inline uint64_t random_next(uint64_t s[4])
{
    uint64_t sum = s[0] + s[3], result = (sum << 23 | sum >> 41) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return result;
}

/* From the upper half of a draw: uniform in [0, n), n > 0; bias below n / 2^32 (Lemire's multiply-shift). */
static inline uint32_t random_scale(uint64_t draw, uint32_t n)
{
    return (uint32_t)((draw >> 32) * n >> 32);
}

static inline uint32_t random_below(uint64_t s[4], uint32_t n)
{
    return random_scale(random_next(s), n);
}

/* Uniform in (0, 1]. */
static inline double random_unit(uint64_t s[4])
{
    return (double)((random_next(s) >> 11) + 1) * 0x1p-53;
}

#endif
