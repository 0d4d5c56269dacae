/*
 * Sessions against a model: thousands of random calls, and after each the library must say what a table of a few lines
 * says. Then what is kept: over restarts, in lists, in the sums.
 */
#include "support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N = 12, IDS = 40, TTL = 60, LIFE = 300 };

struct entry {
    uint64_t proxy; /* 0: none */
    uint32_t created, last;
};

struct model {
    struct gyre_pool *pool;
    struct rng rng;
    uint64_t ids[N];
    int out[N]; /* disabled or draining */
    struct entry entry[IDS];
    uint32_t now;
    uint64_t moved, closed;
};

static const char *name_of(uint32_t i)
{
    static char name[160];
    static const char longer[] = "..............................................................................................";

    snprintf(name, sizeof name, "%.*s-%u", (int)(i % 3 * 40), longer, i);
    return name;
}

static int lives(const struct model *m, uint32_t i)
{
    const struct entry *e = &m->entry[i];

    return e->proxy && m->now - e->last < TTL && m->now - e->created < LIFE;
}

static int is_usable(const struct model *m, uint64_t id)
{
    for (int i = 0; i < N; i++)
        if (m->ids[i] == id) return !m->out[i];
    return 0; /* removed */
}

static int anybody(const struct model *m, uint64_t except)
{
    for (int i = 0; i < N; i++)
        if (!m->out[i] && m->ids[i] != except) return 1;
    return 0;
}

static void got(struct model *m, uint32_t i, uint64_t proxy)
{
    if (lives(m, i) && m->entry[i].proxy == proxy) {
        m->entry[i].last = m->now;
        return;
    }
    if (lives(m, i)) m->moved++;
    m->entry[i] = (struct entry){proxy, m->now, m->now};
}

static void acquire(struct model *m, uint32_t i, uint64_t exclude)
{
    struct gyre_request request = {.size = sizeof request, .session = name_of(i), .exclude = &exclude,
                                   .exclude_count = exclude ? 1 : 0, .picker = 1 + rng_below(&m->rng, 3)};
    struct gyre_lease lease;
    int stays = lives(m, i) && is_usable(m, m->entry[i].proxy) && m->entry[i].proxy != exclude;

    if (!anybody(m, exclude)) {
        EXPECT(GYRE_ENO_PROXY, gyre_acquire(m->pool, &request, &lease));
        return;
    }
    OK(gyre_acquire(m->pool, &request, &lease));
    if (stays) EXPECT_COUNT(lease.id, m->entry[i].proxy, "session %u keeps its proxy", i);
    assert_true(is_usable(m, lease.id) && lease.id != exclude);
    got(m, i, lease.id);
    OK(gyre_complete_ms(m->pool, &lease, GYRE_OK, -1.0));
}

static void look(struct model *m, uint32_t i, int use)
{
    uint64_t id = 0, slot = 0;
    int there = lives(m, i);

    for (int k = 0; k < N && there; k++) slot += m->ids[k] == m->entry[i].proxy;
    EXPECT(there && slot ? 0 : GYRE_ENOT_FOUND,
           (use ? gyre_session_use : gyre_session_get)(m->pool, name_of(i), &id));
    if (!there || !slot) return;
    EXPECT_COUNT(id, m->entry[i].proxy, "session %u", i);
    if (use) m->entry[i].last = m->now;
}

static void assign(struct model *m, uint32_t i)
{
    uint64_t wanted = m->ids[rng_below(&m->rng, N)], winner = 0, now = lives(m, i) ? m->entry[i].proxy : 0;
    uint64_t refused = rng_below(&m->rng, 3) ? 0 : now;

    if (now && now != refused && is_usable(m, now)) wanted = now;
    else if (!is_usable(m, wanted)) {
        EXPECT(GYRE_ENO_PROXY, gyre_session_assign(m->pool, name_of(i), wanted, refused, &winner));
        return;
    }
    OK(gyre_session_assign(m->pool, name_of(i), wanted, refused, &winner));
    EXPECT_COUNT(winner, wanted, "session %u had %" PRIx64 ", refused %" PRIx64, i, now, refused);
    if (lives(m, i) && m->entry[i].proxy == winner && now == refused) m->entry[i].created = m->now;
    got(m, i, winner);
}

static void change_pool(struct model *m)
{
    uint32_t k = rng_below(&m->rng, N);
    char url[64];

    switch (rng_below(&m->rng, 4)) {
    case 0:
        OK(gyre_pool_remove(m->pool, m->ids[k]));
        snprintf(url, sizeof url, "http://192.0.2.%u:%u", k, 1 + rng_below(&m->rng, 60000));
        m->ids[k] = add_url(m->pool, url);
        m->out[k] = 0;
        break;
    case 1:
        OK(gyre_pool_disable(m->pool, m->ids[k]));
        m->out[k] = 1;
        break;
    default:
        OK(gyre_pool_enable(m->pool, m->ids[k]));
        m->out[k] = 0;
    }
}

