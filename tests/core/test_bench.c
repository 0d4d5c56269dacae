/*
 * The bench of a whole pool: no more than max_benched of it at once, what NO_PROXY says, and that one thread of
 * many takes a probe.
 */
#include "support.h"

#include <ctype.h>
#include <math.h>

enum { N = 100 };

static void bench(struct gyre_pool *pool, uint64_t id)
{
    use_proxy(pool, id, GYRE_PROXY_BAD);
    assert_int_equal(proxy_of(pool, id).state, GYRE_OPEN);
}

/* Everything fails, as it does when the network is down or the rule is wrong: a fifth of the pool stays. */
static void test_cap(void **state)
{
    static const struct {
        double share;
        uint32_t proxies, most;
    } rows[] = {{0.0, 100, 80}, {0.5, 100, 50}, {0.05, 100, 5}, {1.0, 100, 100},
                {0.8, 5, 4},    {0.8, 2, 1},    {0.8, 1, 0},    {0.5, 3, 1}};

    (void)state;
    for (size_t row = 0; row < COUNT(rows); row++) {
        struct gyre_options options = manual_options();
        struct gyre_pool *pool;
        struct gyre_lease lease;
        uint64_t ids[N];

        options.max_benched = rows[row].share;
        options.breaker_base = options.breaker_max = 1e6;
        pool = pool_of(rows[row].proxies, ids, &options);
        for (int i = 0; i < 2000; i++) {
            if (gyre_acquire(pool, NULL, &lease) == GYRE_ENO_PROXY) break;
            OK(gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, -1.0));
            assert_true(stats_of(pool).benched <= rows[row].most);
        }
        assert_int_equal(stats_of(pool).benched, rows[row].most);
        assert_int_equal(stats_of(pool).eligible, rows[row].proxies - rows[row].most);
        EXPECT(rows[row].proxies > rows[row].most ? 0 : GYRE_ENO_PROXY, gyre_acquire(pool, NULL, &lease));
        gyre_pool_close(pool);
    }
}

/* Places on the bench come free again, by time and by hand, and the pool's size counts as it is now. */
static void test_cap_moves(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    uint64_t ids[2 * N];

    (void)state;
    options.breaker_failures = 1;
    options.max_benched = 0.5;
    options.breaker_base = options.breaker_max = 1e6;
    pool = pool_of(N, ids, &options);
    for (int i = 0; i < 50; i++) bench(pool, ids[i]);
    use_proxy(pool, ids[50], GYRE_PROXY_BAD);
    assert_int_equal(proxy_of(pool, ids[50]).state, GYRE_CLOSED); /* the bench is full */
    OK(gyre_pool_enable(pool, ids[0]));
    bench(pool, ids[50]);
    OK(gyre_pool_remove(pool, ids[1])); /* 49 of 99 */
    use_proxy(pool, ids[51], GYRE_PROXY_BAD);
    assert_int_equal(proxy_of(pool, ids[51]).state, GYRE_CLOSED);
    add_numbered(pool, N, 3, ids + N); /* 49 of 102: two more */
    bench(pool, ids[51]);
    bench(pool, ids[52]);
    use_proxy(pool, ids[53], GYRE_PROXY_BAD);
    assert_int_equal(proxy_of(pool, ids[53]).state, GYRE_CLOSED);
    pass_time(pool, 1e6 + 1); /* all benches are over; nobody has probed yet */
    assert_int_equal(stats_of(pool).benched, 0);
    gyre_pool_close(pool);
}

struct worker {
    struct gyre_pool *pool;
    unsigned long rounds;
    uint64_t id;
    unsigned won;
    struct gyre_lease lease;
};

static void *fail_everything(void *argument)
{
    struct worker *worker = argument;
    struct gyre_lease lease;

    for (unsigned long i = 0; i < worker->rounds; i++) {
        REQUIRE(gyre_acquire(worker->pool, NULL, &lease) == 0);
        REQUIRE(gyre_complete_ms(worker->pool, &lease, GYRE_PROXY_BAD, -1.0) == 0);
    }
    return NULL;
}

