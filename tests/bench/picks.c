/*
 * acquire + complete through the library, for every picker there is, at every size, by threads and by processes.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"", "round-robin", "random", "least-used", "least-active", "best", "weighted", "hash"};
enum { PICKERS = GYRE_PICK_HASH, MAX_N = 1000000 };

const char *picker_name(uint32_t picker)
{
    return names[picker];
}

/* Two leases of each proxy: pages of the segment that are touched for the first time, and the note that a proxy's first lease
 * makes for the sliding window, are no part of what is measured. */
static void warm(struct gyre_pool *pool, uint32_t n)
{
    struct gyre_lease lease;
    for (uint64_t i = 0; i < 2 * (uint64_t)n; i++)
        if (gyre_acquire(pool, NULL, &lease) < 0 || gyre_complete_ms(pool, &lease, GYRE_OK, 100.0) < 0) exit(2);
}

struct gyre_pool *pool_with(uint32_t n, uint32_t max_sessions)
{
    struct gyre_options options = {.size = sizeof options, .max_proxies = n < 1024 ? 1024 : n, .max_sessions = max_sessions, .seed = 7};
    struct gyre_pool *pool;
    char url[64];
    if (gyre_pool_open(&options, &pool) < 0) {
        fprintf(stderr, "opening: %s\n", gyre_detail());
        exit(2);
    }
    for (uint32_t i = 0; i < n; i++) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url, .country = i % 2 ? "DE" : "US", .tags = i % 3 ? "datacentre" : "residential",
                                        .has_cost = 1, .cost = i % 3};
        snprintf(url, sizeof url, "http://user:secret@10.%u.%u.%u:3128", i >> 16, i >> 8 & 255, i & 255);
        if (gyre_pool_add(pool, &spec, NULL) < 0) {
            fprintf(stderr, "adding: %s\n", gyre_detail());
            exit(2);
        }
    }
    warm(pool, n);
    return pool;
}

uint64_t id_of(struct gyre_pool *pool, uint32_t nth)
{
    uint64_t id = 0;
    while (gyre_pool_next(pool, &id) == 1 && nth--) {}
    return id;
}

/* A proxy's latency in ms: each has its own, so that nobody can foresee which of three is the best. */
static double latency[64];

struct cycle {
    struct gyre_pool *pool;
    struct gyre_request *request; /* NULL: the segment's strategy decides all */
};

static void cycle_run(void *context, unsigned worker, uint64_t count)
{
    struct cycle *cycle = context;
    struct gyre_lease lease;
    (void)worker;
    for (uint64_t i = 0; i < count; i++) {
        if (gyre_acquire(cycle->pool, cycle->request, &lease) < 0 ||
            gyre_complete_ms(cycle->pool, &lease, GYRE_OK, latency[lease.slot % 64]) < 0) {
            fprintf(stderr, "a cycle failed: %s\n", gyre_detail());
            exit(2);
        }
    }
}

/* Least-used looks at all once in n picks: a window has to have its share of that. */
static uint64_t least_for(uint32_t picker, uint32_t n)
{
    return picker == GYRE_PICK_LEAST_USED ? 2 * (uint64_t)n : 0;
}

/* As most programs ask: the strategy is the segment's, and the request says nothing; but the hash wants a key. */
static struct cycle cycle_of(struct gyre_pool *pool, uint32_t picker)
{
    static struct gyre_request keyed = {.size = sizeof keyed, .key = "shop.example"};
    struct gyre_strategy strategy = {.size = sizeof strategy, .picker = picker};
    snprintf(strategy.name, sizeof strategy.name, "%s", names[picker]);
    if (gyre_strategy_set(pool, &strategy, NULL) < 0) {
        fprintf(stderr, "the strategy %s: %s\n", names[picker], gyre_detail());
        exit(2);
    }
    for (uint32_t i = 0; i < 64; i++) latency[i] = 60.0 + i * 37 % 64 * 2.5;
    return (struct cycle){pool, picker == GYRE_PICK_HASH ? &keyed : NULL};
}

