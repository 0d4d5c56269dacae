/*
 * wyrand (Wang Yi, wyhash 4, 2019), seeded by splitmix64. A generator is one word that one thread, or the holder of the segment's
 * lock, owns. It takes half the instructions of xoshiro256++; generators from different seeds walk one cycle of 2^64 from
 * different places.
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

static inline uint64_t random_seed(uint64_t seed, uint64_t stream)
{
    uint64_t mix = seed ^ (stream * UINT64_C(0xd1342543de82ef95));
    return random_mix(&mix);
}

static inline uint64_t random_next(uint64_t *state)
{
    uint64_t s = *state += UINT64_C(0xa0761d6478bd642f);
    unsigned __int128 product = (unsigned __int128)s * (s ^ UINT64_C(0xe7037ed1a0b428db));
    return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

/* From the upper half of a draw: uniform in [0, n), n > 0; bias below n / 2^32 (Lemire's multiply-shift). */
static inline uint32_t random_scale(uint64_t draw, uint32_t n)
{
    return (uint32_t)((draw >> 32) * n >> 32);
}

static inline uint32_t random_below(uint64_t *state, uint32_t n)
{
    return random_scale(random_next(state), n);
}

/* Uniform in (0, 1]. */
static inline double random_unit(uint64_t *state)
{
    return (double)((random_next(state) >> 11) + 1) * 0x1p-53;
}

#endif
