/*
 * gyre_acquire_chosen: the lease of a proxy that the caller picked, with everything else that the request says looked at
 * in the same call, as gyre_acquire does.
 */
#include "support.h"

#include <pthread.h>

enum { N = 4 };

static int chosen(struct gyre_pool *pool, const struct gyre_request *request, uint64_t id)
{
    struct gyre_lease lease = {.id = 0};
    int result = gyre_acquire_chosen(pool, request, id, &lease);

    if (result == 0) {
        assert_int_equal(lease.id, id);
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1));
    }
    return result;
}

static void test_what_the_request_lets_through(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool = open_pool(&options);
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://10.0.0.1:1", .country = "DE", .tags = "fast",
                                   .has_max_active = 1, .max_active = 1};
    struct gyre_request request = {.size = sizeof request};
    struct gyre_lease lease;
    uint64_t id, other = add_url(pool, "http://10.0.0.2:1");

    (void)state;
    OK(gyre_pool_add(pool, &spec, &id));
    OK(chosen(pool, NULL, id));
    OK(chosen(pool, &request, id));
    request.country = "US,DE";
    OK(chosen(pool, &request, id));
    EXPECT(GYRE_ENO_PROXY, chosen(pool, &request, other));
    assert_non_null(strstr(gyre_detail(), "lets through"));
    request.tags = "slow";
    EXPECT(GYRE_ENO_PROXY, chosen(pool, &request, id));
    request.tags = request.country = NULL;
    request.exclude = &id;
    request.exclude_count = 1;
    EXPECT(GYRE_ENO_PROXY, chosen(pool, &request, id));
    OK(chosen(pool, &request, other));
    request.exclude_count = 0;
    OK(gyre_acquire_id(pool, id, &lease));
    EXPECT(GYRE_EBUSY, chosen(pool, &request, id));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1));
    OK(gyre_pool_disable(pool, id));
    EXPECT(GYRE_ENO_PROXY, chosen(pool, &request, id));
    OK(gyre_pool_remove(pool, id));
    EXPECT(GYRE_ENOT_FOUND, chosen(pool, &request, id));
    request.size = 8;
    EXPECT(GYRE_EINVALID, chosen(pool, &request, other));
    request.size = sizeof request;
    request.exclude = NULL;
    request.exclude_count = 3;
    EXPECT(GYRE_EINVALID, chosen(pool, &request, other));
    EXPECT(GYRE_EINVALID, gyre_acquire_chosen(pool, NULL, other, NULL));
    gyre_pool_close(pool);
}

static void test_hosts(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = {.size = sizeof request, .host = "shop.example"};
    struct gyre_outcome banned = outcome_of(GYRE_BANNED), throttled = outcome_of(GYRE_THROTTLED);
    struct gyre_lease lease;

    (void)state;
    OK(gyre_acquire_chosen(pool, &request, ids[0], &lease));
    OK(gyre_complete(pool, &lease, &banned)); /* the lease knew its host */
    EXPECT(GYRE_ENO_PROXY, chosen(pool, &request, ids[0]));
    OK(chosen(pool, &request, ids[1]));
    OK(chosen(pool, NULL, ids[0]));
    OK(gyre_acquire_chosen(pool, &request, ids[1], &lease));
    OK(gyre_complete(pool, &lease, &throttled));
    EXPECT(GYRE_EBUSY, chosen(pool, &request, ids[1]));
    gyre_pool_close(pool);
}

static void test_session(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = {.size = sizeof request, .session = "s"};
    struct gyre_session_stats stats = {.size = sizeof stats};
    struct gyre_lease lease;

    (void)state;
    EXPECT(GYRE_ENOT_FOUND, gyre_acquire_chosen(pool, &request, 0, &lease));
    OK(chosen(pool, &request, ids[2]));
    OK(gyre_acquire_chosen(pool, &request, 0, &lease));
    assert_int_equal(lease.id, ids[2]);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1));
    OK(gyre_acquire_chosen(pool, &request, ids[3], &lease)); /* its own goes before */
    assert_int_equal(lease.id, ids[2]);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1));
    OK(gyre_acquire(pool, &request, &lease));
    assert_int_equal(lease.id, ids[2]);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1));
    OK(gyre_pool_disable(pool, ids[2]));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_chosen(pool, &request, 0, &lease));
    OK(gyre_pool_disable(pool, ids[1]));
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_chosen(pool, &request, ids[1], &lease)); /* whoever chose must choose again */
    OK(chosen(pool, &request, ids[3]));
    OK(gyre_pool_enable(pool, ids[2]));
    OK(chosen(pool, &request, ids[3]));
    OK(gyre_session_stats(pool, &stats));
    EXPECT_COUNT(stats.assigned, 1, "once");
    EXPECT_COUNT(stats.moved, 1, "from the disabled one");
    EXPECT_COUNT(stats.hits, 4, "the uses of its own");
    request.session = "not an id";
    EXPECT(GYRE_EINVALID, gyre_acquire_chosen(pool, &request, ids[0], &lease));
    EXPECT(GYRE_EINVALID, gyre_acquire_chosen(pool, &request, 0, &lease));
    gyre_pool_close(pool);
}

