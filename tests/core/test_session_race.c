/*
 * Sessions under threads and processes: one new id presented by many at once gets one proxy, and nobody who is killed
 * leaves a bucket locked or a session twice. Line 19 of the list of other rotators' failures is here.
 */
#include "step.h"
#include "support.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { N = 50, MOST = 64 };

struct meeting {
    pthread_barrier_t gate; /* of processes as well as of threads */
    uint64_t got[MOST];
    unsigned long rounds;
    uint32_t present;
    int close; /* the id is the same in every round, and closed in between */
    struct gyre_options options;
    struct gyre_pool *pool;
};

struct visitor {
    struct meeting *meeting;
    struct gyre_pool *pool;
    uint32_t number;
};

static struct meeting *make_meeting(uint32_t present, struct gyre_pool *pool, const struct gyre_options *options)
{
    struct meeting *meeting = mmap(NULL, sizeof *meeting, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrierattr_t attributes;

    assert_true(meeting != MAP_FAILED);
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&meeting->gate, &attributes, present);
    meeting->present = present;
    meeting->rounds = rounds(100);
    meeting->pool = pool;
    meeting->options = *options;
    return meeting;
}

/* Each round all present the same new id at once. */
static void *visit(void *argument)
{
    const struct visitor *visitor = argument;
    struct meeting *meeting = visitor->meeting;

    for (unsigned long round = 0; round < meeting->rounds; round++) {
        char name[32];
        struct gyre_request request = {.size = sizeof request, .session = name};
        struct gyre_lease lease;

        snprintf(name, sizeof name, "round-%lu", meeting->close ? 0 : round);
        pthread_barrier_wait(&meeting->gate);
        REQUIRE(gyre_acquire(visitor->pool, &request, &lease) == 0);
        meeting->got[visitor->number] = lease.id;
        REQUIRE(gyre_complete_ms(visitor->pool, &lease, GYRE_OK, -1.0) == 0);
        pthread_barrier_wait(&meeting->gate);
        if (visitor->number == 0)
            for (uint32_t i = 1; i < meeting->present; i++) REQUIRE(meeting->got[i] == meeting->got[0]);
        if (meeting->close && visitor->number == meeting->present - 1)
            REQUIRE(gyre_session_close(visitor->pool, name) == 0);
    }
    return NULL;
}

static void expect_one_each(struct gyre_pool *pool, const struct meeting *meeting)
{
    struct gyre_session_stats stats = {.size = sizeof stats};

    OK(gyre_session_stats(pool, &stats));
    EXPECT_COUNT(stats.assigned, meeting->rounds, "one assignment a round, the others took it over");
    EXPECT_COUNT(stats.moved, 0, "nobody moved");
    EXPECT_COUNT(stats_of(pool).started, meeting->rounds * meeting->present, "and nobody leased in vain");
}

static struct gyre_options shared_options(const char *path)
{
    return (struct gyre_options){.size = sizeof(struct gyre_options), .path = path, .max_proxies = 64, .seed = 1,
                                 .max_leases = 4096, .max_sessions = 4096};
}

/* Failures, line 19: 16 threads with one new session id got up to 16 proxies. Here 64 come. */
static void test_threads_meet(void **state)
{
    (void)state;
    for (int close = 0; close < 2; close++) {
        struct gyre_options options = shared_options(NULL);
        struct visitor visitors[MOST];
        uint64_t ids[N];
        struct gyre_pool *pool = pool_of(N, ids, &options);
        struct meeting *meeting = make_meeting(MOST, pool, &options);

        meeting->close = close;
        for (uint32_t i = 0; i < MOST; i++) visitors[i] = (struct visitor){meeting, pool, i};
        run_threads(MOST, visit, visitors, sizeof *visitors);
        expect_one_each(pool, meeting);
        gyre_pool_close(pool);
        munmap(meeting, sizeof *meeting);
    }
}

struct party {
    struct meeting *meeting;
    uint32_t first, threads;
};

static void bring_threads(void *argument)
{
    const struct party *party = argument;
    struct visitor visitors[MOST];
    struct gyre_pool *pool = NULL;

    REQUIRE(gyre_pool_open(&party->meeting->options, &pool) == 0);
    for (uint32_t i = 0; i < party->threads; i++)
        visitors[i] = (struct visitor){party->meeting, pool, party->first + i};
    if (party->threads == 1) visit(&visitors[0]);
    else run_threads(party->threads, visit, visitors, sizeof *visitors);
    gyre_pool_close(pool);
}

/* Line 19 again, by eight processes on one file, alone and with eight threads each. */
static void test_processes_meet(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 8; threads += 7) {
        struct gyre_options options = shared_options(temp_path("meet"));
        struct party parties[8];
        pid_t children[8];
        uint64_t ids[N];
        struct gyre_pool *pool = pool_of(N, ids, &options);
        struct meeting *meeting = make_meeting(8 * threads, NULL, &options);

        for (uint32_t i = 0; i < 8; i++) {
            parties[i] = (struct party){meeting, i * threads, threads};
            children[i] = spawn(bring_threads, &parties[i]);
        }
        for (uint32_t i = 0; i < 8; i++) reap(children[i]);
        expect_one_each(pool, meeting);
        gyre_pool_close(pool);
        munmap(meeting, sizeof *meeting);
    }
}

