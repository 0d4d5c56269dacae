/*
 * Round-robin, in one thread: between two picks of a proxy that stays eligible, every other proxy that stays
 * eligible is picked exactly once; whatever the others do meanwhile. See algorithms: fetch_add and skip gives the
 * slot after a gap of g down slots g + 1 shares, `i % n` over a changing list gives some two and some none.
 */
#include "support.h"

enum { N = 100 };

/* Checks the invariant literally: at each pick of x, all y that were eligible since x's last pick came once. */
struct checker {
    uint64_t ids[N], picks[N], step;
    uint64_t last_pick[N];     /* step of the last pick of x; 0: none yet */
    uint64_t last_change[N];   /* step at which y was last made ineligible, or came back */
    uint8_t out[N];            /* y is ineligible now */
    uint64_t picks_then[N][N]; /* [x][y]: picks of y at x's last pick */
};

static void changed(struct checker *checker, uint32_t i)
{
    checker->last_change[i] = ++checker->step;
}

static uint32_t index_of(const struct checker *checker, uint64_t id)
{
    uint32_t i = 0;

    while (i < N && checker->ids[i] != id) i++;
    assert_true(i < N);
    return i;
}

static void picked(struct checker *checker, uint32_t x)
{
    uint64_t since = checker->last_pick[x];

    checker->step++;
    if (since && checker->last_change[x] < since) {
        for (uint32_t y = 0; y < N; y++) {
            if (y == x || checker->out[y] || checker->last_change[y] > since) continue;
            if (checker->picks[y] - checker->picks_then[x][y] == 1) continue;
            fail_msg("between two picks of proxy %u, proxy %u was picked %d times", x, y,
                     (int)(checker->picks[y] - checker->picks_then[x][y]));
        }
    }
    checker->picks[x]++;
    checker->last_pick[x] = checker->step;
    memcpy(checker->picks_then[x], checker->picks, sizeof checker->picks);
}

static uint64_t pick(struct gyre_pool *pool, const struct gyre_request *request)
{
    struct gyre_lease lease;

    OK(gyre_acquire(pool, request, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    return lease.id;
}

/* The checker itself must be able to fail. */
static void test_still_set_is_a_cycle(void **state)
{
    static struct checker checker;
    struct gyre_pool *pool = pool_of(N, checker.ids, NULL);

    (void)state;
    memset(checker.last_change, 0, sizeof checker.last_change);
    for (int i = 0; i < 10 * N; i++) picked(&checker, index_of(&checker, pick(pool, NULL)));
    for (uint32_t i = 0; i < N; i++) EXPECT_COUNT(checker.picks[i], 10, "proxy %u", i);
    gyre_pool_close(pool);
}

/* Random proxies are disabled, drained, benched, removed, added and brought back between picks. */
static void test_invariant_while_flapping(void **state)
{
    struct gyre_options options = manual_options();
    static struct checker checker;
    struct rng rng = {test_seed(2)};
    struct gyre_pool *pool;
    uint32_t number = N;

    (void)state;
    options.breaker_failures = 1;
    pool = pool_of(N, checker.ids, &options);
    for (unsigned long round = 0; round < rounds(30000); round++) {
        uint32_t i = rng_below(&rng, 30) * 3; /* two thirds of the proxies never change */

        if (rng_below(&rng, 3) == 0) {
            changed(&checker, i);
            if (checker.out[i]) {
                OK(gyre_pool_enable(pool, checker.ids[i]));
                checker.out[i] = 0;
            } else {
                switch (rng_below(&rng, 4)) {
                case 0: OK(gyre_pool_disable(pool, checker.ids[i])); break;
                case 1: OK(gyre_pool_drain(pool, checker.ids[i])); break;
                case 2: use_proxy(pool, checker.ids[i], GYRE_PROXY_BAD); break;
                default:
                    OK(gyre_pool_remove(pool, checker.ids[i]));
                    add_numbered(pool, number++, 1, &checker.ids[i]);
                    continue;
                }
                checker.out[i] = 1;
            }
        }
        i = index_of(&checker, pick(pool, NULL));
        assert_false(checker.out[i]);
        picked(&checker, i);
    }
    gyre_pool_close(pool);
}

/* Ten slots out for good: the one after them gets one share, not eleven. */
static void test_slot_after_a_gap(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);

    (void)state;
    for (int i = 20; i < 30; i++) OK(gyre_pool_disable(pool, ids[i]));
    for (int i = 0; i < 90 * 7; i++) pick(pool, NULL);
    for (int i = 0; i < N; i++)
        EXPECT_COUNT(proxy_of(pool, ids[i]).started, i >= 20 && i < 30 ? 0 : 7, "proxy %d", i);
    gyre_pool_close(pool);
}

/* Few in many, at the edges of words and of levels of any bitmap. */
static void test_sparse(void **state)
{
    enum { SLOTS = 5000 };
    static const uint32_t kept[] = {0, 1, 62, 63, 64, 127, 128, 1000, 4095, 4096, 4097, SLOTS - 1};
    static uint64_t ids[SLOTS];
    struct gyre_pool *pool = pool_of(SLOTS, ids, NULL);
    uint32_t k = 0;

    (void)state;
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (k < COUNT(kept) && kept[k] == i)
            k++;
        else
            OK(gyre_pool_disable(pool, ids[i]));
    }
    for (size_t i = 0; i < 50 * COUNT(kept); i++) pick(pool, NULL);
    for (k = 0; k < COUNT(kept); k++) EXPECT_COUNT(proxy_of(pool, ids[kept[k]]).started, 50, "slot %u", kept[k]);
    EXPECT_COUNT(stats_of(pool).started, 50 * COUNT(kept), "all");
    gyre_pool_close(pool);
}

