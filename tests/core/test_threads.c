/*
 * Sixteen threads, every call there is: sums exact, nobody handed what has been removed. Under tsan this file is
 * the one that looks for races.
 */
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { THREADS = 16, N = 50 };

struct worker {
    struct gyre_pool *pool;
    const uint64_t *ids;
    struct rng rng;
    unsigned long rounds;
    uint64_t started, succeeded, failed, aborted, bytes, closed;
    atomic_int *stop;
    int plain; /* only what takes the shortest way: successes of healthy proxies, no bytes */
};

static void count(struct worker *worker, const struct gyre_outcome *outcome)
{
    worker->bytes += outcome->bytes;
    worker->succeeded +=
        outcome->verdict == GYRE_OK || outcome->verdict == GYRE_THROTTLED || outcome->verdict == GYRE_TARGET_BAD;
    worker->failed += outcome->verdict == GYRE_BANNED || outcome->verdict == GYRE_PROXY_BAD;
    worker->aborted += outcome->verdict == GYRE_ABORTED;
}

/* Holds up to eight leases at a time and ends them in random order with random verdicts. */
static void *lease_and_complete(void *argument)
{
    struct worker *worker = argument;
    struct gyre_lease held[8];
    uint32_t holding = 0;

    for (unsigned long i = 0; i < worker->rounds || holding;) {
        struct gyre_outcome outcome = outcome_of(1 + (int)rng_below(&worker->rng, 6));
        uint32_t k;

        if (i < worker->rounds && (holding == 0 || (holding < COUNT(held) && rng_below(&worker->rng, 2)))) {
            if (worker->plain || rng_below(&worker->rng, 4))
                REQUIRE(gyre_acquire(worker->pool, NULL, &held[holding]) == 0);
            else
                REQUIRE(gyre_acquire_id(worker->pool, worker->ids[rng_below(&worker->rng, N)], &held[holding]) ==
                        0);
            holding++;
            worker->started++;
            i++;
            continue;
        }
        k = rng_below(&worker->rng, holding);
        outcome.has_ms = 1;
        outcome.ms = 100 * rng_unit(&worker->rng);
        if (worker->plain)
            outcome.verdict = GYRE_OK;
        else
            outcome.bytes = rng_below(&worker->rng, 1000);
        REQUIRE(gyre_complete(worker->pool, &held[k], &outcome) == 0);
        if (rng_below(&worker->rng, 16) == 0)
            REQUIRE(gyre_complete(worker->pool, &held[k], &outcome) == GYRE_ECLOSED);
        count(worker, &outcome);
        held[k] = held[--holding];
    }
    return NULL;
}

static void sums_are_exact(uint32_t proxies, int plain)
{
    struct gyre_options options = manual_options();
    struct worker workers[THREADS];
    uint64_t ids[N], seed = test_seed(1), started = 0, succeeded = 0, failed = 0, aborted = 0, bytes = 0,
                     window = 0;
    struct gyre_pool *pool;
    struct gyre_stats stats;

    options.breaker_failures = 1000000000;
    options.max_leases = 256;
    pool = pool_of(proxies, ids, &options);
    for (unsigned i = 0; i < THREADS; i++)
        workers[i] =
            (struct worker){.pool = pool, .ids = ids, .rng = {seed + i}, .rounds = rounds(100000), .plain = plain};
    run_threads(THREADS, lease_and_complete, workers, sizeof *workers);
    for (unsigned i = 0; i < THREADS; i++) {
        started += workers[i].started;
        succeeded += workers[i].succeeded;
        failed += workers[i].failed;
        aborted += workers[i].aborted;
        bytes += workers[i].bytes;
    }
    stats = stats_of(pool);
    EXPECT_COUNT(stats.started, started, "all threads");
    EXPECT_COUNT(stats.succeeded, succeeded, "all threads");
    EXPECT_COUNT(stats.failed, failed, "all threads");
    EXPECT_COUNT(stats.aborted, aborted, "all threads");
    EXPECT_COUNT(stats.active, 0, "at rest");
    for (uint32_t i = 0; i < proxies; i++) {
        struct gyre_proxy proxy = proxy_of(pool, ids[i]);

        assert_true(proxy.ema_ms >= 0 && proxy.ema_ms <= 100); /* never outside of its samples */
        bytes -= proxy.bytes;
        window += proxy.window_started;
    }
    EXPECT_COUNT(bytes, 0, "bytes that no proxy has");
    EXPECT_COUNT(window, started, "the clock stands still: all in the window");
    gyre_pool_close(pool);
}

