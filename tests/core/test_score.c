/*
 * Best of a few, weighted and consistent hash: their promises with bounds derived from the numbers used.
 */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

enum { N = 100 };

static struct gyre_request asks(uint32_t picker)
{
    return (struct gyre_request){.size = sizeof(struct gyre_request), .picker = picker};
}

static uint32_t pick(struct gyre_pool *pool, const struct gyre_request *request, int verdict, double ms)
{
    struct gyre_lease lease;

    OK(gyre_acquire(pool, request, &lease));
    OK(gyre_complete_ms(pool, &lease, verdict, ms));
    return lease.slot;
}

static void set_weight(struct gyre_pool *pool, uint64_t id, double weight, int wanted)
{
    struct gyre_proxy_spec spec = {.size = sizeof spec, .weight = weight, .has_weight = 1};

    EXPECT(wanted, gyre_pool_update(pool, id, &spec));
}

/* Weights 0, 1, 2, 3, 4 over 100,000 picks: expected share * n, within 4 sigma = 4 sqrt(n p (1 - p)). */
static void test_weighted(void **state)
{
    uint64_t ids[5];
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_request request = asks(GYRE_PICK_WEIGHTED);
    int count[5] = {0}, n = 100000;

    (void)state;
    options.seed = test_seed(12);
    pool = pool_of(5, ids, &options);
    for (int i = 0; i < 5; i++) set_weight(pool, ids[i], i, 0);
    for (int i = 0; i < n; i++) count[pick(pool, &request, GYRE_OK, 1.0)]++;
    assert_int_equal(count[0], 0);
    for (int i = 1; i < 5; i++) {
        double p = i / 10.0;

        assert_true(fabs(count[i] - n * p) < 4 * sqrt(n * p * (1 - p)));
    }
    OK(gyre_pool_disable(pool, ids[4])); /* what is out leaves its share to the others in proportion */
    memset(count, 0, sizeof count);
    for (int i = 0; i < n; i++) count[pick(pool, &request, GYRE_OK, 1.0)]++;
    assert_int_equal(count[0] + count[4], 0);
    for (int i = 1; i < 4; i++) {
        double p = i / 6.0;

        assert_true(fabs(count[i] - n * p) < 4 * sqrt(n * p * (1 - p)));
    }
    gyre_pool_close(pool);
}

/* Nearly all the weight is out: found by walking, and still in proportion. */
static void test_weighted_when_most_is_out(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_WEIGHTED);
    int count[N] = {0}, n = 20000;

    (void)state;
    for (int i = 2; i < N; i++) {
        set_weight(pool, ids[i], 1000, 0);
        OK(gyre_pool_disable(pool, ids[i]));
    }
    set_weight(pool, ids[1], 3, 0);
    for (int i = 0; i < n; i++) count[pick(pool, &request, GYRE_OK, 1.0)]++;
    assert_int_equal(count[0] + count[1], n);
    assert_true(fabs(count[0] - n / 4.0) < 4 * sqrt(n * 0.25 * 0.75));
    gyre_pool_close(pool);
}

/* Those of weight 0 are nobody's choice; the best of the others is found however few they are. */
static void test_best_among_weightless(void **state)
{
    uint64_t ids[N], id;
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_BEST);
    struct gyre_lease lease;
    int count[N] = {0};

    (void)state;
    for (int i = 2; i < N; i++) set_weight(pool, ids[i], 0, 0);
    for (int i = 0; i < 400; i++) {
        OK(gyre_pick(pool, &request, &id));
        count[id & 0xfffff]++;
        count[pick(pool, &request, GYRE_OK, -1)]++;
    }
    assert_int_equal(count[0] + count[1], 800);
    assert_true(count[0] > 0 && count[1] > 0);
    for (int i = 0; i < 2; i++) set_weight(pool, ids[i], 0, 0);
    for (uint32_t picker = GYRE_PICK_BEST; picker <= GYRE_PICK_WEIGHTED; picker++) {
        request = asks(picker);
        EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
        assert_non_null(strstr(gyre_detail(), "100 of weight 0"));
    }
    gyre_pool_close(pool);
}

