/*
 * The active strategy of a segment: everybody follows it from the next acquire on, it survives restarts, and nobody ever
 * reads half of one.
 */
#include "support.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

enum { PROXIES = 40 };

static uint64_t unused[PROXIES]; /* ids */

static struct gyre_strategy strategy_of(uint32_t picker, const char *name)
{
    struct gyre_strategy strategy = {.size = sizeof strategy, .picker = picker};

    snprintf(strategy.name, sizeof strategy.name, "%s", name);
    return strategy;
}

static struct gyre_strategy read_back(struct gyre_pool *pool)
{
    struct gyre_strategy strategy = {.size = sizeof strategy};

    OK(gyre_strategy_get(pool, &strategy));
    EXPECT_COUNT(*gyre_strategy_generation(pool), strategy.generation, "generation");
    return strategy;
}

static struct gyre_options shared_options(const char *name)
{
    struct gyre_options options = manual_options();

    options.path = temp_path(name);
    options.max_proxies = options.max_leases = options.max_sessions = options.max_bans = 64;
    return options;
}

static void test_begins_with_the_option(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;

    (void)state;
    options.picker = GYRE_PICK_WEIGHTED;
    pool = pool_of(2, unused, &options);
    assert_int_equal(read_back(pool).picker, GYRE_PICK_WEIGHTED);
    assert_int_equal(read_back(pool).generation, 0);
    assert_string_equal(read_back(pool).name, "");
    uint32_t epoch = *gyre_pool_epoch(pool);
    add_url(pool, "http://192.0.2.9");
    EXPECT_COUNT(*gyre_pool_epoch(pool), epoch + 1, "epoch");
    assert_null(gyre_pool_epoch(NULL));
    gyre_pool_close(pool);
}

static void test_keeps_what_is_set(void **state)
{
    struct gyre_options options = shared_options("kept");
    struct gyre_strategy wanted = strategy_of(GYRE_PICK_BEST, "./my strategy.lua"), got;
    struct gyre_pool *pool;
    uint32_t generation = 0;

    (void)state;
    memset(wanted.options, 'x', sizeof wanted.options - 1);
    memset(wanted.fallback, 'f', sizeof wanted.fallback - 1);
    wanted.choices = 64;
    wanted.random_ties = 7;
    wanted.scripted = 1;
    wanted.generation = 99; /* is the library's */
    pool = open_pool(&options);
    OK(gyre_strategy_set(pool, &wanted, &generation));
    assert_int_equal(generation, 1);
    OK(gyre_strategy_set(pool, &wanted, &generation));
    gyre_pool_close(pool);
    pool = open_pool(&options); /* a restart: nobody else has it open */
    got = read_back(pool);
    assert_int_equal(got.generation, 2);
    wanted.random_ties = 1;
    wanted.generation = 2;
    assert_memory_equal(&got, &wanted, sizeof got);
    EXPECT(0, gyre_pool_check(pool, NULL));
    gyre_pool_close(pool);
}

static void test_refuses(void **state)
{
    struct gyre_pool *pool = pool_of(1, unused, NULL);
    struct gyre_strategy bad[] = {strategy_of(GYRE_PICK_RANDOM, ""), strategy_of(0, "x"), strategy_of(8, "x"),
                                  strategy_of(1, "x"), strategy_of(1, "x"), strategy_of(1, "x"), strategy_of(1, "x"),
                                  strategy_of(1, "x")};

    (void)state;
    bad[3].size = 8;
    bad[4].choices = 65;
    memset(bad[5].name, 'x', sizeof bad[5].name);
    memset(bad[6].fallback, 'x', sizeof bad[6].fallback);
    memset(bad[7].options, 'x', sizeof bad[7].options);
    for (size_t i = 0; i < COUNT(bad); i++) EXPECT(GYRE_EINVALID, gyre_strategy_set(pool, &bad[i], NULL));
    EXPECT(GYRE_EINVALID, gyre_strategy_set(NULL, &bad[0], NULL));
    EXPECT(GYRE_EINVALID, gyre_strategy_set(pool, NULL, NULL));
    EXPECT(GYRE_EINVALID, gyre_strategy_get(pool, NULL));
    assert_null(gyre_strategy_generation(NULL));
    assert_int_equal(read_back(pool).generation, 0);
    gyre_pool_close(pool);
}

/* How many different proxies do 400 leases without a request get? */
static uint32_t count_different(struct gyre_pool *pool)
{
    struct gyre_lease lease;
    bool seen[PROXIES] = {false};
    uint32_t n = 0;

    for (int i = 0; i < 400; i++) {
        OK(gyre_acquire(pool, NULL, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, lease.slot ? 100.0 : 1.0));
        n += !seen[lease.slot];
        seen[lease.slot] = true;
    }
    return n;
}

