/* The pool as a handle: options and their refusal, errors and their texts, time, several pools in one process. */
#include "support.h"

#include <math.h>
#include <pthread.h>

static void test_error_names(void **state)
{
    static const struct {
        int error;
        const char *name, *text;
    } errors[] = {
#define XX(name, number, text) {GYRE_E##name, #name, text},
        GYRE_ERRNO_MAP(XX)
#undef XX
    };
    char lower[32];

    (void)state;
    for (size_t i = 0; i < COUNT(errors); i++) {
        size_t length = strlen(errors[i].name);

        for (size_t k = 0; k <= length; k++)
            lower[k] =
                (char)(errors[i].name[k] | (errors[i].name[k] >= 'A' && errors[i].name[k] <= 'Z' ? 0x20 : 0));
        assert_string_equal(gyre_error_name(errors[i].error), lower);
        assert_string_equal(gyre_strerror(errors[i].error), errors[i].text);
    }
    assert_string_equal(gyre_error_name(-999), "unknown");
    assert_string_equal(gyre_error_name(1), "unknown");
    assert_non_null(gyre_strerror(0));
    assert_non_null(gyre_strerror(-999));
    assert_non_null(gyre_strerror(INT32_MIN));
}

static void refuse(const struct gyre_options *options, const char *field)
{
    struct gyre_pool *pool = (struct gyre_pool *)(uintptr_t)1;
    int result = gyre_pool_open(options, &pool);

    if (result != GYRE_EINVALID) fail_msg("%s: %d", field, result);
    if (!strstr(gyre_detail(), field)) fail_msg("%s is not named in: %s", field, gyre_detail());
}

/* What gyre_pool_options() says of a segment makes another of the same kind, also where one end of the benches was given only. */
static void test_ends_of_benches(void **state)
{
    struct gyre_options options = manual_options(), found = {.size = sizeof found};
    struct gyre_pool *pool;

    (void)state;
    options.breaker_max = 10;
    pool = open_pool(&options);
    OK(gyre_pool_options(pool, &found));
    assert_true(found.breaker_base == 10 && found.breaker_max == 10);
    gyre_pool_close(pool);
    gyre_pool_close(open_pool(&found));
    options.breaker_max = 0;
    options.breaker_base = 5000; /* above the default upper end */
    refuse(&options, "breaker_base");
}

