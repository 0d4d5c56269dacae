/* Leases one at a time: what each verdict counts, that a lease ends once, latencies, deadlines, limits. */
#include "support.h"

#include <float.h>
#include <math.h>

static void test_acquire_counts_at_once(void **state)
{
    uint64_t ids[3];
    struct gyre_pool *pool = pool_of(3, ids, NULL);
    struct gyre_lease leases[5];
    const struct gyre_slot *slot;
    struct gyre_proxy proxy;

    (void)state;
    for (int i = 0; i < 5; i++) {
        OK(gyre_acquire_id(pool, ids[1], &leases[i]));
        EXPECT_COUNT(leases[i].id, ids[1], "lease %d", i);
        EXPECT_COUNT((uint64_t)leases[i].generation << 20 | leases[i].slot, leases[i].id, "lease %d", i);
        proxy = proxy_of(pool, ids[1]);
        EXPECT_COUNT(proxy.started, (uint64_t)i + 1, "after acquire %d", i);
        EXPECT_COUNT(proxy.active, (uint64_t)i + 1, "after acquire %d", i);
        EXPECT_COUNT(proxy.window_started, (uint64_t)i + 1, "after acquire %d", i);
    }
    assert_true(fabs(proxy.last_used - 1000.0) < 0.11); /* kept in tenths of a second */
    slot = &gyre_pool_slots(pool)[leases[0].slot];
    EXPECT_COUNT(slot->use, 5 << 24 | 5, "started << 24 | active");
    assert_int_equal(slot->generation, leases[0].generation);
    for (int i = 0; i < 5; i++) OK(gyre_complete_ms(pool, &leases[i], GYRE_OK, 1.0));
    EXPECT_COUNT(slot->use, 5 << 24, "started << 24 | active");
    EXPECT_COUNT(proxy_of(pool, ids[0]).started + proxy_of(pool, ids[2]).started, 0, "bystanders");
    gyre_pool_close(pool);
}

/* The table in gyre.h (enum gyre_verdict), line by line. */
static void test_verdicts(void **state)
{
    static const struct {
        int verdict;
        unsigned succeeded, failed, aborted, samples;
        double rate; /* success_rate after one, from 1 */
    } rows[] = {{GYRE_OK, 1, 0, 0, 1, 1.0},         {GYRE_BANNED, 0, 1, 0, 0, 1.0},
                {GYRE_THROTTLED, 1, 0, 0, 0, 1.0},  {GYRE_PROXY_BAD, 0, 1, 0, 0, 0.95},
                {GYRE_TARGET_BAD, 1, 0, 0, 0, 1.0}, {GYRE_ABORTED, 0, 0, 1, 0, 1.0}};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t id;
        struct gyre_pool *pool = pool_of(1, &id, NULL);
        struct gyre_outcome outcome = outcome_of(rows[i].verdict);
        struct gyre_lease lease;
        struct gyre_proxy proxy;

        outcome.has_ms = 1;
        outcome.ms = 40.0;
        outcome.bytes = 1000;
        OK(gyre_acquire(pool, NULL, &lease));
        OK(gyre_complete(pool, &lease, &outcome));
        proxy = proxy_of(pool, id);
        EXPECT_COUNT(proxy.completed, 1, "verdict %d", rows[i].verdict);
        EXPECT_COUNT(proxy.succeeded, rows[i].succeeded, "verdict %d", rows[i].verdict);
        EXPECT_COUNT(proxy.failed, rows[i].failed, "verdict %d", rows[i].verdict);
        EXPECT_COUNT(proxy.aborted, rows[i].aborted, "verdict %d", rows[i].verdict);
        EXPECT_COUNT(proxy.window_succeeded, rows[i].succeeded, "verdict %d", rows[i].verdict);
        EXPECT_COUNT(proxy.window_failed, rows[i].failed, "verdict %d", rows[i].verdict);
        EXPECT_COUNT(proxy.bytes, 1000, "verdict %d", rows[i].verdict);
        assert_true(rows[i].samples ? proxy.ema_ms == 40.0 : isnan(proxy.ema_ms));
        assert_true(fabs(proxy.success_rate - rows[i].rate) < 1e-6);
        assert_int_equal(proxy.consecutive_failures, rows[i].verdict == GYRE_PROXY_BAD);
        gyre_pool_close(pool);
    }
}

