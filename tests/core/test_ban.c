/*
 * Hosts: a ban is of one proxy by one host, for a time with full jitter that grows while bans go on; never of nearly all
 * proxies at once; a throttle is of the host, for everybody, and costs no proxy anything.
 */
#include "support.h"

#include <math.h>
#include <sys/mman.h>

static struct gyre_request request_for(const char *host)
{
    return (struct gyre_request){.size = sizeof(struct gyre_request), .host = host};
}

/* Options under which one of few proxies may be banned. */
static struct gyre_options any_options(void)
{
    struct gyre_options options = manual_options();

    options.max_benched = 1.0;
    options.max_proxies = 64;
    return options;
}

static void end_lease(struct gyre_pool *pool, struct gyre_lease *lease, int verdict, double retry_after)
{
    struct gyre_outcome outcome = outcome_of(verdict);

    outcome.retry_after = retry_after;
    OK(gyre_complete(pool, lease, &outcome));
}

/* A request for the host, ended like this; which proxy it took. */
static uint64_t ask(struct gyre_pool *pool, const char *host, int verdict, double retry_after)
{
    struct gyre_request request = request_for(host);
    struct gyre_lease lease;

    OK(gyre_acquire(pool, &request, &lease));
    end_lease(pool, &lease, verdict, retry_after);
    return lease.id;
}

/* When the proxy's ban by the host ends, in seconds from now; 0: none. */
static double banned_for(struct gyre_pool *pool, uint64_t id, const char *host, struct gyre_ban *out)
{
    struct gyre_ban ban = {.size = sizeof ban};
    uint32_t cursor = 0;
    double left = 0;

    while (gyre_host_next(pool, &cursor, &ban) == 1)
        if (ban.id == id && (!*ban.host || !strcmp(ban.host, host))) {
            if (out) *out = ban;
            left = ban.until - gyre_pool_time(pool);
        }
    return left;
}

static unsigned count_bans(struct gyre_pool *pool)
{
    struct gyre_ban ban = {.size = sizeof ban};
    uint32_t cursor = 0;
    unsigned n = 0;

    while (gyre_host_next(pool, &cursor, &ban) == 1) n++;
    return n;
}

/* Every picker leaves the banned proxy out for that host, however it is written, and for no other. */
static void test_only_that_host(void **state)
{
    static const char *const same[] = {"shop.example", "SHOP.example", "Shop.Example."}, *const other[] = {"example", "shop.example.org", "", NULL};
    uint64_t ids[3];
    struct gyre_pool *pool = pool_of(3, ids, NULL);
    uint64_t banned = ask(pool, same[0], GYRE_BANNED, 1000);
    struct gyre_lease lease;

    (void)state;
    for (uint32_t picker = GYRE_PICK_ROUND_ROBIN; picker <= GYRE_PICK_HASH; picker++)
        for (unsigned i = 0; i < COUNT(same) + COUNT(other); i++) {
            struct gyre_request request = request_for(i < COUNT(same) ? same[i] : other[i - COUNT(same)]);
            unsigned met = 0;

            request.picker = picker;
            request.random_ties = 1;
            for (unsigned k = 0; k < 60; k++) {
                char key[8];
                snprintf(key, sizeof key, "k%u", k);
                request.key = key;
                OK(gyre_acquire(pool, &request, &lease));
                met += lease.id == banned;
                end_lease(pool, &lease, GYRE_OK, 0);
            }
            if ((picker == GYRE_PICK_LEAST_ACTIVE || picker == GYRE_PICK_BEST) && i >= COUNT(same)) continue; /* they may like others better */
            if ((met > 0) != (i >= COUNT(same))) fail_msg("picker %u, host %s: the banned proxy was met %u times", picker, request.host, met);
        }
    EXPECT_COUNT(proxy_of(pool, banned).failed, 1, "one ban");
    assert_int_equal(proxy_of(pool, banned).consecutive_failures, 0);
    assert_int_equal(proxy_of(pool, banned).state, GYRE_CLOSED);
    pass_time(pool, 1000.1);
    assert_int_equal(count_bans(pool), 0);
    for (int i = 0; i < 3; i++) ask(pool, same[0], GYRE_OK, 0);
    EXPECT_COUNT(proxy_of(pool, banned).failed, 1, "its turn came again");
    gyre_pool_close(pool);
}

