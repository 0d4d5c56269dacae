/*
 * Sessions as one caller sees them: who sticks, for how long, who moves and who does not, who goes when there is no
 * place, what is refused. Lines 20 and 21 of the list of other rotators' failures are here; 19 is in
 * test_session_race.c.
 */
#include "support.h"

#include <inttypes.h>

enum { N = 10 };

static int acquire_for(struct gyre_pool *pool, const char *session, const uint64_t *exclude, struct gyre_lease *lease)
{
    struct gyre_request request = {.size = sizeof request, .session = session, .exclude = exclude,
                                   .exclude_count = exclude ? 1 : 0};

    return gyre_acquire(pool, &request, lease);
}

/* One request of the session, ended with `verdict`; its proxy. */
static uint64_t visit(struct gyre_pool *pool, const char *session, int verdict)
{
    struct gyre_lease lease;

    OK(acquire_for(pool, session, NULL, &lease));
    OK(gyre_complete_ms(pool, &lease, verdict, -1.0));
    return lease.id;
}

static uint64_t proxy_in(struct gyre_pool *pool, const char *session)
{
    uint64_t id = 0;

    OK(gyre_session_get(pool, session, &id));
    return id;
}

static struct gyre_session_stats session_stats(struct gyre_pool *pool)
{
    struct gyre_session_stats stats = {.size = sizeof stats};

    OK(gyre_session_stats(pool, &stats));
    /* What is over and not cleaned up yet is neither in count nor in expired. */
    assert_true(stats.assigned >= stats.count + stats.evicted + stats.expired + stats.closed);
    return stats;
}

/* Failures, line 21: every picker is reached with a session by the one call that acquires. */
static void test_sticks_with_every_picker(void **state)
{
    (void)state;
    for (uint32_t picker = GYRE_PICK_ROUND_ROBIN; picker <= GYRE_PICK_HASH; picker++) {
        uint64_t ids[N], first[N];
        struct gyre_pool *pool = pool_of(N, ids, NULL);
        char name[32];

        for (int round = 0; round < 20; round++) {
            for (int i = 0; i < N; i++) {
                struct gyre_request request = {.size = sizeof request, .picker = picker, .session = name, .key = name};
                struct gyre_lease lease;

                snprintf(name, sizeof name, "cart-%d", i);
                OK(gyre_acquire(pool, &request, &lease));
                if (round == 0) first[i] = lease.id;
                EXPECT_COUNT(lease.id, first[i], "%s by picker %u", name, picker);
                OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0));
            }
        }
        if (picker == GYRE_PICK_ROUND_ROBIN) /* new ones are picked by the picker: ten got ten proxies */
            for (int i = 0; i < N; i++) EXPECT_COUNT(proxy_of(pool, ids[i]).started, 20, "leases of proxy %d", i);
        EXPECT_COUNT(session_stats(pool).hits, 19 * N, "all but the first of each");
        EXPECT_COUNT(session_stats(pool).assigned, N, "the first of each");
        gyre_pool_close(pool);
    }
}

/* Failures, line 20: one failed request moves the session. */
static void test_failures_do_not_move(void **state)
{
    static const int verdicts[] = {GYRE_PROXY_BAD, GYRE_BANNED, GYRE_THROTTLED, GYRE_TARGET_BAD, GYRE_ABORTED};
    uint64_t ids[N], first;
    struct gyre_pool *pool = pool_of(N, ids, NULL);

    (void)state;
    first = visit(pool, "s", GYRE_OK);
    for (size_t i = 0; i < COUNT(verdicts); i++) {
        EXPECT_COUNT(visit(pool, "s", verdicts[i]), first, "verdict %d", verdicts[i]);
        EXPECT_COUNT(visit(pool, "s", GYRE_OK), first, "after verdict %d", verdicts[i]);
    }
    for (int i = 0; i < 5; i++) EXPECT_COUNT(visit(pool, "s", GYRE_PROXY_BAD), first, "failure %d", i + 1);
    assert_int_equal(proxy_of(pool, first).state, GYRE_OPEN); /* now it is benched, and only now it moves */
    assert_true(visit(pool, "s", GYRE_OK) != first);
    EXPECT_COUNT(session_stats(pool).moved, 1, "once");
    gyre_pool_close(pool);
}