static void test_bad_weights(void **state)
{
    uint64_t ids[2];
    struct gyre_pool *pool = pool_of(2, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_WEIGHTED);
    struct gyre_lease lease;

    (void)state;
    set_weight(pool, ids[0], -1, GYRE_EINVALID);
    set_weight(pool, ids[0], NAN, GYRE_EINVALID);
    set_weight(pool, ids[0], INFINITY, GYRE_EINVALID);
    assert_true(proxy_of(pool, ids[0]).weight == 1.0);
    set_weight(pool, ids[0], 0, 0);
    set_weight(pool, ids[1], 0, 0);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    gyre_pool_close(pool);
}

/* The slot keeps a weight as a float: what would be infinite there, or 0 without having been 0, is refused. What is taken works. */
static void test_weights_of_a_float(void **state)
{
    static const double refused[] = {3.5e38, 1e39, 1e300, 1e-46, 1e-50, 5e-324};
    static const double taken[] = {3.4e38, 3.402823e38, FLT_MAX, 1e-44, 1e-38};
    uint64_t ids[2];
    struct gyre_pool *pool = pool_of(2, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_WEIGHTED);
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://new", .weight = 1e39, .has_weight = 1};

    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        set_weight(pool, ids[0], refused[i], GYRE_EINVALID);
        assert_non_null(strstr(gyre_detail(), "weight"));
        assert_true(proxy_of(pool, ids[0]).weight == 1.0);
    }
    EXPECT(GYRE_EINVALID, gyre_pool_add(pool, &spec, &ids[1]));
    assert_int_equal(gyre_pool_count(pool), 2);
    for (size_t i = 0; i < COUNT(taken); i++) {
        set_weight(pool, ids[0], taken[i], 0);
        set_weight(pool, ids[1], 0, 0);
        assert_true(proxy_of(pool, ids[0]).weight == taken[i]);
        for (int k = 0; k < 10; k++) assert_int_equal(pick(pool, &request, GYRE_OK, 1.0), ids[0] & 0xfffff);
        expect_nothing_found(pool, "weight %g", taken[i]);
    }
    gyre_pool_close(pool);
}

/* No proxy gets more than choices / n of the traffic (+10 %), however much faster it is. */
static void test_best_is_bounded(void **state)
{
    uint64_t ids[N];
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_request request = asks(GYRE_PICK_BEST);
    int count[N] = {0}, n = 50000;

    (void)state;
    options.seed = test_seed(4);
    pool = pool_of(N, ids, &options);
    for (int i = 0; i < n; i++) {
        struct gyre_lease lease;

        if (i % 100 == 0) pass_time(pool, 1.0);
        OK(gyre_acquire(pool, &request, &lease));
        count[lease.slot]++;
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, lease.slot == 3 ? 1.0 : 100.0 + lease.slot));
    }
    assert_true(count[3] <= 3.0 / N * 1.1 * n);
    assert_true(count[3] >= 3.0 / N * 0.9 * n); /* and the fastest gets about all it may */
    assert_true(count[99] < n / N / 2);
    gyre_pool_close(pool);
}

/* A proxy that fails at once looks fast to who looks at latency only (failures.md 4, 5): here it is left alone. */
static void test_best_sees_failures(void **state)
{
    uint64_t ids[N];
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_request request = asks(GYRE_PICK_BEST);
    struct rng rng = {test_seed(6)};
    int failed = 0, n = 20000;

    (void)state;
    options.breaker_failures = 1000000; /* the score alone must do it */
    pool = pool_of(N, ids, &options);
    for (int i = 0; i < n; i++) {
        struct gyre_lease lease;

        if (i % 100 == 0) pass_time(pool, 1.0);
        OK(gyre_acquire(pool, &request, &lease));
        bool bad = lease.slot < 5 || (lease.slot < 10 && rng_below(&rng, 2));
        failed += bad;
        OK(gyre_complete_ms(pool, &lease, bad ? GYRE_PROXY_BAD : GYRE_OK, bad ? -1.0 : 200.0));
    }
    assert_true(failed < 0.02 * n); /* 7.5 % would be blind */
    gyre_pool_close(pool);
}