/* Excludes and bans together; the account of why nobody is left. */
static void test_reasons(void **state)
{
    struct gyre_options options = any_options();
    uint64_t ids[4];
    struct gyre_pool *pool = pool_of(4, ids, &options);
    struct gyre_request request = request_for("a.example");
    struct gyre_lease lease;

    (void)state;
    for (int i = 0; i < 2; i++) OK(gyre_host_ban(pool, ids[i], "A.example", 60));
    request.exclude = &ids[2];
    request.exclude_count = 1;
    OK(gyre_acquire(pool, &request, &lease));
    assert_true(lease.id == ids[3]);
    end_lease(pool, &lease, GYRE_OK, 0);
    OK(gyre_pool_disable(pool, ids[3]));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    if (!strstr(gyre_detail(), "2 banned by a.example") || !strstr(gyre_detail(), "1 excluded") || !strstr(gyre_detail(), "1 disabled"))
        fail_msg("%s", gyre_detail());
    request.host = "b.example";
    request.exclude_count = 0;
    OK(gyre_acquire(pool, &request, &lease));
    gyre_pool_close(pool);
}

/* Full jitter: in (0, 60 s * 2^k], at most an hour, uniform; by the seed alone. The row ends an hour after the last. */
static void test_jitter(void **state)
{
    enum { HOSTS = 300, ROW = 9 };
    static double left[2][HOSTS][ROW];

    (void)state;
    if (under_valgrind()) skip(); /* numbers only */
    for (int run = 0; run < 2; run++) {
        struct gyre_options options = any_options();
        uint64_t id;
        struct gyre_pool *pool;

        options.seed = 77;
        pool = pool_of(1, &id, &options);
        for (int h = 0; h < HOSTS; h++)
            for (int k = 0; k < ROW; k++) {
                struct gyre_ban ban = {0};
                char host[32];
                snprintf(host, sizeof host, "h%d.example", h);
                ask(pool, host, GYRE_BANNED, 0);
                left[run][h][k] = banned_for(pool, id, host, &ban);
                assert_int_equal(ban.strikes, k + 1);
                assert_int_equal(ban.judged, 1);
                pass_time(pool, left[run][h][k] + 0.1);
            }
        assert_int_equal(gyre_pool_check(pool, NULL), 0);
        gyre_pool_close(pool);
    }
    assert_memory_equal(left[0], left[1], sizeof left[0]);
    for (int k = 0; k < ROW; k++) {
        double range = fmin(60 * ldexp(1, k), 3600), sum = 0, least = range;
        for (int h = 0; h < HOSTS; h++) {
            assert_true(left[0][h][k] > 0 && left[0][h][k] <= range + 0.11);
            least = fmin(least, left[0][h][k]);
            sum += left[0][h][k];
        }
        /* The mean of 300 uniform values: sigma = range / sqrt(12 * 300), 5 sigma. */
        if (fabs(sum / HOSTS - range / 2) > 5 * range / sqrt(12.0 * HOSTS)) fail_msg("mean %g of (0, %g]", sum / HOSTS, range);
        assert_true(least < range / 20); /* P(not) = 0.95^300 */
    }
}

static void test_row_is_forgotten(void **state)
{
    struct gyre_options options = any_options();
    struct gyre_ban ban = {0};
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, &options);

    (void)state;
    for (unsigned k = 1; k <= 3; k++) {
        ask(pool, "h", GYRE_BANNED, 10);
        assert_true(fabs(banned_for(pool, id, "h", &ban) - 10) < 0.11);
        assert_int_equal(ban.strikes, k);
        pass_time(pool, k < 3 ? 10 + 3590 : 10 + 3610);
    }
    ask(pool, "h", GYRE_BANNED, 10);
    banned_for(pool, id, "h", &ban);
    assert_int_equal(ban.strikes, 1);
    gyre_pool_close(pool);
}