/* Failures, line 20: a TTL that never slides; expired ones still returned. */
static void test_ttl_slides(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[N], first;
    struct gyre_pool *pool;

    (void)state;
    options.session_ttl = 60;
    pool = pool_of(N, ids, &options);
    first = visit(pool, "s", GYRE_OK);
    for (int i = 0; i < 100; i++) {
        pass_time(pool, 59.9);
        EXPECT_COUNT(visit(pool, "s", GYRE_OK), first, "use %d keeps it", i);
    }
    pass_time(pool, 59.9);
    EXPECT_COUNT(proxy_in(pool, "s"), first, "looking");
    pass_time(pool, 0.1); /* looking was no use */
    EXPECT(GYRE_ENOT_FOUND, gyre_session_get(pool, "s", NULL));
    assert_true(visit(pool, "s", GYRE_OK) != first); /* round-robin: the next */
    EXPECT_COUNT(session_stats(pool).expired, 1, "the old one");
    EXPECT_COUNT(session_stats(pool).assigned, 2, "the old one and the new one");
    EXPECT_COUNT(session_stats(pool).moved, 0, "it was over, it did not move");
    gyre_pool_close(pool);
}

static void test_lifetime(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[N], first;
    struct gyre_pool *pool;

    (void)state;
    options.session_ttl = 60;
    options.session_lifetime = 100;
    pool = pool_of(N, ids, &options);
    first = visit(pool, "s", GYRE_OK);
    for (int i = 0; i < 9; i++) {
        pass_time(pool, 10);
        EXPECT_COUNT(visit(pool, "s", GYRE_OK), first, "within its life");
    }
    pass_time(pool, 10);
    assert_true(visit(pool, "s", GYRE_OK) != first);
    first = proxy_in(pool, "s");
    pass_time(pool, 59);
    EXPECT_COUNT(visit(pool, "s", GYRE_OK), first, "the new one has a life of its own");
    gyre_pool_close(pool);
}

static void bench(struct gyre_pool *pool, uint64_t id)
{
    for (int i = 0; i < 5; i++) use_proxy(pool, id, GYRE_PROXY_BAD);
}

static void drop(struct gyre_pool *pool, uint64_t id)
{
    OK(gyre_pool_remove(pool, id));
}

static void disable(struct gyre_pool *pool, uint64_t id)
{
    OK(gyre_pool_disable(pool, id));
}

static void drain(struct gyre_pool *pool, uint64_t id)
{
    OK(gyre_pool_drain(pool, id));
}

/* Whatever takes the proxy out moves the session once, and the new proxy sticks even when the old one comes back. */
static void test_moves_once_and_sticks(void **state)
{
    void (*const ways_out[])(struct gyre_pool *, uint64_t) = {bench, drop, disable, drain};

    (void)state;
    for (size_t i = 0; i < COUNT(ways_out); i++) {
        uint64_t ids[N], first, second;
        struct gyre_pool *pool = pool_of(N, ids, NULL);

        first = visit(pool, "s", GYRE_OK);
        ways_out[i](pool, first);
        second = visit(pool, "s", GYRE_OK);
        assert_true(second != first);
        if (ways_out[i] == drop) add_url(pool, "http://10.0.0.99"); /* likely in its slot: not the same proxy */
        else OK(gyre_pool_enable(pool, first));
        for (int k = 0; k < 3 * N; k++) EXPECT_COUNT(visit(pool, "s", GYRE_OK), second, "it sticks, way out %zu", i);
        EXPECT_COUNT(session_stats(pool).moved, 1, "once, way out %zu", i);
        gyre_pool_close(pool);
    }
}

static void test_exclude_moves(void **state)
{
    uint64_t ids[N], first;
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_lease lease;

    (void)state;
    first = visit(pool, "s", GYRE_OK);
    OK(acquire_for(pool, "s", &first, &lease));
    assert_true(lease.id != first);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1.0));
    EXPECT_COUNT(visit(pool, "s", GYRE_OK), lease.id, "the new one sticks without the exclude");
    OK(acquire_for(pool, "s", &first, &lease)); /* and with it, now that it does not matter */
    EXPECT_COUNT(proxy_in(pool, "s"), lease.id, "it sticks");
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1.0));
    gyre_pool_close(pool);
}

