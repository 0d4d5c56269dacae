/*
 * test_frontier.c: order, dedup, places, hosts, robots.txt, resuming; and many URLs in bounded memory.
 * GYRE_LONG=1: ten million URLs, in an optimized build.
 */
#include "frontiers.h"
#include "instrumented.h"
#include "job/known.h"

#include <math.h>
#include <pthread.h>

static double memory_mib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (fscanf(file, "%*s %ld", &pages) != 1) pages = 0;
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1048576.0;
}

static void expect(struct gyre__frontier *frontier, const char *url, double now)
{
    struct gyre__taken taken = frontiers_take(frontier, now);
    assert_string_equal(taken.url, url);
    frontiers_end(frontier, &taken, GYRE__END_DONE, now);
}

static void expect_kind(struct gyre__frontier *frontier, double now, int wanted, double wanted_wait)
{
    struct gyre__taken taken;
    double wait;
    int kind = gyre__frontier_take(frontier, now, &taken, &wait);
    assert_int_equal(kind, wanted);
    if (wanted == GYRE__TAKE_WAIT) assert_true(wait == wanted_wait || fabs(wait - wanted_wait) < 1e-9);
}

static void test_order_and_dedup(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options(NULL);
    struct gyre__frontier *frontier = frontiers_open(&options, 0);

    assert_int_equal(frontiers_add(frontier, "http://h/b", 0), 1);
    assert_int_equal(frontiers_add(frontier, "http://h/a", 0), 1);
    assert_int_equal(frontiers_add(frontier, "http://h/b", 9), 0); /* known: the first priority counts */
    assert_int_equal(frontiers_add(frontier, "http://h/last", -1), 1);
    assert_int_equal(frontiers_add(frontier, "http://h/first", 5), 1);
    expect(frontier, "http://h/first", 1);
    expect(frontier, "http://h/b", 2);
    assert_int_equal(frontiers_add(frontier, "http://h/first", 9), 0); /* done: still known */
    expect(frontier, "http://h/a", 3);
    expect(frontier, "http://h/last", 4);
    expect_kind(frontier, 5, GYRE__TAKE_WAIT, INFINITY); /* for the commit */
    assert_int_equal(gyre__frontier_commit(frontier, 5), 4);
    expect_kind(frontier, 5, GYRE__TAKE_EMPTY, 0);
    frontiers_close(frontier);
}

/* Priorities hold beyond what a host has in memory, in both directions. */
static void test_order_beyond_memory(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options(NULL);
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    char url[64];
    int last = 1 << 30;

    for (int i = 0; i < 1000; i++) {
        snprintf(url, sizeof url, "http://h/%d", i);
        assert_int_equal(frontiers_add(frontier, url, i * 7919 % 1000), 1);
    }
    for (int i = 0; i < 1000; i++) {
        struct gyre__taken taken = frontiers_take(frontier, i);
        assert_true(taken.priority < last);
        last = taken.priority;
        frontiers_end(frontier, &taken, GYRE__END_DONE, i);
        gyre__frontier_commit(frontier, i);
        if (i == 500) { /* comes at once, though the queue is full of others */
            assert_int_equal(frontiers_add(frontier, "http://h/new", 5000), 1);
            expect(frontier, "http://h/new", i);
        }
    }
    frontiers_close(frontier);
}

static void test_places(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options(NULL);
    options.concurrency = 2;
    struct gyre__frontier *frontier = frontiers_open(&options, 0);

    for (int i = 0; i < 4; i++) frontiers_add(frontier, (const char *[]){"http://h/0", "http://h/1", "http://h/2", "http://h/3"}[i], 0);
    struct gyre__taken one = frontiers_take(frontier, 1), two = frontiers_take(frontier, 1);
    expect_kind(frontier, 1, GYRE__TAKE_FULL, 0);
    frontiers_end(frontier, &one, GYRE__END_DONE, 1);
    expect_kind(frontier, 1, GYRE__TAKE_FULL, 0); /* its place is free when it is permanent */
    assert_int_equal(gyre__frontier_commit(frontier, 1), 1);
    one = frontiers_take(frontier, 1);
    frontiers_end(frontier, &one, GYRE__END_BACK, 1); /* nothing to keep: free at once, and next again */
    one = frontiers_take(frontier, 1);
    assert_string_equal(one.url, "http://h/2");
    frontiers_end(frontier, &one, GYRE__END_AGAIN, 1);
    frontiers_end(frontier, &two, GYRE__END_DONE, 1);
    assert_int_equal(gyre__frontier_commit(frontier, 1), 2);
    expect(frontier, "http://h/3", 1);
    one = frontiers_take(frontier, 1);
    assert_string_equal(one.url, "http://h/2"); /* it went to the end */
    assert_int_equal(one.tries, 1);
    frontiers_end(frontier, &one, GYRE__END_FAILED, 1);
    frontiers_close(frontier);
}