/* Verdicts of requests that were under way when the ban came add nothing, except a later Retry-After. */
static void test_in_flight(void **state)
{
    struct gyre_options options = any_options();
    struct gyre_request request = request_for("h");
    struct gyre_lease leases[6];
    struct gyre_ban ban = {0};
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, &options);

    (void)state;
    for (int i = 0; i < 6; i++) OK(gyre_acquire(pool, &request, &leases[i]));
    end_lease(pool, &leases[0], GYRE_BANNED, 100);
    for (int i = 1; i < 4; i++) end_lease(pool, &leases[i], GYRE_BANNED, 0);
    assert_true(fabs(banned_for(pool, id, "h", &ban) - 100) < 0.11);
    assert_int_equal(ban.strikes, 1);
    end_lease(pool, &leases[4], GYRE_BANNED, 50);
    assert_true(fabs(banned_for(pool, id, "h", NULL) - 100) < 0.11);
    end_lease(pool, &leases[5], GYRE_BANNED, 200);
    assert_true(fabs(banned_for(pool, id, "h", &ban) - 200) < 0.11);
    assert_int_equal(ban.strikes, 1);
    assert_int_equal(stats_of(pool).failed, 6);
    gyre_pool_close(pool);
}

static void test_retry_after(void **state)
{
    static const double bad[] = {-1, NAN, -INFINITY};
    struct gyre_options options = any_options();
    struct gyre_request request = request_for("h");
    struct gyre_outcome outcome = outcome_of(GYRE_BANNED);
    struct gyre_lease lease;
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, &options);

    (void)state;
    OK(gyre_acquire(pool, &request, &lease));
    for (size_t i = 0; i < COUNT(bad); i++) {
        outcome.retry_after = bad[i];
        EXPECT(GYRE_EINVALID, gyre_complete(pool, &lease, &outcome));
    }
    outcome.retry_after = 1e300; /* no reason to lose the outcome */
    OK(gyre_complete(pool, &lease, &outcome));
    assert_true(fabs(banned_for(pool, id, "h", NULL) - 604800) < 0.11);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    gyre_pool_close(pool);
}

/* Asks the host `n` times, each time ended as a ban for `seconds`; a gap that is long enough and nobody is blamed. */
static void ban_slowly(struct gyre_pool *pool, const char *host, int n, double seconds, double gap)
{
    for (int i = 0; i < n; i++) {
        ask(pool, host, GYRE_BANNED, seconds);
        pass_time(pool, gap);
    }
}

/* failures.md 16: a rule that takes every page for a ban, slowly. Four fifths at most are out for that host; it is counted. */
static void test_guard(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[20];
    struct gyre_pool *pool = pool_of(20, ids, &options);

    (void)state;
    ban_slowly(pool, "wrong.example", 200, 500, 1);
    assert_int_equal(count_bans(pool), 16);
    assert_int_equal(stats_of(pool).ban_refused, 200 - 16);
    assert_int_equal(stats_of(pool).ban_blamed, 0);
    assert_int_equal(stats_of(pool).eligible, 20);
    for (int i = 0; i < 40; i++) ask(pool, "wrong.example", GYRE_OK, 0);
    ban_slowly(pool, "other.example", 40, 1000, 1); /* each host has its own share */
    assert_int_equal(count_bans(pool), 32);
    pass_time(pool, 500 - 200 - 40 + 16);
    assert_int_equal(count_bans(pool), 16);
    ban_slowly(pool, "wrong.example", 40, 500, 1); /* those that ended count no more */
    assert_int_equal(count_bans(pool), 32);
    for (int i = 0; i < 20; i++) OK(gyre_host_ban(pool, ids[i], "wrong.example", 50)); /* an operator may */
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &(struct gyre_request){.size = sizeof(struct gyre_request), .host = "wrong.example"}, &(struct gyre_lease){0}));
    assert_int_equal(gyre_pool_check(pool, NULL), 0);
    gyre_pool_close(pool);
}