static void test_sums_are_exact(void **state)
{
    (void)state;
    sums_are_exact(N, 0);
}

/* All on two proxies, so that every word is fought over, and on the shortest way through the code. */
static void test_sums_of_successes(void **state)
{
    (void)state;
    sums_are_exact(2, 1);
}

/*
 * Two threads complete the same lease at the same moment, again and again: one wins, and it counts once. They meet
 * by spinning, and whoever won has to wait a little longer the next time, so that they come to within nanoseconds.
 */
struct contest {
    struct gyre_pool *pool;
    struct gyre_lease lease;
    atomic_ulong begun, ended; /* number of the round; begun is OVER after the last */
    int result;
};

#define OVER (~0UL)

/* Waits for `word` to become other than `last`. */
static unsigned long await(atomic_ulong *word, unsigned long last)
{
    unsigned long now;

    for (unsigned spins = 0; (now = atomic_load(word)) == last; spins++)
        if (spins > 10000) sched_yield();
    return now;
}

static void *contend(void *argument)
{
    struct contest *contest = argument;
    unsigned long round = 0;

    while ((round = await(&contest->begun, round)) != OVER) {
        struct gyre_lease copy = contest->lease;

        contest->result = gyre_complete_ms(contest->pool, &copy, GYRE_OK, 10.0);
        atomic_store(&contest->ended, round);
    }
    return NULL;
}

static void test_one_of_two_completes(void **state)
{
    uint64_t id, wins = 0, not_once = 0, round = 0;
    int32_t delay = 0;
    struct contest contest = {.pool = pool_of(1, &id, NULL)};
    struct rng rng = {test_seed(1)};
    time_t end = time(NULL) + 3; /* where one of the two always waits for a core, a round takes a time slice */
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, contend, &contest), 0);
    while (round < rounds(50000) && time(NULL) <= end) {
        struct gyre_lease copy;
        int result;

        REQUIRE(gyre_acquire(contest.pool, NULL, &contest.lease) == 0);
        copy = contest.lease;
        atomic_store(&contest.begun, ++round);
        for (volatile int32_t wait = delay + (int32_t)rng_below(&rng, 16); wait > 0; wait--) continue;
        result = gyre_complete_ms(contest.pool, &copy, GYRE_OK, 10.0);
        await(&contest.ended, round - 1);
        not_once += (result == 0) + (contest.result == 0) != 1 || result + contest.result != GYRE_ECLOSED;
        wins += result == 0;
        delay += result == 0 ? 4 : -4;
    }
    atomic_store(&contest.begun, OVER);
    assert_int_equal(pthread_join(thread, NULL), 0);
    EXPECT_COUNT(not_once, 0, "leases that ended twice or not at all, or with another error");
    EXPECT_COUNT(proxy_of(contest.pool, id).succeeded, round, "once a lease");
    EXPECT_COUNT(proxy_of(contest.pool, id).active, 0, "at rest");
    print_message("the main thread won %llu of %llu\n", (unsigned long long)wins, (unsigned long long)round);
    gyre_pool_close(contest.pool);
}

/* Adds, removes, switches, updates and reads while others lease. */
static void *churn(void *argument)
{
    struct worker *worker = argument;
    char url[64], text[256];

    for (unsigned long i = 0; i < worker->rounds; i++) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url, .tags = "a,b", .country = "nl"};
        struct gyre_proxy proxy = {.size = sizeof proxy};
        struct gyre_stats stats = {.size = sizeof stats};
        uint64_t id = 0;

        snprintf(url, sizeof url, "http://u:p@extra-%u", rng_below(&worker->rng, 100));
        switch (rng_below(&worker->rng, 8)) {
        case 0:
        case 1: REQUIRE(gyre_pool_add(worker->pool, &spec, &id) != GYRE_EINVALID); break;
        case 2:
        case 3:
            if (gyre_pool_find(worker->pool, url, &id) == 0) gyre_pool_remove(worker->pool, id);
            break;
        case 4: /* it is whole, or gone */
            while (gyre_pool_next(worker->pool, &id) == 1) {
                if (gyre_pool_get(worker->pool, id, &proxy) == 0) REQUIRE(proxy.host[0] && proxy.id == id);
                if (gyre_pool_url_with_credentials(worker->pool, id, text, sizeof text) > 0)
                    REQUIRE(strstr(text, "://"));
            }
            break;
        case 5:
            spec.url = NULL;
            if (gyre_pool_find(worker->pool, url, &id) == 0) gyre_pool_update(worker->pool, id, &spec);
            break;
        case 6: REQUIRE(gyre_pool_stats(worker->pool, &stats) == 0); break;
        default:
            if (gyre_pool_find(worker->pool, url, &id) == 0)
                (i % 2 ? gyre_pool_drain : gyre_pool_enable)(worker->pool, id);
        }
    }
    return NULL;
}