struct mover {
    struct gyre_pool *pool;
    const uint64_t *ids;
    uint64_t seed;
};

/* Uses, closes and excludes at random; what a session is told to have is what a look shows, or somebody moved it. */
static void *disturb(void *argument)
{
    const struct mover *mover = argument;
    struct rng rng = {mover->seed};

    for (unsigned long i = rounds(20000); i; i--) {
        char name[16];
        uint64_t id = mover->ids[rng_below(&rng, N)], winner = 0;
        struct gyre_request request = {.size = sizeof request, .session = name};
        struct gyre_lease lease;
        int result;

        snprintf(name, sizeof name, "s%u", rng_below(&rng, 200));
        switch (rng_below(&rng, 8)) {
        case 0: result = gyre_session_close(mover->pool, name); break;
        case 1: result = gyre_session_assign(mover->pool, name, id, 0, &winner); break;
        case 2:
            result = gyre_session_get(mover->pool, name, &winner);
            REQUIRE(result == GYRE_ENOT_FOUND || (winner && result == 0));
            break;
        case 3:
            request.exclude = &id;
            request.exclude_count = 1; /* fall through */
        default:
            result = gyre_acquire(mover->pool, &request, &lease);
            REQUIRE(result == 0 && !(request.exclude_count && lease.id == id));
            REQUIRE(gyre_complete_ms(mover->pool, &lease, GYRE_OK, -1.0) == 0);
        }
        REQUIRE(result == 0 || result == GYRE_ENOT_FOUND);
    }
    return NULL;
}

/* Every session is in the list once, with a proxy of the pool's. */
static int list(struct gyre_pool *pool)
{
    struct gyre_session session = {.size = sizeof session};
    char seen[1000] = {0};
    uint64_t cursor = 0;
    int n = 0;

    while (gyre_session_next(pool, &cursor, &session) == 1) {
        unsigned number = 0;
        uint64_t id;

        assert_int_equal(sscanf(session.id, "s%u", &number), 1);
        assert_true(number < sizeof seen);
        assert_false(seen[number]);
        seen[number] = 1;
        proxy_of(pool, session.proxy);
        OK(gyre_session_get(pool, session.id, &id));
        EXPECT_COUNT(id, session.proxy, "%s", session.id);
        n++;
    }
    assert_int_equal(cursor, 0);
    return n;
}

/* A table that is too small for its ids, so that places are taken away all the time. */
static void test_threads_disturb(void **state)
{
    struct rng rng = {test_seed(23)};

    (void)state;
    for (uint32_t max = 24; max <= 1024; max += 1000) {
        struct gyre_options options = shared_options(NULL);
        struct gyre_session_stats stats = {.size = sizeof stats};
        struct mover movers[8];
        uint64_t ids[N];
        struct gyre_pool *pool;

        options.max_sessions = max;
        pool = pool_of(N, ids, &options);
        for (size_t i = 0; i < COUNT(movers); i++) movers[i] = (struct mover){pool, ids, rng_next(&rng)};
        run_threads(COUNT(movers), disturb, movers, sizeof *movers);
        OK(gyre_session_stats(pool, &stats));
        assert_int_equal(list(pool), stats.count);
        EXPECT_COUNT(stats.assigned, stats.count + stats.evicted + stats.closed, "each is somewhere");
        if (!under_valgrind()) assert_true(max < 200 ? stats.evicted > 0 : stats.evicted == 0);
        gyre_pool_close(pool);
    }
}

/* Each session's proxy follows from its id, whoever assigns it; and places change hands all the time. */
static void *assign_by_number(void *argument)
{
    const struct mover *mover = argument;
    struct rng rng = {mover->seed};

    for (unsigned long i = rounds(100000); i; i--) {
        uint32_t number = rng_below(&rng, 24);
        uint64_t id = 0, wanted = mover->ids[number];
        char name[16];

        snprintf(name, sizeof name, "s%u", number);
        if (mover->seed % 2) REQUIRE(gyre_session_assign(mover->pool, name, wanted, 0, &id) == 0 && id == wanted);
        else REQUIRE(gyre_session_get(mover->pool, name, &id) == 0 ? id == wanted : id == 0);
    }
    return NULL;
}

static void test_readers_see_whole_sessions(void **state)
{
    struct gyre_options options = shared_options(NULL);
    struct mover movers[4];
    uint64_t ids[N];
    struct gyre_pool *pool;

    (void)state;
    options.max_sessions = 12;
    pool = pool_of(N, ids, &options);
    for (size_t i = 0; i < COUNT(movers); i++) movers[i] = (struct mover){pool, ids, i};
    run_threads(COUNT(movers), assign_by_number, movers, sizeof *movers);
    gyre_pool_close(pool);
}

struct looking {
    struct gyre_pool *pool;
    uint64_t id;
    int result;
};