static void test_bad_options(void **state)
{
    struct gyre_pool *pool;
    static const double bad[] = {-1.0, NAN, INFINITY, -INFINITY, -1e-9};

    (void)state;
#define REFUSE(field, value)                                                                                       \
    do {                                                                                                           \
        struct gyre_options options = {.size = sizeof options, .field = (value)};                                  \
        refuse(&options, #field);                                                                                  \
    } while (0)
    for (size_t i = 0; i < COUNT(bad); i++) {
        REFUSE(alpha, bad[i]);
        REFUSE(window, bad[i]);
        REFUSE(lease_timeout, bad[i]);
        REFUSE(breaker_base, bad[i]);
        REFUSE(breaker_max, bad[i]);
        REFUSE(max_benched, bad[i]);
    }
    REFUSE(alpha, 1.0001);
    REFUSE(max_benched, 1.0001);
    REFUSE(max_proxies, 1048577);
    REFUSE(picker, 1000);
    REFUSE(clock, 2);
    EXPECT(GYRE_EINVALID, gyre_pool_open(&(struct gyre_options){.size = 0}, &pool));
    EXPECT(GYRE_EINVALID, gyre_pool_open(&(struct gyre_options){.size = sizeof(struct gyre_options), .path = ""}, &pool));
    EXPECT(GYRE_EINVALID, gyre_pool_open(&(struct gyre_options){.size = sizeof(struct gyre_options)}, NULL));
#undef REFUSE
}

/* What the header calls the extremes of a range is inside it. */
static void test_extreme_options(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;

    (void)state;
    options.alpha = options.max_benched = 1.0;
    options.max_proxies = 1048576;
    options.max_leases = 1;
    options.breaker_failures = 1;
    pool = open_pool(&options);
    assert_int_equal(gyre_pool_count(pool), 0);
    gyre_pool_close(pool);
    gyre_pool_close(NULL);

    pool = open_pool(NULL); /* defaults throughout: the system's clock moves by itself */
    EXPECT(GYRE_EINVALID, gyre_pool_set_time(pool, gyre_pool_time(pool) + 1e6));
    gyre_pool_close(pool);
}

static void test_manual_clock(void **state)
{
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    double now = gyre_pool_time(pool);

    (void)state;
    assert_true(now == 1000.0);
    OK(gyre_pool_set_time(pool, now)); /* standing still is not going back */
    OK(gyre_pool_set_time(pool, 1234.5));
    assert_true(gyre_pool_time(pool) == 1234.5);
    EXPECT(GYRE_EINVALID, gyre_pool_set_time(pool, 1234.0));
    EXPECT(GYRE_EINVALID, gyre_pool_set_time(pool, NAN));
    EXPECT(GYRE_EINVALID, gyre_pool_set_time(pool, INFINITY));
    EXPECT(GYRE_EINVALID, gyre_pool_set_time(pool, -1.0));
    assert_true(gyre_pool_time(pool) == 1234.5);
    gyre_pool_close(pool);
}

static void test_empty_pool(void **state)
{
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    struct gyre_stats stats = stats_of(pool);
    struct gyre_lease lease;
    uint64_t id = 0;

    (void)state;
    EXPECT_COUNT(stats.proxies + stats.eligible + stats.benched + stats.disabled + stats.draining + stats.started,
                 0, "empty");
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, NULL, &lease));
    assert_string_not_equal(gyre_detail(), "");
    EXPECT(GYRE_ENOT_FOUND, gyre_acquire_id(pool, 1 << 20, &lease));
    EXPECT(GYRE_ENOT_FOUND, gyre_acquire_id(pool, 0, &lease));
    EXPECT(GYRE_ENOT_FOUND, gyre_acquire_id(pool, UINT64_MAX, &lease));
    assert_int_equal(gyre_pool_next(pool, &id), 0);
    OK(gyre_pool_reset_counters(pool));
    EXPECT(GYRE_EINVALID, gyre_pool_stats(pool, &(struct gyre_stats){.size = 0}));
    gyre_pool_close(pool);
}

/* Ids of every kind that was never given out, against every call that takes one. */
static void test_unknown_ids(void **state)
{
    uint64_t ids[3];
    struct gyre_pool *pool = pool_of(3, ids, NULL);
    const uint64_t unknown[] = {0,
                                1,
                                ids[0] ^ (UINT64_C(1) << 20),
                                ids[0] + 3,
                                UINT64_MAX,
                                INT64_MAX,
                                ids[0] | UINT64_C(1) << 60,
                                ids[0] & 0xfffff,
                                ids[2] + 1,
                                0xfffff,
                                ids[0] | 0xfffff,
                                UINT64_C(1) << 52};
    struct gyre_proxy_spec spec = {.size = sizeof spec};
    struct gyre_proxy proxy = {.size = sizeof proxy};
    struct gyre_lease lease;
    char text[128];

    (void)state;
    for (size_t i = 0; i < COUNT(unknown); i++) {
        EXPECT(GYRE_ENOT_FOUND, gyre_pool_get(pool, unknown[i], &proxy));
        EXPECT(GYRE_ENOT_FOUND, gyre_pool_remove(pool, unknown[i]));
        EXPECT(GYRE_ENOT_FOUND, gyre_pool_update(pool, unknown[i], &spec));
        EXPECT(GYRE_ENOT_FOUND, gyre_pool_url(pool, unknown[i], text, sizeof text));
        EXPECT(GYRE_ENOT_FOUND, gyre_pool_url_with_credentials(pool, unknown[i], text, sizeof text));
        EXPECT(GYRE_ENOT_FOUND, gyre_pool_disable(pool, unknown[i]));
        EXPECT(GYRE_ENOT_FOUND, gyre_pool_drain(pool, unknown[i]));
        EXPECT(GYRE_ENOT_FOUND, gyre_pool_enable(pool, unknown[i]));
        EXPECT(GYRE_ENOT_FOUND, gyre_acquire_id(pool, unknown[i], &lease));
    }
    assert_int_equal(gyre_pool_count(pool), 3);
    assert_int_equal(stats_of(pool).eligible, 3);
    gyre_pool_close(pool);
}

