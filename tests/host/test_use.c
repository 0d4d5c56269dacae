/*
 * gyre_host_use: a Lua strategy decides what gyre_acquire() gives, in every thread; it is told how the leases it issued
 * ended; what goes wrong costs nobody a request; Lua states end with their threads, whatever became of the pools.
 */
#include "support.h"

#include <gyre/host.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { N = 10 };

/* Writes a strategy to a file; returns its path, which the next call with this name overwrites. */
static const char *script(const char *name, const char *text)
{
    static char path[4][256];
    static int turn;
    char *to = path[turn++ % 4];
    snprintf(to, sizeof path[0], "%s", temp_path(name));
    strncat(to, ".lua", sizeof path[0] - strlen(to) - 1);
    FILE *file = fopen(to, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return to;
}

/* Picks the k-th of the view, counts what it was told of. */
static const char kth[] = "return { name = 'kth', options = { k = 1 },\n"
                          "  configure = function(self, options) assert(options.k >= 1, 'k is too small') self.k = options.k end,\n"
                          "  select = function(self, view, request) self.pool = view.pool\n"
                          "    if request.session == 'none' then return nil, 'not for you' end\n"
                          "    return view[self.k] end,\n"
                          "  record = function(self, proxy, outcome)\n"
                          "    self.pool:counter(outcome.verdict .. ' ' .. self.k):add(outcome.ms or 1) end }\n";

static double counter(struct gyre_pool *pool, const char *name)
{
    double value = 0;
    return gyre_counter_get(pool, name, &value) == 0 ? value : 0;
}

static uint64_t visit(struct gyre_pool *pool, const struct gyre_request *request)
{
    struct gyre_lease lease;
    OK(gyre_acquire(pool, request, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0));
    return lease.id;
}

static void test_decides(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = {.size = sizeof request, .exclude = ids, .exclude_count = 2};

    (void)state;
    OK(gyre_host_use(pool, script("kth", kth), "{\"k\": 4}"));
    for (int i = 0; i < 3; i++) EXPECT_COUNT(visit(pool, NULL), ids[3], "the fourth");
    EXPECT_COUNT(visit(pool, &request), ids[5], "the fourth without the first two");
    request = (struct gyre_request){.size = sizeof request, .picker = GYRE_PICK_LEAST_USED};
    EXPECT_COUNT(visit(pool, &request), ids[0], "a request that names a picker gets that");
    request = (struct gyre_request){.size = sizeof request, .session = "cart-17"};
    EXPECT_COUNT(visit(pool, &request), ids[3], "a new session");
    OK(gyre_host_use(pool, script("kth", kth), "{\"k\": 5}"));
    EXPECT_COUNT(visit(pool, &request), ids[3], "the session stays");
    EXPECT_COUNT(visit(pool, NULL), ids[4], "the others do not");
    OK(gyre_host_use(pool, "least-used", NULL));
    EXPECT_COUNT(visit(pool, NULL), ids[1], "a native one");
    EXPECT_COUNT(stats_of(pool).active, 0, "at the end");
    gyre_pool_close(pool);
}

/* A request that asks for a state: the view is narrowed, and the strategy can read what was asked. */
static void test_state(void **state)
{
    static const char text[] = "return { name = 'asked', select = function(self, view, request)\n"
                               "  view.pool:counter(('%s %d'):format(request.state, #view)):add(1)\n"
                               "  return view[1] end }\n";
    struct gyre_request closed = {.size = sizeof closed, .state = GYRE_CLOSED};
    struct gyre_request half = {.size = sizeof half, .state = GYRE_HALF_OPEN};
    struct gyre_books books = {.size = sizeof books};
    struct gyre_lease lease;
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);

    (void)state;
    OK(gyre_host_use(pool, script("asked", text), NULL));
    OK(gyre_books_get(pool, ids[0], &books));
    books.state = GYRE_HALF_OPEN;
    books.bench_left = 0;
    OK(gyre_books_set(pool, ids[0], &books));
    EXPECT_COUNT(visit(pool, &closed), ids[1], "the first closed one");
    EXPECT_COUNT(visit(pool, &half), ids[0], "the half-open one");
    EXPECT_COUNT(proxy_of(pool, ids[0]).state, GYRE_CLOSED, "that was its probe");
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &half, &lease));
    assert_non_null(strstr(gyre_detail(), "10 not half_open"));
    visit(pool, NULL);
    EXPECT_COUNT((uint64_t)counter(pool, "closed 9"), 1, "closed");
    EXPECT_COUNT((uint64_t)counter(pool, "half_open 1"), 1, "half_open");
    gyre_pool_close(pool);
}