static void look(void *argument)
{
    struct looking *looking = argument;

    looking->id = 0;
    looking->result = gyre_session_get(looking->pool, "old", &looking->id);
}

struct replacing {
    struct gyre_pool *pool;
    uint64_t id;
};

static void replace(void *argument)
{
    const struct replacing *replacing = argument;

    REQUIRE(gyre_session_assign(replacing->pool, "new", replacing->id, 0, NULL) == 0);
}

/* A full bucket, in which "old" is the least recently used: "new" will get its place. */
static void fill_bucket(struct gyre_pool *pool, const uint64_t *ids)
{
    gyre_session_close(pool, "new");
    OK(gyre_session_assign(pool, "old", ids[0], 0, NULL));
    pass_time(pool, 1);
    for (int i = 1; i < 16; i++) {
        char name[16];

        snprintf(name, sizeof name, "s%d", i);
        OK(gyre_session_assign(pool, name, ids[2], 0, NULL));
    }
    pass_time(pool, 1);
}

/* After each third instruction of a look (under GYRE_LONG after each) the session's place is given to another one. */
static void test_replaced_while_looked_at(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[3], steps, found = 0;
    struct gyre_pool *pool;
    struct looking looking;
    struct replacing replacing;

    (void)state;
    if (under_valgrind()) skip();
    options.max_sessions = 12;
    pool = pool_of(3, ids, &options);
    looking.pool = replacing.pool = pool;
    replacing.id = ids[1];
    fill_bucket(pool, ids);
    steps = step_through(look, &looking, 0);
    for (uint64_t at = 1; at <= steps; at += getenv("GYRE_LONG") ? 1 : 3) {
        fill_bucket(pool, ids);
        step_and_disturb(look, &looking, at, replace, &replacing);
        assert_true(looking.result == 0 ? looking.id == ids[0] : looking.result == GYRE_ENOT_FOUND);
        found += looking.result == 0;
        EXPECT(GYRE_ENOT_FOUND, gyre_session_get(pool, "old", NULL));
        OK(gyre_session_get(pool, "new", NULL));
    }
    if (CAN_STEP) assert_true(found > 0 && found < steps);
    gyre_pool_close(pool);
}

/* New sessions without end, in a table of few buckets: most of the time somebody holds a bucket's lock. */
static void assign_for_ever(void *argument)
{
    const struct mover *mover = argument;
    struct rng rng = {mover->seed};

    for (;;) {
        char name[16];
        struct gyre_request request = {.size = sizeof request, .session = name};
        struct gyre_lease lease;

        snprintf(name, sizeof name, "s%u", rng_below(&rng, 999));
        if (gyre_acquire(mover->pool, &request, &lease) == 0) gyre_complete_ms(mover->pool, &lease, GYRE_OK, -1.0);
        if (rng_below(&rng, 4) == 0) gyre_session_close(mover->pool, name);
    }
}

/* Both halves of every session's bucket can be locked, at once: nobody waits for the dead. */
static void expect_no_bucket_locked(struct gyre_pool *pool)
{
    struct timespec before, after;

    clock_gettime(CLOCK_MONOTONIC, &before);
    alarm(30);
    for (int i = 0; i < 999; i++) {
        char name[16];
        struct gyre_request request = {.size = sizeof request, .session = name};
        struct gyre_lease lease;
        int result;

        snprintf(name, sizeof name, "s%d", i);
        result = gyre_session_close(pool, name);
        assert_true(result == 0 || result == GYRE_ENOT_FOUND);
        OK(gyre_acquire(pool, &request, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1.0));
    }
    alarm(0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    if (!under_valgrind() && !UNDER_SANITIZER) /* a hang, rather than a busy machine */
        assert_true(after.tv_sec - before.tv_sec < 10);
}

static void test_killed_while_assigning(void **state)
{
    struct rng rng = {test_seed(29)};
    struct gyre_options options = shared_options(temp_path("killed"));
    uint64_t ids[N];
    struct gyre_pool *pool;

    (void)state;
    options.max_sessions = 48;
    pool = pool_of(N, ids, &options);
    for (unsigned long round = rounds(60); round; round--) {
        struct mover mover = {pool, ids, 0};
        pid_t children[4];

        for (size_t i = 0; i < COUNT(children); i++) {
            mover.seed = rng_next(&rng);
            children[i] = spawn(assign_for_ever, &mover);
        }
        usleep(1000 + rng_below(&rng, 10000));
        for (size_t i = 0; i < COUNT(children); i++) slay(children[i]);
        expect_no_bucket_locked(pool);
        list(pool);
    }
    gyre_pool_close(pool);
    pool = open_pool(&options);
    list(pool);
    expect_no_bucket_locked(pool);
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_meet),
        cmocka_unit_test(test_processes_meet),
        cmocka_unit_test(test_threads_disturb),
        cmocka_unit_test(test_readers_see_whole_sessions),
        cmocka_unit_test(test_replaced_while_looked_at),
        cmocka_unit_test(test_killed_while_assigning),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
