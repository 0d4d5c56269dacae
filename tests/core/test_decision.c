/*
 * The audit log: off it holds nothing, on it holds who was chosen, by whom, from how many and why; sampled by its rate;
 * followed by several readers, who are told what they missed; never stopped by a writer that was killed.
 */
#include "step.h"
#include "support.h"

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

enum { N = 10, KEPT = 4095 };

static struct gyre_decision next_of(struct gyre_pool *pool, uint64_t *cursor)
{
    struct gyre_decision decision = {.size = sizeof decision};

    assert_int_equal(gyre_log_read(pool, cursor, &decision), 1);
    return decision;
}

static void expect_no_more(struct gyre_pool *pool, uint64_t *cursor)
{
    struct gyre_decision decision = {.size = sizeof decision};

    assert_int_equal(gyre_log_read(pool, cursor, &decision), 0);
}

static uint64_t visit(struct gyre_pool *pool, const struct gyre_request *request)
{
    struct gyre_lease lease;

    OK(gyre_acquire(pool, request, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    return lease.id;
}

static void test_off(void **state)
{
    uint64_t ids[N], cursor = 0;
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_decision decision = {.size = sizeof decision, .strategy = "mine"};

    (void)state;
    for (int i = 0; i < 100; i++) visit(pool, NULL);
    assert_int_equal(gyre_log_sample(pool), 0);
    assert_int_equal(gyre_log_write(pool, &decision), 0);
    expect_no_more(pool, &cursor);
    gyre_pool_close(pool);
}

/* All pickers, sessions and failures; in order; and nothing in it that would give an id away. */
static void test_says_what_was_decided(void **state)
{
    static const char *const names[] = {"round-robin", "random", "least-used", "least-active", "best", "weighted", "hash"};
    uint64_t ids[N], cursor = 0, got[3];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = {.size = sizeof request, .key = "k"};
    struct gyre_decision d;
    struct gyre_lease lease;

    (void)state;
    OK(gyre_log_enable(pool, 1));
    for (uint32_t i = 0; i < COUNT(names); i++) {
        uint64_t id;

        request.picker = GYRE_PICK_ROUND_ROBIN + i;
        id = visit(pool, &request);
        d = next_of(pool, &cursor);
        EXPECT_COUNT(d.sequence, i, "in order");
        EXPECT_COUNT(d.proxy, id, "%s", names[i]);
        assert_string_equal(d.strategy, names[i]);
        assert_string_equal(d.reason, "picked");
        assert_int_equal(d.candidates, N);
        assert_true(d.session == 0 && d.lost == 0 && d.generation == 0 && d.time == 1000.0);
        assert_int_equal(d.process, getpid());
    }
    request = (struct gyre_request){.size = sizeof request, .session = "secret-cart-17"};
    got[0] = visit(pool, &request);
    got[1] = visit(pool, &request);
    OK(gyre_pool_disable(pool, got[0]));
    got[2] = visit(pool, &request);
    for (int i = 0; i < 3; i++) {
        static const char *const reasons[] = {"session new", "session hit", "session moved"};

        d = next_of(pool, &cursor);
        assert_string_equal(d.reason, reasons[i]);
        EXPECT_COUNT(d.proxy, got[i], "%s", d.reason);
        assert_true(d.session != 0);
        assert_int_equal(d.candidates, i == 2 ? N - 1 : N);
        for (size_t at = 0; at + 6 <= sizeof d; at++) assert_memory_not_equal((char *)&d + at, "secret", 6);
    }
    for (int i = 0; i < N; i++) OK(gyre_pool_disable(pool, ids[i]));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, NULL, &lease));
    assert_non_null(strstr(gyre_detail(), "10 disabled")); /* logging has not spoiled it */
    d = next_of(pool, &cursor);
    assert_string_equal(d.reason, "no_proxy");
    assert_true(d.proxy == 0 && d.candidates == 0);
    expect_no_more(pool, &cursor);
    gyre_pool_close(pool);
}