static void test_hosts_take_turns(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options(NULL);
    options.limits = (struct gyre__gate_limits){1, 1};
    struct gyre__frontier *frontier = frontiers_open(&options, 0);

    for (int i = 0; i < 6; i++) {
        char url[64];
        snprintf(url, sizeof url, "http://%c/%d", i % 2 ? 'b' : 'a', i);
        frontiers_add(frontier, url, 0);
    }
    struct gyre__taken a = frontiers_take(frontier, 0), b = frontiers_take(frontier, 0);
    assert_string_equal(a.origin, "http://a");
    assert_string_equal(b.origin, "http://b");
    expect_kind(frontier, 0.5, GYRE__TAKE_WAIT, INFINITY); /* one at a time each */
    frontiers_end(frontier, &a, GYRE__END_DONE, 0.5);
    expect_kind(frontier, 0.5, GYRE__TAKE_WAIT, 0.5);
    expect(frontier, "http://a/2", 1);
    expect_kind(frontier, 1, GYRE__TAKE_WAIT, 1);
    frontiers_end(frontier, &b, GYRE__END_DONE, 1.5);
    expect(frontier, "http://b/3", 1.5);
    frontiers_close(frontier);
}

/* http and https of one host are one to be polite to. */
static void test_schemes_share_a_gate(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options(NULL);
    options.limits = (struct gyre__gate_limits){0, 1};
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    frontiers_add(frontier, "http://h/1", 0);
    frontiers_add(frontier, "https://h/1", 0);
    struct gyre__taken one = frontiers_take(frontier, 1);
    expect_kind(frontier, 1, GYRE__TAKE_WAIT, INFINITY);
    frontiers_end(frontier, &one, GYRE__END_DONE, 2);
    one = frontiers_take(frontier, 2);
    assert_string_equal(one.url, "https://h/1");
    frontiers_end(frontier, &one, GYRE__END_DONE, 2);
    frontiers_close(frontier);
}

static struct gyre__taken take_robots(struct gyre__frontier *frontier, double now)
{
    struct gyre__taken taken;
    double wait;
    assert_int_equal(gyre__frontier_take(frontier, now, &taken, &wait), GYRE__TAKE_ROBOTS);
    return taken;
}

static int64_t give_robots(struct gyre__frontier *frontier, struct gyre__taken *taken, double now, int status, double delay)
{
    struct gyre__finish finish = {.end = GYRE__END_DONE, .retry_after = -1};
    struct gyre__robots robots = {status, delay, "text", 4};
    int64_t held_back = gyre__frontier_robots(frontier, taken, now, &finish, &robots);
    gyre__taken_clear(taken);
    return held_back;
}

static void test_robots_come_first(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options("robots");
    options.robots = 1;
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    frontiers_add(frontier, "http://h/1", 0);
    frontiers_add(frontier, "http://h/2", 0);
    frontiers_add(frontier, "http://h/3", 0);
    struct gyre__taken robots = take_robots(frontier, 1);
    assert_string_equal(robots.origin, "http://h");
    expect_kind(frontier, 1, GYRE__TAKE_WAIT, INFINITY); /* nobody goes in before it is known */
    assert_int_equal(give_robots(frontier, &robots, 1, 200, 7), 0);
    expect_kind(frontier, 2, GYRE__TAKE_WAIT, 6); /* Crawl-delay, from the request for robots.txt on */
    expect(frontier, "http://h/1", 8);
    frontiers_close(frontier);

    char *body;
    size_t size;
    frontier = frontiers_open(&options, 1); /* known for a day, and so is the delay */
    assert_int_equal(gyre__frontier_robots_text(frontier, "http://h", &body, &size), 200);
    assert_int_equal(size, 4);
    free(body);
    expect(frontier, "http://h/2", 1);
    expect_kind(frontier, 1, GYRE__TAKE_WAIT, 7);
    frontiers_close(frontier);
}

