/*
 * Books: what a segment knows of its proxies, moved to another one. The property: a pool that was copied says the same and
 * goes on in the same way, whatever happened in it before.
 */
#include "support.h"

#include <inttypes.h>
#include <math.h>

enum { PROXIES = 24 };

static struct gyre_books books_of(struct gyre_pool *pool, uint64_t id)
{
    struct gyre_books books = {.size = sizeof books};

    OK(gyre_books_get(pool, id, &books));
    return books;
}

static void expect_double(double got, double wanted, double within, const char *what, uint32_t i)
{
    if (isnan(got) && isnan(wanted)) return;
    if (!(fabs(got - wanted) <= within)) fail_msg("%s of proxy %u: want %.9g, got %.9g", what, i, wanted, got);
}

/* The same to whoever looks: everything but the id and what is in flight. */
static void expect_same(struct gyre_pool *pool, uint64_t id, struct gyre_pool *copy, uint64_t twin, uint32_t i)
{
    struct gyre_proxy a = proxy_of(pool, id), b = proxy_of(copy, twin);
    double now = gyre_pool_time(pool), then = gyre_pool_time(copy);

    EXPECT_COUNT(b.state, a.state, "state of proxy %u", i);
    EXPECT_COUNT(b.completed, a.completed, "completed of proxy %u", i);
    EXPECT_COUNT(b.succeeded, a.succeeded, "succeeded of proxy %u", i);
    EXPECT_COUNT(b.failed, a.failed, "failed of proxy %u", i);
    EXPECT_COUNT(b.aborted, a.aborted, "aborted of proxy %u", i);
    EXPECT_COUNT(b.bytes, a.bytes, "bytes of proxy %u", i);
    EXPECT_COUNT(b.consecutive_failures, a.consecutive_failures, "failures in a row of proxy %u", i);
    EXPECT_COUNT(b.window_started, a.window_started - a.active, "window.started of proxy %u", i);
    EXPECT_COUNT(b.window_succeeded, a.window_succeeded, "window.succeeded of proxy %u", i);
    EXPECT_COUNT(b.window_failed, a.window_failed, "window.failed of proxy %u", i);
    expect_double(b.ema_ms, a.ema_ms, 0, "ema_ms", i);
    expect_double(b.success_rate, a.success_rate, 0, "success_rate", i);
    if (a.last_used > 0) expect_double(then - b.last_used, now - a.last_used, 0.11, "idle time", i);
    if (a.benched_until > 0) expect_double(b.benched_until - then, a.benched_until - now, 0.11, "bench", i);
}

/* Some hours in the life of a pool. */
static void live(struct gyre_pool *pool, const uint64_t *ids, struct rng *rng, uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) {
        uint64_t id = ids[rng_below(rng, PROXIES)];
        struct gyre_outcome outcome = outcome_of((int)rng_below(rng, 6) + 1);
        struct gyre_lease lease;

        outcome.has_ms = 1;
        outcome.ms = rng_unit(rng) * 1000;
        outcome.bytes = rng_below(rng, 5000);
        if (rng_below(rng, 3)) outcome.verdict = rng_below(rng, 2) ? GYRE_OK : GYRE_PROXY_BAD;
        if (gyre_acquire_id(pool, id, &lease) == 0) OK(gyre_complete(pool, &lease, &outcome));
        if (!rng_below(rng, 40)) OK(gyre_pool_drain(pool, id));
        if (!rng_below(rng, 40)) OK(gyre_pool_disable(pool, id));
        if (!rng_below(rng, 20)) OK(gyre_pool_enable(pool, id));
        if (!rng_below(rng, 4)) pass_time(pool, rng_unit(rng) * 60);
    }
}

static struct gyre_pool *copy_of(struct gyre_pool *pool, const uint64_t *ids, uint64_t *twins)
{
    struct gyre_options options = {.size = sizeof options};

    OK(gyre_pool_options(pool, &options));
    options.max_proxies = 128;
    struct gyre_pool *copy = open_pool(&options);
    add_numbered(copy, 1, PROXIES, twins);
    for (uint32_t i = 0; i < PROXIES; i++) {
        struct gyre_books books = books_of(pool, ids[i]);
        OK(gyre_books_set(copy, twins[i], &books));
    }
    return copy;
}