static void test_strategies_write(void **state)
{
    uint64_t ids[N], cursor = UINT64_MAX;
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_decision d = {.size = sizeof d, .strategy = "mine.lua", .reason = "cheapest of 3", .proxy = ids[4],
                              .candidates = 3, .generation = 2, .sequence = 99, .lost = 99};

    (void)state;
    OK(gyre_log_enable(pool, 1));
    visit(pool, NULL);
    expect_no_more(pool, &cursor); /* from now on */
    assert_int_equal(gyre_log_sample(pool), 1);
    assert_int_equal(gyre_log_write(pool, &d), 1);
    d = next_of(pool, &cursor);
    assert_string_equal(d.strategy, "mine.lua");
    assert_string_equal(d.reason, "cheapest of 3");
    assert_true(d.proxy == ids[4] && d.candidates == 3 && d.generation == 2 && d.sequence == 1 && d.lost == 0);
    memset(d.reason, 'x', sizeof d.reason); /* no end */
    memset(d.strategy, 'y', sizeof d.strategy);
    assert_int_equal(gyre_log_write(pool, &d), 1);
    d = next_of(pool, &cursor);
    assert_int_equal(strlen(d.reason), sizeof d.reason - 1);
    assert_int_equal(strlen(d.strategy), sizeof d.strategy - 1);
    d.size = 8;
    EXPECT(GYRE_EINVALID, gyre_log_write(pool, &d));
    EXPECT(GYRE_EINVALID, gyre_log_read(pool, &cursor, &d));
    EXPECT(GYRE_EINVALID, gyre_log_enable(pool, 1.01));
    EXPECT(GYRE_EINVALID, gyre_log_enable(pool, NAN));
    OK(gyre_log_enable(pool, 0));
    visit(pool, NULL);
    expect_no_more(pool, &cursor);
    gyre_pool_close(pool);
}

/* What followers and strategies ask: how much is logged, and what stands for a session. */
static void test_share_and_session(void **state)
{
    uint64_t ids[N], cursor = 0;
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = {.size = sizeof request, .session = "cart-17"};

    (void)state;
    assert_true(gyre_log_share(pool) == 0);
    OK(gyre_log_enable(pool, 0.25));
    assert_true(fabs(gyre_log_share(pool) - 0.25) < 1e-9);
    OK(gyre_log_enable(pool, 1));
    assert_true(gyre_log_share(pool) == 1);
    visit(pool, &request);
    uint64_t session = next_of(pool, &cursor).session;
    EXPECT_COUNT(gyre_session_hash(pool, "cart-17"), session, "the session");
    assert_true(gyre_session_hash(pool, "cart-18") != session && gyre_session_hash(pool, NULL) == 0 &&
                gyre_session_hash(pool, "no id") == 0);
    gyre_pool_close(pool);
}

/* A sample of n draws at rate p has n * p entries, give or take sqrt(n * p * (1 - p)): five sigma are allowed. And it
 * changes nobody's choice. */
static void test_samples(void **state)
{
    static const double rates[] = {0.01, 0.25, 0.9};
    enum { DRAWS = 4000 };

    (void)state;
    for (size_t i = 0; i < COUNT(rates); i++) {
        uint64_t ids[N], cursor = 0, picks[2][DRAWS];
        double wanted = DRAWS * rates[i], sigma = sqrt(wanted * (1 - rates[i]));
        int n = 0;

        for (int logged = 0; logged < 2; logged++) {
            struct gyre_request request = {.size = sizeof request, .picker = GYRE_PICK_RANDOM};
            struct gyre_pool *pool = pool_of(N, ids, NULL);
            struct gyre_decision d = {.size = sizeof d};

            if (logged) OK(gyre_log_enable(pool, rates[i]));
            for (int k = 0; k < DRAWS; k++) picks[logged][k] = visit(pool, &request);
            while (logged && gyre_log_read(pool, &cursor, &d) == 1) n++;
            gyre_pool_close(pool);
        }
        assert_memory_equal(picks[0], picks[1], sizeof picks[0]);
        assert_true(fabs(n - wanted) < 5 * sigma);
    }
}