/* A session follows the filters of its requests. */
static void test_filter_moves(void **state)
{
    struct gyre_pool *pool = open_pool(&(struct gyre_options){.size = sizeof(struct gyre_options), .seed = 1});
    struct gyre_request request = {.size = sizeof request, .session = "s"};
    struct gyre_lease lease;
    uint64_t ids[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .country = i < 2 ? "DE" : "US"};
        char url[64];

        snprintf(url, sizeof url, "http://10.0.0.%d", i);
        spec.url = url;
        OK(gyre_pool_add(pool, &spec, &ids[i]));
    }
    for (int i = 0; i < 20; i++) {
        uint64_t here = 0;

        request.country = i % 4 < 2 ? "de" : "fr,us";
        if (i % 2) OK(gyre_session_get(pool, "s", &here));
        OK(gyre_acquire(pool, &request, &lease));
        assert_true(i % 4 < 2 ? lease.id == ids[0] || lease.id == ids[1] : lease.id == ids[2] || lease.id == ids[3]);
        if (i % 2) EXPECT_COUNT(lease.id, here, "asked for where it is");
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1.0));
    }
    EXPECT_COUNT(session_stats(pool).moved, 9, "each time the country changed");
    gyre_pool_close(pool);
}

/* A host that bans the proxy moves the session; other hosts had nothing against it, but now it has moved. */
static void test_ban_moves(void **state)
{
    uint64_t ids[N], first;
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_request request = {.size = sizeof request, .session = "s", .host = "shop.example"};
    struct gyre_lease lease;

    (void)state;
    first = visit(pool, "s", GYRE_OK);
    OK(gyre_acquire(pool, &request, &lease));
    EXPECT_COUNT(lease.id, first, "not banned yet");
    OK(gyre_complete_ms(pool, &lease, GYRE_BANNED, -1.0));
    EXPECT_COUNT(visit(pool, "s", GYRE_OK), first, "not for everybody");
    OK(gyre_acquire(pool, &request, &lease));
    assert_true(lease.id != first);
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1.0));
    EXPECT_COUNT(visit(pool, "s", GYRE_OK), lease.id, "it sticks");
    gyre_pool_close(pool);
}

/* A proxy at its limit is no reason to move, and neither is that nobody is left. */
static void test_waits_for_its_proxy(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_pool *pool;
    struct gyre_proxy_spec spec = {.size = sizeof spec, .max_active = 1, .has_max_active = 1, .url = "http://10.0.0.1"};
    struct gyre_lease lease, second;
    uint64_t ids[2];

    (void)state;
    options.session_ttl = 10;
    pool = pool_of(0, NULL, &options);
    OK(gyre_pool_add(pool, &spec, &ids[0]));
    OK(acquire_for(pool, "s", NULL, &lease));
    EXPECT_COUNT(lease.id, ids[0], "there is one only");
    spec.url = "http://10.0.0.2";
    OK(gyre_pool_add(pool, &spec, &ids[1]));
    for (int i = 0; i < 10; i++) { /* asking for it keeps it, although nobody gets it */
        pass_time(pool, 9);
        EXPECT(GYRE_EBUSY, acquire_for(pool, "s", NULL, &second));
    }
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, -1.0));
    EXPECT_COUNT(visit(pool, "s", GYRE_OK), ids[0], "it is free");
    OK(gyre_pool_disable(pool, ids[0]));
    OK(gyre_pool_disable(pool, ids[1]));
    EXPECT(GYRE_ENO_PROXY, acquire_for(pool, "s", NULL, &second));
    OK(gyre_pool_enable(pool, ids[0]));
    EXPECT_COUNT(visit(pool, "s", GYRE_OK), ids[0], "it is back");
    gyre_pool_close(pool);
}