static void check_sound(struct gyre_pool *pool)
{
    struct gyre_check report = {.size = sizeof report};

    if (gyre_pool_check(pool, &report)) fail_msg("check: %s", report.first);
}

static void test_copy_is_the_same(void **state)
{
    struct rng rng = {test_seed(71)};

    (void)state;
    for (unsigned long round = rounds(30); round--;) {
        struct gyre_options options = manual_options();
        uint64_t ids[PROXIES], twins[PROXIES];

        options.max_proxies = 64;
        options.max_benched = 1;
        struct gyre_pool *pool = pool_of(PROXIES, ids, &options);
        live(pool, ids, &rng, 20 + rng_below(&rng, 1500));
        struct gyre_pool *copy = copy_of(pool, ids, twins);
        check_sound(copy);
        for (uint32_t i = 0; i < PROXIES; i++) expect_same(pool, ids[i], copy, twins[i], i);
        /* and goes on in the same way: windows slide, benches end */
        for (int k = 0; k < 12; k++) {
            double seconds = rng_unit(&rng) * 700;
            pass_time(pool, seconds);
            pass_time(copy, seconds);
            for (uint32_t i = 0; i < PROXIES; i++) {
                struct gyre_proxy a = proxy_of(pool, ids[i]), b = proxy_of(copy, twins[i]);
                EXPECT_COUNT(b.window_failed, a.window_failed, "window.failed of proxy %u later", i);
                EXPECT_COUNT(b.window_succeeded, a.window_succeeded, "window.succeeded of proxy %u later", i);
            }
        }
        EXPECT_COUNT(stats_of(copy).half_open, stats_of(pool).half_open, "half-open later");
        check_sound(copy);
        gyre_pool_close(copy);
        gyre_pool_close(pool);
    }
}

/* Least-used goes on where it was: nobody is flooded, nobody starved. */
static void test_least_used_goes_on(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_request request = {.size = sizeof request, .picker = GYRE_PICK_LEAST_USED};
    uint64_t ids[PROXIES], twins[PROXIES];
    struct gyre_lease lease;

    (void)state;
    options.max_proxies = 64;
    struct gyre_pool *pool = pool_of(PROXIES, ids, &options);
    for (int i = 0; i < PROXIES * 5 + 7; i++) {
        OK(gyre_acquire(pool, &request, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5));
    }
    struct gyre_pool *copy = copy_of(pool, ids, twins);
    for (int i = 0; i < PROXIES - 7; i++) { /* fills the round that had begun */
        OK(gyre_acquire(copy, &request, &lease));
        OK(gyre_complete_ms(copy, &lease, GYRE_OK, 5));
    }
    for (uint32_t i = 0; i < PROXIES; i++) EXPECT_COUNT(proxy_of(copy, twins[i]).started, 6, "started of proxy %u", i);
    gyre_pool_close(copy);
    gyre_pool_close(pool);
}

/* A rate that is used up in the old pool is used up in the new one, until the period has passed. */
static void test_rate_is_kept(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_proxy_spec spec = {.size = sizeof spec, .rate = "10/60s"};
    uint64_t ids[PROXIES], twins[PROXIES];
    struct gyre_lease lease;

    (void)state;
    struct gyre_pool *pool = pool_of(PROXIES, ids, &options);
    OK(gyre_pool_update(pool, ids[0], &spec));
    for (int i = 0; i < 7; i++) use_proxy(pool, ids[0], GYRE_OK);
    EXPECT_COUNT(books_of(pool, ids[0]).rate_used, 7, "used of 10");
    EXPECT_COUNT(books_of(pool, ids[1]).rate_used, 0, "without a rate");
    struct gyre_books books = books_of(pool, ids[0]);
    struct gyre_pool *copy = pool_of(PROXIES, twins, &options);
    OK(gyre_pool_update(copy, twins[0], &spec));
    OK(gyre_books_set(copy, twins[0], &books));
    for (int i = 0; i < 3; i++) use_proxy(copy, twins[0], GYRE_OK);
    EXPECT(GYRE_EBUSY, gyre_acquire_id(copy, twins[0], &lease));
    pass_time(copy, 61);
    use_proxy(copy, twins[0], GYRE_OK);
    check_sound(copy);
    gyre_pool_close(copy);
    gyre_pool_close(pool);
}

