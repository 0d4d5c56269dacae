/*
 * Least-used and least-active: the promise recomputed after every pick in one thread, and the spread under threads and
 * processes while others flap. Least-used elsewhere floods a newcomer until its count has caught up (failures.md 3).
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { N = 100, OUT_FROM = 20, OUT_TO = 30, FLAP_FROM = 50, FLAP_TO = 60, WORKERS = 4 };

static uint64_t pick(struct gyre_pool *pool, struct gyre_request *request)
{
    struct gyre_lease lease;

    OK(gyre_acquire(pool, request, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    return lease.id;
}

static struct gyre_request asks(uint32_t picker)
{
    return (struct gyre_request){.size = sizeof(struct gyre_request), .picker = picker};
}

static uint64_t spread(struct gyre_pool *pool, const uint64_t *ids, uint32_t n)
{
    uint64_t least = UINT64_MAX, most = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t started = proxy_of(pool, ids[i]).started;

        if (started < least) least = started;
        if (started > most) most = started;
    }
    return most - least;
}

static void test_spread_is_one(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_LEAST_USED);

    (void)state;
    for (int i = 0; i < 10 * N + 37; i++) {
        pick(pool, &request);
        assert_true(spread(pool, ids, N) <= 1);
        request.random_ties = i > 5 * N;
    }
    gyre_pool_close(pool);
}

/* Ties by slot: the lowest first. */
static void test_first_of_ties(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_LEAST_USED);

    (void)state;
    for (int i = 0; i < 3 * N; i++) EXPECT_COUNT(pick(pool, &request), ids[i % N], "pick %d", i);
    gyre_pool_close(pool);
}

/* Random ties: the place of a proxy in its round is uniform. 2,000 rounds of 100, 10 bins of 200 expected: 4 sigma = 54. */
static void test_random_ties(void **state)
{
    uint64_t ids[N];
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_request request = asks(GYRE_PICK_LEAST_USED);
    int bins[10] = {0};

    (void)state;
    options.seed = test_seed(5);
    pool = pool_of(N, ids, &options);
    request.random_ties = 1;
    for (int round = 0; round < 2000; round++)
        for (int place = 0; place < N; place++)
            if (pick(pool, &request) == ids[7]) bins[place / 10]++;
    for (int i = 0; i < 10; i++) assert_in_range(bins[i], 146, 254);
    gyre_pool_close(pool);
}

/* Uses made otherwise count: whoever is behind is picked until all are level. */
static void test_levels_what_others_used(void **state)
{
    uint64_t ids[10];
    struct gyre_pool *pool = pool_of(10, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_LEAST_USED);

    (void)state;
    pick(pool, &request);
    for (int i = 0; i < 20; i++) use_proxy(pool, ids[3], GYRE_OK);
    for (int i = 0; i < 20 * 9; i++)
        if (proxy_of(pool, ids[3]).started == 20) assert_true(pick(pool, &request) != ids[3] || spread(pool, ids, 10) <= 1);
    assert_true(spread(pool, ids, 10) <= 1);
    gyre_pool_close(pool);
}

/* A proxy that joins or comes back gets at most its fair share + 1 of the next picks, and is not starved either. */
static void test_joiner_and_returner(void **state)
{
    uint64_t ids[N + 1];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_LEAST_USED);
    int joiner = 0, returner = 0;

    (void)state;
    for (int i = 0; i < 25 * N; i++) pick(pool, &request);
    OK(gyre_pool_disable(pool, ids[5]));
    for (int i = 0; i < 25 * N; i++) assert_true(pick(pool, &request) != ids[5]);
    OK(gyre_pool_enable(pool, ids[5]));
    add_numbered(pool, N, 1, &ids[N]);
    for (int i = 0; i < N + 1; i++) {
        uint64_t id = pick(pool, &request);

        joiner += id == ids[N];
        returner += id == ids[5];
    }
    assert_in_range(joiner, 0, 2);
    assert_in_range(returner, 0, 2);
    for (int i = 0; i < 9 * (N + 1); i++) {
        uint64_t id = pick(pool, &request);

        joiner += id == ids[N];
        returner += id == ids[5];
    }
    assert_in_range(joiner, 9, 11);
    assert_in_range(returner, 9, 11);
    gyre_pool_close(pool);
}