/* Its failures are told by gyre_detail() too, and a host that has not failed has no error. */
static void test_open_says_why(void **state)
{
    struct gyre_host_options options = {.size = 3};
    struct gyre_host *host;

    (void)state;
    EXPECT(GYRE_EINVALID, gyre_host_open(NULL, &host));
    EXPECT(GYRE_EINVALID, gyre_host_open(&options, &host));
    assert_non_null(strstr(gyre_detail(), "their size is not that of this library"));
    options.size = sizeof options;
    options.lua_path = "lua";
    OK(gyre_host_open(&options, &host));
    assert_string_equal(gyre_host_error(host)->text, "");
    gyre_host_close(host);
}

static void test_refuses(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = {.size = sizeof request, .session = "none"};
    struct gyre_lease lease;

    (void)state;
    OK(gyre_host_use(pool, script("kth", kth), "{\"k\": 2}"));
    EXPECT(GYRE_EINVALID, gyre_host_use(pool, "nonsense", NULL));
    assert_non_null(strstr(gyre_detail(), "no strategy 'nonsense'"));
    EXPECT(GYRE_EINVALID, gyre_host_use(pool, script("kth", kth), "{\"k\": 0}"));
    assert_non_null(strstr(gyre_detail(), "k is too small"));
    EXPECT(GYRE_EINVALID, gyre_host_use(pool, script("kth", kth), "{\"k\": "));
    EXPECT(GYRE_EINVALID, gyre_host_use(pool, script("kth", kth), "{\"speed\": 1}"));
    EXPECT(GYRE_EINVALID, gyre_host_use(NULL, "random", NULL));
    EXPECT_COUNT(visit(pool, NULL), ids[1], "the old one goes on");
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    assert_non_null(strstr(gyre_detail(), "not for you"));
    for (int i = 0; i < N; i++) OK(gyre_pool_disable(pool, ids[i]));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, NULL, &lease));
    assert_non_null(strstr(gyre_detail(), "10 disabled"));
    gyre_pool_close(pool);
}

/* The strategy that issued a lease is told, not the one in use when it ends; by whoever completes it. */
static void test_records(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_outcome outcome = outcome_of(GYRE_PROXY_BAD);
    struct gyre_lease first, second;

    (void)state;
    OK(gyre_host_use(pool, script("kth", kth), "{\"k\": 1}"));
    OK(gyre_acquire(pool, NULL, &first));
    OK(gyre_host_use(pool, script("kth", kth), "{\"k\": 2}"));
    OK(gyre_acquire(pool, NULL, &second));
    OK(gyre_host_use(pool, "random", NULL));
    outcome.has_ms = 1;
    outcome.ms = 7;
    OK(gyre_complete(pool, &second, &outcome));
    OK(gyre_complete_ms(pool, &first, GYRE_OK, 3));
    EXPECT(GYRE_ECLOSED, gyre_complete_ms(pool, &first, GYRE_OK, 3));
    assert_true(counter(pool, "ok 1") == 3 && counter(pool, "proxy_bad 2") == 7);
    assert_true(counter(pool, "unrecorded") == 0);
    gyre_pool_close(pool);
}

struct passing {
    struct gyre_pool *pool;
    struct gyre_lease lease;
};

static void *complete_it(void *argument)
{
    struct passing *passing = argument;
    REQUIRE(gyre_complete_ms(passing->pool, &passing->lease, GYRE_OK, 9) == 0);
    return NULL;
}