static void test_ids(void **state)
{
    static const struct {
        const char *id, *says;
    } bad[] = {{"", "empty"},          {"has space", "0x20 at 4"},  {"secret/17", "0x2f at 7"}, {"a\nb", "0x0a at 2"},
               {"caf\xc3\xa9", "0xc3"}, {"100%", "0x25"},            {"\x7f", "0x7f at 1"},      {"a,b", "0x2c"}};
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:_@-";
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct gyre_lease lease;
    char id[140];

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        EXPECT(GYRE_EINVALID, acquire_for(pool, bad[i].id, NULL, &lease));
        assert_non_null(strstr(gyre_detail(), bad[i].says));
        assert_true(strlen(bad[i].id) < 4 || !strstr(gyre_detail(), bad[i].id));
        EXPECT(GYRE_EINVALID, gyre_session_get(pool, bad[i].id, NULL));
        EXPECT(GYRE_EINVALID, gyre_session_close(pool, bad[i].id));
        EXPECT(GYRE_EINVALID, gyre_session_assign(pool, bad[i].id, ids[0], 0, NULL));
    }
    visit(pool, good, GYRE_OK);
    memset(id, 'x', sizeof id);
    id[129] = 0;
    EXPECT(GYRE_EINVALID, acquire_for(pool, id, NULL, &lease));
    assert_non_null(strstr(gyre_detail(), "longer than 128"));
    EXPECT_COUNT(stats_of(pool).started, 1, "no lease for a bad id");
    for (size_t size = 1; size <= 128; size++) { /* each length, and ids that differ in one byte only */
        uint64_t one, other;

        memset(id, 'x', size);
        id[size] = 0;
        one = visit(pool, id, GYRE_OK);
        id[size - 1] = 'y';
        other = visit(pool, id, GYRE_OK);
        assert_true(one != other); /* by round-robin, when it is another session */
        EXPECT_COUNT(visit(pool, id, GYRE_OK), other, "%zu bytes", size);
        id[size - 1] = 'x';
        EXPECT_COUNT(visit(pool, id, GYRE_OK), one, "%zu bytes", size);
    }
    EXPECT_COUNT(session_stats(pool).count, 257, "all different");
    gyre_pool_close(pool);
}

/* Sixteen places: the least recently used goes, and one whose life is over goes before it. Line 20 of the failures:
 * updating an id evicts nobody. */
static void test_eviction_order(void **state)
{
    struct gyre_options options = manual_options();
    struct gyre_session_stats stats;
    uint64_t ids[N];
    struct gyre_pool *pool;
    char name[16];

    (void)state;
    options.max_sessions = 12;
    options.session_lifetime = 1000;
    pool = pool_of(N, ids, &options);
    stats = session_stats(pool);
    assert_int_equal(stats.capacity, 16);
    for (int i = 0; i < 16; i++, pass_time(pool, 1)) {
        snprintf(name, sizeof name, "s%d", i);
        visit(pool, name, GYRE_OK);
    }
    for (int i = 0; i < 8; i++, pass_time(pool, 1)) {
        snprintf(name, sizeof name, "s%d", i); /* now s8 is the oldest */
        for (int k = 0; k < 5; k++) visit(pool, name, GYRE_OK);
    }
    EXPECT_COUNT(session_stats(pool).evicted, 0, "using them evicts nobody");
    for (int i = 0; i < 8; i++, pass_time(pool, 1)) {
        snprintf(name, sizeof name, "s%d", 8 + i);
        proxy_in(pool, name); /* looking does not save it */
        snprintf(name, sizeof name, "n%d", i);
        visit(pool, name, GYRE_OK);
        snprintf(name, sizeof name, "s%d", 8 + i);
        EXPECT(GYRE_ENOT_FOUND, gyre_session_get(pool, name, NULL));
        EXPECT_COUNT(session_stats(pool).evicted, (uint64_t)i + 1, "one for one");
        EXPECT_COUNT(session_stats(pool).count, 16, "full");
    }
    OK(gyre_pool_set_time(pool, 2000 + 2.5)); /* s0, s1 and s2 have lived for 1000 s */
    for (int i = 0; i < 16; i++) {
        snprintf(name, sizeof name, i < 8 ? "s%d" : "n%d", i % 8);
        if (i > 2) gyre_session_use(pool, name, NULL);
    }
    OK(gyre_session_use(pool, "s3", NULL));
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "late%d", i);
        visit(pool, name, GYRE_OK);
    }
    EXPECT_COUNT(session_stats(pool).evicted, 8, "those whose life was over made place");
    EXPECT_COUNT(session_stats(pool).expired, 3, "three of them");
    OK(gyre_session_get(pool, "s3", NULL));
    gyre_pool_close(pool);
}

