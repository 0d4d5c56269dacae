/*
 * Requests for proxies in one state: closed, which makes nobody's probe, or half-open, which makes nothing else. Each picker
 * and each way of looking, against what the proxies say of themselves.
 */
#include "support.h"

#include <stdbool.h>

enum { N = 40, GERMAN = 2 }; /* every GERMANth has a country */

struct model {
    struct gyre_pool *pool;
    uint64_t ids[N];
    struct rng rng;
};

static struct gyre_options breaking_options(void)
{
    struct gyre_options options = manual_options();
    options.breaker_failures = 1;
    options.max_benched = 1;
    return options;
}

static struct gyre_pool *open_mixed(uint64_t *ids)
{
    struct gyre_options options = breaking_options();
    struct gyre_pool *pool = pool_of(N, ids, &options);

    for (int i = 0; i < N; i += GERMAN) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .country = "DE"};
        OK(gyre_pool_update(pool, ids[i], &spec));
    }
    return pool;
}

static bool is_excluded(const struct gyre_request *request, uint64_t id)
{
    for (uint32_t i = 0; i < request->exclude_count; i++)
        if (request->exclude[i] == id) return true;
    return false;
}

/* May the request have it? No probe is ever out here: leases end at once. */
static bool fits(struct model *m, const struct gyre_request *request, uint64_t id)
{
    struct gyre_proxy proxy = proxy_of(m->pool, id);
    bool eligible = proxy.state == GYRE_CLOSED || proxy.state == GYRE_HALF_OPEN;
    bool here = !request->country || strcmp(proxy.country, "DE") == 0;

    return eligible && here && (!request->state || proxy.state == request->state);
}

static bool is_expected(struct model *m, const struct gyre_request *request, uint64_t id)
{
    return fits(m, request, id) && !is_excluded(request, id);
}

static struct gyre_request random_request(struct model *m, uint64_t excluded[3])
{
    static const uint32_t states[] = {0, GYRE_CLOSED, GYRE_HALF_OPEN};
    struct gyre_request request = {.size = sizeof request, .key = "a key", .picker = 1 + rng_below(&m->rng, GYRE_PICK_HASH)};

    request.state = states[rng_below(&m->rng, 3)];
    request.country = rng_below(&m->rng, 2) ? "DE" : NULL;
    request.choices = rng_below(&m->rng, 2) ? 0 : 5;
    request.exclude = excluded;
    request.exclude_count = rng_below(&m->rng, 2) ? 0 : 3;
    for (int i = 0; i < 3; i++) excluded[i] = m->ids[rng_below(&m->rng, N)];
    return request;
}

static void check_looks(struct model *m, const struct gyre_request *request, int wanted, int unexcluded)
{
    uint32_t slots[N];
    uint64_t ids[N], id;
    int count = gyre_list(m->pool, request, slots, N);

    assert_int_equal(count, wanted);
    for (int i = 0; i < count; i++) assert_true(is_expected(m, request, gyre_pool_slots(m->pool)[slots[i]].generation << 20 | slots[i]));
    assert_int_equal(gyre_pool_eligible(m->pool, request), unexcluded);
    EXPECT(wanted ? 0 : GYRE_ENO_PROXY, gyre_pick(m->pool, request, &id));
    if (wanted) assert_true(is_expected(m, request, id));
    count = gyre_sample(m->pool, request, ids, 5);
    assert_true(wanted ? count > 0 && count <= 5 : count == GYRE_ENO_PROXY);
    for (int i = 0; i < count; i++) assert_true(is_expected(m, request, ids[i]));
}