/* Eight or fewer: all are compared, so the idle fast one is always it. */
static void test_best_of_few(void **state)
{
    uint64_t ids[5];
    struct gyre_pool *pool = pool_of(5, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_BEST);

    (void)state;
    for (int i = 0; i < 5; i++) {
        struct gyre_lease lease;

        OK(gyre_acquire_id(pool, ids[i], &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, i == 2 ? 10.0 : 100.0));
    }
    pass_time(pool, 2.0);
    for (int i = 0; i < 200; i++) assert_int_equal(pick(pool, &request, GYRE_OK, 10.0), 2);
    gyre_pool_close(pool);
}

/* A new proxy among 1,000 requests at once is tried, not flooded: at most choices / n of them and what 4 sigma allow. */
static void test_best_does_not_flood_a_newcomer(void **state)
{
    uint64_t ids[N], fresh;
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_BEST);
    struct gyre_lease lease;

    (void)state;
    for (int i = 0; i < 20 * N; i++) pick(pool, &request, GYRE_OK, 100.0);
    pass_time(pool, 2.0);
    fresh = add_url(pool, "http://newcomer:1");
    for (int i = 0; i < 1000; i++) OK(gyre_acquire(pool, &request, &lease)); /* none of them returns */
    assert_in_range(proxy_of(pool, fresh).active, 1, 30 + 4 * 6);
    gyre_pool_close(pool);
}

/* ---- the terms of the score, one at a time: of two proxies the cheaper one is picked, on both sides of where they change places ---- */

struct known {
    double ms, success, age; /* age: seconds since the last sample; ms NaN: none yet */
    double weight;
    int active;
};

/* Says what is known of the two, by their books, and which one is picked. The prior is the mean of what is known of latency. */
static uint32_t better(struct known one, struct known two)
{
    const struct known *both[] = {&one, &two};
    struct gyre_request request = asks(GYRE_PICK_BEST);
    struct gyre_lease lease;
    uint64_t ids[2];
    struct gyre_pool *pool = pool_of(2, ids, NULL);
    uint32_t slot;

    for (int again = 0; again < 2; again++) { /* the prior is made in between, and time passes with that */
        for (int i = 0; i < 2; i++) {
            struct gyre_books books = {.size = sizeof books, .state = GYRE_CLOSED, .ema_ms = both[i]->ms, .success_rate = both[i]->success,
                                       .used_ago = -1, .sampled_ago = isnan(both[i]->ms) ? -1 : both[i]->age, .bench_left = -1};

            OK(gyre_books_set(pool, ids[i], &books));
        }
        if (!again) pass_time(pool, 2.0);
    }
    for (int i = 0; i < 2; i++) {
        set_weight(pool, ids[i], both[i]->weight, 0);
        for (int k = 0; k < both[i]->active; k++) OK(gyre_acquire_id(pool, ids[i], &lease));
    }
    OK(gyre_pick(pool, &request, &ids[0]));
    slot = ids[0] & 0xfffff;
    gyre_pool_close(pool);
    return slot;
}

static void test_score_weight_divides(void **state)
{
    (void)state;
    assert_int_equal(better((struct known){100, 1, 0, 1, 0}, (struct known){150, 1, 0, 2, 0}), 1);
    assert_int_equal(better((struct known){100, 1, 0, 1, 0}, (struct known){190, 1, 0, 2, 0}), 1);
    assert_int_equal(better((struct known){100, 1, 0, 1, 0}, (struct known){210, 1, 0, 2, 0}), 0);
    assert_int_equal(better((struct known){100, 1, 0, 0.5, 0}, (struct known){190, 1, 0, 1, 0}), 1);
}