/* The 65th begins another word of the bitmaps. */
static void test_joiner_in_another_word(void **state)
{
    uint64_t ids[65];
    struct gyre_pool *pool = pool_of(64, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_LEAST_USED);
    int joiner = 0;

    (void)state;
    for (int i = 0; i < 3 * 64; i++) pick(pool, &request);
    add_numbered(pool, 64, 1, &ids[64]);
    for (int i = 0; i < 10 * 65; i++) joiner += pick(pool, &request) == ids[64];
    assert_in_range(joiner, 9, 11);
    gyre_pool_close(pool);
}

static void test_excludes(void **state)
{
    uint64_t ids[10];
    struct gyre_pool *pool = pool_of(10, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_LEAST_USED);
    struct gyre_lease lease;

    (void)state;
    request.exclude = ids;
    request.exclude_count = 3;
    for (int i = 0; i < 70; i++) {
        uint64_t id = pick(pool, &request);

        assert_true(id != ids[0] && id != ids[1] && id != ids[2]);
    }
    assert_true(spread(pool, ids + 3, 7) <= 1);
    request.exclude_count = 0;
    for (int i = 0; i < 30; i++) { /* the three were behind all the time: now they are the least used */
        uint64_t id = pick(pool, &request);

        assert_true(id == ids[0] || id == ids[1] || id == ids[2]);
    }
    OK(gyre_pool_disable(pool, ids[9]));
    request.exclude_count = 9;
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    OK(gyre_pool_enable(pool, ids[9])); /* the only one left has just come back */
    EXPECT_COUNT(pick(pool, &request), ids[9], "the one that is not excluded");
    request.exclude_count = 10;
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    gyre_pool_close(pool);
}

/* Leases held until none is left: the pick that then comes to nothing is nobody's use. */
static void fill_the_table(struct gyre_pool *pool, struct gyre_lease *held, uint32_t most)
{
    uint32_t n = 0;
    int result = 0;

    while (n < most && (result = gyre_acquire(pool, NULL, &held[n])) == 0) n++;
    if (n < most) EXPECT_COUNT(result, GYRE_EFULL, "after %u leases", n);
    while (n--) OK(gyre_complete_ms(pool, &held[n], GYRE_OK, 1.0));
}

/* 64 leases of 16 proxies are four laps: what finds the table full is the first pick of the fifth. */
static void test_full_at_the_start_of_a_lap(void **state)
{
    struct gyre_options options = {.size = sizeof options, .picker = GYRE_PICK_LEAST_USED, .max_leases = 64};
    struct gyre_lease held[65];
    uint64_t ids[16];
    struct gyre_pool *pool = pool_of(16, ids, &options);

    (void)state;
    fill_the_table(pool, held, 65);
    for (int i = 0; i < 3 * 16; i++) {
        pick(pool, NULL);
        assert_true(spread(pool, ids, 16) <= 1);
    }
    gyre_pool_close(pool);
}

/*
 * The list of one lap serves for the next only where nothing has come between. Whatever does (others go and come back, join and
 * leave, reach a limit; requests leave some out; the table of leases is full), those who stay in are level after each step.
 */
static void test_level_after_each_step(void **state)
{
    enum { STAY = 24, FLAP = 16, LEASES = 64, STEPS = 3000 };
    struct gyre_options options = {.size = sizeof options, .picker = GYRE_PICK_LEAST_USED, .max_leases = LEASES, .seed = 5};
    struct gyre_lease held[LEASES + 1];
    uint64_t ids[STAY + FLAP], laps = 0;
    struct gyre_pool *pool = pool_of(STAY + FLAP, ids, &options);
    struct rng rng = {test_seed(11)};

    (void)state;
    for (int i = 0; i < STEPS; i++) {
        uint64_t *flapper = &ids[STAY + rng_below(&rng, FLAP)];
        struct gyre_proxy_spec spec = {.size = sizeof spec, .max_active = rng_below(&rng, 2), .has_max_active = 1};
        struct gyre_request request = asks(GYRE_PICK_LEAST_USED);

        switch (rng_below(&rng, 8)) {
        case 0: OK(gyre_pool_disable(pool, *flapper)); break;
        case 1: OK(gyre_pool_enable(pool, *flapper)); break;
        case 2: OK(gyre_pool_update(pool, *flapper, &spec)); break;
        case 3:
            OK(gyre_pool_remove(pool, *flapper));
            add_numbered(pool, 1000 + (uint32_t)i, 1, flapper);
            break;
        case 4: fill_the_table(pool, held, rng_below(&rng, 3) ? 5 : LEASES + 1); break;
        case 5:
            request.exclude = flapper;
            request.exclude_count = 1;
            assert_true(pick(pool, &request) != *flapper);
            break;
        default:
            for (uint32_t k = rng_below(&rng, 3 * (STAY + FLAP)); k; k--) pick(pool, NULL);
            laps++;
        }
        if (spread(pool, ids, STAY) > 1) fail_msg("spread %d after step %d", (int)spread(pool, ids, STAY), i);
    }
    assert_true(laps > STEPS / 8);
    gyre_pool_close(pool);
}

