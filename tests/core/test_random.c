/* The random picker: uniform over the eligible proxies, whatever lies between them. */
#include "support.h"

#include <math.h>

/*
 * Chi-squared of `picks` picks over `cells` equally likely proxies. The bound is what a normal variable exceeds by 6 sigma, brought
 * to cells - 1 = d degrees of freedom by Wilson and Hilferty's cube root: chance alone is above it once in 1e9.
 */
static void check_uniform(struct gyre_pool *pool, const uint64_t *ids, uint32_t cells, unsigned long picks)
{
    double expected = (double)picks / cells, chi_squared = 0, d = cells - 1;
    double bound = d * pow(1 - 2 / (9 * d) + 6 * sqrt(2 / (9 * d)), 3);

    for (uint32_t i = 0; i < cells; i++) {
        double off = (double)proxy_of(pool, ids[i]).started - expected;

        chi_squared += off * off / expected;
    }
    if (chi_squared > bound) fail_msg("chi squared %g of %u cells, at most %g", chi_squared, cells, bound);
}

static void draw(struct gyre_pool *pool, const struct gyre_request *request, unsigned long picks)
{
    struct gyre_lease lease;

    while (picks--) {
        OK(gyre_acquire(pool, request, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    }
}

static struct gyre_pool *random_pool(uint32_t n, uint64_t *ids)
{
    struct gyre_options options = manual_options();

    options.seed = test_seed(21);
    options.picker = GYRE_PICK_RANDOM;
    return pool_of(n, ids, &options);
}

static void test_uniform(void **state)
{
    uint64_t ids[100];
    struct gyre_pool *pool = random_pool(100, ids);

    (void)state;
    draw(pool, NULL, 100000);
    check_uniform(pool, ids, 100, 100000);
    gyre_pool_close(pool);
}

/* A long gap, single survivors, dense runs: "the next after a random slot" would favour who stands after a gap. */
static void test_uniform_with_gaps(void **state)
{
    enum { N = 1000 };
    uint64_t ids[N], eligible[N];
    struct gyre_pool *pool = random_pool(N, ids);
    uint32_t n = 0;

    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        if (i < 40 || i == 500 || (i > 700 && i % 10 == 0) || i > 990)
            eligible[n++] = ids[i];
        else
            OK(gyre_pool_disable(pool, ids[i]));
    }
    draw(pool, NULL, 1000 * n);
    check_uniform(pool, eligible, n, 1000 * n);
    EXPECT_COUNT(stats_of(pool).started, 1000 * n, "none went to the disabled");
    gyre_pool_close(pool);
}

static void test_three_of_many(void **state)
{
    enum { N = 20000 };
    static uint64_t ids[N];
    struct gyre_pool *pool = random_pool(N, ids);
    uint64_t kept[3] = {ids[7], ids[4096], ids[N - 1]};

    (void)state;
    for (uint32_t i = 0; i < N; i++)
        if (ids[i] != kept[0] && ids[i] != kept[1] && ids[i] != kept[2]) OK(gyre_pool_disable(pool, ids[i]));
    draw(pool, NULL, 3000);
    check_uniform(pool, kept, 3, 3000);
    gyre_pool_close(pool);
}

static void test_uniform_with_excludes(void **state)
{
    uint64_t ids[50];
    struct gyre_pool *pool = random_pool(50, ids);
    struct gyre_request request = {.size = sizeof request, .exclude = ids + 20, .exclude_count = 30};

    (void)state;
    draw(pool, &request, 20000);
    check_uniform(pool, ids, 20, 20000);
    for (int i = 20; i < 50; i++) EXPECT_COUNT(proxy_of(pool, ids[i]).started, 0, "excluded proxy %d", i);
    gyre_pool_close(pool);
}

/* A pick says nothing about the next: pairs of successive picks are uniform too. */
static void test_pairs(void **state)
{
    enum { N = 8, PAIRS = 64000 };
    uint64_t ids[N];
    struct gyre_pool *pool = random_pool(N, ids);
    unsigned seen[N][N] = {{0}};
    double chi_squared = 0, expected = (double)PAIRS / (N * N);
    uint32_t last = 0;

    (void)state;
    for (int i = 0; i <= PAIRS; i++) {
        struct gyre_lease lease;
        uint32_t k = 0;

        OK(gyre_acquire(pool, NULL, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
        while (ids[k] != lease.id) k++;
        if (i) seen[last][k]++;
        last = k;
    }
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++) chi_squared += (seen[a][b] - expected) * (seen[a][b] - expected) / expected;
    /* 63 degrees of freedom (56 given the margins): mean 63, sd 11.2; 6 sigma is 130. */
    assert_true(chi_squared < 130);
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform),       cmocka_unit_test(test_uniform_with_gaps),
        cmocka_unit_test(test_three_of_many), cmocka_unit_test(test_uniform_with_excludes),
        cmocka_unit_test(test_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