bool picker_exists(uint32_t picker)
{
    struct gyre_pool *pool = pool_with(16, 0);
    struct cycle cycle = cycle_of(pool, picker);
    struct gyre_lease lease;
    int result = gyre_acquire(pool, cycle.request, &lease);
    gyre_pool_close(pool);
    return result == 0;
}

static void promise_alone(uint32_t picker, uint32_t n, const struct figure *figure, double *at_100)
{
    double limit = picker == GYRE_PICK_BEST ? 6 : 4;
    char text[120];
    if (n == 100) at_100[picker] = figure->best;
    bool promised = picker <= GYRE_PICK_LEAST_USED || picker == GYRE_PICK_BEST;
    if (promised && n <= 10000) {
        snprintf(text, sizeof text, "acquire+complete %s, %u proxies, one thread: ratio to floor", names[picker], n);
        promise(text, figure->ratio, limit, false);
    }
    if (picker == GYRE_PICK_LEAST_USED && n == MAX_N && at_100[picker] > 0)
        promise("least-used at 1,000,000 against its cost at 100", figure->best / at_100[picker], 2, false);
}

void bench_picks(void)
{
    static const uint32_t sizes[] = {10, 100, 1000, 10000, 100000, MAX_N};
    double at_100[PICKERS + 1] = {0};
    unsigned count = settings.quick ? 4 : 6;
    for (uint32_t picker = 1; picker <= PICKERS; picker++) {
        if (!wanted("acquire+complete", names[picker])) continue;
        if (!picker_exists(picker)) {
            table_skip("acquire+complete", names[picker], "not in this library");
            continue;
        }
        for (unsigned s = 0; s < count; s++) {
            /* A pool of its own: some pickers keep structures up to date from their first use on, at everyone's cost. */
            struct gyre_pool *pool = pool_with(sizes[s], 0);
            struct cycle cycle = cycle_of(pool, picker);
            struct figure figure = measure(&(struct work){cycle_run, &cycle, least_for(picker, sizes[s])}, 1, false);
            table_row("acquire+complete", names[picker], sizes[s], 1, false, figure);
            promise_alone(picker, sizes[s], &figure, at_100);
            gyre_pool_close(pool);
        }
    }
}

/* Throughput of all against that of one alone, in the same minute. */
static void contend(struct gyre_pool *pool, uint32_t picker, uint32_t n)
{
    static const struct {
        unsigned workers;
        bool processes;
    } crowd[] = {{2, false}, {16, false}, {100, false}, {4, true}};
    struct cycle cycle = cycle_of(pool, picker);
    struct work work = {cycle_run, &cycle, least_for(picker, n)};
    struct figure alone = measure(&work, 1, false);
    for (unsigned i = 0; i < (settings.quick ? 1u : 4u); i++) {
        struct figure figure = measure(&work, crowd[i].workers, crowd[i].processes);
        double least = picker == GYRE_PICK_RANDOM || picker == GYRE_PICK_BEST ? 1.2 : picker == GYRE_PICK_ROUND_ROBIN ? 0.6 : 0.2;
        char text[120];
        table_row("acquire+complete", names[picker], n, crowd[i].workers, crowd[i].processes, figure);
        if (crowd[i].workers != 2 || (picker > GYRE_PICK_LEAST_USED && picker != GYRE_PICK_BEST)) continue;
        snprintf(text, sizeof text, "throughput of two threads against one, %s, %u proxies (class %s)", names[picker], n, figure.class);
        promise(text, alone.best / figure.median, least, true);
    }
}

void bench_contention(void)
{
    static const uint32_t sizes[] = {1000, 10, 100, 10000, 100000, MAX_N};
    for (unsigned s = 0; s < (settings.quick ? 1u : 6u); s++) {
        for (uint32_t picker = 1; picker <= PICKERS; picker++) {
            if (!wanted("contention", names[picker]) || !picker_exists(picker)) continue;
            struct gyre_pool *pool = pool_with(sizes[s], 0);
            contend(pool, picker, sizes[s]);
            gyre_pool_close(pool);
        }
    }
}
