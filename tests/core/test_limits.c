/* Limits: max_active of a proxy (BUSY), max_leases of a segment (FULL), exact with many threads at the edge, and whatever happens in between. */
#include "support.h"

#include <pthread.h>
#include <unistd.h>

#include "step.h"

#include <stdatomic.h>

static void set_limit(struct gyre_pool *pool, uint64_t id, uint32_t limit)
{
    struct gyre_proxy_spec spec = {.size = sizeof spec, .max_active = limit, .has_max_active = 1};

    OK(gyre_pool_update(pool, id, &spec));
}

static void test_busy(void **state)
{
    uint64_t ids[3];
    struct gyre_pool *pool = pool_of(3, ids, NULL);
    struct gyre_lease leases[6], extra;

    (void)state;
    for (int i = 0; i < 3; i++) set_limit(pool, ids[i], (uint32_t)i + 1);
    for (int i = 0; i < 6; i++) OK(gyre_acquire(pool, NULL, &leases[i]));
    for (int i = 0; i < 3; i++) {
        EXPECT_COUNT(proxy_of(pool, ids[i]).active, (uint64_t)i + 1, "at its limit");
        EXPECT(GYRE_EBUSY, gyre_acquire_id(pool, ids[i], &extra));
    }
    EXPECT(GYRE_EBUSY, gyre_acquire(pool, NULL, &extra));
    EXPECT(GYRE_EBUSY,
           gyre_acquire(pool,
                        &(struct gyre_request){.size = sizeof(struct gyre_request), .picker = GYRE_PICK_RANDOM},
                        &extra));
    EXPECT_COUNT(stats_of(pool).started, 6, "what was refused");

    /* One that is off does not make the others' limit another error; all off does. */
    OK(gyre_pool_disable(pool, ids[0]));
    EXPECT(GYRE_EBUSY, gyre_acquire(pool, NULL, &extra));
    OK(gyre_pool_disable(pool, ids[1]));
    OK(gyre_pool_disable(pool, ids[2]));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, NULL, &extra));
    for (int i = 0; i < 3; i++) OK(gyre_pool_enable(pool, ids[i]));

    OK(gyre_complete_ms(pool, &leases[3], GYRE_ABORTED, -1.0)); /* any end makes room, for one */
    OK(gyre_acquire(pool, NULL, &extra));
    EXPECT_COUNT(extra.id, leases[3].id, "the one with room");
    EXPECT(GYRE_EBUSY, gyre_acquire(pool, NULL, &leases[3]));
    set_limit(pool, ids[1], 0);
    OK(gyre_acquire_id(pool, ids[1], &leases[3])); /* 0: no limit */
    gyre_pool_close(pool);
}

/* A limit set below what is in flight admits nobody until it has drained; reset_counters does not forget it. */
static void test_limit_lowered(void **state)
{
    uint64_t id;
    struct gyre_pool *pool = pool_of(1, &id, NULL);
    struct gyre_lease leases[4], extra;

    (void)state;
    for (int i = 0; i < 4; i++) OK(gyre_acquire(pool, NULL, &leases[i]));
    set_limit(pool, id, 2);
    OK(gyre_pool_reset_counters(pool));
    for (int i = 0; i < 3; i++) {
        EXPECT(GYRE_EBUSY, gyre_acquire(pool, NULL, &extra));
        if (i < 2) OK(gyre_complete_ms(pool, &leases[i], GYRE_OK, 1.0));
    }
    OK(gyre_complete_ms(pool, &leases[2], GYRE_OK, 1.0));
    OK(gyre_acquire(pool, NULL, &extra));
    EXPECT_COUNT(proxy_of(pool, id).active, 2, "at the new limit");
    gyre_pool_close(pool);
}

