/*
 * The breaker of one proxy, on a manual clock: closed, open for a random bench, half-open with one probe at a
 * time, closed or open again. The share of a pool that may be out is in test_bench.c.
 */
#include "support.h"

#include <math.h>

enum { N = 10 };

static void fail_times(struct gyre_pool *pool, uint64_t id, int times)
{
    while (times--) use_proxy(pool, id, GYRE_PROXY_BAD);
}

static void expect_state(struct gyre_pool *pool, uint64_t id, uint32_t state)
{
    assert_int_equal(proxy_of(pool, id).state, state);
}

/* Opens ids[0] and moves the clock to where its bench is over. */
static void make_half_open(struct gyre_pool *pool, uint64_t id)
{
    fail_times(pool, id, 5);
    expect_state(pool, id, GYRE_OPEN);
    OK(gyre_pool_set_time(pool, proxy_of(pool, id).benched_until + 0.2));
}

static void test_opens_after_five_in_a_row(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_lease lease;
    struct gyre_proxy proxy;

    (void)state;
    fail_times(pool, ids[0], 4);
    assert_int_equal(proxy_of(pool, ids[0]).consecutive_failures, 4);
    use_proxy(pool, ids[0], GYRE_OK); /* a success in between starts the count again */
    assert_int_equal(proxy_of(pool, ids[0]).consecutive_failures, 0);
    fail_times(pool, ids[0], 4);
    expect_state(pool, ids[0], GYRE_CLOSED);
    use_proxy(pool, ids[0], GYRE_ABORTED); /* says nothing: neither a failure nor a success */
    expect_state(pool, ids[0], GYRE_CLOSED);
    fail_times(pool, ids[0], 1);
    proxy = proxy_of(pool, ids[0]);
    assert_int_equal(proxy.state, GYRE_OPEN);
    assert_true(proxy.benched_until > 1000.0 && proxy.benched_until <= 1030.0 + 0.1);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_id(pool, ids[0], &lease));
    for (int i = 0; i < 3 * N; i++) {
        OK(gyre_acquire(pool, NULL, &lease));
        assert_true(lease.id != ids[0]);
    }
    expect_state(pool, ids[1], GYRE_CLOSED);
    gyre_pool_close(pool);
}

static void test_threshold_is_an_option(void **state)
{
    (void)state;
    for (uint32_t failures = 1; failures <= 12; failures++) {
        struct gyre_options options = manual_options();
        uint64_t ids[N];
        struct gyre_pool *pool;

        options.breaker_failures = failures;
        pool = pool_of(N, ids, &options);
        fail_times(pool, ids[3], (int)failures - 1);
        expect_state(pool, ids[3], GYRE_CLOSED);
        fail_times(pool, ids[3], 1);
        expect_state(pool, ids[3], GYRE_OPEN);
        gyre_pool_close(pool);
    }
}

/* A ban, a throttle, a broken target and an abort are no fault of the proxy. */
static void test_other_verdicts_do_not_open(void **state)
{
    static const int verdicts[] = {GYRE_BANNED, GYRE_THROTTLED, GYRE_TARGET_BAD, GYRE_ABORTED};
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);

    (void)state;
    for (size_t v = 0; v < COUNT(verdicts); v++) {
        for (int i = 0; i < 100; i++) use_proxy(pool, ids[v], verdicts[v]);
        expect_state(pool, ids[v], GYRE_CLOSED);
        assert_int_equal(proxy_of(pool, ids[v]).consecutive_failures, 0);
        assert_true(proxy_of(pool, ids[v]).success_rate == 1.0);
    }
    gyre_pool_close(pool);
}

static void test_late_results(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_lease leases[20];
    double until;

    (void)state;
    for (int i = 0; i < 20; i++) OK(gyre_acquire_id(pool, ids[0], &leases[i]));
    for (int i = 0; i < 5; i++) OK(gyre_complete_ms(pool, &leases[i], GYRE_PROXY_BAD, -1.0));
    until = proxy_of(pool, ids[0]).benched_until;
    /* Ten more failures of the same outage, sent before it was noticed, are not ten more outages. */
    for (int i = 5; i < 15; i++) OK(gyre_complete_ms(pool, &leases[i], GYRE_PROXY_BAD, -1.0));
    assert_true(proxy_of(pool, ids[0]).benched_until == until);
    expect_state(pool, ids[0], GYRE_OPEN);
    EXPECT_COUNT(proxy_of(pool, ids[0]).failed, 15, "counted all the same");
    for (int i = 15; i < 20; i++) OK(gyre_complete_ms(pool, &leases[i], GYRE_ABORTED, -1.0));
    expect_state(pool, ids[0], GYRE_OPEN);
    gyre_pool_close(pool);
}