static void test_pools_are_apart(void **state)
{
    uint64_t a_ids[4], b_ids[4];
    struct gyre_pool *a = pool_of(4, a_ids, NULL), *b = pool_of(4, b_ids, NULL);
    struct gyre_lease lease;

    (void)state;
    OK(gyre_pool_remove(b, b_ids[0]));
    OK(gyre_pool_disable(b, b_ids[1]));
    OK(gyre_acquire_id(a, a_ids[2], &lease));
    assert_int_equal(gyre_pool_count(a), 4);
    assert_int_equal(stats_of(a).eligible, 4);
    EXPECT_COUNT(stats_of(b).started, 0, "the other pool");
    OK(gyre_complete_ms(a, &lease, GYRE_OK, 1.0));
    gyre_pool_close(a);
    assert_int_equal(gyre_pool_count(b), 3);
    gyre_pool_close(b);
}

static void *fail_elsewhere(void *argument)
{
    struct gyre_url url;

    REQUIRE(strcmp(gyre_detail(), "") == 0); /* a thread that has not failed */
    REQUIRE(gyre_url_parse("zzz://h", &url) == GYRE_EINVALID);
    REQUIRE(strstr(gyre_detail(), "zzz") != NULL);
    return argument;
}

static void test_detail_is_per_thread(void **state)
{
    struct gyre_url url;
    int unused = 0;

    (void)state;
    EXPECT(GYRE_EINVALID, gyre_url_parse("yyy://h", &url));
    run_threads(1, fail_elsewhere, &unused, 0);
    assert_non_null(strstr(gyre_detail(), "yyy"));
    assert_null(strstr(gyre_detail(), "zzz"));
}

static void test_stats_count_states(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[20];
    struct gyre_pool *pool;
    struct gyre_stats stats;
    struct gyre_lease lease;

    (void)state;
    options.breaker_failures = 1;
    pool = pool_of(20, ids, &options);
    for (int i = 0; i < 2; i++) OK(gyre_pool_disable(pool, ids[i]));
    for (int i = 2; i < 5; i++) OK(gyre_pool_drain(pool, ids[i]));
    for (int i = 5; i < 9; i++) use_proxy(pool, ids[i], GYRE_PROXY_BAD);
    for (int i = 9; i < 14; i++) use_proxy(pool, ids[i], GYRE_OK);
    use_proxy(pool, ids[14], GYRE_ABORTED);
    OK(gyre_acquire_id(pool, ids[15], &lease));
    stats = stats_of(pool);
    assert_int_equal(stats.proxies, 20);
    assert_int_equal(stats.disabled, 2);
    assert_int_equal(stats.draining, 3);
    assert_int_equal(stats.benched, 4);
    assert_int_equal(stats.eligible, 11);
    EXPECT_COUNT(stats.started, 11, "pool");
    EXPECT_COUNT(stats.active, 1, "pool");
    EXPECT_COUNT(stats.succeeded, 5, "pool");
    EXPECT_COUNT(stats.failed, 4, "pool");
    EXPECT_COUNT(stats.aborted, 1, "pool");
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1.0));
    gyre_pool_close(pool);
}

