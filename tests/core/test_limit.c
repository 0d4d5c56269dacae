/*
 * Rates and TTLs: no period, wherever it begins, holds more leases than the rate says; a proxy that waits comes back in
 * time; the time to live passes, also while the segment is closed.
 */
#include "support.h"

#include <math.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void set_rate(struct gyre_pool *pool, uint64_t id, const char *rate)
{
    OK(gyre_pool_update(pool, id, &(struct gyre_proxy_spec){.size = sizeof(struct gyre_proxy_spec), .rate = rate}));
}

static void set_ttl(struct gyre_pool *pool, uint64_t id, double ttl)
{
    OK(gyre_pool_update(pool, id, &(struct gyre_proxy_spec){.size = sizeof(struct gyre_proxy_spec), .has_ttl = 1, .ttl = ttl}));
}

/* Leases and ends at once: 1, or 0 when it is busy. */
static unsigned lease_once(struct gyre_pool *pool)
{
    struct gyre_lease lease;
    int result = gyre_acquire(pool, NULL, &lease);

    if (result == GYRE_EBUSY) return 0;
    OK(result);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    return 1;
}

static unsigned drain(struct gyre_pool *pool)
{
    unsigned n = 0;

    while (n < 200000 && lease_once(pool)) n++;
    return n;
}

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        uint32_t count;
        double period;
    } good[] = {{"40/10s", 40, 10},    {"2/s", 2, 1},         {"1/m", 1, 60},         {"7/2h", 7, 7200},
                {"1/500ms", 1, 0.5},   {"3/ms", 3, 0.001},    {"100000/d", 100000, 86400}, {"1/31d", 1, 2678400}};
    static const char *const bad[] = {"40", "40/", "/s", "40/10", "40/10x", "40/10 s", "-1/s", "0/s", "1/0s", "100001/s", "1/32d",
                                      "4e1/s", "40/1.5s", "40/s ", " 40/s", "99999999999999/s", "1/99999999999999s", "40/S"};
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, NULL);

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        set_rate(pool, id, good[i].text);
        assert_int_equal(proxy_of(pool, id).rate_count, good[i].count);
        assert_true(fabs(proxy_of(pool, id).rate_period - good[i].period) < 1e-9);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://h:1", .rate = bad[i]};
        uint64_t other;

        EXPECT(GYRE_EINVALID, gyre_pool_update(pool, id, &spec));
        if (!strstr(gyre_detail(), bad[i])) fail_msg("'%s' is not named in: %s", bad[i], gyre_detail());
        EXPECT(GYRE_EINVALID, gyre_pool_add(pool, &spec, &other));
    }
    assert_int_equal(proxy_of(pool, id).rate_count, 1); /* errors change nothing */
    assert_int_equal(gyre_pool_count(pool), 1);
    set_rate(pool, id, "");
    assert_int_equal(proxy_of(pool, id).rate_count, 0);
    assert_true(proxy_of(pool, id).rate_period == 0);
    assert_int_equal(drain(pool), 200000);
    gyre_pool_close(pool);
}

/* Who only looks before leasing must find who is back: on the system's clock, where nothing else does the timed work. */
static int looks_find(struct gyre_pool *pool, int way)
{
    struct gyre_request request = {.size = sizeof request, .picker = GYRE_PICK_RANDOM};
    uint64_t found;
    uint32_t slot;

    if (way == 0) return gyre_pick(pool, &request, &found) == 0;
    if (way == 1) return gyre_list(pool, NULL, &slot, 1);
    if (way == 2) return gyre_sample(pool, NULL, &found, 1) == 1;
    return gyre_pool_eligible(pool, NULL);
}