/* The same through the request: what it says itself goes first. */
static void test_is_followed(void **state)
{
    struct gyre_pool *pool = pool_of(PROXIES, unused, NULL);
    struct gyre_strategy strategy = strategy_of(GYRE_PICK_LEAST_ACTIVE, "least-active");
    struct gyre_request request = {.size = sizeof request, .key = "cart-17"}, own = request;
    struct gyre_lease lease, first;

    (void)state;
    assert_int_equal(count_different(pool), PROXIES);
    OK(gyre_strategy_set(pool, &strategy, NULL));
    assert_int_equal(count_different(pool), 1); /* at rest it is always the first */
    strategy.random_ties = 1;
    OK(gyre_strategy_set(pool, &strategy, NULL));
    assert_int_equal(count_different(pool), PROXIES);
    own.picker = GYRE_PICK_LEAST_ACTIVE;
    OK(gyre_acquire(pool, &own, &lease)); /* whose request names a picker decides about ties too */
    assert_int_equal(lease.slot, 0);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    strategy = strategy_of(GYRE_PICK_BEST, "performance");
    strategy.choices = 1; /* of one */
    OK(gyre_strategy_set(pool, &strategy, NULL));
    assert_int_equal(count_different(pool), PROXIES);
    strategy.choices = 64; /* of all: hardly anybody but the fastest */
    OK(gyre_strategy_set(pool, &strategy, NULL));
    assert_true(count_different(pool) < 4);
    strategy = strategy_of(GYRE_PICK_HASH, "consistent-hash");
    OK(gyre_strategy_set(pool, &strategy, NULL));
    OK(gyre_acquire(pool, &request, &first));
    OK(gyre_complete_ms(pool, &first, GYRE_OK, 1.0));
    request.key = NULL;
    EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
    EXPECT(GYRE_EINVALID, gyre_acquire(pool, NULL, &lease));
    request.host = "cart-17"; /* without a key the host is one */
    OK(gyre_acquire(pool, &request, &lease));
    assert_int_equal(lease.id, first.id);
    gyre_pool_close(pool);
}

/* ---- swaps under fire ---- */

static atomic_int stop;

static struct gyre_strategy numbered(unsigned n)
{
    struct gyre_strategy strategy = strategy_of(1 + n % GYRE_PICK_WEIGHTED, "");

    snprintf(strategy.name, sizeof strategy.name, "%u", n);
    snprintf(strategy.fallback, sizeof strategy.fallback, "%u", n);
    memset(strategy.options, ' ', 2000);
    snprintf(strategy.options + 2000, 100, "%u", n);
    return strategy;
}

/* All of one swap, or all of another. */
static void require_whole(struct gyre_pool *pool, uint32_t *last)
{
    struct gyre_strategy strategy = {.size = sizeof strategy};

    REQUIRE(gyre_strategy_get(pool, &strategy) == 0);
    if (!strategy.generation) return;
    REQUIRE(strategy.generation >= *last);
    *last = strategy.generation;
    REQUIRE(!strcmp(strategy.name, strategy.fallback) && !strcmp(strategy.name, strategy.options + 2000));
    REQUIRE(strategy.picker == 1 + (unsigned)atoi(strategy.name) % GYRE_PICK_WEIGHTED);
}

static void *read_and_acquire(void *argument)
{
    struct gyre_pool *pool = *(struct gyre_pool **)argument;
    struct gyre_lease lease;
    uint32_t last = 0;

    while (!atomic_load(&stop)) {
        require_whole(pool, &last);
        REQUIRE(gyre_acquire(pool, NULL, &lease) == 0);
        REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 10.0) == 0);
    }
    return NULL;
}

static void *swap_many(void *argument)
{
    struct gyre_pool *pool = *(struct gyre_pool **)argument;

    for (unsigned n = (unsigned)rounds(3000); n; n--) {
        struct gyre_strategy strategy = numbered(n);

        REQUIRE(gyre_strategy_set(pool, &strategy, NULL) == 0);
    }
    atomic_store(&stop, 1);
    return NULL;
}

static void *by_role(void *argument)
{
    static atomic_int roles;

    return atomic_fetch_add(&roles, 1) == 0 ? swap_many(argument) : read_and_acquire(argument);
}

static void test_swaps_are_whole(void **state)
{
    struct gyre_pool *pool = pool_of(PROXIES, unused, NULL), *arguments[6];

    (void)state;
    for (size_t i = 0; i < COUNT(arguments); i++) arguments[i] = pool;
    run_threads(COUNT(arguments), by_role, arguments, sizeof *arguments);
    EXPECT_COUNT(stats_of(pool).active, 0, "at rest");
    EXPECT_COUNT(read_back(pool).generation, rounds(3000), "swaps");
    EXPECT(0, gyre_pool_check(pool, NULL));
    gyre_pool_close(pool);
}