/* An excluded proxy is never picked; one that no request excludes keeps its exact share. */
static void test_excludes(void **state)
{
    static struct checker checker;
    struct rng rng = {test_seed(4)};
    struct gyre_pool *pool = pool_of(N, checker.ids, NULL);

    (void)state;
    for (unsigned long round = 0; round < rounds(20000); round++) {
        uint64_t exclude[24];
        struct gyre_request request = {.size = sizeof request, .exclude = exclude};
        uint32_t x;

        request.exclude_count = rng_below(&rng, COUNT(exclude) + 1);
        for (uint32_t k = 0; k < request.exclude_count; k++) {
            uint32_t i = rng_below(&rng, 40); /* the other 60 are never excluded */

            exclude[k] = rng_below(&rng, 10) ? checker.ids[i] : rng_next(&rng); /* unknown ids are ignored */
            changed(&checker, i);
        }
        x = index_of(&checker, pick(pool, &request));
        for (uint32_t k = 0; k < request.exclude_count; k++) assert_true(exclude[k] != checker.ids[x]);
        picked(&checker, x);
    }
    for (uint32_t i = 40; i < N; i++) {
        assert_true(checker.picks[i] + 1 >= checker.picks[40]);
        assert_true(checker.picks[i] <= checker.picks[40] + 1);
    }
    gyre_pool_close(pool);
}

static void test_all_excluded(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = {.size = sizeof request, .exclude = ids, .exclude_count = N};
    struct gyre_lease lease;

    (void)state;
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    assert_non_null(strstr(gyre_detail(), "100"));
    request.picker = GYRE_PICK_RANDOM;
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    EXPECT_COUNT(stats_of(pool).started, 0, "nothing was picked");
    for (int i = 0; i < N; i++) { /* all but one: that one, at once, by either picker */
        uint64_t swapped = ids[i];

        ids[i] = 0;
        request.picker = i % 2 ? GYRE_PICK_RANDOM : GYRE_PICK_ROUND_ROBIN;
        EXPECT_COUNT(pick(pool, &request), swapped, "the one left");
        ids[i] = swapped;
    }
    request.picker = 9;
    EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
    request = (struct gyre_request){.size = 0};
    EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
    request = (struct gyre_request){.size = sizeof request, .exclude_count = 3};
    EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
    gyre_pool_close(pool);
}

/* A proxy at its limit is passed over and costs the others nothing: their shares stay exact. */
static void test_limits_are_skipped(void **state)
{
    static struct checker checker;
    struct gyre_pool *pool = pool_of(N, checker.ids, NULL);
    struct gyre_proxy_spec spec = {.size = sizeof spec, .max_active = 1, .has_max_active = 1};
    struct gyre_lease held[10];

    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        OK(gyre_pool_update(pool, checker.ids[30 + i], &spec));
        OK(gyre_acquire_id(pool, checker.ids[30 + i], &held[i]));
        changed(&checker, 30 + i);
    }
    for (int i = 0; i < 20 * N; i++) {
        uint32_t x = index_of(&checker, pick(pool, NULL));

        assert_false(x >= 30 && x < 40);
        for (uint32_t k = 30; k < 40; k++) changed(&checker, k);
        picked(&checker, x);
    }
    gyre_pool_close(pool);
}

/* The pool's picker and the request's: round-robin is exact even where the pool's own picker is random. */
static void test_picker_of_the_request(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_request request = {.size = sizeof request, .picker = GYRE_PICK_ROUND_ROBIN};
    struct gyre_pool *pool;
    uint64_t ids[N];

    (void)state;
    options.picker = GYRE_PICK_RANDOM;
    pool = pool_of(N, ids, &options);
    for (int i = 0; i < 3 * N; i++) pick(pool, &request);
    for (int i = 0; i < N; i++) EXPECT_COUNT(proxy_of(pool, ids[i]).started, 3, "proxy %d", i);
    gyre_pool_close(pool);
}

/*
 * The start is random per pool. 64 pools of 100 proxies: all starting at the same slot has probability 100^-63;
 * fewer than 20 different first picks is beyond 8 sigma (expected 100 (1 - 0.99^64) = 47.4, sd below 3.4).
 */
static void test_random_start(void **state)
{
    uint8_t seen[N] = {0};
    unsigned different = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 64; seed++) {
        struct gyre_options options = manual_options();
        uint64_t ids[N], first;
        struct gyre_pool *pool;

        options.seed = seed;
        pool = pool_of(N, ids, &options);
        first = pick(pool, NULL);
        for (uint32_t i = 0; i < N; i++) {
            if (ids[i] != first) continue;
            different += !seen[i];
            seen[i] = 1;
        }
        gyre_pool_close(pool);
    }
    assert_true(different >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_still_set_is_a_cycle),
        cmocka_unit_test(test_invariant_while_flapping),
        cmocka_unit_test(test_slot_after_a_gap),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_excludes),
        cmocka_unit_test(test_all_excluded),
        cmocka_unit_test(test_limits_are_skipped),
        cmocka_unit_test(test_picker_of_the_request),
        cmocka_unit_test(test_random_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