/* A session's proxy at its limit is no reason to move. */
static void test_session_at_its_limit(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_proxy_spec spec = {.size = sizeof spec, .has_max_active = 1, .max_active = 1};
    struct gyre_request request = {.size = sizeof request, .session = "s"};
    struct gyre_lease first, second;

    (void)state;
    OK(gyre_pool_update(pool, ids[0], &spec));
    OK(gyre_acquire_chosen(pool, &request, ids[0], &first));
    EXPECT(GYRE_EBUSY, gyre_acquire_chosen(pool, &request, 0, &second));
    EXPECT(GYRE_EBUSY, gyre_acquire_chosen(pool, &request, ids[1], &second));
    OK(gyre_complete_ms(pool, &first, GYRE_OK, -1));
    OK(chosen(pool, &request, ids[0]));
    gyre_pool_close(pool);
}

struct rival {
    pthread_barrier_t *gate;
    struct gyre_pool *pool;
    uint64_t choice, got[200];
};

static void *compete(void *argument)
{
    struct rival *rival = argument;

    for (unsigned i = 0; i < COUNT(rival->got); i++) {
        char name[16];
        struct gyre_request request = {.size = sizeof request, .session = name};
        struct gyre_lease lease;

        snprintf(name, sizeof name, "s%u", i);
        pthread_barrier_wait(rival->gate);
        REQUIRE(gyre_acquire_chosen(rival->pool, &request, rival->choice, &lease) == 0);
        rival->got[i] = lease.id;
        REQUIRE(gyre_complete_ms(rival->pool, &lease, GYRE_OK, -1) == 0);
    }
    return NULL;
}

/* Four threads choose four different proxies for one new session at once: all get the same one, and it is one of theirs. */
static void test_one_choice_wins(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct rival rivals[N];
    pthread_barrier_t gate;

    (void)state;
    pthread_barrier_init(&gate, NULL, N);
    for (unsigned i = 0; i < N; i++) rivals[i] = (struct rival){&gate, pool, ids[i], {0}};
    run_threads(N, compete, rivals, sizeof *rivals);
    for (unsigned i = 0; i < COUNT(rivals->got); i++)
        for (unsigned k = 1; k < N; k++) EXPECT_COUNT(rivals[k].got[i], rivals[0].got[i], "session %u, thread %u", i, k);
    EXPECT_COUNT(stats_of(pool).active, 0, "all have ended");
    pthread_barrier_destroy(&gate);
    gyre_pool_close(pool);
}

/* gyre_session_info: what gyre_session_next lists, of one, and without using it. */
static void test_info(void **state)
{
    uint64_t ids[N];
    struct gyre_options options = manual_options();
    options.session_ttl = 60;
    struct gyre_pool *pool = pool_of(N, ids, &options);
    struct gyre_request request = {.size = sizeof request};
    struct gyre_session info = {.size = sizeof info}, listed = {.size = sizeof listed};
    char long_id[129];
    uint64_t cursor = 0;

    (void)state;
    memset(long_id, 'x', 128);
    long_id[128] = 0;
    request.session = long_id;
    EXPECT(GYRE_ENOT_FOUND, gyre_session_info(pool, long_id, &info));
    OK(chosen(pool, &request, ids[1]));
    pass_time(pool, 50);
    OK(gyre_session_info(pool, long_id, &info));
    assert_string_equal(info.id, long_id);
    assert_int_equal(info.proxy, ids[1]);
    assert_int_equal(gyre_session_next(pool, &cursor, &listed), 1);
    assert_true(info.created == listed.created && info.last_used == listed.last_used && info.expires == listed.expires);
    assert_true(info.last_used == info.created && info.expires == info.created + 60);
    pass_time(pool, 11); /* looking at it did not keep it alive */
    EXPECT(GYRE_ENOT_FOUND, gyre_session_info(pool, long_id, &info));
    EXPECT(GYRE_EINVALID, gyre_session_info(pool, "", &info));
    EXPECT(GYRE_EINVALID, gyre_session_info(pool, "s", NULL));
    info.size = 4;
    EXPECT(GYRE_EINVALID, gyre_session_info(pool, "s", &info));
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_request_lets_through),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_session_at_its_limit),
        cmocka_unit_test(test_one_choice_wins),
        cmocka_unit_test(test_info),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