static void test_score_load_multiplies(void **state)
{
    (void)state;
    for (int active = 0; active < 4; active++) { /* 100 ms, times those in flight and the one to come */
        assert_int_equal(better((struct known){100, 1, 0, 1, active}, (struct known){100.0 * (active + 1) - 5, 1, 0, 1, 0}), 1);
        assert_int_equal(better((struct known){100, 1, 0, 1, active}, (struct known){100.0 * (active + 1) + 5, 1, 0, 1, 0}), 0);
    }
}

/* 0.8 squared: 156 ms; by itself it would be 125, cubed 195. */
static void test_score_success_is_squared(void **state)
{
    (void)state;
    assert_int_equal(better((struct known){100, 0.8, 0, 1, 0}, (struct known){150, 1, 0, 1, 0}), 1);
    assert_int_equal(better((struct known){100, 0.8, 0, 1, 0}, (struct known){160, 1, 0, 1, 0}), 0);
}

/* 300 ms against 260: the prior is 280, to 0.7 of which, 196, an old average is drawn: by 60 s by 5/8, to 235. */
static void test_score_age_fades_latency(void **state)
{
    (void)state;
    assert_int_equal(better((struct known){300, 1, 0, 1, 0}, (struct known){260, 1, 0, 1, 0}), 1);
    assert_int_equal(better((struct known){300, 1, 6, 1, 0}, (struct known){260, 1, 0, 1, 0}), 1);
    assert_int_equal(better((struct known){300, 1, 60, 1, 0}, (struct known){260, 1, 0, 1, 0}), 0);
    assert_int_equal(better((struct known){300, 1, 600, 1, 0}, (struct known){260, 1, 0, 1, 0}), 0);
    /* and one that was fast is not that for ever: 20 ms become 147 of a prior of 210, and success 0.95 makes 163 of them */
    assert_int_equal(better((struct known){20, 1, 0, 1, 0}, (struct known){140, 1, 0, 1, 0}), 0);
    assert_int_equal(better((struct known){20, 1, 900, 1, 0}, (struct known){400, 1, 0, 2.4, 0}), 0);
    assert_int_equal(better((struct known){20, 1, 900, 1, 0}, (struct known){400, 1, 0, 2.5, 0}), 1);
}

/* Half of all failed, long ago: 100 ms count 97, not 348. */
static void test_score_age_fades_success(void **state)
{
    (void)state;
    assert_int_equal(better((struct known){100, 0.5, 0, 1, 0}, (struct known){150, 1, 0, 1, 0}), 1);
    assert_int_equal(better((struct known){100, 0.5, 600, 1, 0}, (struct known){150, 1, 0, 1, 0}), 0);
}

/* Nothing known: half the prior, 50 ms, at a success of 0.95, which makes 55. */
static void test_score_unknown_is_half_the_prior(void **state)
{
    (void)state;
    assert_int_equal(better((struct known){NAN, 1, 0, 1, 0}, (struct known){100, 1, 0, 1, 0}), 0);
    assert_int_equal(better((struct known){NAN, 1, 0, 1, 0}, (struct known){100, 1, 0, 1.75, 0}), 0);
    assert_int_equal(better((struct known){NAN, 1, 0, 1, 0}, (struct known){100, 1, 0, 1.85, 0}), 1);
}