static void test_half_open_takes_one_probe(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_lease probe, other;
    int found = 0;

    (void)state;
    make_half_open(pool, ids[0]);
    expect_state(pool, ids[0], GYRE_HALF_OPEN);
    assert_true(proxy_of(pool, ids[0]).benched_until == 0);
    for (int i = 0; i < 5 * N; i++) {
        OK(gyre_acquire(pool, NULL, &other));
        if (other.id != ids[0]) continue;
        found++;
        probe = other;
    }
    assert_int_equal(found, 1);
    expect_state(pool, ids[0], GYRE_HALF_OPEN);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_id(pool, ids[0], &other));
    OK(gyre_complete_ms(pool, &probe, GYRE_OK, 3.0));
    expect_state(pool, ids[0], GYRE_CLOSED);
    assert_int_equal(proxy_of(pool, ids[0]).consecutive_failures, 0);
    OK(gyre_acquire_id(pool, ids[0], &probe));
    OK(gyre_acquire_id(pool, ids[0], &other));
    gyre_pool_close(pool);
}

/* What merely looks must not take the probe: elsewhere, building the candidate list did. */
static void test_looking_takes_no_probe(void **state)
{
    uint64_t ids[N], id;
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = {.size = sizeof request, .exclude = &ids[0], .exclude_count = 1};
    struct gyre_lease lease;
    char text[64];

    (void)state;
    make_half_open(pool, ids[0]);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(stats_of(pool).benched, 0);
        assert_int_equal(stats_of(pool).eligible, N);
        expect_state(pool, ids[0], GYRE_HALF_OPEN);
        id = 0;
        while (gyre_pool_next(pool, &id) == 1) proxy_of(pool, id);
        assert_true(gyre_pool_url(pool, ids[0], text, sizeof text) > 0);
        request.picker = i % 2 ? GYRE_PICK_RANDOM : GYRE_PICK_ROUND_ROBIN;
        OK(gyre_acquire(pool, &request, &lease)); /* passes over it */
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
        OK(gyre_acquire_id(pool, ids[1], &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    }
    OK(gyre_acquire_id(pool, ids[0], &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    expect_state(pool, ids[0], GYRE_CLOSED);
    gyre_pool_close(pool);
}

/*
 * Each failed probe doubles the range of the bench, up to breaker_max. Full jitter: uniform in (0, limit]. Over 200
 * proxies the mean has sd limit / sqrt(12 * 200) = 0.0204 limit, so 6 sigma is 0.123 limit; the largest of 200 is
 * below 0.9 limit with probability 0.9^200 = 7e-10, and the seed is fixed.
 */
static void test_backoff(void **state)
{
    enum { MANY = 200 };
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_lease lease;
    uint64_t ids[MANY];

    (void)state;
    options.breaker_failures = 2;
    options.breaker_base = 10.0;
    options.breaker_max = 100.0;
    options.max_benched = 1.0;
    pool = pool_of(MANY, ids, &options);
    for (int i = 0; i < MANY; i++) fail_times(pool, ids[i], 2);
    for (int k = 0; k < 7; k++) {
        double limit = fmin(10.0 * (1 << k), 100.0), sum = 0, most = 0, now = gyre_pool_time(pool);

        for (int i = 0; i < MANY; i++) {
            double bench = proxy_of(pool, ids[i]).benched_until - now;

            expect_state(pool, ids[i], GYRE_OPEN);
            if (bench <= 0 || bench > limit + 0.11) fail_msg("bench %d is %g, limit %g", k, bench, limit);
            sum += bench;
            most = fmax(most, bench);
        }
        assert_true(fabs(sum / MANY - limit / 2) < 0.123 * limit);
        assert_true(most > 0.9 * limit);
        pass_time(pool, limit + 1);
        for (int i = 0; i < MANY; i++) { /* one failed probe is enough to open again */
            OK(gyre_acquire_id(pool, ids[i], &lease));
            OK(gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, -1.0));
        }
    }
    pass_time(pool, 101.0);
    for (int i = 0; i < MANY; i++) use_proxy(pool, ids[i], GYRE_OK); /* success forgets the doubling */
    for (int i = 0; i < MANY; i++) fail_times(pool, ids[i], 2);
    for (int i = 0; i < MANY; i++)
        assert_true(proxy_of(pool, ids[i]).benched_until - gyre_pool_time(pool) <= 10.0 + 0.11);
    gyre_pool_close(pool);
}

/* Ends of a probe that are neither success nor failure of the proxy must not leave it refused for ever. */
static void test_probe_without_a_verdict(void **state)
{
    static const int verdicts[] = {GYRE_ABORTED, GYRE_BANNED, GYRE_THROTTLED, GYRE_TARGET_BAD};

    (void)state;
    for (size_t v = 0; v < COUNT(verdicts); v++) {
        uint64_t ids[N];
        struct gyre_pool *pool = pool_of(N, ids, NULL);
        struct gyre_lease lease;

        make_half_open(pool, ids[0]);
        for (int i = 0; i < 3; i++) {
            OK(gyre_acquire_id(pool, ids[0], &lease));
            OK(gyre_complete_ms(pool, &lease, verdicts[v], 5.0));
        }
        if (verdicts[v] == GYRE_ABORTED) expect_state(pool, ids[0], GYRE_HALF_OPEN);
        OK(gyre_acquire_id(pool, ids[0], &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0));
        expect_state(pool, ids[0], GYRE_CLOSED);
        gyre_pool_close(pool);
    }
}

static void test_probe_that_never_returns(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_lease lost, lease;
    uint64_t ids[N];

    (void)state;
    options.lease_timeout = 60.0;
    pool = pool_of(N, ids, &options);
    make_half_open(pool, ids[0]);
    OK(gyre_acquire_id(pool, ids[0], &lost));
    pass_time(pool, 58.0);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_id(pool, ids[0], &lease));
    pass_time(pool, 3.5);
    OK(gyre_acquire_id(pool, ids[0], &lease)); /* the next probe; not refused for ever */
    EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &lost, GYRE_OK, 1.0));
    expect_state(pool, ids[0], GYRE_HALF_OPEN); /* the lost probe's late answer is not the new one's */
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    expect_state(pool, ids[0], GYRE_CLOSED);
    EXPECT_COUNT(proxy_of(pool, ids[0]).aborted, 1, "the lost probe");
    gyre_pool_close(pool);
}