/* SQL on the state, while nobody has it open. */
static void change_state(const char *path, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static int64_t read_number(const char *path, const char *sql)
{
    sqlite3_stmt *statement;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

/* By the test vectors of SipHash-2-4: key and text are 0, 1, 2, ... */
static void test_hash(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        uint64_t hash;
    } vectors[] = {{0, UINT64_C(0x726fdb47dd0e0e31)}, {15, UINT64_C(0xa129ca6149be45e5)}, {63, UINT64_C(0x958a324ceb064572)}};
    static struct gyre__known known;
    char bytes[64];

    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)i;
    memcpy(known.key, bytes, sizeof known.key);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        assert_true(gyre__known_hash(&known, bytes, vectors[i].size) == vectors[i].hash);
}

/* Who knows how one state hashes its URLs knows nothing of another; the same state goes on as it was. */
static void test_hashes_are_secret(void **state)
{
    (void)state;
    static const char *const names[] = {"secret", "secret too"};
    int64_t hashes[2];

    for (int i = 0; i < 2; i++) {
        struct gyre__frontier_options options = frontiers_options(names[i]);
        struct gyre__frontier *frontier = frontiers_open(&options, 0);
        assert_int_equal(frontiers_add(frontier, "http://h/1", 0), 1);
        frontiers_close(frontier);
        hashes[i] = read_number(options.path, "SELECT hash FROM url");
        frontier = frontiers_open(&options, 1);
        assert_int_equal(frontiers_add(frontier, "http://h/1", 0), 0);
        frontiers_close(frontier);
    }
    assert_true(hashes[0] != hashes[1]);
}

/* After 24 hours robots.txt is asked for again, and not before. */
static void test_robots_expire(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options("expire");
    options.robots = 1;
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    frontiers_add(frontier, "http://h/1", 0);
    frontiers_add(frontier, "http://h/2", 0);
    struct gyre__taken robots = take_robots(frontier, 1);
    assert_int_equal(give_robots(frontier, &robots, 1, 200, -1), 0);
    frontiers_close(frontier);

    change_state(options.path, "UPDATE robots SET fetched = fetched - 86340"); /* 23 hours 59 minutes */
    frontier = frontiers_open(&options, 1);
    expect(frontier, "http://h/1", 1);
    frontiers_close(frontier);

    change_state(options.path, "UPDATE robots SET fetched = fetched - 60");
    frontier = frontiers_open(&options, 1);
    robots = take_robots(frontier, 1);
    assert_int_equal(give_robots(frontier, &robots, 1, 404, -1), 0);
    expect(frontier, "http://h/2", 1);
    frontiers_close(frontier);
}

/* A robots.txt that cannot be had: the host's pages wait for another run, those that come later too. */
static void test_hopeless_robots(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options("hopeless");
    options.robots = 1;
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    frontiers_add(frontier, "http://h/1", 0);
    frontiers_add(frontier, "http://h/2", 0);
    struct gyre__taken robots = take_robots(frontier, 1);
    assert_int_equal(give_robots(frontier, &robots, 1, 0, -1), 2);
    assert_int_equal(frontiers_add(frontier, "http://h/3", 0), 1);
    expect_kind(frontier, 1, GYRE__TAKE_EMPTY, 0);
    assert_int_equal(gyre__frontier_count(frontier).held_back, 3);
    assert_int_equal(gyre__frontier_count(frontier).waiting, 0);
    assert_int_equal(gyre__frontier_commit(frontier, 1), 0);
    frontiers_close(frontier);

    frontier = frontiers_open(&options, 1); /* the next run asks anew */
    assert_int_equal(gyre__frontier_count(frontier).waiting, 3);
    robots = take_robots(frontier, 1);
    assert_int_equal(give_robots(frontier, &robots, 1, 404, -1), 0);
    expect(frontier, "http://h/1", 1);
    frontiers_close(frontier);
}

