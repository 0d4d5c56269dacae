/*
 * Processes that die: killed with leases in flight, killed at any moment of add, remove, acquire, complete and
 * open. Nothing may be stuck, `active` returns to 0, the sums hold. The system's clock: the living notice the dead
 * within a second of their own work.
 */
#include "support.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 20, HELD = 100 };

struct plan {
    struct gyre_pool *pool; /* inherited by fork, or NULL: open `path` */
    const char *path;
    const uint64_t *ids;
    int ready[2]; /* pipe: the child has done its part */
    uint64_t seed;
};

static struct gyre_options shared_options(const char *path)
{
    return (struct gyre_options){.size = sizeof(struct gyre_options),
                                 .path = path,
                                 .max_proxies = 128,
                                 .max_leases = 1024,
                                 .max_sessions = 64,
                                 .max_bans = 64,
                                 .seed = 1};
}

static struct gyre_pool *attach(const struct plan *plan)
{
    struct gyre_options options = shared_options(plan->path);
    struct gyre_pool *pool = plan->pool;

    if (!pool) REQUIRE(gyre_pool_open(&options, &pool) == 0);
    return pool;
}

static void hold_and_wait(void *argument)
{
    struct plan *plan = argument;
    struct gyre_pool *pool = attach(plan);
    struct gyre_lease lease;

    for (int i = 0; i < HELD; i++) REQUIRE(gyre_acquire(pool, NULL, &lease) == 0);
    REQUIRE(write(plan->ready[1], "x", 1) == 1);
    for (;;) pause();
}

static pid_t start_holder(struct plan *plan)
{
    char byte;
    pid_t child;

    assert_int_equal(pipe(plan->ready), 0);
    child = spawn(hold_and_wait, plan);
    assert_int_equal(read(plan->ready[0], &byte, 1), 1);
    close(plan->ready[0]);
    close(plan->ready[1]);
    return child;
}

static uint64_t leased(struct gyre_pool *pool)
{
    uint64_t id = 0, active = 0;

    while (gyre_pool_next(pool, &id) == 1) active += proxy_of(pool, id).active;
    return active;
}