/* ---- under threads and processes ---- */

struct work {
    struct gyre_pool *pool;
    const char *path, *country;
    const uint64_t *ids;
    unsigned long picks;
    atomic_int *stop;
    struct rng rng;
    uint32_t picker;
};

static struct gyre_pool *pool_for(const struct work *work)
{
    struct gyre_options options = {.size = sizeof options, .path = work->path};
    struct gyre_pool *pool = work->pool;

    if (work->path) REQUIRE(gyre_pool_open(&options, &pool) == 0);
    return pool;
}

static void *work_hard(void *argument)
{
    struct work *work = argument;
    struct gyre_pool *pool = pool_for(work);
    struct gyre_request request = asks(work->picker);

    request.country = work->country;
    for (unsigned long i = 0; i < work->picks; i++) {
        struct gyre_lease lease;

        REQUIRE(gyre_acquire(pool, &request, &lease) == 0);
        REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0) == 0);
    }
    if (work->path) gyre_pool_close(pool);
    return NULL;
}

static void work_as_process(void *work)
{
    work_hard(work);
}

static void *flap(void *argument)
{
    struct work *work = argument;
    int off[FLAP_TO - FLAP_FROM] = {0};

    while (!atomic_load(work->stop)) {
        uint32_t i = rng_below(&work->rng, FLAP_TO - FLAP_FROM);

        off[i] = !off[i];
        REQUIRE((off[i] ? gyre_pool_disable : gyre_pool_enable)(work->pool, work->ids[FLAP_FROM + i]) == 0);
    }
    return NULL;
}

static void expect_spread(struct gyre_pool *pool, const uint64_t *ids, const char *country)
{
    uint64_t least = UINT64_MAX, most = 0;

    for (uint32_t i = 0; i < N; i++) {
        struct gyre_proxy proxy = proxy_of(pool, ids[i]);

        if ((i >= OUT_FROM && i < OUT_TO) || (i >= FLAP_FROM && i < FLAP_TO)) continue;
        if (country && strcmp(proxy.country, country) != 0) continue;
        if (proxy.started < least) least = proxy.started;
        if (proxy.started > most) most = proxy.started;
    }
    if (most - least > 1) fail_msg("%s: least %lu, most %lu", country ? country : "all", (unsigned long)least, (unsigned long)most);
    assert_true(least > 0);
}

/* 100 proxies, every other one German, ten out, ten flapping, four workers; spread over who stays in is at most one. */
static void storm(uint32_t picker, bool processes, const char *country, const char *other)
{
    uint64_t ids[N];
    struct gyre_options options = manual_options();
    struct work work[WORKERS + 1];
    pthread_t flapper;
    pid_t children[WORKERS];
    atomic_int stop = 0;

    options.clock = GYRE_CLOCK_SYSTEM;
    options.path = processes ? temp_path("least") : NULL;
    struct gyre_pool *pool = open_pool(&options);
    for (uint32_t i = 0; i < N; i++) {
        char url[64];
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url, .country = i % 2 ? "de" : "fr"};

        snprintf(url, sizeof url, "http://10.0.0.%u:3128", i);
        OK(gyre_pool_add(pool, &spec, &ids[i]));
    }
    for (uint32_t i = OUT_FROM; i < OUT_TO; i++) OK(gyre_pool_disable(pool, ids[i]));
    for (int i = 0; i < WORKERS + 1; i++)
        work[i] = (struct work){.pool = pool, .path = options.path, .country = i % 2 ? other : country, .ids = ids,
                                .picks = rounds(20000), .stop = &stop, .rng = {test_seed(3)}, .picker = picker};
    assert_int_equal(pthread_create(&flapper, NULL, flap, &work[WORKERS]), 0);
    for (int i = 0; i < WORKERS && processes; i++) children[i] = spawn(work_as_process, &work[i]);
    for (int i = 0; i < WORKERS && processes; i++) reap(children[i]);
    if (!processes) run_threads(WORKERS, work_hard, work, sizeof *work);
    atomic_store(&stop, 1);
    pthread_join(flapper, NULL);
    expect_spread(pool, ids, country);
    if (other != country) expect_spread(pool, ids, other);
    gyre_pool_close(pool);
}