static void test_overwrites(void **state)
{
    uint64_t ids[N], slow = 0, fast = 0;
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_decision d;

    (void)state;
    OK(gyre_log_enable(pool, 1));
    for (int i = 0; i < 10000; i++) {
        uint64_t id = visit(pool, NULL);

        d = next_of(pool, &fast);
        EXPECT_COUNT(d.proxy, id, "who keeps up sees all");
        EXPECT_COUNT(d.sequence, (uint64_t)i, "in order");
        EXPECT_COUNT(d.lost, 0, "and loses nothing");
    }
    d = next_of(pool, &slow);
    EXPECT_COUNT(d.lost, 10000 - KEPT, "who does not is told");
    for (uint64_t i = 10000 - KEPT; i < 10000; i++) {
        EXPECT_COUNT(d.sequence, i, "from the oldest on");
        if (i + 1 < 10000) d = next_of(pool, &slow);
        if (i + 1 < 10000) EXPECT_COUNT(d.lost, 0, "nothing more");
    }
    expect_no_more(pool, &slow);
    gyre_pool_close(pool);
}

struct side {
    struct gyre_options options;
    unsigned long writes;
    int writers;
    uint64_t number;
};

/* An entry whose fields all follow from one number. */
static void fill(struct gyre_decision *d, uint64_t number)
{
    *d = (struct gyre_decision){.size = sizeof *d, .proxy = number, .session = ~number, .candidates = (uint32_t)number,
                                .generation = (uint32_t)(number * 7)};
    snprintf(d->strategy, sizeof d->strategy, "s%" PRIu64, number);
    snprintf(d->reason, sizeof d->reason, "reason %" PRIu64 " and %" PRIu64, number, number);
}

static void require_whole(const struct gyre_decision *d)
{
    struct gyre_decision wanted;

    fill(&wanted, d->proxy);
    REQUIRE(d->session == wanted.session && d->candidates == wanted.candidates && d->generation == wanted.generation);
    REQUIRE(!strcmp(d->strategy, wanted.strategy) && !strcmp(d->reason, wanted.reason));
}

static void write_many(void *argument)
{
    const struct side *side = argument;
    struct gyre_pool *pool;
    struct gyre_decision d;

    REQUIRE(gyre_pool_open(&side->options, &pool) == 0);
    for (unsigned long i = 0; !side->writes || i < side->writes; i++) {
        fill(&d, side->number << 40 | i);
        REQUIRE(gyre_log_write(pool, &d) == 1);
    }
    gyre_pool_close(pool);
}

/* Reads until all that was written has been seen or reported lost. */
static void read_all(void *argument)
{
    const struct side *side = argument;
    struct gyre_pool *pool;
    uint64_t cursor = 0, seen = 0, next = 0, last[8] = {0};
    struct gyre_decision d = {.size = sizeof d};

    REQUIRE(gyre_pool_open(&side->options, &pool) == 0);
    alarm(100);
    while (seen < side->writes * (uint64_t)side->writers) {
        if (gyre_log_read(pool, &cursor, &d) != 1) {
            usleep(100);
            continue;
        }
        require_whole(&d);
        seen += d.lost + 1;
        next += d.lost;
        REQUIRE(d.sequence == next++);
        REQUIRE((d.proxy & 0xffffffff) >= last[d.proxy >> 40]); /* each writer's own in order */
        last[d.proxy >> 40] = d.proxy & 0xffffffff;
    }
    REQUIRE(gyre_log_read(pool, &cursor, &d) == 0);
    gyre_pool_close(pool);
}

/* Always asks for the oldest, which is about to be overwritten. */
static void read_the_oldest(void *argument)
{
    const struct side *side = argument;
    struct gyre_pool *pool;
    uint64_t most = 0;
    struct gyre_decision d = {.size = sizeof d};

    REQUIRE(gyre_pool_open(&side->options, &pool) == 0);
    alarm(100);
    while (most + KEPT < side->writes * (uint64_t)side->writers) {
        uint64_t cursor = 0;

        if (gyre_log_read(pool, &cursor, &d) != 1) continue;
        require_whole(&d);
        REQUIRE(d.lost == d.sequence && cursor == d.sequence + 1);
        if (d.sequence > most) most = d.sequence; /* it leaps ahead of fast writers, and comes back */
    }
    gyre_pool_close(pool);
}

