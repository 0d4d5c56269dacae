/*
 * Resident memory: of an empty pool, of each proxy, of each session. Pages never touched are not resident.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static double resident(void)
{
    long all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%ld %ld", &all, &pages) != 2) pages = 0;
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void open_sessions(struct gyre_pool *pool, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char id[32];
        struct gyre_request request = {.size = sizeof request, .session = id};
        struct gyre_lease lease;
        snprintf(id, sizeof id, "session-%07u", i);
        if (gyre_acquire(pool, &request, &lease) < 0 || gyre_complete_ms(pool, &lease, GYRE_OK, 100.0) < 0) exit(2);
    }
}

void bench_memory(void)
{
    enum { PROXIES = 100000, SESSIONS = 100000 };
    struct gyre_options options = {.size = sizeof options};
    struct gyre_pool *empty;
    if (!wanted("memory", "")) return;
    double before = resident();
    if (gyre_pool_open(&options, &empty) < 0) exit(2);
    table_memory("an empty pool (65,536 proxies fit)", resident() - before);
    gyre_pool_close(empty);

    before = resident();
    struct gyre_pool *few = pool_with(1, SESSIONS * 2);
    double one = resident() - before;
    gyre_pool_close(few);
    before = resident();
    struct gyre_pool *pool = pool_with(PROXIES, SESSIONS * 2);
    table_memory("a proxy (with 100,000)", (resident() - before - one) / (PROXIES - 1));
    struct gyre_lease lease;
    for (uint32_t i = 0; i < 2 * PROXIES; i++)
        if (gyre_acquire(pool, NULL, &lease) < 0 || gyre_complete_ms(pool, &lease, GYRE_OK, 100.0) < 0) exit(2);
    table_memory("a proxy in use", (resident() - before - one) / (PROXIES - 1));
    before = resident();
    open_sessions(pool, SESSIONS);
    double session = (resident() - before) / SESSIONS;
    if (session > 1) table_memory("a session (with 100,000)", session);
    else table_skip("memory", "a session", "not in this library");
    gyre_pool_close(pool);
}
