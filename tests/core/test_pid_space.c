/*
 * Processes of different pid namespaces, as containers have them, share a segment: a pid says nothing between them, and
 * all the same the living are left alone and the dead found out. Needs to be root, or user namespaces.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 8, HELD = 5 };

struct plan {
    const char *path;
    int ready[2], go[2]; /* pipes: the child has done its part; the parent has */
};

static struct gyre_options shared_options(const char *path)
{
    return (struct gyre_options){.size = sizeof(struct gyre_options), .path = path, .max_proxies = 64, .max_leases = 128,
                                 .max_sessions = 64, .max_bans = 64, .seed = 1};
}

/* As spawn(), in a pid namespace of its own, where the child is pid 1. -1: this system does not let us. */
static pid_t spawn_apart(void (*function)(const struct plan *), const struct plan *plan)
{
    pid_t child;
    fflush(NULL);
    child = (pid_t)syscall(SYS_clone, (long)(CLONE_NEWPID | SIGCHLD), NULL, NULL, NULL, 0L);
    if (child < 0 && errno == EPERM)
        child = (pid_t)syscall(SYS_clone, (long)(CLONE_NEWUSER | CLONE_NEWPID | SIGCHLD), NULL, NULL, NULL, 0L);
    if (child != 0) return child;
    REQUIRE(getpid() == 1);
    close(plan->ready[0]);
    close(plan->go[1]);
    function(plan);
    _exit(0);
}

static void say(const int *pipe)
{
    REQUIRE(write(pipe[1], "x", 1) == 1);
}

/* The other side may have died instead: then there is nothing to read. */
static int await(const int *pipe)
{
    char byte;
    return read(pipe[0], &byte, 1) == 1;
}

/* Works for more than two seconds of the system's clock, so that every tick and look for the dead there is has come. */
static void work_on(struct gyre_pool *pool)
{
    struct timespec pause = {.tv_nsec = 20000000};
    for (int i = 0; i < 120; i++) {
        struct gyre_lease lease;
        REQUIRE(gyre_acquire(pool, NULL, &lease) == 0);
        REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0) == 0);
        nanosleep(&pause, NULL);
    }
}

static struct gyre_pool *attach(const struct plan *plan)
{
    struct gyre_options options = shared_options(plan->path);
    struct gyre_pool *pool;
    REQUIRE(gyre_pool_open(&options, &pool) == 0);
    return pool;
}

static void hold(struct gyre_pool *pool, struct gyre_lease *leases)
{
    for (int i = 0; i < HELD; i++) REQUIRE(gyre_acquire(pool, NULL, &leases[i]) == 0);
}

static void give_back(struct gyre_pool *pool, struct gyre_lease *leases)
{
    for (int i = 0; i < HELD; i++) REQUIRE(gyre_complete_ms(pool, &leases[i], GYRE_OK, 1.0) == 0);
}

/* Holds leases, works, lets the parent work, and finds its leases as they were; then dies with as many. */
static void stay_and_die(const struct plan *plan)
{
    struct gyre_pool *pool = attach(plan);
    struct gyre_lease leases[HELD];

    hold(pool, leases);
    close(open(plan->path, O_RDONLY | O_CLOEXEC));
    work_on(pool);
    say(plan->ready);
    REQUIRE(await(plan->go));
    give_back(pool, leases);
    hold(pool, leases);
    say(plan->ready);
    for (;;) pause();
}

static pid_t start(struct plan *plan, void (*function)(const struct plan *))
{
    pid_t child;
    assert_int_equal(pipe(plan->ready), 0);
    assert_int_equal(pipe(plan->go), 0);
    child = spawn_apart(function, plan);
    close(plan->ready[1]);
    close(plan->go[0]);
    if (child < 0) skip();
    return child;
}

static void finish(const struct plan *plan)
{
    close(plan->ready[0]);
    close(plan->go[1]);
}

/* A pool of ours at the plan's path, with HELD leases in flight. */
static struct gyre_pool *pool_holding(const struct plan *plan, struct gyre_lease *leases)
{
    struct gyre_options options = shared_options(plan->path);
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, &options);

    hold(pool, leases);
    return pool;
}