/* Of more than there is room for, all in one tenth of a second, it is not the newest that make place for each other. */
static void test_eviction_of_equals(void **state)
{
    struct gyre_options options = manual_options();
    uint64_t ids[N], proxy;
    struct gyre_pool *pool;
    int late = 0;

    (void)state;
    options.max_sessions = 12;
    pool = pool_of(N, ids, &options);
    for (int i = 0; i < 80; i++) {
        char name[16];

        snprintf(name, sizeof name, "s%d", i);
        visit(pool, name, GYRE_OK);
    }
    for (int i = 16; i < 80; i++) {
        char name[16];

        snprintf(name, sizeof name, "s%d", i);
        late += gyre_session_get(pool, name, &proxy) == 0;
    }
    EXPECT_COUNT(session_stats(pool).count, 16, "full");
    assert_in_range(late, 10, 16); /* 15.6 on average */
    gyre_pool_close(pool);
}

/* All of max_sessions fit, wherever their hashes put them. */
static void test_capacity(void **state)
{
    uint32_t max = (uint32_t)rounds(under_valgrind() ? 50000 : 10000);
    struct gyre_options options = manual_options();
    struct gyre_session_stats stats;
    uint64_t ids[7];
    struct gyre_pool *pool;
    char name[32];

    (void)state;
    options.max_sessions = max;
    pool = pool_of(7, ids, &options);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < max; i++) {
            snprintf(name, sizeof name, "session-%u", i);
            visit(pool, name, GYRE_OK);
        }
        stats = session_stats(pool);
        EXPECT_COUNT(stats.count, max, "all of them, round %d", round);
        EXPECT_COUNT(stats.evicted, 0, "none had to go");
        EXPECT_COUNT(stats.hits, (uint64_t)round * max, "the second round found them");
        assert_true(stats.capacity >= max && stats.capacity <= max / 3 * 4 + 32);
    }
    assert_int_equal(gyre_session_close_all(pool), (int)max);
    EXPECT_COUNT(session_stats(pool).closed, max, "all");
    gyre_pool_close(pool);
}

static void test_options(void **state)
{
    static const double bad[] = {-1, 0.05, 1e9, 1.0 / 0.0};
    struct gyre_pool *pool;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct gyre_options options = manual_options();

        options.session_ttl = bad[i];
        EXPECT(GYRE_EINVALID, gyre_pool_open(&options, &pool));
        assert_non_null(strstr(gyre_detail(), "session_ttl"));
        options.session_ttl = 0;
        options.session_lifetime = bad[i];
        EXPECT(GYRE_EINVALID, gyre_pool_open(&options, &pool));
        assert_non_null(strstr(gyre_detail(), "session_lifetime"));
        options.session_lifetime = 0;
        options.max_sessions = 0xffffffff;
        EXPECT(GYRE_EINVALID, gyre_pool_open(&options, &pool));
        assert_non_null(strstr(gyre_detail(), "max_sessions"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sticks_with_every_picker), cmocka_unit_test(test_failures_do_not_move),
        cmocka_unit_test(test_ttl_slides),               cmocka_unit_test(test_lifetime),
        cmocka_unit_test(test_moves_once_and_sticks),    cmocka_unit_test(test_exclude_moves),
        cmocka_unit_test(test_filter_moves),             cmocka_unit_test(test_ban_moves),
        cmocka_unit_test(test_waits_for_its_proxy),      cmocka_unit_test(test_ids),
        cmocka_unit_test(test_eviction_order),           cmocka_unit_test(test_eviction_of_equals),
        cmocka_unit_test(test_capacity),                 cmocka_unit_test(test_options),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
