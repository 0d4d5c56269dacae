/*
 * Round-robin under threads and processes: whoever stays eligible gets the same number of picks, within one,
 * while ten proxies are out and ten others flap. One cursor for all: in a pool shared by path, in a private pool
 * inherited by fork, and in one process.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { N = 100, OUT_FROM = 20, OUT_TO = 30, FLAP_FROM = 50, FLAP_TO = 60, WORKERS = 4 };

struct work {
    struct gyre_pool *pool;
    const char *path; /* when set, the worker opens it by itself */
    const uint64_t *ids;
    unsigned long picks;
    atomic_int *stop;
    struct rng rng;
};

static struct gyre_pool *pool_for(const struct work *work)
{
    struct gyre_options options = {.size = sizeof options, .path = work->path};
    struct gyre_pool *pool = work->pool;

    if (work->path) REQUIRE(gyre_pool_open(&options, &pool) == 0);
    return pool;
}

static void *pick(void *argument)
{
    struct work *work = argument;
    struct gyre_pool *pool = pool_for(work);

    for (unsigned long i = 0; i < work->picks; i++) {
        struct gyre_lease lease;

        REQUIRE(gyre_acquire(pool, NULL, &lease) == 0);
        REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0) == 0);
    }
    if (work->path) gyre_pool_close(pool);
    return NULL;
}

static void *flap(void *argument)
{
    struct work *work = argument;
    struct gyre_pool *pool = pool_for(work);
    int off[FLAP_TO - FLAP_FROM] = {0};

    while (!atomic_load(work->stop)) {
        uint32_t i = rng_below(&work->rng, FLAP_TO - FLAP_FROM);

        off[i] = !off[i];
        REQUIRE((off[i] ? gyre_pool_disable : gyre_pool_enable)(pool, work->ids[FLAP_FROM + i]) == 0);
        if (rng_below(&work->rng, 4) == 0) sched_yield();
    }
    if (work->path) gyre_pool_close(pool);
    return NULL;
}

static void pick_as_process(void *work)
{
    pick(work);
}

static void flap_as_process(void *work)
{
    flap(work);
}

static void check_spread(struct gyre_pool *pool, const uint64_t *ids)
{
    uint64_t least = UINT64_MAX, most = 0;

    for (int i = 0; i < N; i++) {
        uint64_t started = proxy_of(pool, ids[i]).started;

        if (i >= OUT_FROM && i < OUT_TO) EXPECT_COUNT(started, 0, "proxy %d, which is out", i);
        if ((i >= OUT_FROM && i < OUT_TO) || (i >= FLAP_FROM && i < FLAP_TO)) continue;
        least = started < least ? started : least;
        most = started > most ? started : most;
    }
    if (most - least > 1) {
        for (int i = 0; i < N; i++) print_error("%d:%d ", i, (int)proxy_of(pool, ids[i]).started);
        fail_msg("spread %d among the always eligible (%d to %d)", (int)(most - least), (int)least, (int)most);
    }
    assert_true(least > 0);
}

static void take_out(struct gyre_pool *pool, const uint64_t *ids)
{
    for (int i = OUT_FROM; i < OUT_TO; i++) OK(gyre_pool_disable(pool, ids[i]));
}

static void test_threads(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct work works[WORKERS], flapping = {.pool = pool, .ids = ids, .rng = {test_seed(6)}};
    atomic_int stop = 0;
    pthread_t flapper;

    (void)state;
    take_out(pool, ids);
    flapping.stop = &stop;
    assert_int_equal(pthread_create(&flapper, NULL, flap, &flapping), 0);
    for (int round = 0; round < 20; round++) { /* the sums since the start must be even at any time of rest */
        for (int i = 0; i < WORKERS; i++)
            works[i] = (struct work){.pool = pool, .picks = rounds(10000) + (unsigned)round};
        run_threads(WORKERS, pick, works, sizeof *works);
        check_spread(pool, ids);
    }
    atomic_store(&stop, 1);
    assert_int_equal(pthread_join(flapper, NULL), 0);
    EXPECT_COUNT(stats_of(pool).active, 0, "at rest");
    gyre_pool_close(pool);
}

static void processes(struct gyre_pool *pool, const uint64_t *ids, const char *path)
{
    atomic_int *stop = mmap(NULL, sizeof *stop, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct work work = {.pool = pool, .path = path, .ids = ids, .rng = {test_seed(8)}};
    pid_t flapper, children[WORKERS];

    assert_true(stop != MAP_FAILED);
    take_out(pool, ids);
    work.stop = stop;
    flapper = spawn(flap_as_process, &work);
    for (int round = 0; round < 5; round++) {
        work.picks = rounds(30000) + (unsigned)round;
        for (int i = 0; i < WORKERS; i++) children[i] = spawn(pick_as_process, &work);
        for (int i = 0; i < WORKERS; i++) reap(children[i]);
        check_spread(pool, ids);
    }
    atomic_store(stop, 1);
    reap(flapper);
    EXPECT_COUNT(stats_of(pool).active, 0, "at rest");
    munmap(stop, sizeof *stop);
    gyre_pool_close(pool);
}

static void test_processes_by_path(void **state)
{
    struct gyre_options options = {.size = sizeof options,
                                   .seed = 1,
                                   .path = temp_path("spread"),
                                   .max_proxies = 128,
                                   .max_sessions = 64,
                                   .max_bans = 64};
    uint64_t ids[N];

    (void)state;
    processes(pool_of(N, ids, &options), ids, options.path);
}

static void test_processes_by_fork(void **state)
{
    uint64_t ids[N];

    (void)state;
    processes(pool_of(N, ids, NULL), ids, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_processes_by_path),
        cmocka_unit_test(test_processes_by_fork),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
