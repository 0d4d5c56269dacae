/*
 * Who may open a segment's file, and how often: one mapping a process however many handles, other users by mode and
 * group, children that inherit it. The same in a real nginx is
 * in tests/integration/test_nginx_life.sh.
 */
#include "support.h"

#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define NOBODY 65534u

static struct gyre_options shared_options(const char *path)
{
    struct gyre_options options = {.size = sizeof options, .path = path};

    options.max_proxies = 128;
    options.max_leases = 1024; /* a chunk of 64 for each handle that is open at once */
    options.max_sessions = options.max_bans = 64;
    return options;
}

/* Lines of /proc/self/maps that name the file, or all with "". */
static int count_maps(const char *path)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1024];
    int count = 0;

    REQUIRE(maps != NULL);
    while (fgets(line, sizeof line, maps)) count += strstr(line, path) != NULL;
    fclose(maps);
    return count;
}

static void test_twenty_handles_one_mapping(void **state)
{
    struct gyre_options options = shared_options(temp_path("twenty"));
    struct gyre_pool *pools[20];
    struct gyre_lease lease;
    uint64_t id;

    (void)state;
    for (size_t i = 0; i < COUNT(pools); i++) pools[i] = open_pool(&options);
    assert_int_equal(count_maps(options.path), 1);
    id = add_url(pools[0], "http://h:80");
    OK(gyre_acquire(pools[7], NULL, &lease));
    for (size_t i = 0; i < COUNT(pools) - 1; i++) gyre_pool_close(pools[i]);
    assert_int_equal(count_maps(options.path), 1);
    EXPECT_COUNT(proxy_of(pools[19], id).aborted, 1, "the lease of a handle that was closed");
    EXPECT_COUNT(proxy_of(pools[19], id).active, 0, "likewise");
    gyre_pool_close(pools[19]);
    assert_int_equal(count_maps(options.path), 0);
}

/* What nginx does on HUP: a new handle, then the old one is closed. */
static void test_reloads_leave_nothing_behind(void **state)
{
    struct gyre_options options = shared_options(temp_path("reload"));
    struct gyre_pool *pool = open_pool(&options), *old;
    uint64_t id = add_url(pool, "http://h:80");
    int maps;

    (void)state;
    use_proxy(pool, id, GYRE_OK);
    maps = count_maps("");
    for (unsigned long i = 0; i < 2000; i++) { /* more than there are places in the table of processes */
        old = pool;
        pool = open_pool(&options);
        gyre_pool_close(old);
    }
    assert_in_range(count_maps(""), maps - 4, maps + 4);
    EXPECT_COUNT(proxy_of(pool, id).started, 1, "started, as before");
    gyre_pool_close(pool);
}

static void test_a_new_file_of_the_same_name(void **state)
{
    struct gyre_options options = shared_options(temp_path("same"));
    struct gyre_pool *first = open_pool(&options), *second;

    (void)state;
    add_url(first, "http://h:80");
    assert_int_equal(unlink(options.path), 0);
    second = open_pool(&options);
    assert_int_equal(gyre_pool_count(first), 1);
    assert_int_equal(gyre_pool_count(second), 0);
    gyre_pool_close(first);
    gyre_pool_close(second);
}

static void *open_and_close(void *path)
{
    struct gyre_options options = shared_options(*(const char **)path);

    for (int i = 0; i < 50; i++) {
        struct gyre_pool *pool;
        struct gyre_lease lease;
        REQUIRE(gyre_pool_open(&options, &pool) == 0);
        REQUIRE(gyre_acquire(pool, NULL, &lease) == 0);
        REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0) == 0);
        gyre_pool_close(pool);
    }
    return NULL;
}

/* The last of one moment and the first of the next are the same mapping, or two: never one that is gone. */
static void test_threads_open_and_close(void **state)
{
    struct gyre_options options = shared_options(temp_path("threads"));
    struct gyre_pool *pool = open_pool(&options);
    const char *paths[6];

    (void)state;
    add_url(pool, "http://h:80");
    gyre_pool_close(pool);
    for (size_t i = 0; i < COUNT(paths); i++) paths[i] = options.path;
    run_threads(COUNT(paths), open_and_close, paths, sizeof *paths);
    assert_int_equal(count_maps(options.path), 0);
}

struct inheritance {
    struct gyre_pool *pool;
    const char *path;
    int wanted; /* result of opening */
};

/* Others may look into the folder of temp_path(), whatever they may do with its files. */
static void open_folder(const char *path)
{
    char folder[256];

    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    assert_int_equal(chmod(folder, 0711), 0);
}

