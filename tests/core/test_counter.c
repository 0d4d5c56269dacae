/*
 * Counters by name: exact under threads and processes, bounded, kept in a file, sound after kills.
 */
#include "support.h"

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

enum { MOST = 1024 };

static double value_of(struct gyre_pool *pool, const char *name)
{
    double value = NAN;

    OK(gyre_counter_get(pool, name, &value));
    return value;
}

static int count_all(struct gyre_pool *pool, double *sum)
{
    struct gyre_counter counter = {.size = sizeof counter};
    uint64_t cursor = 0;
    int n = 0;

    *sum = 0;
    while (gyre_counter_next(pool, &cursor, &counter) == 1) {
        assert_true(counter.value == value_of(pool, counter.name));
        *sum += counter.value;
        n++;
    }
    assert_int_equal(cursor, 0);
    return n;
}

static void test_adds(void **state)
{
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    double value = 0, sum;

    (void)state;
    EXPECT(GYRE_ENOT_FOUND, gyre_counter_get(pool, "hits", &value));
    OK(gyre_counter_add(pool, "hits", 1, &value));
    assert_true(value == 1);
    OK(gyre_counter_add(pool, "hits", 2.5, &value));
    assert_true(value == 3.5 && value_of(pool, "hits") == 3.5);
    OK(gyre_counter_add(pool, "hits", -4, NULL));
    assert_true(value_of(pool, "hits") == -0.5);
    OK(gyre_counter_add(pool, "hit", 1, NULL)); /* the beginning of a name is another name */
    OK(gyre_counter_add(pool, "hits ", 1, NULL));
    OK(gyre_counter_add(pool, "caf\xc3\xa9", 0x1p53 - 1, NULL));
    OK(gyre_counter_add(pool, "caf\xc3\xa9", 1, &value));
    assert_true(value == 0x1p53);
    assert_int_equal(count_all(pool, &sum), 4);
    gyre_pool_close(pool);
}

static void test_refuses(void **state)
{
    static const char *const names[] = {"", "0123456789012345678901234567890123456789abcdefgh", "a\nb", "\x7f", "tab\t"};
    static const double deltas[] = {NAN, INFINITY, -INFINITY};
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    double value = 7, sum;

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        EXPECT(GYRE_EINVALID, gyre_counter_add(pool, names[i], 1, &value));
        EXPECT(GYRE_EINVALID, gyre_counter_get(pool, names[i], &value));
    }
    EXPECT(GYRE_EINVALID, gyre_counter_add(pool, NULL, 1, &value));
    for (size_t i = 0; i < COUNT(deltas); i++) EXPECT(GYRE_EINVALID, gyre_counter_add(pool, "x", deltas[i], &value));
    assert_int_equal(count_all(pool, &sum), 0); /* none was made for a refused call */
    OK(gyre_counter_add(pool, "big", 1e308, NULL));
    EXPECT(GYRE_EINVALID, gyre_counter_add(pool, "big", 1e308, &value));
    assert_true(value_of(pool, "big") == 1e308 && value == 7);
    OK(gyre_counter_add(pool, "0123456789012345678901234567890123456789abcdefg", 1, &value)); /* 47 bytes */
    gyre_pool_close(pool);
}

static void test_full_and_kept(void **state)
{
    struct gyre_options options = {.size = sizeof options, .path = temp_path("counters"), .max_proxies = 64, .seed = 1};
    struct gyre_pool *pool = open_pool(&options);
    double sum;
    char name[48];

    (void)state;
    for (int i = 0; i < MOST; i++) {
        snprintf(name, sizeof name, "counter/%d", i);
        OK(gyre_counter_add(pool, name, i, NULL));
    }
    EXPECT(GYRE_EFULL, gyre_counter_add(pool, "one more", 1, NULL));
    EXPECT(GYRE_ENOT_FOUND, gyre_counter_get(pool, "one more", NULL));
    OK(gyre_counter_add(pool, "counter/17", 1, NULL)); /* those that are there go on */
    gyre_pool_close(pool);
    pool = open_pool(&options);
    assert_int_equal(count_all(pool, &sum), MOST);
    assert_true(sum == MOST * (MOST - 1) / 2 + 1);
    assert_true(value_of(pool, "counter/17") == 18);
    gyre_pool_close(pool);
}

struct worker {
    struct gyre_pool *pool;
    struct gyre_options options;
    uint64_t seed;
    unsigned long adds;
};