static void test_least_used_in_threads(void **state)
{
    (void)state;
    storm(GYRE_PICK_LEAST_USED, false, NULL, NULL);
}

static void test_least_used_in_processes(void **state)
{
    (void)state;
    storm(GYRE_PICK_LEAST_USED, true, NULL, NULL);
}

static void test_least_used_filtered(void **state)
{
    (void)state;
    storm(GYRE_PICK_LEAST_USED, false, "DE", "DE");
}

static void test_round_robin_filtered(void **state)
{
    (void)state;
    storm(GYRE_PICK_ROUND_ROBIN, true, "DE", "DE");
}

/* Two countries asked in turn: a cursor for each, so neither skews the other (failures.md 1). */
static void test_round_robin_of_two_countries(void **state)
{
    (void)state;
    storm(GYRE_PICK_ROUND_ROBIN, false, "DE", "FR");
}

/* ---- bursts of four threads, looked at in the rests between them ---- */

struct bursts {
    struct gyre_pool *pool;
    unsigned long picks; /* of each thread in a burst; 0: no more bursts */
    atomic_ulong burst, done;
    pthread_t threads[WORKERS];
};

/* They wait awake, so that they begin together: it is then that two want the same proxy. */
static void *pick_in_bursts(void *argument)
{
    struct bursts *bursts = argument;
    struct gyre_request request = asks(GYRE_PICK_LEAST_USED);

    for (unsigned long burst = 1;; burst++) {
        while (atomic_load(&bursts->burst) < burst) sched_yield();
        if (!bursts->picks) return NULL;
        for (unsigned long i = 0; i < bursts->picks; i++) {
            struct gyre_lease lease;

            REQUIRE(gyre_acquire(bursts->pool, &request, &lease) == 0);
            REQUIRE(gyre_complete_ms(bursts->pool, &lease, GYRE_OK, 1.0) == 0);
        }
        atomic_fetch_add(&bursts->done, 1);
    }
}

static void bursts_begin(struct bursts *bursts, struct gyre_pool *pool)
{
    bursts->pool = pool;
    atomic_init(&bursts->burst, 0);
    atomic_init(&bursts->done, 0);
    for (int i = 0; i < WORKERS; i++) assert_int_equal(pthread_create(&bursts->threads[i], NULL, pick_in_bursts, bursts), 0);
}

static void burst(struct bursts *bursts, unsigned long picks)
{
    bursts->picks = picks;
    unsigned long now = atomic_fetch_add(&bursts->burst, 1) + 1;
    while (picks && atomic_load(&bursts->done) < now * WORKERS) sched_yield();
}

static void bursts_end(struct bursts *bursts)
{
    burst(bursts, 0);
    for (int i = 0; i < WORKERS; i++) assert_int_equal(pthread_join(bursts->threads[i], NULL), 0);
}

/* The spread is at most one at every rest, not only when all is over. */
static void test_spread_in_rests(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct bursts bursts;

    (void)state;
    bursts_begin(&bursts, pool);
    for (unsigned long rest = 0; rest < rounds(4000); rest++) {
        burst(&bursts, 15 + rest % 30);
        if (spread(pool, ids, N) > 1) fail_msg("rest %lu: a spread of %lu", rest, (unsigned long)spread(pool, ids, N));
    }
    bursts_end(&bursts);
    gyre_pool_close(pool);
}

enum entrance { JOINS, ENABLED, FROM_THE_BENCH, ENTRANCES };