static void swap_for_ever(void *argument)
{
    struct gyre_pool *pool;

    REQUIRE(gyre_pool_open(argument, &pool) == 0);
    for (unsigned n = 1;; n++) {
        struct gyre_strategy strategy = numbered(n);

        REQUIRE(gyre_strategy_set(pool, &strategy, NULL) == 0);
    }
}

/* Whoever is killed at a swap has made it or not; the next goes on from there. */
static void test_killed_while_swapping(void **state)
{
    struct rng rng = {test_seed(11)};
    struct gyre_options options = shared_options("killed");
    struct gyre_pool *pool = open_pool(&options);
    uint32_t last = 0;

    (void)state;
    add_numbered(pool, 0, PROXIES, unused);
    for (unsigned long round = rounds(30); round; round--) {
        pid_t children[] = {spawn(swap_for_ever, &options), spawn(swap_for_ever, &options)};

        usleep(2000 + rng_below(&rng, 20000));
        for (size_t i = 0; i < COUNT(children); i++) slay(children[i]);
        require_whole(pool, &last);
        EXPECT(0, gyre_pool_check(pool, NULL));
    }
    assert_true(last > 0);
    gyre_pool_close(pool);
}

/* A swap by one process is the next acquire of another. */
static void swap_once(void *argument)
{
    struct gyre_strategy strategy = strategy_of(GYRE_PICK_LEAST_ACTIVE, "least-active");
    struct gyre_pool *pool;

    REQUIRE(gyre_pool_open(argument, &pool) == 0);
    REQUIRE(gyre_strategy_set(pool, &strategy, NULL) == 0);
    gyre_pool_close(pool);
}

static void test_reaches_other_processes(void **state)
{
    struct gyre_options options = shared_options("swapped");
    struct gyre_pool *pool = open_pool(&options);

    (void)state;
    add_numbered(pool, 0, PROXIES, unused);
    assert_int_equal(count_different(pool), PROXIES);
    reap(spawn(swap_once, &options));
    assert_int_equal(count_different(pool), 1);
    gyre_pool_close(pool);
}

/* ---- what a request asks of a proxy's record ---- */

static void test_min_success_and_max_ms(void **state)
{
    uint64_t ids[3];
    struct gyre_options options = manual_options();
    struct gyre_request request = {.size = sizeof request};
    struct gyre_lease lease;
    struct gyre_pool *pool;
    uint32_t slots[3];

    (void)state;
    options.breaker_failures = 1000;
    pool = pool_of(3, ids, &options);
    for (int i = 0; i < 20; i++) use_proxy(pool, ids[0], GYRE_PROXY_BAD); /* 0.95 ^ 20 = 0.36 */
    OK(gyre_acquire_id(pool, ids[1], &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 900.0));
    for (uint32_t picker = 0; picker <= GYRE_PICK_HASH; picker++) {
        request = (struct gyre_request){.size = sizeof request, .picker = picker, .key = "k", .min_success = 0.9};
        for (int i = 0; i < 30; i++) {
            OK(gyre_acquire(pool, &request, &lease));
            OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
            assert_true(lease.id != ids[0]);
        }
        request.max_ms = 500; /* the third has no latency yet: it may serve */
        OK(gyre_acquire(pool, &request, &lease));
        assert_true(lease.id == ids[2]);
        request.session = "kept";
        OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
        OK(gyre_acquire(pool, &request, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, -1));
        assert_true(lease.id == ids[2]);
    }
    assert_int_equal(gyre_list(pool, &request, slots, 3), 1);
    OK(gyre_pool_disable(pool, ids[2]));
    request.session = NULL;
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    assert_non_null(strstr(gyre_detail(), "2 too slow or failing too often"));
    for (int i = 0; i < 3; i++) {
        static const double wrong[] = {-1, 1.1, 0.0 / 0.0};

        request = (struct gyre_request){.size = sizeof request, .min_success = wrong[i]};
        EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
        request = (struct gyre_request){.size = sizeof request, .max_ms = i == 1 ? -0.5 : wrong[i]};
        EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
    }
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_with_the_option), cmocka_unit_test(test_keeps_what_is_set),
        cmocka_unit_test(test_refuses),                cmocka_unit_test(test_is_followed),
        cmocka_unit_test(test_swaps_are_whole),        cmocka_unit_test(test_killed_while_swapping),
        cmocka_unit_test(test_reaches_other_processes), cmocka_unit_test(test_min_success_and_max_ms),
    };

    return cmocka_run_group_tests_name("strategy", tests, NULL, remove_temp);
}