static void test_a_lease_ends_once(void **state)
{
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, NULL);
    struct gyre_lease lease, copy, next;
    struct gyre_proxy proxy;

    (void)state;
    OK(gyre_acquire(pool, NULL, &lease));
    copy = lease;
    OK(gyre_complete_ms(pool, &copy, GYRE_OK, 10.0));
    for (int i = 0; i < 3; i++) {
        EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, 500.0));
        EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &copy, GYRE_OK, 500.0));
    }
    proxy = proxy_of(pool, id);
    EXPECT_COUNT(proxy.completed, 1, "double complete");
    EXPECT_COUNT(proxy.failed, 0, "double complete");
    assert_true(proxy.ema_ms == 10.0 && proxy.success_rate == 1.0);

    /* A lease that ended must not end the one that took over its place in the lease table. */
    copy = lease;
    OK(gyre_acquire(pool, NULL, &next));
    EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &copy, GYRE_OK, 1.0));
    EXPECT_COUNT(proxy_of(pool, id).active, 1, "the next lease");
    OK(gyre_complete_ms(pool, &next, GYRE_OK, 10.0));
    gyre_pool_close(pool);
}

/* The table is small, so that entries come round again and again; every lease that ever ended stays dead. */
static void test_stale_leases_stay_dead(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_lease old[500], live[8];
    struct gyre_pool *pool;
    uint64_t id;

    (void)state;
    options.max_leases = 64;
    pool = pool_of(1, &id, &options);
    for (size_t i = 0; i < COUNT(old); i++) {
        OK(gyre_acquire(pool, NULL, &old[i]));
        OK(gyre_complete_ms(pool, &old[i], GYRE_OK, -1.0));
    }
    for (size_t i = 0; i < COUNT(live); i++) OK(gyre_acquire(pool, NULL, &live[i]));
    for (size_t i = 0; i < COUNT(old); i++) EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &old[i], GYRE_OK, 1.0));
    EXPECT_COUNT(proxy_of(pool, id).active, COUNT(live), "leases in flight");
    EXPECT_COUNT(proxy_of(pool, id).completed, COUNT(old), "leases that ended");
    for (size_t i = 0; i < COUNT(live); i++) OK(gyre_complete_ms(pool, &live[i], GYRE_OK, 1.0));
    gyre_pool_close(pool);
}

static void test_things_that_are_no_lease(void **state)
{
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, NULL);
    struct rng rng = {test_seed(11)};
    struct gyre_lease lease = {0}, live;
    int result;

    (void)state;
    result = gyre_complete_ms(pool, &lease, GYRE_OK, 1.0);
    assert_true(result == GYRE_ECLOSED || result == GYRE_EINVALID);
    EXPECT(GYRE_EINVALID, gyre_complete_ms(pool, NULL, GYRE_OK, 1.0));
    EXPECT(GYRE_EINVALID, gyre_acquire(pool, NULL, NULL));
    OK(gyre_acquire(pool, NULL, &live));
    for (unsigned long i = 0; i < rounds(20000); i++) {
        lease = live;
        if (i % 2)
            lease.entry = (uint32_t)rng_next(&rng) | 1u << 24; /* past any table */
        else
            lease.serial ^= (uint32_t)rng_next(&rng) | 1;
        if (i % 3 == 0) lease.slot = (uint32_t)rng_next(&rng);
        if (i % 5 == 0) lease.id = rng_next(&rng);
        result = gyre_complete_ms(pool, &lease, GYRE_OK, 1.0);
        assert_true(result == GYRE_ECLOSED || result == GYRE_EINVALID);
    }
    EXPECT_COUNT(proxy_of(pool, id).active, 1, "the live lease");
    OK(gyre_complete_ms(pool, &live, GYRE_OK, 1.0));
    gyre_pool_close(pool);
}