static void use_inherited(void *argument)
{
    struct inheritance *from = argument;
    struct gyre_options options = shared_options(from->path);
    struct gyre_pool *attached;
    struct gyre_lease lease;

    if (geteuid() == 0) REQUIRE(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    REQUIRE(gyre_acquire(from->pool, NULL, &lease) == 0);
    REQUIRE(gyre_complete_ms(from->pool, &lease, GYRE_OK, 1.0) == 0);
    REQUIRE(gyre_pool_open(&options, &attached) == 0); /* by path, though nobody may not read a file 0600 of root */
    REQUIRE(count_maps(from->path) == 1);
    REQUIRE(gyre_acquire(attached, NULL, &lease) == 0); /* forgotten: closing aborts it */
    gyre_pool_close(attached);
    gyre_pool_close(from->pool);
    REQUIRE(count_maps(from->path) == 0);
}

static void test_children_inherit(void **state)
{
    struct gyre_options options = shared_options(temp_path("inherit"));
    struct inheritance from = {.pool = open_pool(&options), .path = options.path};
    uint64_t id = add_url(from.pool, "http://h:80");
    struct gyre_proxy proxy;

    (void)state;
    open_folder(options.path);
    for (int i = 0; i < 4; i++) reap(spawn(use_inherited, &from));
    proxy = proxy_of(from.pool, id);
    EXPECT_COUNT(proxy.succeeded, 4, "one a child");
    EXPECT_COUNT(proxy.aborted, 4, "one a child");
    EXPECT_COUNT(proxy.active, 0, "all ended");
    OK(gyre_pool_check(from.pool, NULL));
    gyre_pool_close(from.pool);
}

enum { USERS = 4, HELD = 8 };

struct user {
    struct gyre_pool *pool;
    atomic_int *ready, *leased;
};

/* All threads do their first acquire at one moment, and end nothing before all have leased. */
static void *use_at_once(void *argument)
{
    struct user *user = argument;
    struct gyre_lease leases[HELD];

    atomic_fetch_add(user->ready, 1);
    while (atomic_load(user->ready) < USERS) {}
    for (int i = 0; i < HELD; i++) REQUIRE(gyre_acquire(user->pool, NULL, &leases[i]) == 0);
    atomic_fetch_add(user->leased, 1);
    while (atomic_load(user->leased) < USERS) usleep(100);
    for (int i = 0; i < HELD; i++) REQUIRE(gyre_complete_ms(user->pool, &leases[i], GYRE_OK, 1.0) == 0);
    return NULL;
}

static void use_by_threads(void *argument)
{
    pthread_t threads[USERS];
    struct user users[USERS];
    atomic_int ready = 0, leased = 0;

    for (int i = 0; i < USERS; i++) {
        users[i] = (struct user){argument, &ready, &leased};
        REQUIRE(pthread_create(&threads[i], NULL, use_at_once, &users[i]) == 0);
    }
    for (int i = 0; i < USERS; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    gyre_pool_close(argument);
}

/* Several threads of a child use an inherited handle first at the same time: the child is one process still. */
static void test_threads_of_a_child(void **state)
{
    struct gyre_options options = {.size = sizeof options, .max_proxies = 64, .max_leases = 65536, .max_sessions = 64, .max_bans = 64};
    struct gyre_pool *pool = open_pool(&options);
    unsigned long children = rounds(500);

    (void)state;
    add_url(pool, "http://h:80");
    for (unsigned long i = 0; i < children; i++) reap(spawn(use_by_threads, pool));
    EXPECT_COUNT(stats_of(pool).succeeded, children * USERS * HELD, "all leases of %lu children", children);
    EXPECT_COUNT(stats_of(pool).aborted, 0, "none was lost");
    expect_nothing_found(pool, "after the children");
    gyre_pool_close(pool);
}

static void on_alarm(int number)
{
    (void)number;
}

static void keep_opening_locked(void *argument)
{
    int fd = open(argument, O_RDWR);

    REQUIRE(fd >= 0 && flock(fd, LOCK_EX) == 0);
    usleep(300000);
}

/* A program with a timer whose signal interrupts system calls can make a file, and wait for who is opening it. */
static void test_signals_while_opening(void **state)
{
    struct sigaction action = {.sa_handler = on_alarm}, before;
    struct itimerval often = {.it_interval = {.tv_usec = 1000}, .it_value = {.tv_usec = 1000}}, never = {0};
    struct gyre_options options = {.size = sizeof options, .path = temp_path("signals")};
    struct gyre_pool *pool;
    pid_t child;

    (void)state;
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &often, NULL);
    int made = gyre_pool_open(&options, &pool);
    setitimer(ITIMER_REAL, &never, NULL);
    OK(made);
    gyre_pool_close(pool);
    child = spawn(keep_opening_locked, (void *)(uintptr_t)options.path);
    usleep(100000);
    setitimer(ITIMER_REAL, &often, NULL);
    int found = gyre_pool_open(&options, &pool);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    OK(found);
    gyre_pool_close(pool);
    reap(child);
}

static void close_unused(void *argument)
{
    gyre_pool_close(((struct inheritance *)argument)->pool);
}

/* A child that never used the handle ends nothing of its parent's. */
static void test_child_closes_unused(void **state)
{
    struct gyre_options options = shared_options(temp_path("unused"));
    struct inheritance from = {.pool = open_pool(&options), .path = options.path};
    struct gyre_request request = {.size = sizeof request, .session = "one"};
    struct gyre_session_stats sessions = {.size = sizeof sessions};
    struct gyre_lease lease;

    (void)state;
    add_url(from.pool, "http://h:80");
    for (int i = 0; i < 4; i++) OK(gyre_acquire(from.pool, &request, &lease));
    reap(spawn(close_unused, &from));
    OK(gyre_complete_ms(from.pool, &lease, GYRE_OK, 1.0));
    OK(gyre_session_stats(from.pool, &sessions));
    EXPECT_COUNT(sessions.hits, 3, "the child handed in none of its parent's");
    gyre_pool_close(from.pool);
}

static void open_as_nobody(void *argument)
{
    struct inheritance *from = argument;
    struct gyre_options options = shared_options(from->path);
    gid_t group = 12345;
    struct gyre_pool *pool;

    REQUIRE(setgroups(1, &group) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    REQUIRE(gyre_pool_open(&options, &pool) == from->wanted);
    if (from->wanted == 0) gyre_pool_close(pool);
}

/* Root's file is open to others exactly as far as its mode and group say. Nothing is inherited: the file is closed. */
static void test_mode_and_group(void **state)
{
    static const struct {
        uint32_t mode;
        const char *group;
        int wanted;
    } cases[] = {{0600, "12345", GYRE_ESYSTEM}, {0660, "12345", 0}, {0660, "0", GYRE_ESYSTEM},
                 {0640, "12345", GYRE_ESYSTEM}, {0666, NULL, 0}};

    (void)state;
    if (geteuid() != 0) skip(); /* only root can become another user */
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct gyre_options options = shared_options(temp_path("group"));
        struct inheritance from = {.path = options.path, .wanted = cases[i].wanted};
        struct stat status;

        options.mode = cases[i].mode;
        options.group = cases[i].group;
        gyre_pool_close(open_pool(&options));
        assert_int_equal(stat(options.path, &status), 0);
        assert_int_equal(status.st_mode & 07777, cases[i].mode);
        if (cases[i].group) assert_int_equal(status.st_gid, atoi(cases[i].group));
        open_folder(options.path);
        reap(spawn(open_as_nobody, &from));
    }
}

static void test_group_names(void **state)
{
    struct gyre_options options = shared_options(temp_path("name"));
    struct gyre_pool *pool;

    (void)state;
    options.group = "no-such-group";
    EXPECT(GYRE_EINVALID, gyre_pool_open(&options, &pool));
    assert_non_null(strstr(gyre_detail(), "no-such-group"));
    assert_int_equal(access(options.path, F_OK), -1);
    options.group = "-1";
    EXPECT(GYRE_EINVALID, gyre_pool_open(&options, &pool));
    if (geteuid() == 0) {
        struct stat status;
        options.group = "nogroup";
        gyre_pool_close(open_pool(&options));
        assert_int_equal(stat(options.path, &status), 0);
        assert_int_equal(status.st_gid, getgrnam("nogroup")->gr_gid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twenty_handles_one_mapping), cmocka_unit_test(test_reloads_leave_nothing_behind),
        cmocka_unit_test(test_a_new_file_of_the_same_name), cmocka_unit_test(test_threads_open_and_close),
        cmocka_unit_test(test_children_inherit),           cmocka_unit_test(test_child_closes_unused), cmocka_unit_test(test_signals_while_opening),
        cmocka_unit_test(test_threads_of_a_child),
        cmocka_unit_test(test_mode_and_group),             cmocka_unit_test(test_group_names),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