/* A pool that shrinks, or one of a single proxy: the share is of who lives. */
static void test_guard_follows_the_pool(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[10], id;
    struct gyre_pool *pool = pool_of(10, ids, &options), *single = pool_of(1, &id, &options);
    unsigned n;

    (void)state;
    for (int i = 0; i < 5; i++) OK(gyre_pool_remove(pool, ids[i]));
    ban_slowly(pool, "h", 30, 1000, 6);
    assert_int_equal(count_bans(pool), 4);
    ban_slowly(single, "h", 30, 1000, 6);
    assert_int_equal(count_bans(single), 0);
    /* Bans of removed proxies make room for others'. */
    for (int i = 5; i < 10; i++)
        if (banned_for(pool, ids[i], "h", NULL) > 0) OK(gyre_pool_remove(pool, ids[i]));
    add_numbered(pool, 100, 4, ids);
    pass_time(pool, 1);
    ban_slowly(pool, "h", 30, 1000, 6);
    n = count_bans(pool);
    assert_int_equal(n, 4);
    gyre_pool_close(pool);
    gyre_pool_close(single);
}

/* Most of the pool banned within seconds: nobody is, the host is blamed, once however long it goes on. */
static void test_blame(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[20];
    struct gyre_pool *pool = pool_of(20, ids, &options);

    (void)state;
    ban_slowly(pool, "fair.example", 10, 100, 0.1); /* half of them is not most */
    assert_int_equal(count_bans(pool), 10);
    OK(gyre_host_ban(pool, ids[0], "wrong.example", 500));
    ban_slowly(pool, "wrong.example", 10, 100, 0.1);
    assert_int_equal(count_bans(pool), 21);
    assert_true(gyre_host_blamed(pool, "wrong.example") == 0);
    ask(pool, "wrong.example", GYRE_BANNED, 100);
    assert_true(fabs(gyre_host_blamed(pool, "WRONG.example") - 60) < 0.11);
    assert_int_equal(count_bans(pool), 11); /* what an operator banned stays */
    assert_true(banned_for(pool, ids[0], "wrong.example", NULL) > 0);
    assert_true(gyre_host_blamed(pool, "fair.example") == 0);
    ban_slowly(pool, "wrong.example", 120, 100, 1);
    assert_int_equal(stats_of(pool).ban_blamed, 1);
    assert_true(gyre_host_blamed(pool, "wrong.example") < 61);
    assert_int_equal(gyre_pool_check(pool, NULL), 0);
    pass_time(pool, 61);
    assert_true(gyre_host_blamed(pool, "wrong.example") == 0);
    ask(pool, "wrong.example", GYRE_BANNED, 100); /* and is believed again */
    assert_int_equal(stats_of(pool).ban_blamed, 1);
    assert_true(gyre_host_blamed(pool, "unknown") == 0 && gyre_host_blamed(pool, NULL) == 0 && gyre_host_blamed(NULL, "h") == 0);
    gyre_pool_close(pool);
}

/* A single proxy is most of its pool; three verdicts it takes all the same. With max_benched 1 nobody is blamed. */
static void test_blame_needs_evidence(void **state)
{
    struct gyre_options options = manual_options(), all = any_options();
    uint64_t ids[8], id;
    struct gyre_pool *single = pool_of(1, &id, &options), *unguarded = pool_of(8, ids, &all);

    (void)state;
    ban_slowly(single, "h", 2, 10, 1);
    assert_true(gyre_host_blamed(single, "h") == 0);
    ask(single, "h", GYRE_BANNED, 10);
    assert_true(gyre_host_blamed(single, "h") > 59);
    for (int i = 0; i < 8; i++) ask(unguarded, "h", GYRE_BANNED, 10);
    assert_int_equal(count_bans(unguarded), 8);
    assert_true(gyre_host_blamed(unguarded, "h") == 0);
    gyre_pool_close(single);
    gyre_pool_close(unguarded);
}