/* One that expires while a page is under way, and then cannot be had, does not concern that page, which ends as any other. */
static void test_hopeless_while_under_way(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options("under-way");
    struct gyre__taken robots;
    double wait;

    options.robots = 1;
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    for (char url[] = "http://h/1"; url[9] <= '4'; url[9]++) frontiers_add(frontier, url, 0);
    robots = take_robots(frontier, 1);
    assert_int_equal(give_robots(frontier, &robots, 1, 200, -1), 0);
    frontiers_close(frontier);

    change_state(options.path, "UPDATE robots SET fetched = fetched - 86395"); /* five seconds are left */
    frontier = frontiers_open(&options, 1);
    struct gyre__taken done = frontiers_take(frontier, 1), again = frontiers_take(frontier, 1);
    while (gyre__frontier_take(frontier, 1, &robots, &wait) == GYRE__TAKE_PAGE) {
        frontiers_end(frontier, &robots, GYRE__END_BACK, 1);
        usleep(50000);
    }
    assert_null(robots.url);
    assert_int_equal(give_robots(frontier, &robots, 1, 0, -1), 2);
    frontiers_end(frontier, &done, GYRE__END_DONE, 1);
    frontiers_end(frontier, &again, GYRE__END_AGAIN, 1);
    assert_int_equal(gyre__frontier_commit(frontier, 1), 2);
    expect_kind(frontier, 1, GYRE__TAKE_EMPTY, 0);
    struct gyre__frontier_counts counts = gyre__frontier_count(frontier);
    assert_int_equal(counts.done, 1);
    assert_int_equal(counts.held_back, 3);
    assert_int_equal(counts.waiting, 0);
    frontiers_close(frontier);
}

static void test_limits_of_a_crawl(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options(NULL);
    options.max_pages = 2;
    options.max_depth = 1;
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    struct gyre__follow deep = frontiers_follow("http://h/deep", 0, 2), near = frontiers_follow("http://h/near", 0, 1);
    assert_int_equal(gyre__frontier_add(frontier, &deep, 1), 0);
    assert_int_equal(gyre__frontier_add(frontier, &near, 1), 1);
    assert_int_equal(gyre__frontier_count(frontier).too_deep, 1);
    frontiers_add(frontier, "http://h/1", 0);
    frontiers_add(frontier, "http://h/2", 0);
    struct gyre__taken one = frontiers_take(frontier, 1), two = frontiers_take(frontier, 1);
    expect_kind(frontier, 1, GYRE__TAKE_WAIT, INFINITY);
    frontiers_end(frontier, &one, GYRE__END_DONE, 1);
    frontiers_end(frontier, &two, GYRE__END_FAILED, 1);
    expect_kind(frontier, 1, GYRE__TAKE_ENOUGH, 0);
    frontiers_close(frontier);
}

/* More hosts than are held in memory: all of them get their turn, each URL once. */
static void test_more_hosts_than_fit(void **state)
{
    (void)state;
    enum { HOSTS = GYRE__MAX_HOSTS + 1500 };
    struct gyre__frontier_options options = frontiers_options(NULL);
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    char *seen = calloc(HOSTS, 2);
    char url[64];
    int count = is_instrumented() ? HOSTS : HOSTS * 2;

    for (int i = 0; i < count; i++) {
        snprintf(url, sizeof url, "http://h%d/%d", i % HOSTS, i / HOSTS);
        assert_int_equal(frontiers_add(frontier, url, 0), 1);
    }
    for (int i = 0; i < count; i++) {
        struct gyre__taken taken = frontiers_take(frontier, i);
        int host, path;
        assert_int_equal(sscanf(taken.url, "http://h%d/%d", &host, &path), 2);
        assert_int_equal(seen[host * 2 + path]++, 0);
        frontiers_end(frontier, &taken, GYRE__END_DONE, i);
        gyre__frontier_commit(frontier, i);
    }
    expect_kind(frontier, count, GYRE__TAKE_EMPTY, 0);
    frontiers_close(frontier);
    free(seen);
}

static void test_refuses_others(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options("others");
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    char why[512];
    int resumed;

    assert_null(gyre__frontier_open(&options, &resumed, why, sizeof why));
    assert_non_null(strstr(why, "in use by another run"));
    frontiers_add(frontier, "http://h/1", 0);
    frontiers_close(frontier);
    options.job = "another";
    assert_null(gyre__frontier_open(&options, &resumed, why, sizeof why));
    assert_non_null(strstr(why, "is of another crawl (test)"));
    options.job = "test";
    change_state(options.path, "PRAGMA user_version = 99");
    assert_null(gyre__frontier_open(&options, &resumed, why, sizeof why));
    assert_non_null(strstr(why, "has format 99, this gyre knows 2"));
}

