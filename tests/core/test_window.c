/*
 * The sliding window, on a manual clock: an event counts for at least 7/8 of the window (it moves in eighths) and
 * never longer than the window. Between the two either answer is right.
 */
#include "support.h"

#include <math.h>

enum { EVENTS = 4096 };

/* Times are kept by the pool to a tenth of a second or better. */
static const double grain = 0.2;

struct log {
    double at[EVENTS];
    unsigned count;
};

static void note(struct log *log, double at)
{
    assert_true(log->count < EVENTS);
    log->at[log->count++] = at;
}

static void check(const struct log *log, uint64_t counted, double now, double window, const char *what)
{
    uint64_t least = 0, most = 0;

    for (unsigned i = 0; i < log->count; i++) {
        double age = now - log->at[i];

        least += age < window * 7 / 8 - grain;
        most += age <= window + grain;
    }
    if (counted < least || counted > most)
        fail_msg("%s: %llu in the window at %g, should be %llu to %llu", what, (unsigned long long)counted, now,
                 (unsigned long long)least, (unsigned long long)most);
}

static struct gyre_pool *pool_with_window(double window, uint64_t *id)
{
    struct gyre_options options = manual_options();

    options.window = window;
    options.breaker_failures = 1000000;
    options.lease_timeout = 1e6;
    return pool_of(1, id, &options);
}

/* One event and then silence: nobody's call moves the window but the look itself. */
static void test_one_event_leaves(void **state)
{
    static const double windows[] = {8.0, 80.0, 3600.0};

    (void)state;
    for (size_t w = 0; w < COUNT(windows); w++) {
        for (int phase = 0; phase < 16; phase++) {
            double window = windows[w];
            struct gyre_pool *pool;
            struct gyre_proxy proxy;
            uint64_t id;

            pool = pool_with_window(window, &id);
            pass_time(pool, window * phase / 16);
            use_proxy(pool, id, GYRE_OK);
            pass_time(pool, window * 7 / 8 - grain);
            proxy = proxy_of(pool, id);
            EXPECT_COUNT(proxy.window_started, 1, "window %g phase %d", window, phase);
            EXPECT_COUNT(proxy.window_succeeded, 1, "window %g phase %d", window, phase);
            pass_time(pool, window / 8 + 2 * grain);
            proxy = proxy_of(pool, id);
            EXPECT_COUNT(proxy.window_started, 0, "window %g phase %d", window, phase);
            EXPECT_COUNT(proxy.window_succeeded, 0, "window %g phase %d", window, phase);
            EXPECT_COUNT(proxy.started, 1, "lifetime counters stay");
            gyre_pool_close(pool);
        }
    }
}

/* An old event, silence for most of a window, a new event: the old one must not live on with the new one. */
static void test_gaps(void **state)
{
    (void)state;
    for (int gap = 1; gap < 40; gap++) {
        uint64_t id;
        struct gyre_pool *pool = pool_with_window(80.0, &id);
        struct log log = {.count = 0};

        for (int event = 0; event < 12; event++) {
            use_proxy(pool, id, GYRE_BANNED);
            note(&log, gyre_pool_time(pool));
            check(&log, proxy_of(pool, id).window_failed, gyre_pool_time(pool), 80.0, "failed");
            pass_time(pool, 5.0 * gap);
            check(&log, proxy_of(pool, id).window_failed, gyre_pool_time(pool), 80.0, "failed");
        }
        gyre_pool_close(pool);
    }
}

/* Random events at random times, several in flight, looked at in between, also across a reset. */
static void test_random_traffic(void **state)
{
    struct rng rng = {test_seed(9)};

    (void)state;
    for (unsigned long round = rounds(20); round; round--) {
        static struct log started, succeeded, failed;
        double window = 8.0 * (1 + rng_below(&rng, 40)), pace = window / (1 + rng_below(&rng, 60));
        struct gyre_lease lease;
        uint64_t id;
        struct gyre_pool *pool = pool_with_window(window, &id);

        started.count = succeeded.count = failed.count = 0;
        for (int step = 0; step < 600; step++) {
            struct gyre_proxy proxy;

            OK(gyre_acquire(pool, NULL, &lease));
            note(&started, gyre_pool_time(pool));
            if (rng_below(&rng, 2)) pass_time(pool, pace * rng_unit(&rng));
            switch (rng_below(&rng, 3)) {
            case 0:
                OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
                note(&succeeded, gyre_pool_time(pool));
                break;
            case 1:
                OK(gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, 1.0));
                note(&failed, gyre_pool_time(pool));
                break;
            default: OK(gyre_complete_ms(pool, &lease, GYRE_ABORTED, 1.0));
            }
            pass_time(pool, pace * rng_unit(&rng) * (rng_below(&rng, 50) == 0 ? 40 : 1));
            if (rng_below(&rng, 3)) continue; /* not every step: looking must not be what moves the window */
            proxy = proxy_of(pool, id);
            check(&started, proxy.window_started, gyre_pool_time(pool), window, "started");
            check(&succeeded, proxy.window_succeeded, gyre_pool_time(pool), window, "succeeded");
            check(&failed, proxy.window_failed, gyre_pool_time(pool), window, "failed");
            if (rng_below(&rng, 100) == 0) {
                OK(gyre_pool_reset_counters(pool));
                started.count = succeeded.count = failed.count = 0;
            }
        }
        gyre_pool_close(pool);
    }
}

/* A slot's next owner starts with an empty window. */
static void test_new_owner(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    uint64_t ids[64], fresh;

    (void)state;
    options.max_proxies = 64;
    pool = pool_of(64, ids, &options);
    for (int i = 0; i < 10; i++) use_proxy(pool, ids[3], GYRE_OK);
    OK(gyre_pool_remove(pool, ids[3]));
    fresh = add_url(pool, "http://heir");
    EXPECT_COUNT(proxy_of(pool, fresh).window_started + proxy_of(pool, fresh).window_succeeded, 0, "heir");
    use_proxy(pool, fresh, GYRE_OK);
    EXPECT_COUNT(proxy_of(pool, fresh).window_started, 1, "heir");
    pass_time(pool, 4000.0);
    EXPECT_COUNT(proxy_of(pool, fresh).window_started, 0, "heir, later");
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_event_leaves),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_random_traffic),
        cmocka_unit_test(test_new_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