static void *lease_anything(void *argument)
{
    struct worker *worker = argument;

    while (!atomic_load(worker->stop)) {
        struct gyre_request request = {.size = sizeof request,
                                       .picker = rng_below(&worker->rng, 3),
                                       .exclude = worker->ids,
                                       .exclude_count = 3};
        struct gyre_lease lease;

        int result = gyre_acquire(worker->pool, &request, &lease);

        if (result == GYRE_ENO_PROXY) continue; /* 80 % may be benched, and the others drained or excluded */
        REQUIRE(result == 0);
        for (int i = 0; i < 3; i++) REQUIRE(lease.id != worker->ids[i]);
        REQUIRE(gyre_complete_ms(worker->pool, &lease, 1 + (int)rng_below(&worker->rng, 6), 5.0) == 0);
        worker->started++;
    }
    return NULL;
}

static void test_membership_changes_under_leases(void **state)
{
    struct gyre_options options = manual_options();
    struct worker leasers[4], churners[4];
    uint64_t ids[N], id = 0;
    struct gyre_pool *pool;
    pthread_t threads[COUNT(leasers)];
    atomic_int stop = 0;

    (void)state;
    options.max_proxies = 128; /* N + 100 do not fit: FULL too */
    options.max_leases = 64;
    pool = pool_of(N, ids, &options);
    for (unsigned i = 0; i < COUNT(leasers); i++) {
        leasers[i] = (struct worker){.pool = pool, .ids = ids, .rng = {i}, .stop = &stop};
        churners[i] = (struct worker){.pool = pool, .ids = ids, .rng = {100 + i}, .rounds = rounds(10000)};
        assert_int_equal(pthread_create(&threads[i], NULL, lease_anything, &leasers[i]), 0);
    }
    run_threads(COUNT(churners), churn, churners, sizeof *churners);
    atomic_store(&stop, 1);
    for (unsigned i = 0; i < COUNT(leasers); i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    while (gyre_pool_next(pool, &id) == 1) EXPECT_COUNT(proxy_of(pool, id).active, 0, "at rest");
    stats_of(pool);
    for (int i = 0; i < N; i++) proxy_of(pool, ids[i]); /* the ones nobody removed */
    for (int i = 0; i < 3; i++) EXPECT_COUNT(proxy_of(pool, ids[i]).started, 0, "always excluded");
    gyre_pool_close(pool);
}

/* One deadline, many threads that could notice: every forgotten lease ends once. */
static void test_deadline_under_threads(void **state)
{
    (void)state;
    for (unsigned long round = rounds(20); round; round--) {
        struct gyre_options options = manual_options();
        struct worker workers[8];
        struct gyre_lease forgotten[200];
        uint64_t ids[N], closed = 0;
        struct gyre_pool *pool;

        options.lease_timeout = 10.0;
        options.breaker_failures = 1000000000;
        options.max_leases = 512;
        pool = pool_of(N, ids, &options);
        for (size_t i = 0; i < COUNT(forgotten); i++) OK(gyre_acquire(pool, NULL, &forgotten[i]));
        pass_time(pool, 12.0);
        for (unsigned i = 0; i < COUNT(workers); i++)
            workers[i] = (struct worker){.pool = pool, .ids = ids, .rng = {round * 100 + i}, .rounds = 300};
        run_threads(COUNT(workers), lease_and_complete, workers, sizeof *workers);
        for (size_t i = 0; i < COUNT(forgotten); i++)
            closed += gyre_complete_ms(pool, &forgotten[i], GYRE_OK, 1.0) == GYRE_ECLOSED;
        EXPECT_COUNT(closed, COUNT(forgotten), "forgotten leases");
        EXPECT_COUNT(stats_of(pool).active, 0, "at rest");
        for (size_t i = 0; i < COUNT(workers); i++) closed += workers[i].aborted;
        EXPECT_COUNT(stats_of(pool).aborted, closed, "forgotten and aborted");
        gyre_pool_close(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_are_exact),         cmocka_unit_test(test_sums_of_successes),
        cmocka_unit_test(test_one_of_two_completes),   cmocka_unit_test(test_membership_changes_under_leases),
        cmocka_unit_test(test_deadline_under_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