/* The limit is checked for the state after benching, also when eight threads bench at the same moment. */
static void test_cap_under_threads(void **state)
{
    (void)state;
    for (unsigned long round = rounds(20); round; round--) {
        struct gyre_options options = manual_options();
        struct worker workers[8];
        struct gyre_pool *pool;
        uint64_t ids[N];

        options.breaker_failures = 1;
        options.breaker_base = options.breaker_max = 1e6;
        pool = pool_of(N, ids, &options);
        for (size_t i = 0; i < COUNT(workers); i++) workers[i] = (struct worker){.pool = pool, .rounds = 200};
        run_threads(COUNT(workers), fail_everything, workers, sizeof *workers);
        assert_int_equal(stats_of(pool).benched, 80);
        assert_int_equal(stats_of(pool).eligible, 20);
        EXPECT_COUNT(stats_of(pool).failed, 1600, "leases");
        gyre_pool_close(pool);
    }
}

static void *take_probe(void *argument)
{
    struct worker *worker = argument;
    int result = gyre_acquire_id(worker->pool, worker->id, &worker->lease);

    REQUIRE(result == 0 || result == GYRE_ENO_PROXY);
    worker->won = result == 0;
    return NULL;
}

static void test_one_probe_among_threads(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    uint64_t ids[N];

    (void)state;
    options.breaker_failures = 1;
    pool = pool_of(N, ids, &options);
    for (unsigned long round = rounds(200); round; round--) {
        struct worker workers[8];
        unsigned won = 0;

        if (proxy_of(pool, ids[0]).state == GYRE_CLOSED) bench(pool, ids[0]);
        pass_time(pool, 4000.0);
        for (size_t i = 0; i < COUNT(workers); i++) workers[i] = (struct worker){.pool = pool, .id = ids[0]};
        run_threads(COUNT(workers), take_probe, workers, sizeof *workers);
        for (size_t i = 0; i < COUNT(workers); i++) {
            won += workers[i].won;
            if (workers[i].won)
                OK(gyre_complete_ms(pool, &workers[i].lease, round % 2 ? GYRE_OK : GYRE_PROXY_BAD, -1.0));
        }
        assert_int_equal(won, 1);
    }
    gyre_pool_close(pool);
}

/* "N word" occurs in the detail, with nothing but N in front. */
static void expect_said(const char *text)
{
    const char *found = strstr(gyre_detail(), text);

    if (!found || (found > gyre_detail() && isdigit((unsigned char)found[-1])))
        fail_msg("\"%s\" is not in: %s", text, gyre_detail());
}

static void test_no_proxy_says_why(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_request request = {.size = sizeof request};
    struct gyre_pool *pool;
    struct gyre_lease probe, lease;
    uint64_t ids[N];

    (void)state;
    options.breaker_failures = 1;
    options.max_benched = 1.0;
    options.breaker_base = options.breaker_max = 1e6;
    pool = pool_of(N, ids, &options);
    for (int i = 0; i < 2; i++) OK(gyre_pool_disable(pool, ids[i]));
    for (int i = 2; i < 5; i++) OK(gyre_pool_drain(pool, ids[i]));
    for (int i = 5; i < 12; i++) bench(pool, ids[i]);
    request.exclude = ids + 12;
    request.exclude_count = N - 12;
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    expect_said("2 disabled");
    expect_said("3 draining");
    expect_said("7 benched");
    expect_said("88 excluded");

    pass_time(pool, 1e6 + 1);
    for (int i = 6; i < 12; i++) OK(gyre_pool_remove(pool, ids[i]));
    OK(gyre_acquire_id(pool, ids[5], &probe)); /* the only candidate is being probed */
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    expect_said("2 disabled");
    OK(gyre_complete_ms(pool, &probe, GYRE_OK, 1.0));
    OK(gyre_acquire(pool, &request, &lease));
    EXPECT_COUNT(lease.id, ids[5], "the one that is back");
    gyre_pool_close(pool);
}

/* A way back always exists: after the longest outage, time alone brings every proxy back to be tried. */
static void test_all_come_back(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    uint64_t ids[N];
    struct gyre_lease lease;

    (void)state;
    options.max_benched = 1.0;
    pool = pool_of(N, ids, &options);
    for (int day = 0; day < 50; day++) {
        for (int i = 0; i < 10 * N && gyre_acquire(pool, NULL, &lease) == 0; i++)
            OK(gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, -1.0));
        assert_int_equal(stats_of(pool).benched, N);
        pass_time(pool, 3600.5);
    }
    for (int i = 0; i < N; i++) {
        OK(gyre_acquire(pool, NULL, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    }
    for (int i = 0; i < N; i++) assert_int_equal(proxy_of(pool, ids[i]).state, GYRE_CLOSED);
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_cap_moves),
        cmocka_unit_test(test_cap_under_threads),
        cmocka_unit_test(test_one_probe_among_threads),
        cmocka_unit_test(test_no_proxy_says_why),
        cmocka_unit_test(test_all_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