/* What has ended makes room first, then what ends soonest. */
static void test_full_table(void **state)
{
    struct gyre_options options = any_options();
    uint64_t ids[64], one;
    struct gyre_pool *pool;

    (void)state;
    options.max_bans = 64;
    options.max_proxies = 128;
    pool = pool_of(64, ids, &options);
    for (int i = 0; i < 64; i++) OK(gyre_host_ban(pool, ids[i], "h", i == 13 ? 20 : i == 27 ? 10 : 1000 + i));
    assert_int_equal(count_bans(pool), 64);
    one = add_url(pool, "http://late:1");
    OK(gyre_host_ban(pool, one, "h", 500));
    assert_int_equal(count_bans(pool), 64);
    assert_true(banned_for(pool, ids[27], "h", NULL) == 0);
    assert_true(banned_for(pool, ids[13], "h", NULL) > 0 && banned_for(pool, one, "h", NULL) > 0);
    OK(gyre_pool_set_time(pool, gyre_pool_time(pool) + 20.05)); /* 13 has ended */
    OK(gyre_host_ban(pool, ids[27], "h", 5));
    assert_int_equal(count_bans(pool), 64);
    assert_true(banned_for(pool, one, "h", NULL) > 0 && banned_for(pool, ids[27], "h", NULL) > 0);
    OK(gyre_host_ban(pool, ids[13], "h", 600));
    assert_true(banned_for(pool, ids[27], "h", NULL) == 0);
    for (int i = 0; i < 64; i++) { /* many hosts: fewer of them than bans */
        char host[16];
        snprintf(host, sizeof host, "host%d", i);
        OK(gyre_host_throttle(pool, host, 50 + i));
    }
    assert_true(gyre_host_delay(pool, "host63") > 112);
    assert_true(gyre_host_delay(pool, "host0") == 0);
    assert_int_equal(gyre_pool_check(pool, NULL), 0);
    gyre_pool_close(pool);
}

/* By hand: ban, lift one, all of a proxy, all of a host; what iteration shows; errors. */
static void test_by_hand(void **state)
{
    static const double bad[] = {0, -1, NAN, INFINITY, 1e7};
    uint64_t ids[3];
    struct gyre_options options = any_options();
    struct gyre_pool *pool = pool_of(3, ids, &options);
    char long_name[300];
    struct gyre_ban ban = {.size = sizeof ban};
    uint32_t cursor = 0;

    (void)state;
    memset(long_name, 'x', sizeof long_name);
    long_name[255] = 0;
    for (int i = 0; i < 3; i++) {
        OK(gyre_host_ban(pool, ids[i], "a.example", 100));
        OK(gyre_host_ban(pool, ids[i], "B.example", 200));
    }
    assert_int_equal(count_bans(pool), 6);
    assert_true(banned_for(pool, ids[1], "b.example", &ban) > 199);
    assert_int_equal(ban.judged, 0);
    OK(gyre_host_ban(pool, ids[1], "b.example", 5)); /* in place of the former */
    assert_true(banned_for(pool, ids[1], "b.example", NULL) < 5.11);
    assert_int_equal(gyre_host_unban(pool, ids[0], "a.example"), 1);
    assert_int_equal(gyre_host_unban(pool, ids[0], "a.example"), 0);
    assert_int_equal(gyre_host_unban(pool, ids[1], NULL), 2);
    assert_int_equal(gyre_host_unban(pool, 0, "b.EXAMPLE"), 2);
    assert_int_equal(count_bans(pool), 1);
    for (size_t i = 0; i < COUNT(bad); i++) EXPECT(GYRE_EINVALID, gyre_host_ban(pool, ids[0], "a", bad[i]));
    EXPECT(GYRE_EINVALID, gyre_host_ban(pool, ids[0], "", 1));
    EXPECT(GYRE_EINVALID, gyre_host_ban(pool, ids[0], NULL, 1));
    EXPECT(GYRE_ENOT_FOUND, gyre_host_ban(pool, ids[0] + 7, "a", 1));
    EXPECT(GYRE_EINVALID, gyre_host_unban(pool, 0, NULL));
    ban.size = 0;
    EXPECT(GYRE_EINVALID, gyre_host_next(pool, &cursor, &ban));
    OK(gyre_host_ban(pool, ids[0], long_name, 1)); /* 255 bytes: whole as a key, its end as a name */
    ask(pool, long_name, GYRE_OK, 0);
    ban.size = sizeof ban;
    cursor = 0;
    while (gyre_host_next(pool, &cursor, &ban) == 1)
        if (ban.id == ids[0]) assert_int_equal(strncmp(ban.host, "...xxx", 6), 0);
    long_name[255] = 'x';
    long_name[256] = 0;
    EXPECT(GYRE_EINVALID, gyre_acquire(pool, &(struct gyre_request){.size = sizeof(struct gyre_request), .host = long_name}, &(struct gyre_lease){0}));
    assert_int_equal(gyre_pool_check(pool, NULL), 0);
    gyre_pool_close(pool);
}