static void test_looks_do_timed_work(void **state)
{
    struct gyre_options options = {.size = sizeof options, .breaker_failures = 1, .breaker_base = 0.1, .breaker_max = 0.1,
                                   .max_benched = 1};

    (void)state;
    for (int round = 0; round < 8; round++) {
        int way = round / 2, benched = round % 2;
        struct gyre_pool *pool = open_pool(&options);
        uint64_t id = add_url(pool, "http://h:1");
        struct gyre_lease lease;
        unsigned waited = 0;

        if (!benched) set_rate(pool, id, "1/200ms");
        OK(gyre_acquire_id(pool, id, &lease));
        OK(gyre_complete_ms(pool, &lease, benched ? GYRE_PROXY_BAD : GYRE_OK, -1));
        while (!looks_find(pool, way) && ++waited < 3000) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        if (waited == 3000) fail_msg("look %d never finds who was %s", way, benched ? "benched" : "at its rate");
        gyre_pool_close(pool);
    }
}

/* A full rate at once, then nothing until a period after; for counts around and above the number of marks. */
static void test_burst(void **state)
{
    static const unsigned counts[] = {1, 2, 4, 5, 6, 7, 11, 40, 99, 100, 1000, 100000};

    (void)state;
    for (size_t i = 0; i < COUNT(counts) - (under_valgrind() ? 1 : 0); i++) {
        char rate[32];
        uint64_t id;
        struct gyre_pool *pool = pool_of(1, &id, NULL);

        snprintf(rate, sizeof rate, "%u/10s", counts[i]);
        set_rate(pool, id, rate);
        for (int round = 0; round < 3; round++) {
            assert_int_equal(drain(pool), counts[i]);
            EXPECT(GYRE_EBUSY, gyre_acquire_id(pool, id, &(struct gyre_lease){0}));
            assert_int_equal(stats_of(pool).eligible, 0);
            pass_time(pool, 9.998);
            assert_int_equal(drain(pool), 0);
            pass_time(pool, 0.002);
        }
        EXPECT_COUNT(proxy_of(pool, id).started, 3 * counts[i], "what was refused is not counted");
        gyre_pool_close(pool);
    }
}

/* Random arrivals under a manual clock, every period checked, and not far fewer leases than allowed. */
static void check_arrivals(uint64_t seed, unsigned count, double load)
{
    struct rng rng = {seed};
    double *given = calloc(200000, sizeof *given), *exact = calloc(200000, sizeof *exact), period = 10.0, began;
    unsigned n = 0, best = 0; /* best: what a limiter that remembers each lease gives */
    char rate[32];
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, NULL);

    assert_true(given && exact);
    snprintf(rate, sizeof rate, "%u/10s", count);
    set_rate(pool, id, rate);
    began = gyre_pool_time(pool);
    while (gyre_pool_time(pool) < began + 200 && n < 200000) {
        unsigned burst = rng_below(&rng, 20) ? 1 : 1 + rng_below(&rng, count);

        for (unsigned i = 0; i < burst && n < 200000; i++) {
            double at = gyre_pool_time(pool);
            if (best < count || at - exact[best - count] > period - 1e-9) exact[best++] = at;
            if (lease_once(pool)) given[n++] = at;
        }
        pass_time(pool, -log(1 - rng_unit(&rng)) * period / count / load);
    }
    for (unsigned i = count; i < n; i++)
        if (given[i] - given[i - count] < period - 1e-9)
            fail_msg("rate %u: %u leases from %.3f to %.3f", count, count + 1, given[i - count], given[i]);
    print_message("rate %u, load %.1f: %u leases, an exact limiter gives %u\n", count, load, n, best);
    if (count <= 5) assert_int_equal(n, best);
    else assert_true(n >= best * 0.85);
    free(exact);
    free(given);
    gyre_pool_close(pool);
}

static void test_arrivals(void **state)
{
    uint64_t seed = test_seed(11);

    (void)state;
    for (unsigned count = 1; count < (under_valgrind() ? 30 : 300); count = count * 2 + 1)
        for (double load = 0.5; load < 5; load *= 2) check_arrivals(seed + count, count, load);
}