static void test_full_of_leases(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_lease leases[64], extra;
    uint64_t ids[2];

    (void)state;
    options.max_leases = 33; /* rounded up to 64 */
    options.lease_timeout = 60.0;
    pool = pool_of(2, ids, &options);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 64; i++) OK(gyre_acquire(pool, NULL, &leases[i]));
        EXPECT(GYRE_EFULL, gyre_acquire(pool, NULL, &extra));
        assert_non_null(strstr(gyre_detail(), "no lease is free: max_leases is"));
        EXPECT(GYRE_EFULL, gyre_acquire_id(pool, ids[0], &extra));
        assert_non_null(strstr(gyre_detail(), "no lease is free: max_leases is"));
        EXPECT_COUNT(stats_of(pool).active, 64, "what was refused is not counted");
        EXPECT_COUNT(stats_of(pool).started, (uint64_t)(64 * round + 64), "what was refused is not counted");
        for (int i = 0; i < 64; i++) OK(gyre_complete_ms(pool, &leases[i], GYRE_OK, 1.0));
    }
    /* Forgotten leases give their places back after the deadline. */
    for (int i = 0; i < 64; i++) OK(gyre_acquire(pool, NULL, &leases[i]));
    pass_time(pool, 61.5);
    OK(gyre_acquire(pool, NULL, &extra));
    EXPECT_COUNT(stats_of(pool).active, 1, "after the deadline of 64");
    EXPECT_COUNT(stats_of(pool).aborted, 64, "after the deadline of 64");
    gyre_pool_close(pool);
}

/* What one process once had in flight, all or nearly all, another may have when it has ended. */
static void test_leases_go_around(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool, *other;
    static struct gyre_lease leases[8192], more[8192];
    const uint32_t sizes[] = {64, 1024, 8192};
    uint64_t id;

    (void)state;
    options.path = temp_path("around");
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        /* A sixteenth of the chunks, 4 at most, may stay with who had them, and in the large one 128 with its thread. */
        uint32_t n = options.max_leases = sizes[s], kept = n < 4096 ? n / 64 / 16 * 64 : (4 + 3) * 64, step = n < 4096 ? 7 : 1;
        unlink(options.path);
        OK(gyre_pool_open(&options, &pool));
        id = add_url(pool, "http://192.0.2.1:1");
        OK(gyre_pool_open(&options, &other));
        for (int round = 0; round < 3; round++) {
            uint32_t most = round ? n - kept : n;
            for (uint32_t i = 0; i < most; i++) OK(gyre_acquire(pool, NULL, &leases[i]));
            if (!round) EXPECT(GYRE_EFULL, gyre_acquire(other, NULL, &more[0]));
            for (uint32_t i = 0; i < most; i++) OK(gyre_complete_ms(pool, &leases[round ? i : i * step % n], GYRE_OK, 1.0));
            for (uint32_t i = 0; i < n - kept; i++) OK(gyre_acquire(other, NULL, &more[i]));
            for (uint32_t i = 0; i < n - kept; i++) OK(gyre_complete_ms(other, &more[i], GYRE_OK, 1.0));
        }
        EXPECT_COUNT(stats_of(pool).active, 0, "after all have ended");
        EXPECT_COUNT(proxy_of(pool, id).started, n + 5 * (uint64_t)(n - kept), "by both");
        struct gyre_check report = {.size = sizeof report};
        OK(gyre_pool_check(pool, &report));
        gyre_pool_close(other);
        gyre_pool_close(pool);
    }
    unlink(options.path);
}

struct worker {
    struct gyre_pool *pool;
    atomic_uint *inside;
    unsigned limit;
    unsigned long rounds, got, busy;
};

/* Counts itself in and out of the proxy: never more than the limit may be inside at once. */
static void *squeeze(void *argument)
{
    struct worker *worker = argument;
    struct gyre_lease lease;

    for (unsigned long i = 0; i < worker->rounds; i++) {
        int result = gyre_acquire(worker->pool, NULL, &lease);

        if (result == GYRE_EBUSY) {
            worker->busy++;
            continue;
        }
        REQUIRE(result == 0);
        REQUIRE(atomic_fetch_add(worker->inside, 1) < worker->limit);
        worker->got++;
        for (volatile int spin = 0; spin < 50; spin++) continue;
        REQUIRE(atomic_fetch_sub(worker->inside, 1) >= 1);
        REQUIRE(gyre_complete_ms(worker->pool, &lease, GYRE_OK, 1.0) == 0);
    }
    return NULL;
}