/* A verdict knows its host by hash; the next request for it tells the name. */
static void test_names(void **state)
{
    uint64_t ids[2];
    struct gyre_options options = any_options();
    struct gyre_pool *pool = pool_of(2, ids, &options);
    struct gyre_ban ban = {.size = sizeof ban};
    uint32_t cursor = 0;
    struct gyre_lease lease;

    (void)state;
    OK(gyre_acquire_id(pool, ids[0], &lease)); /* chosen by the caller, who says for which host */
    OK(gyre_lease_host(&lease, "Shop.Example"));
    end_lease(pool, &lease, GYRE_BANNED, 100);
    assert_int_equal(gyre_host_next(pool, &cursor, &ban), 1);
    assert_string_equal(ban.host, "");
    assert_true(ask(pool, "shop.example", GYRE_OK, 0) == ids[1]);
    cursor = 0;
    assert_int_equal(gyre_host_next(pool, &cursor, &ban), 1);
    assert_string_equal(ban.host, "shop.example");
    assert_true(ban.id == ids[0]);
    assert_int_equal(gyre_host_next(pool, &cursor, &ban), 0);
    EXPECT(GYRE_EINVALID, gyre_lease_host(&lease, ""));
    gyre_pool_close(pool);
}

/* The next proxy in a slot is not banned for what the last one did. */
static void test_reuse(void **state)
{
    struct gyre_options options = any_options();
    uint64_t id, next;
    struct gyre_pool *pool = pool_of(1, &id, &options);

    (void)state;
    ask(pool, "h", GYRE_BANNED, 100);
    OK(gyre_pool_remove(pool, id));
    next = add_url(pool, "http://next:1");
    assert_int_equal(count_bans(pool), 0);
    assert_true(ask(pool, "h", GYRE_OK, 0) == next);
    gyre_pool_close(pool);
}

/* ---- throttles ---- */

static void expect_throttled(struct gyre_pool *pool, const char *host, double seconds)
{
    struct gyre_request request = request_for(host);
    double delay = gyre_host_delay(pool, host);
    struct gyre_lease lease;

    if (fabs(delay - seconds) > 0.002) fail_msg("%s is throttled for %g s, not %g", host, delay, seconds);
    if (seconds <= 0) return;
    EXPECT(GYRE_EBUSY, gyre_acquire(pool, &request, &lease));
    if (!strstr(gyre_detail(), host)) fail_msg("%s", gyre_detail());
    pass_time(pool, seconds - 0.001);
    EXPECT(GYRE_EBUSY, gyre_acquire(pool, &request, &lease));
    pass_time(pool, 0.001);
}