/* BUSY while one only waits; NO_PROXY when none does; others carry on; a benched one is not said to be at its limit. */
static void test_busy_or_none(void **state)
{
    uint64_t ids[3];
    struct gyre_pool *pool = pool_of(3, ids, NULL);
    struct gyre_lease lease;

    (void)state;
    set_rate(pool, ids[0], "2/10s");
    for (int i = 0; i < 30; i++) assert_int_equal(lease_once(pool), 1);
    EXPECT_COUNT(proxy_of(pool, ids[0]).started, 2, "its rate");
    EXPECT_COUNT(proxy_of(pool, ids[1]).started, 14, "its share of the rest");
    OK(gyre_pool_disable(pool, ids[1]));
    OK(gyre_pool_disable(pool, ids[2]));
    EXPECT(GYRE_EBUSY, gyre_acquire(pool, NULL, &lease));
    assert_non_null(strstr(gyre_detail(), "1 at their limit"));
    OK(gyre_pool_disable(pool, ids[0]));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, NULL, &lease));
    OK(gyre_pool_enable(pool, ids[0])); /* no way around the rate */
    EXPECT(GYRE_EBUSY, gyre_acquire(pool, NULL, &lease));
    OK(gyre_pool_reset_counters(pool));
    EXPECT(GYRE_EBUSY, gyre_acquire(pool, NULL, &lease));
    pass_time(pool, 10);
    assert_int_equal(stats_of(pool).eligible, 1);
    OK(gyre_acquire(pool, NULL, &lease));
    gyre_pool_close(pool);
}

/* A changed rule counts what was given under the old one; the same rule again, or one there and back, gives no more. */
static void test_change(void **state)
{
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, NULL);

    (void)state;
    set_rate(pool, id, "10/10s");
    assert_int_equal(drain(pool), 10);
    set_rate(pool, id, "10/10s");
    assert_int_equal(drain(pool), 0);
    set_rate(pool, id, "25/10s");
    assert_int_equal(drain(pool), 15);
    set_rate(pool, id, "3/10s");
    assert_int_equal(drain(pool), 0);
    pass_time(pool, 9.9);
    set_rate(pool, id, "25/10s");
    assert_in_range(drain(pool), 0, 22);
    pass_time(pool, 10.1);
    assert_int_equal(drain(pool), 25);
    set_rate(pool, id, "");
    assert_int_equal(stats_of(pool).eligible, 1);
    gyre_pool_close(pool);
}

/* A slot's next proxy does not inherit the rate, nor what was used of it. */
static void test_reuse(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, &options);
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://next:1", .rate = "3/m"};

    (void)state;
    set_rate(pool, id, "2/m");
    set_ttl(pool, id, 5);
    assert_int_equal(drain(pool), 2);
    OK(gyre_pool_remove(pool, id));
    OK(gyre_pool_add(pool, &spec, &id));
    assert_int_equal(drain(pool), 3);
    OK(gyre_pool_remove(pool, id));
    id = add_url(pool, "http://third:1");
    assert_int_equal(proxy_of(pool, id).rate_count, 0);
    pass_time(pool, 6);
    assert_int_equal(gyre_pool_count(pool), 1);
    assert_int_equal(drain(pool), 200000);
    gyre_pool_close(pool);
}

/* ---- at once, on the real clock ---- */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#define LOG 20000u
struct record {
    atomic_uint used;
    struct {
        double before, after;
    } at[LOG];
};

struct taker {
    struct gyre_pool *pool;
    struct record *record;
    double until;
};

static void *take(void *argument)
{
    struct taker *taker = argument;
    struct gyre_lease lease;

    for (double before = now(); before < taker->until; before = now()) {
        int result = gyre_acquire(taker->pool, NULL, &lease);

        if (result == GYRE_EBUSY) {
            if (((uintptr_t)&lease >> 4 & 3) == 0) usleep(100);
            continue;
        }
        REQUIRE(result == 0);
        unsigned n = atomic_fetch_add(&taker->record->used, 1);
        REQUIRE(n < LOG);
        taker->record->at[n].before = before;
        taker->record->at[n].after = now();
        REQUIRE(gyre_complete_ms(taker->pool, &lease, GYRE_OK, 1.0) == 0);
    }
    return NULL;
}

static int by_before(const void *a, const void *b)
{
    double x = ((const double *)a)[0], y = ((const double *)b)[0];
    return x < y ? -1 : x > y;
}