/* A lease from before the bench that ends while the probe is out is not the probe. */
static void test_old_leases_are_not_the_probe(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_lease old[2], probe, other;

    (void)state;
    OK(gyre_acquire_id(pool, ids[0], &old[0]));
    OK(gyre_acquire_id(pool, ids[0], &old[1]));
    make_half_open(pool, ids[0]);
    OK(gyre_acquire_id(pool, ids[0], &probe));
    OK(gyre_complete_ms(pool, &old[0], GYRE_ABORTED, -1.0));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_id(pool, ids[0], &other)); /* the probe is still out */
    OK(gyre_complete_ms(pool, &probe, GYRE_PROXY_BAD, -1.0));
    expect_state(pool, ids[0], GYRE_OPEN);
    OK(gyre_complete_ms(pool, &old[1], GYRE_ABORTED, -1.0));
    expect_state(pool, ids[0], GYRE_OPEN);
    gyre_pool_close(pool);
}

static void test_switches(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_lease lease, refused;

    (void)state;
    OK(gyre_acquire_id(pool, ids[0], &lease));
    OK(gyre_pool_drain(pool, ids[0]));
    expect_state(pool, ids[0], GYRE_DRAINING);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_id(pool, ids[0], &refused));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 4.0)); /* in flight: finishes and counts */
    EXPECT_COUNT(proxy_of(pool, ids[0]).succeeded, 1, "drained");
    expect_state(pool, ids[0], GYRE_DRAINING);
    OK(gyre_pool_disable(pool, ids[0]));
    expect_state(pool, ids[0], GYRE_DISABLED);
    OK(gyre_pool_disable(pool, ids[0])); /* twice is as good as once */
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_id(pool, ids[0], &refused));
    OK(gyre_pool_enable(pool, ids[0]));
    OK(gyre_pool_enable(pool, ids[0]));
    expect_state(pool, ids[0], GYRE_CLOSED);
    use_proxy(pool, ids[0], GYRE_OK);

    fail_times(pool, ids[1], 5); /* enable ends a bench */
    OK(gyre_pool_enable(pool, ids[1]));
    expect_state(pool, ids[1], GYRE_CLOSED);
    use_proxy(pool, ids[1], GYRE_OK);

    fail_times(pool, ids[2], 5); /* a switch outranks the breaker, and time does not undo it */
    OK(gyre_pool_disable(pool, ids[2]));
    expect_state(pool, ids[2], GYRE_DISABLED);
    pass_time(pool, 4000.0);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_id(pool, ids[2], &refused));
    expect_state(pool, ids[2], GYRE_DISABLED);
    OK(gyre_pool_enable(pool, ids[2]));
    use_proxy(pool, ids[2], GYRE_OK);
    expect_state(pool, ids[2], GYRE_CLOSED);

    OK(gyre_acquire_id(pool, ids[3], &lease)); /* failures that arrive while disabled do not re-enable it */
    OK(gyre_pool_disable(pool, ids[3]));
    OK(gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, -1.0));
    pass_time(pool, 4000.0);
    expect_state(pool, ids[3], GYRE_DISABLED);
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_after_five_in_a_row),
        cmocka_unit_test(test_threshold_is_an_option),
        cmocka_unit_test(test_other_verdicts_do_not_open),
        cmocka_unit_test(test_late_results),
        cmocka_unit_test(test_half_open_takes_one_probe),
        cmocka_unit_test(test_looking_takes_no_probe),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_probe_without_a_verdict),
        cmocka_unit_test(test_probe_that_never_returns),
        cmocka_unit_test(test_old_leases_are_not_the_probe),
        cmocka_unit_test(test_switches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