/* The same seed, clock and calls give the same picks and the same benches; another seed gives others. */
static void test_seed_repeats(void **state)
{
    double benched[3][200];
    uint64_t picked[3][200];

    (void)state;
    for (int run = 0; run < 3; run++) {
        struct gyre_options options = manual_options();
        uint64_t ids[200];
        struct gyre_pool *pool;

        options.seed = run < 2 ? 42 : 43;
        options.picker = GYRE_PICK_RANDOM;
        options.breaker_failures = 1;
        options.max_benched = 1.0;
        pool = pool_of(200, ids, &options);
        for (int i = 0; i < 200; i++) {
            struct gyre_lease lease;

            OK(gyre_acquire(pool, NULL, &lease));
            OK(gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, -1.0));
            picked[run][i] = lease.id;
            benched[run][i] = proxy_of(pool, lease.id).benched_until;
        }
        gyre_pool_close(pool);
    }
    assert_memory_equal(picked[0], picked[1], sizeof *picked);
    assert_memory_equal(benched[0], benched[1], sizeof *benched);
    assert_memory_not_equal(picked[0], picked[2], sizeof *picked);
    assert_memory_not_equal(benched[0], benched[2], sizeof *benched);
}

/* Without a pool nothing crashes. */
static void test_no_pool(void **state)
{
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://one:1"};
    struct gyre_proxy proxy = {.size = sizeof proxy};
    struct gyre_stats stats = {.size = sizeof stats};
    struct gyre_lease lease = {0};
    char text[64];
    uint64_t id = 0;

    (void)state;
    EXPECT(GYRE_EINVALID, gyre_pool_add(NULL, &spec, &id));
    EXPECT(GYRE_EINVALID, gyre_pool_remove(NULL, 1));
    EXPECT(GYRE_EINVALID, gyre_pool_update(NULL, 1, &spec));
    EXPECT(GYRE_EINVALID, gyre_pool_get(NULL, 1, &proxy));
    EXPECT(GYRE_EINVALID, gyre_pool_find(NULL, "http://one:1", &id));
    EXPECT(GYRE_EINVALID, gyre_pool_next(NULL, &id));
    EXPECT(GYRE_EINVALID, gyre_pool_url(NULL, 1, text, sizeof text));
    EXPECT(GYRE_EINVALID, gyre_pool_url_with_credentials(NULL, 1, text, sizeof text));
    EXPECT(GYRE_EINVALID, gyre_pool_disable(NULL, 1));
    EXPECT(GYRE_EINVALID, gyre_pool_drain(NULL, 1));
    EXPECT(GYRE_EINVALID, gyre_pool_enable(NULL, 1));
    EXPECT(GYRE_EINVALID, gyre_pool_stats(NULL, &stats));
    EXPECT(GYRE_EINVALID, gyre_pool_reset_counters(NULL));
    EXPECT(GYRE_EINVALID, gyre_pool_set_time(NULL, 1));
    EXPECT(GYRE_EINVALID, gyre_acquire(NULL, NULL, &lease));
    EXPECT(GYRE_EINVALID, gyre_complete_ms(NULL, &lease, GYRE_OK, 1.0));
    EXPECT(GYRE_EINVALID, gyre_pool_check(NULL, NULL));
    assert_int_equal(gyre_pool_count(NULL), 0);
    assert_null(gyre_pool_slots(NULL));
    assert_true(gyre_pool_time(NULL) == 0 && gyre_log_share(NULL) == 0 && gyre_session_hash(NULL, "s") == 0);
    struct gyre_pool *pool = open_pool(NULL);
    OK(gyre_pool_add(pool, &spec, &id));
    OK(gyre_pool_find(pool, "http://one:1", NULL));
    EXPECT(GYRE_EINVALID, gyre_pool_next(pool, NULL));
    EXPECT(GYRE_EINVALID, gyre_pool_url(pool, id, NULL, 100));
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_pool),
        cmocka_unit_test(test_error_names),        cmocka_unit_test(test_bad_options), cmocka_unit_test(test_ends_of_benches),
        cmocka_unit_test(test_extreme_options),    cmocka_unit_test(test_manual_clock),
        cmocka_unit_test(test_empty_pool),         cmocka_unit_test(test_unknown_ids),
        cmocka_unit_test(test_pools_are_apart),    cmocka_unit_test(test_detail_is_per_thread),
        cmocka_unit_test(test_stats_count_states), cmocka_unit_test(test_seed_repeats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