static void step(struct model *m)
{
    uint64_t excluded[3];
    struct gyre_request request = random_request(m, excluded);
    struct gyre_lease lease;
    int wanted = 0, unexcluded = 0;

    if (rng_below(&m->rng, 4) == 0) pass_time(m->pool, rng_below(&m->rng, 30));
    for (int i = 0; i < N; i++) wanted += is_expected(m, &request, m->ids[i]), unexcluded += fits(m, &request, m->ids[i]);
    check_looks(m, &request, wanted, unexcluded);
    int result = gyre_acquire(m->pool, &request, &lease);
    if (!wanted) {
        EXPECT(GYRE_ENO_PROXY, result);
        return;
    }
    OK(result);
    assert_true(is_expected(m, &request, lease.id));
    OK(gyre_complete_ms(m->pool, &lease, rng_below(&m->rng, 3) ? GYRE_PROXY_BAD : GYRE_OK, 5));
}

static void test_every_picker_against_a_model(void **state)
{
    struct model m = {.rng = {test_seed(41)}};

    (void)state;
    m.pool = open_mixed(m.ids);
    for (unsigned long n = rounds(3000); n; n--) step(&m);
    gyre_pool_close(m.pool);
}

/* Closed ones get the same share whatever the others do. */
static void test_round_robin_over_the_closed(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = open_mixed(ids);
    struct gyre_request request = {.size = sizeof request, .picker = GYRE_PICK_ROUND_ROBIN, .state = GYRE_CLOSED};
    struct gyre_lease lease;

    (void)state;
    for (int i = 0; i < 3; i++) use_proxy(pool, ids[10 * i], GYRE_PROXY_BAD);
    pass_time(pool, 60);
    for (int i = 0; i < 3; i++) assert_int_equal(proxy_of(pool, ids[10 * i]).state, GYRE_HALF_OPEN);
    for (int i = 0; i < 7 * (N - 3); i++) {
        OK(gyre_acquire(pool, &request, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5));
    }
    for (int i = 0; i < N; i++) assert_int_equal(proxy_of(pool, ids[i]).started, i % 10 == 0 && i < 30 ? 1 : 7);
    gyre_pool_close(pool);
}

/* As with a country: the session moves, and stays where it moved. */
static void test_session_moves_to_the_state(void **state)
{
    uint64_t ids[N], first;
    struct gyre_pool *pool = open_mixed(ids);
    struct gyre_request request = {.size = sizeof request, .session = "cart-17"};
    struct gyre_lease lease;

    (void)state;
    OK(gyre_acquire(pool, &request, &lease));
    first = lease.id;
    OK(gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, 5));
    pass_time(pool, 60);
    assert_int_equal(proxy_of(pool, first).state, GYRE_HALF_OPEN);
    request.state = GYRE_CLOSED;
    OK(gyre_acquire(pool, &request, &lease));
    uint64_t second = lease.id;
    assert_true(second != first);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5));
    request.state = 0;
    OK(gyre_acquire(pool, &request, &lease));
    assert_true(lease.id == second);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5));
    request.state = GYRE_HALF_OPEN; /* and a new one begins there */
    request.session = "cart-18";
    OK(gyre_acquire(pool, &request, &lease));
    assert_true(lease.id == first);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5));
    gyre_pool_close(pool);
}

static void test_says_what_is_wrong(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = open_mixed(ids);
    struct gyre_request request = {.size = sizeof request, .state = GYRE_OPEN};
    struct gyre_lease lease;

    (void)state;
    EXPECT(GYRE_EINVALID, gyre_acquire(pool, &request, &lease));
    assert_non_null(strstr(gyre_detail(), "request.state 2"));
    EXPECT(GYRE_EINVALID, gyre_acquire_chosen(pool, &request, ids[0], &lease));
    request.state = GYRE_HALF_OPEN;
    EXPECT(GYRE_ENO_PROXY, gyre_acquire(pool, &request, &lease));
    assert_non_null(strstr(gyre_detail(), "40 not half_open"));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_chosen(pool, &request, ids[0], &lease));
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_picker_against_a_model), cmocka_unit_test(test_round_robin_over_the_closed),
        cmocka_unit_test(test_session_moves_to_the_state),   cmocka_unit_test(test_says_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
