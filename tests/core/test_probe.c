/*
 * gyre_probe(): a proxy on the bench is leased to find out whether it works, and nobody else can have it meanwhile.
 */
#include "support.h"

enum { PROXIES = 4 };

static void bench(struct gyre_pool *pool, uint64_t id)
{
    for (int i = 0; i < 5; i++) use_proxy(pool, id, GYRE_PROXY_BAD);
    EXPECT_COUNT(proxy_of(pool, id).state, GYRE_OPEN, "state");
}

static struct gyre_pool *benched_pool(uint64_t *ids)
{
    struct gyre_pool *pool = pool_of(PROXIES, ids, NULL);

    bench(pool, ids[0]);
    return pool;
}

static void test_ok_ends_the_bench(void **state)
{
    uint64_t ids[PROXIES];
    struct gyre_lease lease;

    (void)state;
    struct gyre_pool *pool = benched_pool(ids);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_id(pool, ids[0], &lease));
    OK(gyre_probe(pool, ids[0], &lease));
    EXPECT_COUNT(proxy_of(pool, ids[0]).state, GYRE_HALF_OPEN, "state while it is probed");
    EXPECT_COUNT(proxy_of(pool, ids[0]).active, 1, "active");
    expect_nothing_found(pool, "check");
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 10));
    EXPECT_COUNT(proxy_of(pool, ids[0]).state, GYRE_CLOSED, "state");
    EXPECT_COUNT(stats_of(pool).eligible, PROXIES, "eligible");
    expect_nothing_found(pool, "check");
    gyre_pool_close(pool);
}

/* Nobody else gets it: neither another probe nor the traffic. */
static void test_one_at_a_time(void **state)
{
    struct gyre_request request = {.size = sizeof request};
    uint64_t ids[PROXIES];
    struct gyre_lease lease, other;

    (void)state;
    struct gyre_pool *pool = benched_pool(ids);
    OK(gyre_probe(pool, ids[0], &lease));
    EXPECT(GYRE_ENO_PROXY, gyre_probe(pool, ids[0], &other));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_id(pool, ids[0], &other));
    for (int picker = GYRE_PICK_ROUND_ROBIN; picker <= GYRE_PICK_HASH; picker++)
        for (int i = 0; i < 20; i++) {
            request.picker = (uint32_t)picker, request.key = "k";
            OK(gyre_acquire(pool, &request, &other));
            if (other.id == ids[0]) fail_msg("picker %d picked the one that is probed", picker);
            OK(gyre_complete_ms(pool, &other, GYRE_OK, 10));
        }
    OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
    gyre_pool_close(pool);
}

static void test_failure_makes_it_longer(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[PROXIES];
    struct gyre_lease lease;

    (void)state;
    options.breaker_base = 1;
    options.breaker_max = 1024;
    struct gyre_pool *pool = pool_of(PROXIES, ids, &options);
    bench(pool, ids[0]);
    double longest = 0, left;
    for (int i = 0; i < 10; i++) {
        OK(gyre_probe(pool, ids[0], &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, 10));
        EXPECT_COUNT(proxy_of(pool, ids[0]).state, GYRE_OPEN, "state");
        left = proxy_of(pool, ids[0]).benched_until - gyre_pool_time(pool);
        if (left > longest) longest = left;
    }
    assert_true(longest > 2 && longest <= 1024.1); /* the seed is fixed; ranges double from (0, 2] to (0, 1024] */
    EXPECT_COUNT(stats_of(pool).benched, 1, "benched");
    expect_nothing_found(pool, "check");
    gyre_pool_close(pool);
}

/* What says nothing leaves the bench as it was: until the same moment, and then half-open as ever. */
static void test_nothing_said(void **state)
{
    uint64_t ids[PROXIES];
    struct gyre_lease lease;

    (void)state;
    struct gyre_pool *pool = benched_pool(ids);
    double until = proxy_of(pool, ids[0]).benched_until;
    for (int verdict = GYRE_ABORTED; verdict; verdict = verdict == GYRE_ABORTED ? GYRE_BANNED : 0) {
        OK(gyre_probe(pool, ids[0], &lease));
        OK(gyre_complete_ms(pool, &lease, verdict, -1));
        EXPECT_COUNT(proxy_of(pool, ids[0]).state, GYRE_OPEN, "state after verdict %d", verdict);
        assert_true(proxy_of(pool, ids[0]).benched_until == until);
        expect_nothing_found(pool, "check");
    }
    pass_time(pool, until - gyre_pool_time(pool) + 1);
    EXPECT_COUNT(proxy_of(pool, ids[0]).state, GYRE_HALF_OPEN, "state when its time has come");
    use_proxy(pool, ids[0], GYRE_OK);
    EXPECT_COUNT(proxy_of(pool, ids[0]).state, GYRE_CLOSED, "state");
    gyre_pool_close(pool);
}