/* A lease was given somewhere between its two times. So no period may hold more than `count` whole ones. */
static void check_periods(struct record *record, unsigned count, double period, double lasted)
{
    unsigned n = atomic_load(&record->used);

    qsort(record->at, n, sizeof *record->at, by_before);
    for (unsigned i = 0; i < n; i++) {
        unsigned inside = 0;
        for (unsigned k = i; k < n && record->at[k].before < record->at[i].before + period; k++)
            inside += record->at[k].after < record->at[i].before + period;
        if (inside > count) fail_msg("%u leases in a period of %.3f s that takes %u", inside, period, count);
    }
    print_message("rate %u/%.3f s: %u leases in %.2f s, allowed are %.0f\n", count, period, n, lasted, count * (lasted / period + 1));
    assert_true(n > count); /* nobody sleeps for ever; how much more depends on the machine */
}

static struct record *make_record(void)
{
    struct record *record = mmap(NULL, sizeof *record, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(record != MAP_FAILED);
    return record;
}

static const struct {
    const char *text;
    unsigned count;
    double period;
} rules[] = {{"1/20ms", 1, 0.02}, {"5/50ms", 5, 0.05}, {"40/100ms", 40, 0.1}, {"203/200ms", 203, 0.2}};

static void test_threads(void **state)
{
    double lasts = getenv("GYRE_LONG") ? 10.0 : 1.0;

    (void)state;
    for (size_t i = 0; i < COUNT(rules); i++) {
        struct gyre_options options = {.size = sizeof options, .max_proxies = 64, .max_leases = 64};
        struct gyre_pool *pool = open_pool(&options);
        struct record *record = make_record();
        struct taker takers[4];

        set_rate(pool, add_url(pool, "http://h:1"), rules[i].text);
        for (size_t k = 0; k < COUNT(takers); k++) takers[k] = (struct taker){pool, record, now() + lasts};
        run_threads(COUNT(takers), take, takers, sizeof *takers);
        check_periods(record, rules[i].count, rules[i].period, lasts);
        munmap(record, sizeof *record);
        gyre_pool_close(pool);
    }
}

static void take_as_child(void *argument)
{
    take(argument);
}

static void test_processes(void **state)
{
    double lasts = getenv("GYRE_LONG") ? 10.0 : 1.0;

    (void)state;
    for (size_t i = 0; i < COUNT(rules); i++) {
        struct gyre_options options = {.size = sizeof options, .max_proxies = 64, .max_leases = 1024};
        struct gyre_pool *pool = open_pool(&options);
        struct taker taker = {pool, make_record(), now() + lasts};
        pid_t children[4];

        set_rate(pool, add_url(pool, "http://h:1"), rules[i].text);
        for (size_t k = 0; k < COUNT(children); k++) children[k] = spawn(take_as_child, &taker);
        for (size_t k = 0; k < COUNT(children); k++) reap(children[k]);
        check_periods(taker.record, rules[i].count, rules[i].period, lasts);
        munmap(taker.record, sizeof *taker.record);
        gyre_pool_close(pool);
    }
}

/* Threads fight for each token while the clock stands: exactly the rate is given. Processes likewise. */
static void *grab(void *argument)
{
    struct taker *taker = argument;
    struct gyre_lease lease;
    int result;

    while ((result = gyre_acquire(taker->pool, NULL, &lease)) == 0) {
        atomic_fetch_add(&taker->record->used, 1);
        REQUIRE(gyre_complete_ms(taker->pool, &lease, GYRE_OK, 1.0) == 0);
    }
    REQUIRE(result == GYRE_EBUSY);
    return NULL;
}

static void grab_as_child(void *argument)
{
    grab(argument);
}

static void test_last_token(void **state)
{
    struct rng rng = {test_seed(12)};
    uint64_t id;
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct record *record = make_record();

    (void)state;
    options.max_proxies = 64;
    pool = pool_of(1, &id, &options);
    for (unsigned long round = 0; round < rounds(400); round++) {
        unsigned count = 1 + rng_below(&rng, round % 2 ? 12 : 300);
        struct taker taker = {.pool = pool, .record = record}, takers[4] = {taker, taker, taker, taker};
        char rate[32];

        snprintf(rate, sizeof rate, "%u/10s", count);
        pass_time(pool, 11);
        set_rate(pool, id, rate);
        atomic_store(&record->used, 0);
        if (round % 10) {
            run_threads(4, grab, takers, sizeof *takers);
        } else {
            pid_t children[4];
            for (int k = 0; k < 4; k++) children[k] = spawn(grab_as_child, &taker);
            for (int k = 0; k < 4; k++) reap(children[k]);
        }
        assert_int_equal(atomic_load(&record->used), count);
        assert_int_equal(stats_of(pool).eligible, 0);
        assert_int_equal(gyre_pool_check(pool, NULL), 0);
    }
    munmap(record, sizeof *record);
    gyre_pool_close(pool);
}

/* Rates change under load, and every thread always gets on: nobody waits for ever. */
static void *change(void *argument)
{
    static const char *const rates[] = {"5/50ms", "17/50ms", "100/50ms", "1/10ms"};
    struct taker *taker = argument;
    uint64_t id = 0;

    REQUIRE(gyre_pool_next(taker->pool, &id) == 1);
    for (unsigned i = 0; now() < taker->until; i++) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .rate = rates[i % COUNT(rates)]};
        REQUIRE(gyre_pool_update(taker->pool, id, &spec) == 0);
        usleep(i % 3 ? 50 : 5000);
    }
    return NULL;
}