static void test_records_in_another_thread(void **state)
{
    uint64_t ids[N];
    struct passing passing = {.pool = pool_of(N, ids, NULL)};
    /* It must not need what select left in self: that is each thread's own. */
    const char *text = "return { name = 'teller', select = function(_, view) return view[1] end,\n"
                       "  record = function(self, proxy, outcome) assert(proxy.completed > 0) end }\n";

    (void)state;
    OK(gyre_host_use(passing.pool, script("teller", text), NULL));
    OK(gyre_acquire(passing.pool, NULL, &passing.lease));
    assert_true(passing.lease.strategy > 0);
    run_threads(1, complete_it, &passing, sizeof passing);
    assert_true(counter(passing.pool, "unrecorded") == 0);
    /* A thread that never had that strategy cannot tell it: that is counted. */
    OK(gyre_acquire(passing.pool, NULL, &passing.lease));
    OK(gyre_host_use(passing.pool, "random", NULL));
    run_threads(1, complete_it, &passing, sizeof passing);
    assert_true(counter(passing.pool, "unrecorded") == 1);
    EXPECT_COUNT(stats_of(passing.pool).succeeded, 2, "both have ended");
    gyre_pool_close(passing.pool);
}

/* Raising, picking what is not in the view, running for ever: the fallback serves. */
static void test_failures_fall_back(void **state)
{
    static const char *const bad[] = {"error 'broken'", "return 17", "return {}", "while true do end", "return nil + 1"};
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);

    (void)state;
    freopen("/dev/null", "w", stderr); /* strategies that fail are told there */
    for (size_t i = 0; i < COUNT(bad); i++) {
        char text[256];
        snprintf(text, sizeof text, "return { name = 'bad', select = function(self, view) %s end }", bad[i]);
        OK(gyre_host_use(pool, script("bad", text), NULL));
        uint64_t before = visit(pool, NULL);
        assert_true(visit(pool, NULL) != before); /* round-robin */
    }
    assert_true(counter(pool, "fallback bad") == 2 * COUNT(bad));
    assert_true(counter(pool, "without Lua") == 0);
    gyre_pool_close(pool);
}

/* Where there is no Lua to be had the segment's own picker serves, and it is counted. */
static void test_without_modules(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_strategy strategy = {.size = sizeof strategy, .picker = GYRE_PICK_LEAST_USED, .scripted = 1, .name = "kth"};
    char modules[512];

    (void)state;
    snprintf(modules, sizeof modules, "%s", getenv("GYRE_LUA_PATH"));
    setenv("GYRE_LUA_PATH", "/nowhere", 1);
    gyre_host_thread_end();
    EXPECT(GYRE_ESYSTEM, gyre_host_use(pool, "random", NULL));
    assert_non_null(strstr(gyre_detail(), "gyre.hosted"));
    assert_non_null(strstr(gyre_detail(), "GYRE_LUA_PATH names no folder of them"));
    unsetenv("GYRE_LUA_PATH");
    gyre_host_thread_end();
    EXPECT(GYRE_ESYSTEM, gyre_host_use(pool, "random", NULL));
    assert_non_null(strstr(gyre_detail(), "GYRE_LUA_PATH is not set"));
    setenv("GYRE_LUA_PATH", modules, 1);
    setenv("GYRE_LIB", "/nowhere/libgyre.so", 1);
    gyre_host_thread_end();
    EXPECT(GYRE_ESYSTEM, gyre_host_use(pool, "random", NULL));
    assert_non_null(strstr(gyre_detail(), "GYRE_LIB=/nowhere/libgyre.so"));
    unsetenv("GYRE_LIB");
    setenv("GYRE_LUA_PATH", "/nowhere", 1);
    gyre_host_thread_end();
    OK(gyre_strategy_set(pool, &strategy, NULL)); /* which nobody finds */
    EXPECT_COUNT(visit(pool, NULL), ids[0], "natively");
    EXPECT_COUNT(visit(pool, NULL), ids[1], "natively");
    assert_true(counter(pool, "without Lua") == 2);
    setenv("GYRE_LUA_PATH", modules, 1);
    gyre_host_thread_end();
    OK(gyre_host_use(pool, script("kth", kth), "{\"k\": 3}"));
    EXPECT_COUNT(visit(pool, NULL), ids[2], "by Lua");
    assert_true(counter(pool, "without Lua") == 2);
    gyre_pool_close(pool);
}