static void test_limit_under_threads(void **state)
{
    (void)state;
    for (unsigned limit = 1; limit <= 3; limit++) {
        uint64_t id, got = 0;
        struct gyre_pool *pool = pool_of(1, &id, NULL);
        atomic_uint inside = 0;
        struct worker workers[8];

        set_limit(pool, id, limit);
        for (size_t i = 0; i < COUNT(workers); i++)
            workers[i] = (struct worker){.pool = pool, .inside = &inside, .limit = limit, .rounds = rounds(20000)};
        run_threads(COUNT(workers), squeeze, workers, sizeof *workers);
        for (size_t i = 0; i < COUNT(workers); i++) got += workers[i].got;
        EXPECT_COUNT(proxy_of(pool, id).succeeded, got, "limit %u", limit);
        EXPECT_COUNT(proxy_of(pool, id).active, 0, "limit %u", limit);
        assert_true(got > 0);
        gyre_pool_close(pool);
    }
}

struct filler {
    struct gyre_pool *pool;
    unsigned got;
};

static void *fill(void *argument)
{
    struct filler *filler = argument;
    struct gyre_lease lease;
    int result;

    while ((result = gyre_acquire(filler->pool, NULL, &lease)) == 0) filler->got++;
    REQUIRE(result == GYRE_EFULL);
    return NULL;
}

/* Places in the lease table are the segment's, not a thread's: FULL means that all of them are taken. */
static void test_full_across_threads(void **state)
{
    (void)state;
    for (unsigned long round = rounds(200); round; round--) {
        struct gyre_options options = manual_options();
        struct filler fillers[4];
        struct gyre_pool *pool;
        unsigned total = 0;
        uint64_t id;

        options.max_leases = 256;
        options.max_proxies = 64;
        pool = pool_of(1, &id, &options);
        for (size_t i = 0; i < COUNT(fillers); i++) fillers[i] = (struct filler){.pool = pool};
        run_threads(COUNT(fillers), fill, fillers, sizeof *fillers);
        for (size_t i = 0; i < COUNT(fillers); i++) total += fillers[i].got;
        assert_int_equal(total, 256);
        EXPECT_COUNT(stats_of(pool).active, 256, "full");
        gyre_pool_close(pool);
    }
}

/* ---- between two instructions of a start or an end ---- */

struct moment {
    struct gyre_pool *pool;
    uint64_t id;
    struct gyre_lease lease;
    int result;
};

static void start(void *argument)
{
    struct moment *moment = argument;

    moment->result = gyre_acquire(moment->pool, NULL, &moment->lease);
}

static void end(void *argument)
{
    struct moment *moment = argument;

    moment->result = gyre_complete_ms(moment->pool, &moment->lease, GYRE_OK, 1.0);
}

/* Another proxy in the same place, which bears one lease. */
static void replace(void *argument)
{
    struct moment *moment = argument;
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://other:1", .max_active = 1, .has_max_active = 1};

    OK(gyre_pool_remove(moment->pool, moment->id));
    OK(gyre_pool_add(moment->pool, &spec, &moment->id));
}

static void limit(void *argument)
{
    struct moment *moment = argument;

    set_limit(moment->pool, moment->id, 1);
}

static void unlimit(void *argument)
{
    struct moment *moment = argument;

    set_limit(moment->pool, moment->id, 0);
}

struct crowd {
    struct gyre_pool *pool;
    pthread_barrier_t together;
};

static void *lease_once(void *argument)
{
    struct crowd *crowd = argument;
    struct gyre_lease lease;

    OK(gyre_acquire(crowd->pool, NULL, &lease));
    OK(gyre_complete_ms(crowd->pool, &lease, GYRE_OK, 1.0));
    pthread_barrier_wait(&crowd->together);
    return NULL;
}