/* What is in flight goes on and is counted on top. */
static void test_leases_in_flight(void **state)
{
    struct gyre_books books = {.size = sizeof books, .state = GYRE_CLOSED, .succeeded = 100, .failed = 20, .aborted = 3,
                               .ema_ms = NAN, .success_rate = 1, .used_ago = -1, .sampled_ago = -1, .bench_left = -1};
    struct gyre_lease lease;
    uint64_t id;

    (void)state;
    struct gyre_pool *pool = pool_of(1, &id, NULL);
    OK(gyre_acquire(pool, NULL, &lease));
    OK(gyre_books_set(pool, id, &books));
    EXPECT_COUNT(proxy_of(pool, id).started, 124, "started");
    EXPECT_COUNT(proxy_of(pool, id).active, 1, "active");
    EXPECT_COUNT(books_of(pool, id).succeeded, 100, "succeeded; the lease is not part of the books");
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 7));
    EXPECT_COUNT(proxy_of(pool, id).succeeded, 101, "succeeded");
    EXPECT_COUNT(proxy_of(pool, id).active, 0, "active");
    check_sound(pool);
    gyre_pool_close(pool);
}

/* Disabled and drained ones keep the bench beneath. */
static void test_bench_beneath(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[PROXIES], twins[PROXIES];

    (void)state;
    struct gyre_pool *pool = pool_of(PROXIES, ids, &options);
    for (int i = 0; i < 5; i++) use_proxy(pool, ids[3], GYRE_PROXY_BAD);
    double left = books_of(pool, ids[3]).bench_left;
    assert_true(left > 0 && left <= 30);
    OK(gyre_pool_disable(pool, ids[3]));
    struct gyre_pool *copy = copy_of(pool, ids, twins);
    EXPECT_COUNT(proxy_of(copy, twins[3]).state, GYRE_DISABLED, "state");
    EXPECT_COUNT(books_of(copy, twins[3]).opened, 1, "opened");
    expect_double(books_of(copy, twins[3]).bench_left, left, 0.11, "bench", 3);
    check_sound(copy);
    OK(gyre_pool_enable(copy, twins[3]));
    EXPECT_COUNT(proxy_of(copy, twins[3]).state, GYRE_CLOSED, "state once enabled");
    check_sound(copy);
    gyre_pool_close(copy);
    gyre_pool_close(pool);
}

static void refuse(struct gyre_pool *pool, uint64_t id, const struct gyre_books *books, const char *name, const char *what)
{
    struct gyre_books before = books_of(pool, id);
    int result = gyre_books_set(pool, id, books);
    struct gyre_books after = books_of(pool, id);

    if (result != GYRE_EINVALID) fail_msg("%s is accepted: %d", what, result);
    assert_memory_equal(&before, &after, sizeof before);
    if (books->size == sizeof *books && !strstr(gyre_detail(), name)) fail_msg("%s is not named: %s", name, gyre_detail());
}

