/*
 * Pool time: milliseconds since the segment was made, counted on over restarts and reboots. CLOCK_MONOTONIC_COARSE
 * moves in steps of a few milliseconds and costs 5 ns; good for stamps, not for latencies, which callers give.
 */
#include "pool.h"

#include <dlfcn.h>
#include <string.h>
#include <time.h>

#define LONGEST_OFF UINT64_C(100000000000) /* ms: 1e8 s, the longest that an option allows */

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The way through libc, which checks whether there is such a function and what it says, takes a quarter of the time again.
 * Where the kernel maps none (under valgrind, say), libc's function serves. */
int (*gyre__clock_function(void))(clockid_t, struct timespec *)
{
    int (*function)(clockid_t, struct timespec *) = clock_gettime;
    void *vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD), *found = NULL;
    if (vdso) found = dlsym(vdso, "__vdso_clock_gettime");
    if (vdso && !found) found = dlsym(vdso, "__kernel_clock_gettime"); /* its name on arm64 */
    if (found) memcpy(&function, &found, sizeof function);
    if (vdso) dlclose(vdso);
    return function;
}

uint64_t gyre__clock_ms(const struct gyre_pool *pool)
{
    if (unlikely(pool->clock == GYRE_CLOCK_MANUAL)) return load_acquire(&pool->control->manual_ms);
    return clock_ms(CLOCK_MONOTONIC_COARSE) + (uint64_t)load_relaxed(&pool->control->clock_offset_ms);
}

uint64_t gyre__clock_machine_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC_COARSE);
}

/* Costs five times as much, but is not up to 10 ms behind. */
uint64_t gyre__clock_exact_ms(const struct gyre_pool *pool)
{
    if (pool->clock == GYRE_CLOCK_MANUAL) return load_acquire(&pool->control->manual_ms);
    return clock_ms(CLOCK_MONOTONIC) + (uint64_t)load_relaxed(&pool->control->clock_offset_ms);
}

uint64_t gyre__clock_realtime_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

/* How long the machine was down, by the wall clock. One that was years wrong for a while must not carry stamps round their end;
 * nothing in a segment lasts longer. */
static uint64_t time_off(const struct segment_control *control, uint64_t real)
{
    uint64_t off = real > control->seen_realtime_ms ? real - control->seen_realtime_ms : 0;
    return off < LONGEST_OFF ? off : LONGEST_OFF;
}

/*
 * Sets the offset when the segment is new or the machine has been started again. Nobody else is attached. The boot id is written
 * last, and what was last seen is left to the next tick: killed in between, whoever comes next does the same once more.
 */
void gyre__clock_attach(struct segment_control *control, const uint8_t boot_id[16], bool fresh, bool manual)
{
    uint64_t real = gyre__clock_realtime_ms(), now = control->seen_ms, words[2]; /* fresh: where its time begins */
    if (fresh) control->seen_realtime_ms = real;
    else now += time_off(control, real);
    int64_t stamps = (int64_t)(now / 100) - (int64_t)(clock_ms(CLOCK_MONOTONIC_COARSE) / 100);
    if (!manual) store_relaxed(&control->clock_offset_ms, stamps * 100);
    if (!manual) store_relaxed(&control->clock_offset_stamps, (uint32_t)stamps);
    memcpy(words, boot_id, sizeof words);
    for (int i = 0; i < 2; i++) store_release((uint64_t *)(void *)control->boot_id + i, words[i]);
}

GYRE_API double gyre_pool_time(struct gyre_pool *pool)
{
    return pool ? (double)gyre__clock_ms(pool) / 1000.0 : 0;
}

GYRE_API int gyre_pool_set_time(struct gyre_pool *pool, double seconds)
{
    if (!pool) return gyre__fail(GYRE_EINVALID, "no pool");
    if (pool->clock != GYRE_CLOCK_MANUAL)
        return gyre__fail(GYRE_EINVALID, "the pool runs on the system's clock; open it with GYRE_CLOCK_MANUAL");
    if (!(seconds >= 0 && seconds < 4e8)) return gyre__fail(GYRE_EINVALID, "time %g is out of range", seconds);
    uint64_t ms = (uint64_t)(seconds * 1000.0 + 0.5), now = load_acquire(&pool->control->manual_ms);
    do {
        if (ms < now) return gyre__fail(GYRE_EINVALID, "time %g is before the pool's, %g", seconds, now / 1000.0);
    } while (!compare_swap(&pool->control->manual_ms, &now, ms));
    if (!thread_get(pool)) return GYRE_ESYSTEM;
    gyre__tick(pool, stamp_of_ms(ms));
    return 0;
}