static void *add_many(void *argument)
{
    const struct worker *worker = argument;
    struct rng rng = {worker->seed};
    double last = 0, value;

    for (unsigned long i = 0; i < worker->adds; i++) {
        char name[32];

        snprintf(name, sizeof name, "n%u", rng_below(&rng, 300)); /* many are made by several at once */
        REQUIRE(gyre_counter_add(worker->pool, name, 1, &value) == 0 && value >= 1);
        REQUIRE(gyre_counter_add(worker->pool, "all", 1, &value) == 0 && value > last);
        last = value;
    }
    return NULL;
}

/* All come to each new name at about the same time. */
static void *make_together(void *argument)
{
    const struct worker *worker = argument;
    double value;
    char name[32];

    for (int i = 0; i < MOST; i++) {
        snprintf(name, sizeof name, "m%d", i);
        REQUIRE(gyre_counter_add(worker->pool, name, 1, &value) == 0 && value >= 1);
    }
    return NULL;
}

static void test_made_once(void **state)
{
    (void)state;
    for (unsigned long round = rounds(20); round; round--) {
        struct gyre_options options = {.size = sizeof options, .max_proxies = 64, .max_sessions = 64, .seed = 1};
        struct gyre_pool *pool = open_pool(&options);
        struct worker workers[8];
        double sum;

        for (size_t i = 0; i < COUNT(workers); i++) workers[i] = (struct worker){.pool = pool};
        run_threads(COUNT(workers), make_together, workers, sizeof *workers);
        assert_int_equal(count_all(pool, &sum), MOST);
        assert_true(sum == MOST * COUNT(workers));
        gyre_pool_close(pool);
    }
}

static void add_in_process(void *argument)
{
    struct worker *worker = argument;

    REQUIRE(gyre_pool_open(&worker->options, &worker->pool) == 0);
    add_many(worker);
    gyre_pool_close(worker->pool);
}

static void test_sums_are_exact(void **state)
{
    struct gyre_options options = {.size = sizeof options, .path = temp_path("sums"), .max_proxies = 64, .seed = 1};
    struct gyre_pool *pool = open_pool(&options);
    struct worker workers[8];
    pid_t children[4];
    unsigned long adds = rounds(20000);
    double sum;

    (void)state;
    for (size_t i = 0; i < COUNT(workers); i++) workers[i] = (struct worker){pool, options, 100 + i, adds};
    for (size_t i = 0; i < COUNT(children); i++) children[i] = spawn(add_in_process, &workers[i]);
    run_threads(COUNT(workers) - COUNT(children), add_many, workers + COUNT(children), sizeof *workers);
    for (size_t i = 0; i < COUNT(children); i++) reap(children[i]);
    assert_true(value_of(pool, "all") == (double)adds * COUNT(workers));
    assert_true(count_all(pool, &sum) <= 301);
    assert_true(sum == 2.0 * (double)adds * COUNT(workers)); /* no name twice: each is found, and counts all of its own */
    gyre_pool_close(pool);
}

static void make_for_ever(void *argument)
{
    struct worker *worker = argument;
    struct rng rng = {worker->seed};

    REQUIRE(gyre_pool_open(&worker->options, &worker->pool) == 0);
    for (;;) {
        char name[32];

        snprintf(name, sizeof name, "k%u", rng_below(&rng, MOST));
        REQUIRE(gyre_counter_add(worker->pool, name, 1, NULL) == 0);
    }
}

/* Killed while they make new names: no name twice, none without an end, and all can still be made. */
static void test_killed_while_making(void **state)
{
    struct rng rng = {test_seed(37)};

    (void)state;
    for (unsigned long round = rounds(20); round; round--) {
        struct worker worker = {.options = {.size = sizeof worker.options, .path = temp_path("killed"),
                                            .max_proxies = 64, .seed = 1}};
        struct gyre_pool *pool = open_pool(&worker.options);
        pid_t children[3];
        double sum, value;

        for (size_t i = 0; i < COUNT(children); i++) {
            worker.seed = rng_next(&rng);
            children[i] = spawn(make_for_ever, &worker);
        }
        usleep(500 + rng_below(&rng, 6000));
        for (size_t i = 0; i < COUNT(children); i++) slay(children[i]);
        alarm(30);
        for (int i = 0; i < MOST; i++) {
            char name[32];

            snprintf(name, sizeof name, "k%d", i);
            OK(gyre_counter_add(pool, name, 1, &value));
            assert_true(value >= 1);
        }
        alarm(0);
        assert_int_equal(count_all(pool, &sum), MOST);
        gyre_pool_close(pool);
        unlink(worker.options.path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adds),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_full_and_kept),
        cmocka_unit_test(test_made_once),
        cmocka_unit_test(test_sums_are_exact),
        cmocka_unit_test(test_killed_while_making),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