/* 1 s doubling to 60 s; halved by each success; forgotten after ten quiet minutes. Nobody else is held back. */
static void test_throttle(void **state)
{
    uint64_t ids[3];
    struct gyre_pool *pool = pool_of(3, ids, NULL);
    static const double row[] = {1, 2, 4, 8, 16, 32, 60, 60};

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) {
        ask(pool, "slow.example", GYRE_THROTTLED, 0);
        ask(pool, "other.example", GYRE_OK, 0);
        assert_int_equal(stats_of(pool).eligible, 3);
        expect_throttled(pool, "slow.example", row[i]);
    }
    for (int i = 0; i < 3; i++) ask(pool, "slow.example", GYRE_OK, 0); /* 60 -> 7.5 */
    ask(pool, "slow.example", GYRE_THROTTLED, 0);
    expect_throttled(pool, "SLOW.example", 15);
    for (int i = 0; i < 5; i++) ask(pool, "slow.example", GYRE_OK, 0);
    ask(pool, "slow.example", GYRE_THROTTLED, 0);
    expect_throttled(pool, "slow.example", 1);
    ask(pool, "slow.example", GYRE_THROTTLED, 0);
    expect_throttled(pool, "slow.example", 2);
    pass_time(pool, 700);
    ask(pool, "slow.example", GYRE_THROTTLED, 0);
    expect_throttled(pool, "slow.example", 1);
    for (int i = 0; i < 3; i++) { /* failures.md 16: the proxies are none the worse for it */
        assert_int_equal(proxy_of(pool, ids[i]).state, GYRE_CLOSED);
        assert_int_equal(proxy_of(pool, ids[i]).failed, 0);
    }
    gyre_pool_close(pool);
}

static void test_throttle_retry_after(void **state)
{
    uint64_t ids[3];
    struct gyre_pool *pool = pool_of(3, ids, NULL);
    struct gyre_request request = request_for("h");
    struct gyre_lease leases[4];

    (void)state;
    for (int i = 0; i < 4; i++) OK(gyre_acquire(pool, &request, &leases[i]));
    end_lease(pool, &leases[0], GYRE_THROTTLED, 7.5);
    end_lease(pool, &leases[1], GYRE_THROTTLED, 0);   /* of the same wave: no doubling */
    end_lease(pool, &leases[2], GYRE_THROTTLED, 3);   /* the later end holds */
    end_lease(pool, &leases[3], GYRE_OK, 0);          /* sent before */
    expect_throttled(pool, "h", 7.5);
    ask(pool, "h", GYRE_THROTTLED, 1e300);
    assert_true(fabs(gyre_host_delay(pool, "h") - 604800) < 0.01);
    OK(gyre_host_throttle(pool, "h", 2)); /* an operator's word */
    expect_throttled(pool, "h", 2);
    OK(gyre_host_throttle(pool, "h", 100));
    OK(gyre_host_throttle(pool, "h", 0));
    expect_throttled(pool, "h", 0);
    ask(pool, "h", GYRE_OK, 0);
    EXPECT(GYRE_EINVALID, gyre_host_throttle(pool, "h", -1));
    EXPECT(GYRE_EINVALID, gyre_host_throttle(pool, "h", NAN));
    EXPECT(GYRE_EINVALID, gyre_host_throttle(pool, "", 1));
    assert_true(gyre_host_delay(pool, "unknown") == 0 && gyre_host_delay(pool, NULL) == 0 && gyre_host_delay(NULL, "h") == 0);
    gyre_pool_close(pool);
}

/* A session's proxy that the host bans is left for another; the throttle holds for sessions too. */
static void test_session(void **state)
{
    uint64_t ids[3], first;
    struct gyre_pool *pool = pool_of(3, ids, NULL);
    struct gyre_request request = request_for("h");
    struct gyre_lease lease;

    (void)state;
    request.session = "cart";
    OK(gyre_acquire(pool, &request, &lease));
    first = lease.id;
    end_lease(pool, &lease, GYRE_BANNED, 100);
    for (int i = 0; i < 5; i++) {
        OK(gyre_acquire(pool, &request, &lease));
        assert_true(lease.id != first);
        end_lease(pool, &lease, GYRE_OK, 0);
    }
    OK(gyre_acquire(pool, &request, &lease));
    end_lease(pool, &lease, GYRE_THROTTLED, 10);
    EXPECT(GYRE_EBUSY, gyre_acquire(pool, &request, &lease));
    gyre_pool_close(pool);
}

/* ---- shared, restarted, at once ---- */