static void test_bad_outcomes_count_nothing(void **state)
{
    static const double bad[] = {NAN, -NAN, INFINITY, -INFINITY, -1.0, -DBL_MIN, 86400000.5, 1e300};
    static const int verdicts[] = {0, 7, -1, 1000, INT32_MIN};
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, NULL);
    struct gyre_outcome outcome;
    struct gyre_lease lease;
    struct gyre_proxy proxy;

    (void)state;
    OK(gyre_acquire(pool, NULL, &lease));
    for (size_t i = 0; i < COUNT(bad); i++) {
        for (int verdict = GYRE_OK; verdict <= GYRE_ABORTED; verdict++) {
            outcome = outcome_of(verdict);
            outcome.ms = bad[i];
            outcome.has_ms = 1;
            outcome.bytes = 100;
            EXPECT(GYRE_EINVALID, gyre_complete(pool, &lease, &outcome));
        }
    }
    for (size_t i = 0; i < COUNT(verdicts); i++) {
        outcome = outcome_of(verdicts[i]);
        EXPECT(GYRE_EINVALID, gyre_complete(pool, &lease, &outcome));
        EXPECT(GYRE_EINVALID, gyre_complete_ms(pool, &lease, verdicts[i], 1.0));
    }
    outcome = outcome_of(GYRE_OK);
    outcome.size = 0;
    EXPECT(GYRE_EINVALID, gyre_complete(pool, &lease, &outcome));
    EXPECT(GYRE_EINVALID, gyre_complete(pool, &lease, NULL));
    EXPECT(GYRE_EINVALID, gyre_complete_ms(pool, &lease, GYRE_OK, NAN));
    EXPECT(GYRE_EINVALID, gyre_complete_ms(pool, &lease, GYRE_OK, INFINITY));
    EXPECT(GYRE_EINVALID, gyre_complete_ms(pool, &lease, GYRE_OK, 86400001.0));
    proxy = proxy_of(pool, id);
    EXPECT_COUNT(proxy.completed + proxy.bytes + proxy.consecutive_failures, 0, "after rejected outcomes");
    EXPECT_COUNT(proxy.active, 1, "after rejected outcomes");
    assert_true(isnan(proxy.ema_ms) && proxy.success_rate == 1.0);

    outcome = outcome_of(GYRE_OK); /* the lease is still good, and ms without has_ms is not looked at */
    outcome.ms = NAN;
    OK(gyre_complete(pool, &lease, &outcome));
    assert_true(isnan(proxy_of(pool, id).ema_ms));
    OK(gyre_acquire(pool, NULL, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 86400000.0)); /* the last legal one */
    assert_true(proxy_of(pool, id).ema_ms == 86400000.0);
    gyre_pool_close(pool);
}