/* `ids[2]` is out for a while, and in again. */
static void leave(struct gyre_pool *pool, const uint64_t *ids, enum entrance how)
{
    if (how == JOINS) OK(gyre_pool_remove(pool, ids[2]));
    if (how == ENABLED) OK(gyre_pool_disable(pool, ids[2]));
    for (int i = 0; how == FROM_THE_BENCH && i < 5; i++) use_proxy(pool, ids[2], GYRE_PROXY_BAD);
}

static void enter(struct gyre_pool *pool, uint64_t *ids, enum entrance how, unsigned long round)
{
    if (how == JOINS) add_numbered(pool, 1000 + (uint32_t)round, 1, &ids[2]);
    if (how == ENABLED) OK(gyre_pool_enable(pool, ids[2]));
    if (how != FROM_THE_BENCH) return;
    assert_int_equal(proxy_of(pool, ids[2]).state, GYRE_OPEN);
    pass_time(pool, 3.0);
    use_proxy(pool, ids[2], GYRE_OK); /* the probe */
    assert_int_equal(proxy_of(pool, ids[2]).state, GYRE_CLOSED);
}

/* Who joins or comes back gets its fair share + 1 at most of what four threads pick next, and is not starved. */
static void test_entrances_under_threads(void **state)
{
    static const char *const names[] = {"joiner", "enabled", "from the bench"};
    struct gyre_options options = manual_options();
    uint64_t ids[N];
    struct bursts bursts;

    (void)state;
    options.breaker_base = options.breaker_max = 1;
    struct gyre_pool *pool = pool_of(N, ids, &options);
    bursts_begin(&bursts, pool);
    for (unsigned long round = 0; round < rounds(600); round++) {
        enum entrance how = round % ENTRANCES;

        leave(pool, ids, how);
        burst(&bursts, 500);
        enter(pool, ids, how, round);
        uint64_t before = proxy_of(pool, ids[2]).started;
        burst(&bursts, 3 * N / WORKERS);
        uint64_t got = proxy_of(pool, ids[2]).started - before;
        if (got < 1 || got > 4) fail_msg("round %lu, %s: %lu of %d picks, its share is 3", round, names[how], (unsigned long)got, 3 * N);
    }
    bursts_end(&bursts);
    gyre_pool_close(pool);
}

/* ---- least-active ---- */

static void test_least_active(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_LEAST_ACTIVE);
    static struct gyre_lease held[N * 50];
    struct rng rng = {test_seed(8)};
    uint32_t n = 0, active[N] = {0};

    (void)state;
    for (int round = 0; round < 20000; round++) {
        if (n && (n == COUNT(held) || rng_below(&rng, 100) < 45)) {
            uint32_t i = rng_below(&rng, n);

            active[held[i].slot]--;
            OK(gyre_complete_ms(pool, &held[i], GYRE_OK, 1.0));
            held[i] = held[--n];
            continue;
        }
        uint32_t least = UINT32_MAX;
        for (uint32_t i = 0; i < N; i++)
            if (active[i] < least) least = active[i];
        request.random_ties = rng_below(&rng, 2);
        OK(gyre_acquire(pool, &request, &held[n]));
        EXPECT_COUNT(active[held[n].slot], least, "round %d", round);
        active[held[n++].slot]++;
    }
    gyre_pool_close(pool);
}

/* Random ties: any of the idle. 30,000 picks of 3, sigma = sqrt(30000 * 1/3 * 2/3) = 82. */
static void test_random_ties_of_the_idle(void **state)
{
    uint64_t ids[3];
    struct gyre_options options = manual_options();
    struct gyre_request request = asks(GYRE_PICK_LEAST_ACTIVE);

    (void)state;
    options.seed = test_seed(21);
    struct gyre_pool *pool = pool_of(3, ids, &options);
    request.random_ties = 1;
    for (int i = 0; i < 30000; i++) pick(pool, &request);
    for (int i = 0; i < 3; i++) assert_in_range(proxy_of(pool, ids[i]).started, 10000 - 4 * 82, 10000 + 4 * 82);
    gyre_pool_close(pool);
}

/* Above 31 in flight all share one bitmap; the least of them is still found. */
static void test_many_in_flight(void **state)
{
    uint64_t ids[3];
    struct gyre_pool *pool = pool_of(3, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_LEAST_ACTIVE);
    struct gyre_lease lease;

    (void)state;
    for (int i = 0; i < 300; i++) OK(gyre_acquire(pool, &request, &lease));
    for (int i = 0; i < 3; i++) EXPECT_COUNT(proxy_of(pool, ids[i]).active, 100, "proxy %d", i);
    gyre_pool_close(pool);
}