static void test_processes_write_and_read(void **state)
{
    struct side sides[7];
    pid_t children[7];
    struct side side = {.options = {.size = sizeof side.options, .path = temp_path("log"), .max_proxies = 64, .seed = 1},
                        .writes = rounds(20000), .writers = 4};
    struct gyre_pool *pool = open_pool(&side.options);

    (void)state;
    OK(gyre_log_enable(pool, 1));
    for (uint64_t i = 0; i < COUNT(sides); i++) {
        sides[i] = side;
        sides[i].number = i;
        children[i] = spawn(i < 4 ? write_many : i < 6 ? read_all : read_the_oldest, &sides[i]);
    }
    for (size_t i = 0; i < COUNT(sides); i++) reap(children[i]);
    gyre_pool_close(pool);
}

struct reading {
    struct gyre_pool *pool;
    uint64_t cursor;
    struct gyre_decision d;
    int result;
};

static void read_one(void *argument)
{
    struct reading *reading = argument;

    reading->d.size = sizeof reading->d;
    reading->cursor = 0;
    reading->result = gyre_log_read(reading->pool, &reading->cursor, &reading->d);
}

static void write_two(void *argument)
{
    struct gyre_decision d;

    for (uint64_t i = 0; i < 2; i++) {
        fill(&d, 7ull << 40 | i);
        REQUIRE(gyre_log_write(argument, &d) == 1);
    }
}

/* The oldest entry is overwritten after each third instruction of a reader's (under GYRE_LONG after each). */
static void test_overwritten_while_read(void **state)
{
    struct gyre_pool *pool = pool_of(0, NULL, NULL);
    struct reading reading = {.pool = pool};
    struct gyre_decision d;
    uint64_t steps;

    (void)state;
    if (under_valgrind()) skip();
    OK(gyre_log_enable(pool, 1));
    for (uint64_t i = 0; i <= KEPT + 1; i++) {
        fill(&d, i);
        assert_int_equal(gyre_log_write(pool, &d), 1);
    }
    steps = step_through(read_one, &reading, 0);
    for (uint64_t at = 1; at <= steps; at += getenv("GYRE_LONG") ? 1 : 3) {
        step_and_disturb(read_one, &reading, at, write_two, pool);
        assert_int_equal(reading.result, 1);
        require_whole(&reading.d);
        assert_true(reading.d.lost == reading.d.sequence);
    }
    gyre_pool_close(pool);
}

/* Whatever the killed one was at, the next entry is written, read, and whole; and the log is still on in the file. */
static void test_killed_while_writing(void **state)
{
    struct rng rng = {test_seed(41)};
    struct side side = {.options = {.size = sizeof side.options, .path = temp_path("log"), .max_proxies = 64, .seed = 1}};
    struct gyre_pool *pool = open_pool(&side.options);
    uint64_t cursor = 0;

    (void)state;
    OK(gyre_log_enable(pool, 1));
    for (unsigned long round = rounds(60); round; round--) {
        pid_t child = spawn(write_many, &side);
        struct gyre_decision d;
        uint64_t number = 5ull << 40 | round, last = 0;

        usleep(300 + rng_below(&rng, 3000));
        slay(child);
        fill(&d, number);
        alarm(30);
        assert_int_equal(gyre_log_write(pool, &d), 1);
        alarm(0);
        while (gyre_log_read(pool, &cursor, &d) == 1) {
            require_whole(&d);
            last = d.proxy;
        }
        EXPECT_COUNT(last, number, "round %lu", round);
    }
    gyre_pool_close(pool);
    pool = open_pool(&side.options);
    assert_int_equal(gyre_log_sample(pool), 1);
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_says_what_was_decided),
        cmocka_unit_test(test_strategies_write),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_overwrites),
        cmocka_unit_test(test_share_and_session),
        cmocka_unit_test(test_processes_write_and_read),
        cmocka_unit_test(test_overwritten_while_read),
        cmocka_unit_test(test_killed_while_writing),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