static void *use(void *argument)
{
    struct taker *taker = argument;
    struct gyre_lease lease;

    while (now() < taker->until) {
        int result = gyre_acquire(taker->pool, NULL, &lease);
        REQUIRE(result == 0 || result == GYRE_EBUSY);
        if (result == 0) REQUIRE(gyre_complete_ms(taker->pool, &lease, GYRE_OK, 1.0) == 0);
    }
    return NULL;
}

static void *use_or_change(void *argument)
{
    const struct taker *taker = argument;
    return taker->record ? change(argument) : use(argument);
}

static void test_change_under_load(void **state)
{
    struct gyre_options options = {.size = sizeof options, .max_proxies = 64, .max_leases = 64};
    struct gyre_pool *pool = open_pool(&options);
    double until = now() + 1.0;
    struct taker takers[5] = {{pool, (void *)&options, until}, {pool, NULL, until}, {pool, NULL, until}, {pool, NULL, until}, {pool, NULL, until}};
    uint64_t id = add_url(pool, "http://h:1");
    struct gyre_lease lease;

    (void)state;
    run_threads(COUNT(takers), use_or_change, takers, sizeof *takers);
    set_rate(pool, id, "10/100ms");
    usleep(250000);
    OK(gyre_acquire(pool, NULL, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    assert_int_equal(gyre_pool_check(pool, NULL), 0);
    gyre_pool_close(pool);
}

/* ---- max_active = 1: an exclusive lease ---- */

static atomic_uint inside;

static void *exclude(void *argument)
{
    struct gyre_pool *pool = argument;
    struct gyre_lease lease;

    for (unsigned long i = 0; i < rounds(3000); i++) {
        int result = gyre_acquire(pool, NULL, &lease);
        if (result == GYRE_EBUSY) continue;
        REQUIRE(result == 0);
        REQUIRE(atomic_fetch_add(&inside, 1) == 0);
        for (volatile int spin = 0; spin < 30; spin++) continue;
        REQUIRE(atomic_fetch_sub(&inside, 1) == 1);
        REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0) == 0);
    }
    return NULL;
}

static void *exclude_in(void *argument)
{
    return exclude(*(struct gyre_pool **)argument);
}

