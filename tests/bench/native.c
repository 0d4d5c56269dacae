/*
 * What bench.lua compares with: the floor and the cycle in C, by name through the FFI.
 */
#include <gyre/gyre.h>

#include <time.h>

GYRE_API void bench_floor(uint64_t count);
GYRE_API int bench_cycle(struct gyre_pool *pool, uint64_t count);
GYRE_API double bench_cpu_ns(void);

void bench_floor(uint64_t count)
{
    static uint64_t word __attribute__((aligned(128)));
    struct timespec t;
    while (count--) {
        __atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
        clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    }
}

int bench_cycle(struct gyre_pool *pool, uint64_t count)
{
    struct gyre_lease lease;
    while (count--)
        if (gyre_acquire(pool, NULL, &lease) < 0 || gyre_complete_ms(pool, &lease, GYRE_OK, 100.0) < 0) return -1;
    return 0;
}

double bench_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}