/* A probe that never comes back is ended after a minute, whatever the bench. */
static void test_deadline(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[PROXIES];
    struct gyre_lease lease;

    (void)state;
    options.breaker_base = 3600;
    struct gyre_pool *pool = pool_of(PROXIES, ids, &options);
    bench(pool, ids[0]);
    OK(gyre_probe(pool, ids[0], &lease));
    for (int i = 0; i < 20; i++) pass_time(pool, 4);
    EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &lease, GYRE_OK, 10));
    EXPECT_COUNT(proxy_of(pool, ids[0]).active, 0, "active");
    expect_nothing_found(pool, "check");
    OK(gyre_probe(pool, ids[0], &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 10));
    EXPECT_COUNT(proxy_of(pool, ids[0]).state, GYRE_CLOSED, "state");
    gyre_pool_close(pool);
}

/* Those in use are leased as by id; what an operator took out is left alone; limits hold, and cost no bench. */
static void test_others(void **state)
{
    struct gyre_proxy_spec spec = {.size = sizeof spec, .rate = "1/1000s"};
    uint64_t ids[PROXIES];
    struct gyre_lease lease;

    (void)state;
    struct gyre_pool *pool = benched_pool(ids);
    OK(gyre_probe(pool, ids[1], &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 10));
    OK(gyre_pool_disable(pool, ids[1]));
    EXPECT(GYRE_ENO_PROXY, gyre_probe(pool, ids[1], &lease));
    OK(gyre_pool_drain(pool, ids[0])); /* benched and draining */
    EXPECT(GYRE_ENO_PROXY, gyre_probe(pool, ids[0], &lease));
    OK(gyre_pool_update(pool, ids[2], &spec));
    use_proxy(pool, ids[2], GYRE_OK);
    EXPECT(GYRE_EBUSY, gyre_probe(pool, ids[2], &lease));
    bench(pool, ids[3]);
    OK(gyre_pool_update(pool, ids[3], &spec));
    OK(gyre_probe(pool, ids[3], &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, 10));
    double until = proxy_of(pool, ids[3]).benched_until;
    EXPECT(GYRE_EBUSY, gyre_probe(pool, ids[3], &lease));
    EXPECT_COUNT(proxy_of(pool, ids[3]).state, GYRE_OPEN, "state of one at its limit");
    assert_true(proxy_of(pool, ids[3]).benched_until == until);
    EXPECT(GYRE_ENOT_FOUND, gyre_probe(pool, 77, &lease));
    EXPECT(GYRE_EINVALID, gyre_probe(pool, ids[3], NULL));
    expect_nothing_found(pool, "check");
    gyre_pool_close(pool);
}

/* ---- many at once ---- */

struct prober {
    struct gyre_pool *pool;
    const uint64_t *ids;
    uint64_t seed;
};

static void *probe_and_use(void *argument)
{
    struct prober *prober = argument;
    struct rng rng = {prober->seed};

    for (unsigned long i = rounds(20000); i--;) {
        struct gyre_lease lease;
        int probing = rng_below(&rng, 2) != 0;
        uint64_t id = prober->ids[rng_below(&rng, PROXIES)];
        if ((probing ? gyre_probe(prober->pool, id, &lease) : gyre_acquire(prober->pool, NULL, &lease)) != 0) continue;
        static const int verdicts[] = {GYRE_OK, GYRE_PROXY_BAD, GYRE_PROXY_BAD, GYRE_PROXY_BAD, GYRE_ABORTED};
        REQUIRE(gyre_complete_ms(prober->pool, &lease, verdicts[rng_below(&rng, 5)], 1.0) == 0);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct gyre_options options = {.size = sizeof options, .max_proxies = 64, .max_benched = 1, .breaker_base = 1};
    struct prober probers[4];
    uint64_t ids[PROXIES];

    (void)state;
    struct gyre_pool *pool = open_pool(&options);
    add_numbered(pool, 1, PROXIES, ids);
    for (unsigned i = 0; i < COUNT(probers); i++) probers[i] = (struct prober){pool, ids, i + 1};
    run_threads(COUNT(probers), probe_and_use, probers, sizeof *probers);
    EXPECT_COUNT(stats_of(pool).active, 0, "active");
    expect_nothing_found(pool, "check");
    for (int i = 0; i < PROXIES; i++) {
        struct gyre_lease lease;
        OK(gyre_probe(pool, ids[i], &lease)); /* no probe's place is lost */
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
        EXPECT_COUNT(proxy_of(pool, ids[i]).state, GYRE_CLOSED, "state of proxy %d", i);
    }
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ok_ends_the_bench), cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_failure_makes_it_longer), cmocka_unit_test(test_nothing_said),
        cmocka_unit_test(test_deadline),  cmocka_unit_test(test_others), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