static void test_ema(void **state)
{
    static const double alphas[] = {0.0, 0.01, 0.2, 0.5, 1.0};
    struct rng rng = {test_seed(3)};

    (void)state;
    for (size_t a = 0; a < COUNT(alphas); a++) {
        double alpha = alphas[a] > 0 ? alphas[a] : 0.2, ema = 0, rate = 1; /* 0: the default */
        struct gyre_options options = manual_options();
        struct gyre_pool *pool;
        struct gyre_lease lease;
        uint64_t id;

        options.alpha = alphas[a];
        options.breaker_failures = 1000000;
        pool = pool_of(1, &id, &options);
        for (int i = 0; i < 300; i++) {
            double ms = i == 0 ? 0.0 : rng_below(&rng, 8) == 0 ? 0.0 : rng_unit(&rng) * 5000;
            int verdict = i == 0 || rng_below(&rng, 3) ? GYRE_OK : 1 + (int)rng_below(&rng, 6);

            OK(gyre_acquire(pool, NULL, &lease));
            OK(gyre_complete_ms(pool, &lease, verdict, ms));
            /* A first sample of 0 ms is a sample: it initialises, and the next one moves it by alpha only. */
            if (verdict == GYRE_OK) ema += alpha * (ms - ema);
            if (verdict == GYRE_OK || verdict == GYRE_PROXY_BAD) rate += 0.05 * ((verdict == GYRE_OK) - rate);
            assert_true(proxy_of(pool, id).ema_ms == ema);
            assert_true(fabs(proxy_of(pool, id).success_rate - rate) < 1e-5);
        }
        gyre_pool_close(pool);
    }
}

static void test_first_sample_initialises(void **state)
{
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, NULL);
    struct gyre_lease lease;

    (void)state;
    use_proxy(pool, id, GYRE_OK); /* no latency given: no sample */
    assert_true(isnan(proxy_of(pool, id).ema_ms));
    OK(gyre_acquire(pool, NULL, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 250.0));
    assert_true(proxy_of(pool, id).ema_ms == 250.0); /* not 0.2 * 250 */
    gyre_pool_close(pool);
}

/* Leases of a removed proxy end harmlessly, whether its slot is still empty or is another's by then. */
static void test_removed_proxy(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://heir"};
    struct gyre_pool *pool;
    struct gyre_lease leases[4];
    uint64_t ids[64], heir;

    (void)state;
    options.max_proxies = 64;
    pool = pool_of(64, ids, &options);
    for (int i = 0; i < 4; i++) OK(gyre_acquire_id(pool, ids[5], &leases[i]));
    OK(gyre_pool_remove(pool, ids[5]));
    EXPECT_COUNT(stats_of(pool).started, 0, "the removed proxy is out of the sums");
    for (int i = 0; i < 4; i++) { /* the only free slot is not used again until they have ended */
        EXPECT(GYRE_EFULL, gyre_pool_add(pool, &spec, &heir));
        OK(gyre_complete_ms(pool, &leases[i], i % 2 ? GYRE_OK : GYRE_PROXY_BAD, 7.0));
    }
    OK(gyre_pool_add(pool, &spec, &heir));
    assert_true((heir & 0xfffff) == leases[0].slot);
    for (int i = 0; i < 4; i++) EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &leases[i], GYRE_PROXY_BAD, 7.0));
    EXPECT_COUNT(proxy_of(pool, heir).started + proxy_of(pool, heir).failed, 0, "the heir of the slot");
    assert_int_equal(proxy_of(pool, heir).consecutive_failures, 0);
    assert_true(isnan(proxy_of(pool, heir).ema_ms));
    EXPECT_COUNT(gyre_pool_slots(pool)[leases[0].slot].use, 0, "the heir's hot record");
    gyre_pool_close(pool);
}

/* The leases of a removed proxy that are forgotten do not keep its place for ever. */
static void test_removed_proxy_and_deadline(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_lease lease;
    uint64_t ids[64];

    (void)state;
    options.max_proxies = 64;
    options.lease_timeout = 60.0;
    pool = pool_of(64, ids, &options);
    OK(gyre_acquire_id(pool, ids[5], &lease));
    OK(gyre_pool_remove(pool, ids[5]));
    pass_time(pool, 62.0);
    use_proxy(pool, ids[6], GYRE_OK);
    EXPECT_COUNT(proxy_of(pool, add_url(pool, "http://heir")).started, 0, "the heir");
    gyre_pool_close(pool);
}