/* source NULL: whatever the segment names, also when another handle changes it. */
static void test_follows_the_segment(void **state)
{
    uint64_t ids[N];
    struct gyre_options options = manual_options();
    options.path = temp_path("shared");
    struct gyre_pool *pool = pool_of(N, ids, &options), *other = open_pool(&options);

    (void)state;
    OK(gyre_host_use(pool, NULL, NULL));
    visit(pool, NULL);
    OK(gyre_host_use(other, script("kth", kth), "{\"k\": 6}"));
    EXPECT_COUNT(visit(pool, NULL), ids[5], "the other's strategy");
    OK(gyre_host_use(other, script("kth", kth), "{\"k\": 7}"));
    EXPECT_COUNT(visit(pool, NULL), ids[6], "and its next");
    gyre_pool_close(other);
    EXPECT_COUNT(visit(pool, NULL), ids[6], "still");
    gyre_pool_close(pool);
}

struct turn {
    struct gyre_pool *pool;
    pthread_barrier_t *barrier;
};

static void *outlive(void *argument)
{
    struct turn *turn = argument;
    struct gyre_lease lease;
    REQUIRE(gyre_acquire(turn->pool, NULL, &lease) == 0);
    REQUIRE(gyre_complete_ms(turn->pool, &lease, GYRE_OK, 1) == 0);
    pthread_barrier_wait(turn->barrier);
    pthread_barrier_wait(turn->barrier); /* the pool has been closed */
    return NULL;
}

/* Threads end after the pool has been closed, and use another pool first or not. */
static void test_states_outlive_pools(void **state)
{
    enum { THREADS = 4 };
    uint64_t ids[N];
    struct gyre_pool *pool, *next = pool_of(N, ids, NULL);
    pthread_barrier_t barrier;
    pthread_t thread[THREADS];
    struct turn turn;

    (void)state;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    OK(gyre_host_use(next, script("kth", kth), "{\"k\": 2}"));
    for (int round = 0; round < 3; round++) {
        pool = pool_of(N, ids, NULL);
        OK(gyre_host_use(pool, script("kth", kth), "{\"k\": 1}"));
        turn = (struct turn){pool, &barrier};
        for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, outlive, &turn), 0);
        pthread_barrier_wait(&barrier);
        gyre_pool_close(pool);
        visit(next, NULL); /* this thread's state forgets it */
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    }
    gyre_pool_close(next);
    gyre_host_thread_end();
    gyre_host_thread_end(); /* harmless */
    pthread_barrier_destroy(&barrier);
}

static void in_the_child(void *argument)
{
    struct turn *turn = argument;
    struct gyre_lease lease;
    REQUIRE(gyre_acquire(turn->pool, NULL, &lease) == 0);
    REQUIRE(lease.slot == 1);
    REQUIRE(gyre_complete_ms(turn->pool, &lease, GYRE_OK, 2) == 0);
    REQUIRE(gyre_host_use(turn->pool, "random", NULL) == 0);
}

static void test_fork(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct turn turn = {pool, NULL};

    (void)state;
    OK(gyre_host_use(pool, script("kth", kth), "{\"k\": 2}"));
    visit(pool, NULL);
    for (int i = 0; i < 3; i++) {
        reap(spawn(in_the_child, &turn));
        OK(gyre_host_use(pool, script("kth", kth), "{\"k\": 2}"));
    }
    EXPECT_COUNT(visit(pool, NULL), ids[1], "in the parent");
    assert_true(counter(pool, "ok 2") == 2 * 5 + 3 * 2); /* a private pool is the children's too */
    gyre_pool_close(pool);
}

static int find_modules(void **state)
{
    (void)state;
    setenv("GYRE_LUA_PATH", SOURCE_DIR "/lua", 1);
    setenv("GYRE_STRATEGY_PATH", SOURCE_DIR "/strategies", 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decides),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_open_says_why), cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_records_in_another_thread),
        cmocka_unit_test(test_follows_the_segment),
        cmocka_unit_test(test_states_outlive_pools),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_failures_fall_back), /* from here on there is no stderr */
        cmocka_unit_test(test_without_modules),
    };
    return cmocka_run_group_tests(tests, find_modules, remove_temp);
}