static void *hold_and_let_go(void *argument)
{
    struct work *work = argument;
    struct gyre_request request = asks(GYRE_PICK_LEAST_ACTIVE);
    struct gyre_lease held[20];

    for (unsigned long i = 0; i < work->picks / 20; i++) {
        for (size_t k = 0; k < COUNT(held); k++) REQUIRE(gyre_acquire(work->pool, &request, &held[k]) == 0);
        for (size_t k = 0; k < COUNT(held); k++) REQUIRE(gyre_complete_ms(work->pool, &held[k], GYRE_OK, 1.0) == 0);
    }
    return NULL;
}

/* After the storm the bitmaps are right: with nothing in flight, 100 leases go to 100 proxies. */
static void test_least_active_in_threads(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = asks(GYRE_PICK_LEAST_ACTIVE);
    struct work work[WORKERS];
    struct gyre_lease lease;

    (void)state;
    for (int i = 0; i < WORKERS; i++) work[i] = (struct work){.pool = pool, .picks = rounds(20000)};
    run_threads(WORKERS, hold_and_let_go, work, sizeof *work);
    EXPECT_COUNT(stats_of(pool).active, 0, "at rest");
    for (int i = 0; i < N; i++) OK(gyre_acquire(pool, &request, &lease));
    for (int i = 0; i < N; i++) EXPECT_COUNT(proxy_of(pool, ids[i]).active, 1, "proxy %d", i);
    gyre_pool_close(pool);
}

struct greedy {
    struct gyre_pool *pool;
    uint32_t picker;
    unsigned long picks;
};

static void *pick_greedily(void *argument)
{
    struct greedy *greedy = argument;
    struct gyre_request request = asks(greedy->picker);
    struct gyre_lease lease;

    while (greedy->picks--) {
        REQUIRE(gyre_acquire(greedy->pool, &request, &lease) == 0);
        REQUIRE(gyre_complete_ms(greedy->pool, &lease, GYRE_OK, -1.0) == 0);
    }
    return NULL;
}

/* Two threads in step want the same proxy again and again; who loses each time is not told that there is none. */
static void test_nobody_starves(void **state)
{
    static const uint32_t pickers[] = {GYRE_PICK_LEAST_USED, GYRE_PICK_LEAST_ACTIVE};

    (void)state;
    for (size_t i = 0; i < COUNT(pickers); i++) {
        struct gyre_options options = manual_options();
        struct greedy greedy[2];
        struct gyre_pool *pool;
        uint64_t ids[64];

        options.max_proxies = COUNT(ids);
        pool = pool_of(COUNT(ids), ids, &options);
        for (size_t k = 0; k < COUNT(greedy); k++) greedy[k] = (struct greedy){pool, pickers[i], rounds(5000000)};
        run_threads(COUNT(greedy), pick_greedily, greedy, sizeof *greedy);
        gyre_pool_close(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread_is_one),
        cmocka_unit_test(test_first_of_ties),
        cmocka_unit_test(test_random_ties),
        cmocka_unit_test(test_levels_what_others_used),
        cmocka_unit_test(test_joiner_and_returner),
        cmocka_unit_test(test_joiner_in_another_word),
        cmocka_unit_test(test_excludes),
        cmocka_unit_test(test_full_at_the_start_of_a_lap),
        cmocka_unit_test(test_level_after_each_step),
        cmocka_unit_test(test_least_used_in_threads),
        cmocka_unit_test(test_least_used_in_processes),
        cmocka_unit_test(test_least_used_filtered),
        cmocka_unit_test(test_round_robin_filtered),
        cmocka_unit_test(test_round_robin_of_two_countries),
        cmocka_unit_test(test_spread_in_rests),
        cmocka_unit_test(test_entrances_under_threads),
        cmocka_unit_test(test_least_active),
        cmocka_unit_test(test_random_ties_of_the_idle),
        cmocka_unit_test(test_many_in_flight),
        cmocka_unit_test(test_least_active_in_threads),
        cmocka_unit_test(test_nobody_starves),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