static void test_what_cannot_be(void **state)
{
    uint64_t id;

    (void)state;
    struct gyre_pool *pool = pool_of(1, &id, NULL);
    use_proxy(pool, id, GYRE_OK);
    struct gyre_books sound = books_of(pool, id), books;
    OK(gyre_books_set(pool, id, &sound));
    EXPECT(GYRE_ENOT_FOUND, gyre_books_set(pool, id + (UINT64_C(1) << 20), &sound));
    EXPECT(GYRE_ENOT_FOUND, gyre_books_get(pool, 12345, &sound));
    sound = books_of(pool, id);
#define REFUSE(field, value) (books = sound, books.field = (value), refuse(pool, id, &books, #field, #field " " #value))
    REFUSE(size, 8);
    REFUSE(state, 0);
    REFUSE(state, 6);
    REFUSE(succeeded, UINT64_MAX);
    REFUSE(failed, UINT64_C(1) << 39);
    REFUSE(ema_ms, -1);
    REFUSE(ema_ms, INFINITY);
    REFUSE(success_rate, 1.5);
    REFUSE(success_rate, NAN);
    REFUSE(used_ago, NAN);
    REFUSE(bench_left, NAN);
    REFUSE(level, INT64_MAX);
    REFUSE(notes, 9);
    REFUSE(used_ago, INFINITY);
    REFUSE(sampled_ago, NAN);
    REFUSE(bench_left, INFINITY);
    REFUSE(opened, 1);
    REFUSE(state, GYRE_OPEN);
    REFUSE(state, GYRE_HALF_OPEN);
    books = sound;
    books.bench_left = 5;
    refuse(pool, id, &books, "bench_left", "closed and benched");
    books.state = GYRE_HALF_OPEN;
    refuse(pool, id, &books, "bench_left", "half-open and benched");
    for (int i = 0; i < 5; i++) {
        books = sound;
        books.notes = 1;
        books.note[0] = (struct gyre_window_note){.ago = i == 0 ? -1 : i == 1 ? INFINITY : 1, .started = i == 2 ? UINT32_MAX : 0,
                                                  .succeeded = i == 3 ? UINT32_MAX : 0, .failed = i == 4 ? UINT32_MAX : 0};
        refuse(pool, id, &books, "note", "a note from the future, from ever, or with a count that went backwards");
    }
    gyre_pool_close(pool);
}

static void test_options_and_start(void **state)
{
    struct gyre_options options = manual_options(), got = {.size = sizeof got};

    (void)state;
    options.max_proxies = 128, options.max_leases = 192, options.max_sessions = 100, options.max_bans = 64;
    options.alpha = 0.3, options.window = 800, options.lease_timeout = 20, options.session_ttl = 33;
    options.breaker_failures = 7, options.breaker_base = 3, options.breaker_max = 90, options.max_benched = 0.5;
    options.start = 5000.5;
    struct gyre_pool *pool = open_pool(&options);
    OK(gyre_pool_options(pool, &got));
    assert_memory_equal(&options.max_proxies, &got.max_proxies, 4 * sizeof got.max_proxies);
    expect_double(got.alpha, 0.3, 0, "alpha", 0);
    expect_double(got.window, 800, 0, "window", 0);
    expect_double(got.lease_timeout, 20, 0, "lease_timeout", 0);
    expect_double(got.session_ttl, 33, 0, "session_ttl", 0);
    expect_double(got.session_lifetime, 0, 0, "session_lifetime", 0);
    EXPECT_COUNT(got.breaker_failures, 7, "breaker_failures");
    expect_double(got.max_benched, 0.5, 0, "max_benched", 0);
    expect_double(got.start, 5000.5, 0, "start", 0);
    gyre_pool_close(pool);
    options.clock = GYRE_CLOCK_SYSTEM;
    pool = open_pool(&options);
    expect_double(gyre_pool_time(pool), 5000.5, 5, "time of a pool on the system's clock", 0);
    gyre_pool_close(pool);
    options.start = -1;
    EXPECT(GYRE_EINVALID, gyre_pool_open(&options, &pool));
}

static void test_sessions(void **state)
{
    struct gyre_request request = {.size = sizeof request, .session = "cart-1"};
    struct gyre_session session = {.size = sizeof session};
    uint64_t ids[PROXIES];
    struct gyre_lease lease;

    (void)state;
    struct gyre_pool *pool = pool_of(PROXIES, ids, NULL);
    double now = gyre_pool_time(pool);
    OK(gyre_session_restore(pool, "cart-1", ids[5], 300, 20));
    OK(gyre_session_info(pool, "cart-1", &session));
    EXPECT_COUNT(session.proxy, ids[5], "proxy");
    expect_double(now - session.created, 300, 0.11, "created", 5);
    expect_double(now - session.last_used, 20, 0.11, "last_used", 5);
    OK(gyre_acquire(pool, &request, &lease));
    EXPECT_COUNT(lease.id, ids[5], "the session's proxy");
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1));
    OK(gyre_session_restore(pool, "cart-1", ids[6], 0, 0)); /* in place of the one there is */
    OK(gyre_session_info(pool, "cart-1", &session));
    EXPECT_COUNT(session.proxy, ids[6], "proxy");
    OK(gyre_session_restore(pool, "old", ids[6], 9000, 3600)); /* over already */
    EXPECT(GYRE_ENOT_FOUND, gyre_session_info(pool, "old", &session));
    EXPECT(GYRE_EINVALID, gyre_session_restore(pool, "", ids[6], 0, 0));
    EXPECT(GYRE_EINVALID, gyre_session_restore(pool, "x", ids[6], -1, 0));
    EXPECT(GYRE_ENOT_FOUND, gyre_session_restore(pool, "x", 77, 0, 0));
    check_sound(pool);
    gyre_pool_close(pool);
}