static void expect_list(struct model *m)
{
    struct gyre_session session = {.size = sizeof session};
    struct gyre_session_stats stats = {.size = sizeof stats};
    uint64_t cursor = 0;
    uint32_t n = 0, alive = 0;

    while (gyre_session_next(m->pool, &cursor, &session) == 1) {
        uint32_t i = (uint32_t)strtoul(strrchr(session.id, '-') + 1, NULL, 10);
        const struct entry *e = &m->entry[i];

        assert_true(i < IDS && lives(m, i));
        assert_string_equal(session.id, name_of(i));
        EXPECT_COUNT(session.proxy, e->proxy, "%s", session.id);
        assert_true(session.created == e->created && session.last_used == e->last);
        assert_true(session.expires == (e->last + TTL < e->created + LIFE ? e->last + TTL : e->created + LIFE));
        n++;
    }
    for (uint32_t i = 0; i < IDS; i++) alive += lives(m, i) != 0;
    assert_int_equal(n, alive);
    OK(gyre_session_stats(m->pool, &stats));
    assert_int_equal(stats.count, alive);
    EXPECT_COUNT(stats.moved, m->moved, "moved");
    EXPECT_COUNT(stats.closed, m->closed, "closed");
    EXPECT_COUNT(stats.evicted, 0, "there is place for all");
}

static void step(struct model *m)
{
    uint32_t i = rng_below(&m->rng, IDS), alive = 0;

    switch (rng_below(&m->rng, 16)) {
    case 0: change_pool(m); break;
    case 1: look(m, i, 0); break;
    case 2: look(m, i, 1); break;
    case 3:
    case 4: assign(m, i); break;
    case 5:
        EXPECT(lives(m, i) ? 0 : GYRE_ENOT_FOUND, gyre_session_close(m->pool, name_of(i)));
        m->closed += lives(m, i) != 0;
        m->entry[i].proxy = 0;
        break;
    case 6: acquire(m, i, m->entry[i].proxy); break;
    case 7: acquire(m, i, m->ids[rng_below(&m->rng, N)]); break;
    case 8:
        m->now += rng_below(&m->rng, rng_below(&m->rng, 20) ? 4 : 80);
        OK(gyre_pool_set_time(m->pool, m->now));
        break;
    case 9:
        if (rng_below(&m->rng, 20)) break;
        OK(gyre_session_cleanup(m->pool) < 0);
        break;
    case 10:
        if (rng_below(&m->rng, 200)) break;
        for (uint32_t k = 0; k < IDS; k++) {
            alive += lives(m, k) != 0;
            m->entry[k].proxy = 0;
        }
        m->closed += alive;
        assert_int_equal(gyre_session_close_all(m->pool), alive);
        break;
    default: acquire(m, i, 0);
    }
}

static void test_model(void **state)
{
    struct model m = {.rng = {test_seed(31)}, .now = 1000};
    struct gyre_options options = manual_options();
    struct gyre_session_stats stats = {.size = sizeof stats};
    unsigned long n = rounds(20000);

    (void)state;
    options.session_ttl = TTL;
    options.session_lifetime = LIFE;
    options.max_sessions = 120;
    m.pool = pool_of(N, m.ids, &options);
    for (unsigned long i = 0; i < n; i++) {
        step(&m);
        if (i % 64 == 0) expect_list(&m);
    }
    assert_true(gyre_session_cleanup(m.pool) >= 0);
    expect_list(&m);
    OK(gyre_session_stats(m.pool, &stats));
    EXPECT_COUNT(stats.assigned, stats.count + stats.closed + stats.expired + stats.evicted, "each is somewhere");
    gyre_pool_close(m.pool);
}

/* A file keeps its sessions, the short ids and the long ones; and how long they still have. */
static void test_restart(void **state)
{
    struct model m = {.rng = {1}, .now = 1000};
    struct gyre_options options = manual_options();

    (void)state;
    options.path = temp_path("restart");
    options.session_ttl = TTL;
    options.session_lifetime = LIFE;
    options.max_sessions = 120;
    options.max_proxies = 64;
    m.pool = pool_of(N, m.ids, &options);
    for (int round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < IDS; i++)
            if (i % 5 == (uint32_t)round || round == 0) acquire(&m, i, 0);
        m.now += 20;
        OK(gyre_pool_set_time(m.pool, m.now));
        gyre_pool_close(m.pool);
        m.pool = open_pool(&options);
        expect_list(&m);
    }
    gyre_pool_close(m.pool);
}