static void test_restart(void **state)
{
    struct gyre_options options = any_options();
    struct gyre_pool *pool, *beside;
    uint64_t ids[2], banned;

    (void)state;
    options.path = strdup(temp_path("ban"));
    pool = pool_of(2, ids, &options);
    beside = open_pool(&options);
    banned = ask(pool, "h", GYRE_BANNED, 100);
    ask(pool, "slow", GYRE_THROTTLED, 50);
    assert_true(ask(beside, "h", GYRE_OK, 0) != banned); /* the other process heeds it */
    assert_true(gyre_host_delay(beside, "slow") > 49.9);
    gyre_pool_close(beside);
    gyre_pool_close(pool);
    pool = open_pool(&options);
    assert_true(banned_for(pool, banned, "h", NULL) > 99.8);
    assert_true(gyre_host_delay(pool, "slow") > 49.9);
    assert_true(ask(pool, "h", GYRE_OK, 0) != banned);
    assert_int_equal(gyre_pool_check(pool, NULL), 0);
    gyre_pool_close(pool);
    free((char *)options.path);
}

struct worker {
    struct gyre_pool *pool;
    uint64_t seed;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct rng rng = {worker->seed};

    for (unsigned long i = 0; i < rounds(4000); i++) {
        char host[16];
        struct gyre_request request = request_for(host);
        struct gyre_lease lease;
        struct gyre_outcome outcome = outcome_of(1 + (int)rng_below(&rng, 6));
        int result;

        snprintf(host, sizeof host, "h%u", rng_below(&rng, 40));
        outcome.retry_after = rng_below(&rng, 2) ? 0.1 * rng_below(&rng, 5) : 0;
        if (outcome.verdict == GYRE_PROXY_BAD && rng_below(&rng, 4)) outcome.verdict = GYRE_OK;
        result = gyre_acquire(worker->pool, &request, &lease);
        REQUIRE(result == 0 || result == GYRE_EBUSY || result == GYRE_ENO_PROXY);
        if (result == 0) REQUIRE(gyre_complete(worker->pool, &lease, &outcome) == 0);
        if (rng_below(&rng, 50) == 0) REQUIRE(gyre_host_throttle(worker->pool, host, 0) == 0);
        if (rng_below(&rng, 200) == 0) REQUIRE(gyre_host_unban(worker->pool, 0, host) >= 0);
        if (rng_below(&rng, 400) == 0) REQUIRE(gyre_pool_check(worker->pool, NULL) == 0);
    }
    return NULL;
}

static void work_as_child(void *argument)
{
    work(argument);
}

/* Sound at every moment, and in the end; with a table that is too small for them. */
static void test_many_at_once(void **state)
{
    uint64_t seed = test_seed(5);

    (void)state;
    for (int processes = 0; processes < 2; processes++) {
        struct gyre_options options = {.size = sizeof options, .seed = 3, .max_proxies = 64, .max_bans = 64, .max_leases = 1024};
        struct worker workers[4];
        uint64_t ids[20];
        struct gyre_pool *pool = pool_of(20, ids, &options);
        pid_t children[4];

        for (int i = 0; i < 4; i++) workers[i] = (struct worker){pool, seed + (uint64_t)i};
        if (processes) {
            for (int i = 0; i < 4; i++) children[i] = spawn(work_as_child, &workers[i]);
            for (int i = 0; i < 4; i++) reap(children[i]);
        } else {
            run_threads(4, work, workers, sizeof *workers);
        }
        expect_nothing_found(pool, "check");
        assert_int_equal(stats_of(pool).active, 0);
        gyre_pool_close(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_that_host), cmocka_unit_test(test_reasons),   cmocka_unit_test(test_jitter),
        cmocka_unit_test(test_row_is_forgotten), cmocka_unit_test(test_in_flight), cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_guard),  cmocka_unit_test(test_guard_follows_the_pool), cmocka_unit_test(test_blame),
        cmocka_unit_test(test_blame_needs_evidence), cmocka_unit_test(test_full_table),
        cmocka_unit_test(test_by_hand), cmocka_unit_test(test_names),  cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_throttle), cmocka_unit_test(test_throttle_retry_after), cmocka_unit_test(test_session),
        cmocka_unit_test(test_restart), cmocka_unit_test(test_many_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