/* Bans and throttles, the host's name known or not, and a name that is longer than what is kept of it. */
static void test_hosts(void **state)
{
    static const char long_host[] = "a-very-long-name-of-a-host-that-is-longer.than-what-the-segment-keeps-of-it."
                                    "and-goes-on-and-on-for-more-than-ninety-four-bytes.example";
    struct gyre_request request = {.size = sizeof request, .host = long_host};
    struct gyre_throttle throttle = {.size = sizeof throttle};
    struct gyre_ban ban = {.size = sizeof ban};
    uint64_t ids[PROXIES], twins[PROXIES];
    uint32_t cursor = 0, found = 0;

    (void)state;
    struct gyre_pool *pool = pool_of(PROXIES, ids, NULL), *copy = pool_of(PROXIES, twins, NULL);
    OK(gyre_host_ban(pool, ids[0], long_host, 100));
    OK(gyre_host_ban(pool, ids[1], "shop.example", 200));
    OK(gyre_host_throttle(pool, "slow.example", 50));
    while (gyre_host_next(pool, &cursor, &ban) == 1) {
        ban.id = twins[ban.id == ids[1]];
        ban.strikes = 3, ban.judged = 1;
        OK(gyre_ban_restore(copy, &ban));
        found++;
    }
    EXPECT_COUNT(found, 2, "bans");
    EXPECT_COUNT(gyre_throttle_next(pool, &cursor, &throttle), 1, "throttles");
    assert_string_equal(throttle.host, "slow.example");
    expect_double(throttle.left, 50, 0.2, "throttle", 0);
    OK(gyre_throttle_restore(copy, &throttle));
    EXPECT_COUNT(gyre_throttle_next(pool, &cursor, &throttle), 0, "no more");
    expect_double(gyre_host_delay(copy, "SLOW.example"), 50, 0.2, "delay", 0);
    EXPECT_COUNT(gyre_pool_eligible(copy, &request), PROXIES, "eligible but for bans");
    for (int i = 0; i < PROXIES - 1; i++) {
        struct gyre_lease lease;
        OK(gyre_acquire(copy, &request, &lease));
        if (lease.id == twins[0]) fail_msg("the banned proxy was picked");
        OK(gyre_complete_ms(copy, &lease, GYRE_OK, 1));
    }
    for (cursor = 0; gyre_host_next(copy, &cursor, &ban) == 1;) {
        EXPECT_COUNT(ban.strikes, 3, "strikes");
        expect_double(ban.until - gyre_pool_time(copy), ban.id == twins[0] ? 100 : 200, 0.2, "ban", 0);
        if (ban.id == twins[1]) assert_string_equal(ban.host, "shop.example");
    }
    ban.id = 99, ban.until = gyre_pool_time(copy) + 5;
    EXPECT(GYRE_ENOT_FOUND, gyre_ban_restore(copy, &ban));
    ban.id = twins[0], ban.until = gyre_pool_time(copy) - 5;
    EXPECT(GYRE_EINVALID, gyre_ban_restore(copy, &ban));
    throttle.left = -1;
    EXPECT(GYRE_EINVALID, gyre_throttle_restore(copy, &throttle));
    check_sound(copy);
    gyre_pool_close(copy);
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_is_the_same), cmocka_unit_test(test_least_used_goes_on),
        cmocka_unit_test(test_rate_is_kept),     cmocka_unit_test(test_leases_in_flight),
        cmocka_unit_test(test_bench_beneath),    cmocka_unit_test(test_what_cannot_be),
        cmocka_unit_test(test_options_and_start), cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
