/*
 * Memory: what one load costs that no cache has, to hold the figures of large pools against; and how much is resident, of an
 * empty pool, of each proxy, of each session. Pages never touched are not resident.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
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

struct field {
    uint32_t *next;
    uint32_t at;
};

/* Each load says where the next one is. */
static void chase_run(void *context, unsigned worker, uint64_t count)
{
    struct field *field = context;
    (void)worker;
    while (count--) field->at = field->next[(size_t)field->at * 16];
}

/* A random cycle through all cache lines of so many MiB, of pages like a private segment's (Sattolo 1986). */
static void bench_load(uint32_t megabytes)
{
    uint32_t lines = megabytes * 16384;
    size_t bytes = (size_t)lines * 64;
    uint64_t random = 1;
    char variant[24];
    struct field field = {.next = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    if (field.next == MAP_FAILED) exit(2);
    for (uint32_t i = 0; i < lines; i++) field.next[(size_t)i * 16] = i;
    for (uint32_t i = lines - 1; i > 0; i--) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t j = (uint32_t)((random >> 32) * i >> 32), old = field.next[(size_t)i * 16];
        field.next[(size_t)i * 16] = field.next[(size_t)j * 16];
        field.next[(size_t)j * 16] = old;
    }
    snprintf(variant, sizeof variant, "in %u MiB", megabytes);
    table_row("a random load", variant, 0, 1, false, measure(&(struct work){chase_run, &field, 0}, 1, false));
    munmap(field.next, bytes);
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
    bench_load(1);
    bench_load(10);
    bench_load(64);
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