static void test_deadline(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_lease forgotten, late, other;
    struct gyre_proxy proxy;
    uint64_t ids[2];

    (void)state;
    options.lease_timeout = 60.0;
    pool = pool_of(2, ids, &options);
    OK(gyre_acquire_id(pool, ids[0], &forgotten));
    OK(gyre_acquire_id(pool, ids[0], &late));
    pass_time(pool, 59.0); /* deadlines are noticed within a second */
    use_proxy(pool, ids[1], GYRE_OK);
    EXPECT_COUNT(proxy_of(pool, ids[0]).active, 2, "before the deadline");
    pass_time(pool, 2.0);
    EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &late, GYRE_OK, 5.0));
    OK(gyre_acquire_id(pool, ids[1], &other)); /* whoever acquires next notices */
    proxy = proxy_of(pool, ids[0]);
    EXPECT_COUNT(proxy.active, 0, "after the deadline");
    EXPECT_COUNT(proxy.aborted, 2, "after the deadline");
    EXPECT_COUNT(proxy.succeeded + proxy.failed, 0, "after the deadline");
    assert_true(isnan(proxy.ema_ms));
    EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &forgotten, GYRE_OK, 5.0));
    EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &late, GYRE_OK, 5.0));
    EXPECT_COUNT(proxy_of(pool, ids[0]).aborted, 2, "counted once");
    OK(gyre_complete_ms(pool, &other, GYRE_OK, 5.0)); /* a young lease is not swept up with the old */
    gyre_pool_close(pool);
}

/* reset_counters sets the past to nothing; what is in flight stays and counts as started. */
static void test_reset_counters(void **state)
{
    uint64_t ids[2];
    struct gyre_pool *pool = pool_of(2, ids, NULL);
    struct gyre_outcome outcome = outcome_of(GYRE_OK);
    struct gyre_lease leases[3], past;
    struct gyre_proxy proxy;

    (void)state;
    outcome.has_ms = 1;
    outcome.ms = 9.0;
    outcome.bytes = 10;
    for (int i = 0; i < 3; i++) OK(gyre_acquire_id(pool, ids[0], &leases[i]));
    OK(gyre_acquire_id(pool, ids[0], &past));
    OK(gyre_complete(pool, &past, &outcome));
    use_proxy(pool, ids[0], GYRE_PROXY_BAD);
    use_proxy(pool, ids[0], GYRE_ABORTED);
    use_proxy(pool, ids[1], GYRE_BANNED);
    OK(gyre_pool_reset_counters(pool));
    proxy = proxy_of(pool, ids[0]);
    EXPECT_COUNT(proxy.started, 3, "in flight");
    EXPECT_COUNT(proxy.active, 3, "in flight");
    EXPECT_COUNT(proxy.completed + proxy.bytes + proxy.window_succeeded + proxy.window_failed, 0, "after reset");
    assert_true(isnan(proxy.ema_ms) && proxy.success_rate == 1.0);
    EXPECT_COUNT(proxy_of(pool, ids[1]).started + proxy_of(pool, ids[1]).window_started, 0, "after reset");
    for (int i = 0; i < 3; i++) OK(gyre_complete(pool, &leases[i], &outcome));
    EXPECT(GYRE_ECLOSED, gyre_complete(pool, &past, &outcome));
    proxy = proxy_of(pool, ids[0]);
    EXPECT_COUNT(proxy.succeeded, 3, "after reset");
    EXPECT_COUNT(proxy.bytes, 30, "after reset");
    assert_true(proxy.ema_ms == 9.0);
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acquire_counts_at_once),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_a_lease_ends_once),
        cmocka_unit_test(test_stale_leases_stay_dead),
        cmocka_unit_test(test_things_that_are_no_lease),
        cmocka_unit_test(test_bad_outcomes_count_nothing),
        cmocka_unit_test(test_ema),
        cmocka_unit_test(test_first_sample_initialises),
        cmocka_unit_test(test_removed_proxy),
        cmocka_unit_test(test_removed_proxy_and_deadline),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_reset_counters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