/* Who has the session keeps it for another's pick; who is refused, or out, does not. */
static void test_assign(void **state)
{
    uint64_t ids[3], winner;
    struct gyre_pool *pool = pool_of(3, ids, NULL);

    (void)state;
    OK(gyre_session_assign(pool, "s", ids[0], 0, &winner));
    EXPECT_COUNT(winner, ids[0], "the first");
    OK(gyre_session_assign(pool, "s", ids[1], 0, &winner));
    EXPECT_COUNT(winner, ids[0], "the first is eligible");
    OK(gyre_session_assign(pool, "s", ids[1], ids[2], &winner));
    EXPECT_COUNT(winner, ids[0], "another is refused");
    OK(gyre_session_assign(pool, "s", ids[1], ids[0], &winner));
    EXPECT_COUNT(winner, ids[1], "the first is refused");
    OK(gyre_pool_disable(pool, ids[2]));
    EXPECT(GYRE_ENO_PROXY, gyre_session_assign(pool, "t", ids[2], 0, &winner));
    EXPECT(GYRE_ENOT_FOUND, gyre_session_assign(pool, "t", 12345, 0, &winner));
    EXPECT(GYRE_ENOT_FOUND, gyre_session_get(pool, "t", &winner));
    OK(gyre_session_assign(pool, "s", 12345, 0, NULL)); /* it has one: the pick does not matter */
    OK(gyre_pool_drain(pool, ids[1]));
    OK(gyre_session_assign(pool, "s", ids[0], 0, &winner));
    EXPECT_COUNT(winner, ids[0], "the second is out");
    OK(gyre_pool_remove(pool, ids[0]));
    EXPECT(GYRE_ENOT_FOUND, gyre_session_get(pool, "s", &winner));
    gyre_pool_close(pool);
}

/* Writes over what is `skip` bytes behind the start of `from` in the file, wherever that is; how often it was there. */
static int overwrite_bytes(const char *path, const void *from, size_t n_from, size_t skip, const void *to, size_t n_to)
{
    int fd = open(path, O_RDWR), n = 0;
    off_t size = lseek(fd, 0, SEEK_END);
    char *map = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *at = map;

    assert_true(fd >= 0 && map != MAP_FAILED);
    while ((at = memmem(at, (size_t)(map + size - at), from, n_from)) != NULL) {
        memcpy(at + skip, to, n_to);
        at += n_from;
        n++;
    }
    munmap(map, (size_t)size);
    close(fd);
    return n;
}

static int overwrite(const char *path, const char *from, const char *to)
{
    return overwrite_bytes(path, from, strlen(from), 0, to, strlen(to));
}

/* What is damaged is found and dropped; the rest stays. */
static void test_damage(void **state)
{
    static const struct {
        const char *from, *to;
    } damage[] = {{"needle-1", "needle-7"}, {"needle-2", "need e-2"}, {"needle-3", "\xff\xff\xff\xff\xff\xff\xff\xff"},
                  {"counted", "cruelty"}};
    struct gyre_options options = manual_options();
    uint64_t ids[N];
    struct gyre_pool *pool;
    char name[32];

    (void)state;
    options.path = temp_path("damage");
    options.max_sessions = 120;
    options.max_proxies = 64;
    pool = pool_of(N, ids, &options);
    OK(gyre_counter_add(pool, "counted", 5, NULL));
    OK(gyre_counter_add(pool, "other", 6, NULL));
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof name, "needle-%d", i);
        OK(gyre_session_assign(pool, name, ids[i], 0, NULL));
    }
    for (size_t i = 0; i < COUNT(damage); i++) {
        double value;

        assert_int_equal(gyre_pool_check(pool, NULL), 0);
        assert_int_equal(overwrite(options.path, damage[i].from, damage[i].to), 1);
        assert_int_equal(gyre_pool_check(pool, NULL), 1);
        OK(gyre_pool_repair(pool));
        assert_int_equal(gyre_pool_check(pool, NULL), 0);
        if (i < 3) EXPECT(GYRE_ENOT_FOUND, gyre_session_get(pool, damage[i].from, NULL));
        OK(gyre_counter_get(pool, "other", &value));
        assert_true(value == 6);
    }
    EXPECT(GYRE_ENOT_FOUND, gyre_counter_get(pool, "counted", NULL));
    assert_int_equal(overwrite_bytes(options.path, &ids[4], sizeof ids[4], 13, "seal", 3), 1);
    EXPECT(GYRE_ENOT_FOUND, gyre_session_get(pool, "needle-4", NULL));
    assert_int_equal(gyre_pool_check(pool, NULL), 1);
    OK(gyre_pool_repair(pool));
    assert_int_equal(gyre_pool_check(pool, NULL), 0);
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof name, "needle-%d", i);
        EXPECT(i >= 1 && i <= 4 ? GYRE_ENOT_FOUND : 0, gyre_session_get(pool, name, NULL));
    }
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_assign),
        cmocka_unit_test(test_damage),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}