/* With a rate beside it that never bites, and one that does. */
static void test_exclusive(void **state)
{
    static const char *const rates[] = {"", "100000/ms", "50/10ms"};

    (void)state;
    for (size_t i = 0; i < COUNT(rates); i++) {
        struct gyre_options options = {.size = sizeof options, .max_proxies = 64, .max_leases = 1024};
        struct gyre_pool *pool = open_pool(&options), *pools[16];
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://h:1", .max_active = 1, .has_max_active = 1, .rate = rates[i]};
        uint64_t id;

        OK(gyre_pool_add(pool, &spec, &id));
        for (size_t k = 0; k < COUNT(pools); k++) pools[k] = pool;
        run_threads(COUNT(pools), exclude_in, pools, sizeof *pools);
        assert_int_equal(proxy_of(pool, id).active, 0);
        assert_true(proxy_of(pool, id).succeeded > 0);
        usleep(30000);
        assert_int_equal(lease_once(pool), 1);
        assert_int_equal(gyre_pool_check(pool, NULL), 0);
        gyre_pool_close(pool);
    }
}

/* ---- time to live ---- */

static void test_ttl(void **state)
{
    uint64_t ids[4];
    struct gyre_pool *pool = pool_of(4, ids, NULL);
    struct gyre_proxy_spec bad = {.size = sizeof bad, .has_ttl = 1};
    struct gyre_lease lease;

    (void)state;
    for (int i = 0; i < 3; i++) {
        bad.ttl = i == 0 ? -1 : i == 1 ? NAN : 1e9;
        EXPECT(GYRE_EINVALID, gyre_pool_update(pool, ids[0], &bad));
    }
    assert_true(proxy_of(pool, ids[0]).expires == 0);
    for (int i = 0; i < 4; i++) set_ttl(pool, ids[i], i == 3 ? 0.05 : 10.0 * (i + 1));
    assert_true(fabs(proxy_of(pool, ids[1]).expires - 1020) < 0.11);
    set_ttl(pool, ids[2], 0); /* never, after all */
    assert_true(proxy_of(pool, ids[2]).expires == 0);
    pass_time(pool, 0.1);
    EXPECT(GYRE_ENOT_FOUND, gyre_pool_get(pool, ids[3], &(struct gyre_proxy){.size = sizeof(struct gyre_proxy)}));
    OK(gyre_acquire_id(pool, ids[0], &lease)); /* in flight when it passes */
    pass_time(pool, 9.7);
    assert_int_equal(gyre_pool_count(pool), 3);
    pass_time(pool, 0.4);
    assert_int_equal(gyre_pool_count(pool), 2);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    set_ttl(pool, ids[1], 100); /* from now */
    pass_time(pool, 90);
    assert_int_equal(gyre_pool_count(pool), 2);
    pass_time(pool, 11);
    assert_int_equal(gyre_pool_count(pool), 1);
    pass_time(pool, 1e6);
    assert_int_equal(gyre_pool_count(pool), 1);
    assert_int_equal(gyre_pool_check(pool, NULL), 0);
    gyre_pool_close(pool);
}

/* Rate, what was used of it, and TTL are in the segment: another process, or the next, goes on from there. */
static void test_restart(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    uint64_t ids[2];

    (void)state;
    options.path = strdup(temp_path("limit"));
    pool = pool_of(2, ids, &options);
    set_rate(pool, ids[0], "4/10s");
    set_ttl(pool, ids[1], 20);
    OK(gyre_pool_disable(pool, ids[1]));
    assert_int_equal(drain(pool), 4);
    gyre_pool_close(pool);

    pool = open_pool(&options);
    assert_int_equal(drain(pool), 0);
    assert_int_equal(proxy_of(pool, ids[0]).rate_count, 4);
    pass_time(pool, 10);
    assert_int_equal(drain(pool), 4);
    gyre_pool_close(pool);

    pool = open_pool(&options);
    pass_time(pool, 9.8);
    assert_int_equal(gyre_pool_count(pool), 2);
    pass_time(pool, 0.3);
    assert_int_equal(gyre_pool_count(pool), 1);
    assert_int_equal(gyre_pool_check(pool, NULL), 0);
    gyre_pool_close(pool);
    free((char *)options.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse), cmocka_unit_test(test_looks_do_timed_work),     cmocka_unit_test(test_burst),      cmocka_unit_test(test_arrivals),
        cmocka_unit_test(test_busy_or_none), cmocka_unit_test(test_change),  cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_processes),  cmocka_unit_test(test_last_token),
        cmocka_unit_test(test_change_under_load), cmocka_unit_test(test_exclusive), cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_restart),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