static void test_each_takes_the_other_for_living(void **state)
{
    struct plan plan = {.path = temp_path("apart")};
    struct gyre_lease leases[HELD];
    struct gyre_pool *pool = pool_holding(&plan, leases);
    (void)state;

    close(open(plan.path, O_RDONLY | O_CLOEXEC)); /* which would cost older locks of fcntl's their life */
    pid_t child = start(&plan, stay_and_die);
    assert_true(await(plan.ready));
    EXPECT_COUNT(stats_of(pool).active, 2 * HELD, "the child's work has not ended ours");
    work_on(pool);
    EXPECT_COUNT(stats_of(pool).active, 2 * HELD, "nor ours the child's");
    EXPECT_COUNT(stats_of(pool).aborted, 0, "nothing was cut short");
    say(plan.go);
    assert_true(await(plan.ready));
    slay(child);
    work_on(pool);
    EXPECT_COUNT(stats_of(pool).active, HELD, "ours; the dead one's have ended");
    EXPECT_COUNT(stats_of(pool).aborted, HELD, "the dead one's");
    give_back(pool, leases);
    expect_nothing_found(pool, "at the end");
    finish(&plan);
    gyre_pool_close(pool);
}

static void come_and_go(const struct plan *plan)
{
    for (int i = 0; i < 50; i++) gyre_pool_close(attach(plan));
    say(plan->ready);
    REQUIRE(await(plan->go));
    gyre_pool_close(attach(plan));
}

/* Entries are given up and taken from both sides, and a handle that closes takes no other of its process along. */
static void test_entries_are_not_mixed_up(void **state)
{
    struct plan plan = {.path = temp_path("entries")};
    struct gyre_options options = shared_options(plan.path);
    struct gyre_lease leases[HELD];
    struct gyre_pool *pool = pool_holding(&plan, leases), *second;
    (void)state;

    pid_t child = start(&plan, come_and_go);
    for (int i = 0; i < 50; i++) {
        OK(gyre_pool_open(&options, &second));
        gyre_pool_close(second);
    }
    assert_true(await(plan.ready));
    OK(gyre_pool_open(&options, &second));
    say(plan.go);
    reap(child);
    EXPECT_COUNT(stats_of(pool).active, HELD, "nobody that came and went has ended them");
    gyre_pool_close(second);
    give_back(pool, leases);
    expect_nothing_found(pool, "at the end");
    finish(&plan);
    gyre_pool_close(pool);
}

/* Closes all descriptors, as daemons do, and has another file where the segment's was. */
static void forget_descriptors(void *argument)
{
    struct plan *plan = argument;
    struct gyre_pool *pool = attach(plan);
    int other;

    for (int fd = 3; fd < 1024; fd++) close(fd);
    REQUIRE((other = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 3);
    work_on(pool);
    gyre_pool_close(pool);
    REQUIRE(fcntl(other, F_GETFD) >= 0);
}

static void test_closed_descriptors(void **state)
{
    struct plan plan = {.path = temp_path("closed")};
    struct gyre_lease leases[HELD];
    struct gyre_pool *pool = pool_holding(&plan, leases);
    (void)state;

    reap(spawn(forget_descriptors, &plan));
    EXPECT_COUNT(stats_of(pool).active, HELD, "ours");
    give_back(pool, leases);
    gyre_pool_close(pool);
}

/* Where standard output is closed its number must not be the segment's. */
static void print_without_output(void *argument)
{
    struct plan *plan = argument;

    close(STDOUT_FILENO);
    struct gyre_pool *pool = attach(plan);
    if (write(STDOUT_FILENO, "nobody reads this", 17) > 0) REQUIRE(!"standard output is a file");
    gyre_pool_close(pool);
    gyre_pool_close(attach(plan));
}

static void test_no_standard_output(void **state)
{
    struct plan plan = {.path = temp_path("output")};
    (void)state;
    reap(spawn(print_without_output, &plan));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_takes_the_other_for_living),
        cmocka_unit_test(test_entries_are_not_mixed_up),
        cmocka_unit_test(test_closed_descriptors),
        cmocka_unit_test(test_no_standard_output),
    };
    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