/* Goes on acquiring, as a living process does, until nothing is in flight or ten seconds have passed. */
static void work_until_none_active(struct gyre_pool *pool)
{
    time_t end = time(NULL) + 10;
    struct gyre_lease lease;

    while (leased(pool) > 0 && time(NULL) <= end) {
        OK(gyre_acquire(pool, NULL, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
        usleep(10000);
    }
    EXPECT_COUNT(leased(pool), 0, "in flight after the holder died");
    EXPECT_COUNT(stats_of(pool).active, 0, "in flight after the holder died");
}

static void killed_while_holding(struct plan *plan, struct gyre_pool *pool, int zombie)
{
    pid_t child = start_holder(plan);
    struct gyre_lease mine;

    OK(gyre_acquire_id(pool, plan->ids[0], &mine));
    EXPECT_COUNT(stats_of(pool).active, HELD + 1, "held by the child and by us");
    if (zombie) { /* dead, and nobody has waited for it yet */
        siginfo_t info;

        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    } else {
        slay(child);
    }
    for (int i = 0; i < 300 && leased(pool) > 1; i++) {
        struct gyre_lease lease;

        OK(gyre_acquire(pool, NULL, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
        usleep(10000);
    }
    if (zombie) assert_int_equal(waitpid(child, NULL, 0), child);
    EXPECT_COUNT(leased(pool), 1, "ours; the dead one's are gone");
    OK(gyre_complete_ms(pool, &mine, GYRE_OK, 1.0)); /* and ours was left alone */
    EXPECT_COUNT(stats_of(pool).aborted, HELD, "the dead one's leases ended as aborted");
    EXPECT_COUNT(stats_of(pool).active, 0, "at rest");
}

static void test_killed_while_holding(void **state)
{
    (void)state;
    for (int zombie = 0; zombie < 2; zombie++) {
        struct gyre_options options = shared_options(temp_path("killed"));
        uint64_t ids[N];
        struct plan plan = {.path = options.path, .ids = ids};
        struct gyre_pool *pool = pool_of(N, ids, &options);

        killed_while_holding(&plan, pool, zombie);
        gyre_pool_close(pool);
    }
}

/* A private pool is inherited by fork; a child's leases are the child's, and die with it, not with the parent. */
static void test_forked_child_killed(void **state)
{
    struct gyre_options options = shared_options(NULL);
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, &options);
    struct plan plan = {.pool = pool, .ids = ids};

    (void)state;
    killed_while_holding(&plan, pool, 0);
    gyre_pool_close(pool);
}

/* Nobody was left to notice: whoever opens the file next does. */
static void test_noticed_on_opening(void **state)
{
    struct gyre_options options = shared_options(temp_path("reopened"));
    uint64_t ids[N];
    struct plan plan = {.path = options.path, .ids = ids};
    struct gyre_pool *pool = pool_of(N, ids, &options);

    (void)state;
    gyre_pool_close(pool);
    slay(start_holder(&plan));
    pool = open_pool(&options);
    EXPECT_COUNT(leased(pool), 0, "at once, without an acquire");
    EXPECT_COUNT(stats_of(pool).aborted, HELD, "the dead one's leases");
    gyre_pool_close(pool);
}

static void leave_without_closing(void *argument)
{
    struct gyre_pool *pool = attach(argument);
    struct gyre_lease lease;

    for (int i = 0; i < HELD; i++) REQUIRE(gyre_acquire(pool, NULL, &lease) == 0);
}

/* More processes come and go than the table of processes has places, each leaving leases behind. */
static void test_many_processes_come_and_go(void **state)
{
    struct gyre_options options = shared_options(temp_path("many"));
    uint64_t ids[N];
    struct plan plan = {.path = options.path, .ids = ids};
    struct gyre_pool *pool = pool_of(N, ids, &options);
    unsigned long n = rounds(1100);

    (void)state;
    for (unsigned long i = 0; i < n; i++) reap(spawn(leave_without_closing, &plan));
    work_until_none_active(pool);
    EXPECT_COUNT(stats_of(pool).aborted, n * HELD, "all of theirs");
    gyre_pool_close(pool);
}

/* Does everything there is to do, without end. */
static void hammer(void *argument)
{
    struct plan *plan = argument;
    struct gyre_pool *pool = attach(plan);
    struct rng rng = {plan->seed};
    struct gyre_lease held[32];
    uint32_t holding = 0;

    for (;;) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .tags = "x,y"};
        uint64_t id;
        char url[64];

        switch (rng_below(&rng, 8)) {
        case 0:
            snprintf(url, sizeof url, "http://u:p@extra-%u", rng_below(&rng, 40));
            spec.url = url;
            gyre_pool_add(pool, &spec, &id);
            break;
        case 1:
            snprintf(url, sizeof url, "http://u:p@extra-%u", rng_below(&rng, 40));
            if (gyre_pool_find(pool, url, &id) == 0) gyre_pool_remove(pool, id);
            break;
        case 2:
            id = plan->ids[rng_below(&rng, N / 2)];
            REQUIRE((rng_below(&rng, 2) ? gyre_pool_disable : gyre_pool_enable)(pool, id) == 0);
            break;
        case 3: REQUIRE(gyre_pool_update(pool, plan->ids[rng_below(&rng, N)], &spec) == 0); break;
        case 4:
        case 5:
            if (holding < COUNT(held)) REQUIRE(gyre_acquire(pool, NULL, &held[holding++]) == 0);
            break;
        default:
            if (holding) REQUIRE(gyre_complete_ms(pool, &held[--holding], 1 + (int)rng_below(&rng, 6), 5.0) == 0);
        }
    }
}

/* What a pool must still be able to do after others died in the middle of whatever they did. */
static void expect_sound(struct gyre_pool *pool, const uint64_t *ids)
{
    uint64_t id = 0;
    int seen = 0;

    alarm(30); /* a lock left behind by the dead would be a hang */
    while (gyre_pool_next(pool, &id) == 1) {
        char text[128];
        uint64_t found;

        assert_true(gyre_pool_url_with_credentials(pool, id, text, sizeof text) > 0);
        OK(gyre_pool_find(pool, text, &found));
        EXPECT_COUNT(found, id, "%s", text);
        seen++;
    }
    assert_int_equal(gyre_pool_count(pool), seen);
    for (int i = 0; i < N; i++) {
        OK(gyre_pool_enable(pool, ids[i]));
        use_proxy(pool, ids[i], GYRE_OK);
    }
    id = add_url(pool, "http://still.works");
    use_proxy(pool, id, GYRE_OK);
    OK(gyre_pool_remove(pool, id));
    for (int i = 0; i < 2 * seen; i++) {
        struct gyre_lease lease;

        OK(gyre_acquire(pool, NULL, &lease));
        proxy_of(pool, lease.id);
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    }
    alarm(0);
}

static void test_killed_anywhere(void **state)
{
    struct rng rng = {test_seed(13)};
    struct gyre_options options = shared_options(temp_path("anywhere"));
    uint64_t ids[N];
    struct gyre_pool *pool;

    (void)state;
    options.breaker_failures = 1000000000; /* so that there always is somebody to acquire */
    pool = pool_of(N, ids, &options);
    for (unsigned long round = rounds(60); round; round--) {
        struct plan plan = {.path = options.path, .ids = ids, .seed = rng_next(&rng)};
        pid_t children[2];

        for (size_t i = 0; i < COUNT(children); i++) {
            plan.seed++;
            children[i] = spawn(hammer, &plan);
        }
        usleep(1000 + rng_below(&rng, 20000));
        for (size_t i = 0; i < COUNT(children); i++) {
            slay(children[i]);
            usleep(rng_below(&rng, 1000)); /* the second one meets what the first left */
        }
        expect_sound(pool, ids);
    }
    work_until_none_active(pool);
    expect_sound(pool, ids);
    gyre_pool_close(pool);
    pool = open_pool(&options); /* and for one who comes later */
    expect_sound(pool, ids);
    gyre_pool_close(pool);
}

static void open_and_close(void *argument)
{
    const struct plan *plan = argument;

    for (;;) {
        unlink(plan->path);
        gyre_pool_close(attach(plan));
    }
}

/* A process killed while it makes the file leaves no half of one that would be refused for ever. */
static void test_killed_while_creating(void **state)
{
    struct rng rng = {test_seed(19)};
    struct gyre_options options = shared_options(temp_path("creating"));
    struct plan plan = {.path = options.path};

    (void)state;
    for (unsigned long round = rounds(100); round; round--) {
        uint64_t ids[N];
        struct gyre_pool *pool;
        pid_t child = spawn(open_and_close, &plan);

        usleep(300 + rng_below(&rng, 5000));
        slay(child);
        pool = pool_of(N, ids, &options);
        expect_sound(pool, ids);
        gyre_pool_close(pool);
        unlink(options.path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_while_holding), cmocka_unit_test(test_forked_child_killed),
        cmocka_unit_test(test_noticed_on_opening),   cmocka_unit_test(test_many_processes_come_and_go),
        cmocka_unit_test(test_killed_anywhere),      cmocka_unit_test(test_killed_while_creating),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