static uint64_t hashed(struct gyre_pool *pool, int key)
{
    char text[32];
    struct gyre_request request = asks(GYRE_PICK_HASH);
    struct gyre_lease lease;

    snprintf(text, sizeof text, "user-%d", key);
    request.key = text;
    OK(gyre_acquire(pool, &request, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    return lease.id;
}

/* Without load: the same key, the same proxy; when one proxy goes, its keys move and no others. */
static void test_hash_is_consistent(void **state)
{
    uint64_t ids[N], before[5000];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    int count[N] = {0};

    (void)state;
    for (int key = 0; key < 5000; key++) {
        before[key] = hashed(pool, key);
        count[before[key] & 0xfffff]++;
        EXPECT_COUNT(hashed(pool, key), before[key], "key %d again", key);
    }
    for (int i = 0; i < N; i++) assert_in_range(count[i], 50 - 4 * 8, 50 + 4 * 8); /* sigma = sqrt(50) */
    OK(gyre_pool_disable(pool, ids[40]));
    for (int key = 0; key < 5000; key++) {
        uint64_t now = hashed(pool, key);

        if (before[key] == ids[40]) assert_true(now != ids[40]);
        else EXPECT_COUNT(now, before[key], "key %d of another proxy", key);
    }
    gyre_pool_close(pool);
}

/* One hot key may not sink its proxy: past 1.25 times the mean load of its candidates it spills over. */
static void test_hash_bounds_load(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_HASH);
    struct gyre_lease lease;
    uint32_t most = 0;

    (void)state;
    request.key = "hot";
    EXPECT_COUNT(stats_of(pool).active, 0, "idle");
    for (int i = 0; i < 800; i++) OK(gyre_acquire(pool, &request, &lease));
    for (int i = 0; i < N; i++)
        if (proxy_of(pool, ids[i]).active > most) most = proxy_of(pool, ids[i]).active;
    assert_in_range(most, 100, (uint32_t)ceil(1.25 * 801 / 8) + 1); /* eight candidates share it */
    request.key = NULL;
    EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
    gyre_pool_close(pool);
}

/* Three different ones, any three as likely: of 12 in strict order the one with r better than it wins C(11 - r, 2) times in
 * C(12, 3). Within 5 sigma. With one of them out the same holds for the rest, who are then drawn anew. */
static void test_best_draws_any_three(void **state)
{
    enum { MOST = 12, TIMES = 400000 };
    uint64_t ids[MOST];
    struct gyre_options options = manual_options();
    struct gyre_request request = asks(GYRE_PICK_BEST);

    (void)state;
    if (under_valgrind()) skip(); /* numbers only */
    options.seed = test_seed(31);
    struct gyre_pool *pool = pool_of(MOST, ids, &options);
    for (int i = 0; i < MOST; i++) {
        struct gyre_lease lease;

        OK(gyre_acquire_id(pool, ids[i], &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 100.0 + 50 * i));
    }
    for (int out = 0; out < 2; out++) {
        int count[MOST] = {0}, n = MOST - out;

        if (out) OK(gyre_pool_disable(pool, ids[MOST - 1]));
        for (int i = 0; i < TIMES; i++) count[pick(pool, &request, GYRE_OK, -1)]++;
        for (int r = 0; r < n; r++) {
            double p = (n - 1.0 - r) * (n - 2.0 - r) / 2 / (n * (n - 1.0) * (n - 2.0) / 6);
            int got = count[ids[r] & 0xfffff];

            assert_true(fabs(got - TIMES * p) <= 5 * sqrt(TIMES * p * (1 - p)));
        }
        if (out) assert_int_equal(count[ids[MOST - 1] & 0xfffff], 0);
    }
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weighted),
        cmocka_unit_test(test_weighted_when_most_is_out),
        cmocka_unit_test(test_bad_weights), cmocka_unit_test(test_best_among_weightless),
        cmocka_unit_test(test_weights_of_a_float),
        cmocka_unit_test(test_best_is_bounded),
        cmocka_unit_test(test_best_sees_failures),
        cmocka_unit_test(test_best_of_few),
        cmocka_unit_test(test_best_draws_any_three),
        cmocka_unit_test(test_best_does_not_flood_a_newcomer),
        cmocka_unit_test(test_score_weight_divides),
        cmocka_unit_test(test_score_load_multiplies),
        cmocka_unit_test(test_score_success_is_squared),
        cmocka_unit_test(test_score_age_fades_latency),
        cmocka_unit_test(test_score_age_fades_success),
        cmocka_unit_test(test_score_unknown_is_half_the_prior),
        cmocka_unit_test(test_hash_is_consistent),
        cmocka_unit_test(test_hash_bounds_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