/* What threads keep for themselves keeps no other from a lease, and is there again when they have ended. */
static void test_threads_leave_entries(void **state)
{
    enum { CROWD = 130, ROUNDS = 4 };
    struct gyre_options options = manual_options();
    struct crowd crowd;
    pthread_t thread[CROWD];
    static struct gyre_lease leases[4096];

    (void)state;
    options.max_leases = COUNT(leases);
    crowd.pool = open_pool(&options);
    add_url(crowd.pool, "http://one:1");
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_init(&crowd.together, NULL, CROWD);
        for (int i = 0; i < CROWD; i++) assert_int_equal(pthread_create(&thread[i], NULL, lease_once, &crowd), 0);
        for (int i = 0; i < CROWD; i++) pthread_join(thread[i], NULL);
        pthread_barrier_destroy(&crowd.together);
    }
    for (size_t i = 0; i < COUNT(leases); i++) OK(gyre_acquire(crowd.pool, NULL, &leases[i])); /* all there are */
    EXPECT(GYRE_EFULL, gyre_acquire(crowd.pool, NULL, &(struct gyre_lease){0}));
    for (size_t i = 0; i < COUNT(leases); i++) OK(gyre_complete_ms(crowd.pool, &leases[i], GYRE_OK, 1.0));
    gyre_pool_close(crowd.pool);
}

/* After one instruction of `act` on a pool of one proxy something is done to that; then it is eligible or not by what is in flight. */
static uint64_t disturb_at(struct gyre_pool *pool, const char *name, void (*act)(void *), uint64_t at, uint32_t before, void (*disturb)(void *))
{
    struct moment moment = {.pool = pool};
    uint64_t steps = 0;

    moment.id = add_url(pool, "http://one:1");
    set_limit(pool, moment.id, before);
    start(&moment);
    if (act == start) end(&moment); /* what is made at a first call is there */
    OK(moment.result);
    if (at == 0) steps = step_through(act, &moment, 0);
    else step_and_disturb(act, &moment, at, disturb, &moment);
    expect_nothing_found(pool, "%s after instruction %llu", name, (unsigned long long)at);
    if (act == start && moment.result == 0) OK(gyre_complete_ms(pool, &moment.lease, GYRE_OK, 1.0));
    expect_nothing_found(pool, "%s after instruction %llu", name, (unsigned long long)at);
    OK(gyre_acquire(pool, NULL, &moment.lease));
    OK(gyre_complete_ms(pool, &moment.lease, GYRE_OK, 1.0));
    OK(gyre_pool_remove(pool, moment.id));
    return steps;
}

enum { MOMENTS = 100 };

/* After each third instruction of it, or after a hundred where there are more; under GYRE_LONG after each. */
static void disturb_each(const char *name, void (*act)(void *), uint32_t before, void (*disturb)(void *))
{
    struct gyre_options options = manual_options();
    uint64_t stride, steps;
    struct gyre_pool *pool;

    options.max_proxies = 64;
    options.max_leases = 256;
    pool = open_pool(&options);
    disturb_at(pool, name, act, 0, before, disturb);
    steps = disturb_at(pool, name, act, 0, before, disturb);
    stride = getenv("GYRE_LONG") ? 1 : steps > 3 * MOMENTS ? steps / MOMENTS : 3;
    for (uint64_t at = 1 + stride / 2; at <= steps; at += stride) disturb_at(pool, name, act, at, before, disturb);
    gyre_pool_close(pool);
}

static void test_changed_meanwhile(void **state)
{
    static const struct {
        const char *name;
        uint32_t before;
        void (*disturb)(void *);
    } changes[] = {{"replaced, of no limit", 0, replace}, {"replaced, of limit 1", 1, replace}, {"replaced, of limit 2", 2, replace},
                   {"given a limit", 0, limit}, {"given a lower limit", 2, limit}, {"its limit taken away", 1, unlimit}};

    (void)state;
    if (under_valgrind()) skip();
    for (size_t i = 0; i < COUNT(changes); i++) {
        disturb_each(changes[i].name, start, changes[i].before, changes[i].disturb);
        disturb_each(changes[i].name, end, changes[i].before, changes[i].disturb);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_limit_lowered),
        cmocka_unit_test(test_full_of_leases), cmocka_unit_test(test_leases_go_around),
        cmocka_unit_test(test_limit_under_threads),
        cmocka_unit_test(test_full_across_threads),
        cmocka_unit_test(test_threads_leave_entries),
        cmocka_unit_test(test_changed_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