/* With `sync` the connection waits for the disk at each commit, without it at checkpoints: as SQLite itself says. */
static void *end_soon(void *db)
{
    usleep(100000);
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    return NULL;
}

/* Somebody else's tool that writes to the state is waited for. */
static void test_patience(void **state)
{
    (void)state;
    struct gyre__frontier_options options = frontiers_options("patience");
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    pthread_t thread;
    sqlite3 *db;

    assert_int_equal(gyre__frontier_commit(frontier, 0), 0);
    frontiers_add(frontier, "http://h/1", 0);
    gyre__frontier_commit(frontier, 0);
    assert_int_equal(sqlite3_open(options.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    pthread_create(&thread, NULL, end_soon, db);
    assert_int_equal(frontiers_add(frontier, "http://h/2", 0), 1);
    pthread_join(thread, NULL);
    frontiers_close(frontier);
    sqlite3_close(db);
}

static void test_sync(void **state)
{
    (void)state;
    for (int sync = 0; sync < 2; sync++) {
        struct gyre__store store;
        sqlite3_stmt *statement;
        assert_int_equal(gyre__store_open(&store, frontiers_path(sync ? "synced" : "unsynced"), "test", 0, sync), 0);
        assert_int_equal(sqlite3_prepare_v2(store.db, "PRAGMA synchronous", -1, &statement, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int(statement, 0), sync ? 2 : 1);
        sqlite3_finalize(statement);
        gyre__store_close(&store);
    }
}

/* Many URLs, in batches as a crawl finds them: memory stays where it was after the first tenth. */
static int how_many(void)
{
    if (is_instrumented()) return 10000;
#if defined(__OPTIMIZE__) && !defined(GYRE_PREEMPT)
    if (getenv("GYRE_LONG")) return 10000000;
#endif
    return 100000;
}

static void test_many_urls(void **state)
{
    (void)state;
    int total = how_many(), batch = 100;
    struct gyre__frontier_options options = frontiers_options("many");
    struct gyre__frontier *frontier = frontiers_open(&options, 0);
    struct gyre__follow *follows = calloc((size_t)batch, sizeof *follows);
    char (*urls)[80] = calloc((size_t)batch, sizeof *urls);
    double early = 0;

    for (int done = 0; done < total; done += batch) {
        for (int i = 0; i < batch; i++) {
            snprintf(urls[i], sizeof urls[i], "http://host%d.example/section/page-%d.html", (done + i) % 1000, done + i);
            follows[i] = frontiers_follow(urls[i], 0, 0);
        }
        assert_int_equal(gyre__frontier_add(frontier, follows, (size_t)batch), batch);
        assert_int_equal(gyre__frontier_add(frontier, follows, (size_t)batch), 0);
        assert_int_equal(gyre__frontier_commit(frontier, done), 0);
        if (done == total / 10) early = memory_mib();
    }
    double late = memory_mib();
    print_message("%d URLs: %.1f MiB after a tenth of them, %.1f MiB after all\n", total, early, late);
    assert_true(is_instrumented() || late < early + 40); /* SQLite's cache of 32 MiB may still have been filling */
    assert_int_equal(gyre__frontier_count(frontier).waiting, total);
    frontiers_close(frontier);
    free(follows);
    free(urls);

    frontier = frontiers_open(&options, 1);
    struct gyre__taken taken = frontiers_take(frontier, 1);
    frontiers_end(frontier, &taken, GYRE__END_DONE, 1);
    frontiers_close(frontier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_dedup),      cmocka_unit_test(test_order_beyond_memory),
        cmocka_unit_test(test_places),               cmocka_unit_test(test_hosts_take_turns),
        cmocka_unit_test(test_schemes_share_a_gate), cmocka_unit_test(test_robots_come_first),
        cmocka_unit_test(test_hopeless_robots),
        cmocka_unit_test(test_hopeless_while_under_way),      cmocka_unit_test(test_limits_of_a_crawl),
        cmocka_unit_test(test_more_hosts_than_fit),  cmocka_unit_test(test_refuses_others),
        cmocka_unit_test(test_hash),                 cmocka_unit_test(test_hashes_are_secret),
        cmocka_unit_test(test_patience),             cmocka_unit_test(test_sync),
        cmocka_unit_test(test_robots_expire),        cmocka_unit_test(test_many_urls),
    };
    return cmocka_run_group_tests(tests, frontiers_begin, frontiers_finish);
}
