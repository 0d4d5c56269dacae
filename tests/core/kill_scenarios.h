/*
 * What test_kill_points.c kills: operations ("acts") and the situations they meet. An act reports nothing: its process may die
 * at any instruction of it.
 */
#ifndef GYRE_TEST_KILL_SCENARIOS_H
#define GYRE_TEST_KILL_SCENARIOS_H

#include "support.h"

#include "step.h"

#include <sys/wait.h>
#include <unistd.h>

enum { PROXIES = 8, CAPACITY = 64, LEASES = 192 };

struct world {
    struct gyre_pool *pool;
    uint64_t id[PROXIES];
    struct gyre_lease mine[2]; /* held by the survivor, on proxies 6 and 7 */
    int holding;
    struct gyre_lease lease; /* the victim's */
    int verdict, picker;
    int second; /* the victim meets what another dead process left */
    uint64_t kill_first_at;
};

struct scenario {
    const char *name;
    int verdict, picker;
    void (*situation)(struct world *); /* by the survivor */
    void (*before)(struct world *);    /* by the victim, not stepped */
    void (*act)(void *);               /* by the victim, step by step */
    uint32_t about;                    /* so many instructions: where a random one is chosen */
};

/* ---- acts ---- */

static void act_nothing(void *argument)
{
    (void)argument;
}

static void act_acquire(void *argument)
{
    struct world *world = argument;
    struct gyre_request request = {.size = sizeof request, .picker = (uint32_t)world->picker, .key = "k"};

    gyre_acquire(world->pool, &request, &world->lease);
}

static void act_acquire_first(void *argument)
{
    struct world *world = argument;

    gyre_acquire_id(world->pool, world->id[0], &world->lease);
}

static void act_probe_first(void *argument)
{
    struct world *world = argument;

    gyre_probe(world->pool, world->id[0], &world->lease);
}

static void act_complete(void *argument)
{
    struct world *world = argument;

    gyre_complete_ms(world->pool, &world->lease, world->verdict, 20.0);
}

static void act_add(void *argument)
{
    struct world *world = argument;
    struct gyre_proxy_spec spec = {.size = sizeof spec,
                                   .url = "socks5://new:pass%20word@198.51.100.9:99",
                                   .country = "xx",
                                   .tags = "one,two",
                                   .max_active = 3,
                                   .has_max_active = 1};

    gyre_pool_add(world->pool, &spec, NULL);
}

static void act_update(void *argument)
{
    struct world *world = argument;
    struct gyre_proxy_spec spec = {.size = sizeof spec, .country = "yy", .max_active = 2, .has_max_active = 1};

    gyre_pool_update(world->pool, world->id[0], &spec);
}

static void act_remove(void *argument)
{
    struct world *world = argument;

    gyre_pool_remove(world->pool, world->id[0]);
}

static void act_disable(void *argument)
{
    struct world *world = argument;

    gyre_pool_disable(world->pool, world->id[0]);
}

static void act_enable(void *argument)
{
    struct world *world = argument;

    gyre_pool_enable(world->pool, world->id[0]);
}

static void act_reset(void *argument)
{
    struct world *world = argument;

    gyre_pool_reset_counters(world->pool);
}

static void act_books(void *argument)
{
    struct world *world = argument;
    struct gyre_books books = {.size = sizeof books, .state = GYRE_OPEN, .succeeded = 10, .failed = 4, .aborted = 2,
                               .bytes = 5000, .ema_ms = 44, .success_rate = 0.5, .used_ago = 3, .sampled_ago = 4,
                               .bench_left = 9, .level = 12, .opened = 2, .consecutive_failures = 6, .notes = 1,
                               .note = {{.ago = 5, .started = 8, .succeeded = 5, .failed = 2}}};

    gyre_books_set(world->pool, world->id[0], &books);
}

static void act_close(void *argument)
{
    struct world *world = argument;

    gyre_pool_close(world->pool);
}

/* Seconds later: expires, reaps and ends benches on the way. */
static void act_tick(void *argument)
{
    struct world *world = argument;

    gyre_pool_set_time(world->pool, gyre_pool_time(world->pool) + 1000.0);
    gyre_acquire_id(world->pool, world->id[1], &world->lease);
}

static void act_lock(void *argument)
{
    struct world *world = argument;
    struct gyre_proxy proxy = {.size = sizeof proxy};

    gyre_pool_get(world->pool, world->id[1], &proxy);
}

static void act_country(void *argument)
{
    struct world *world = argument;
    struct gyre_request request = {.size = sizeof request, .country = "DE"};

    gyre_acquire(world->pool, &request, &world->lease);
}

static void act_session(void *argument)
{
    struct world *world = argument;
    struct gyre_request request = {.size = sizeof request, .session = "cart-17"};

    gyre_acquire(world->pool, &request, &world->lease);
}

static void act_session_close(void *argument)
{
    struct world *world = argument;

    gyre_session_close(world->pool, "cart-17");
}

static void act_ban(void *argument)
{
    struct world *world = argument;

    gyre_host_ban(world->pool, world->id[0], "shop.example", 60.0);
}

static void act_unban(void *argument)
{
    struct world *world = argument;

    gyre_host_unban(world->pool, world->id[0], "shop.example");
}

static void act_counter(void *argument)
{
    struct world *world = argument;

    gyre_counter_add(world->pool, "pages", 1.0, NULL);
}

/* Long enough that most of its instructions are the copying of the record. */
static void act_strategy(void *argument)
{
    struct world *world = argument;
    struct gyre_strategy strategy = {.size = sizeof strategy, .picker = GYRE_PICK_RANDOM, .name = "random"};

    gyre_strategy_set(world->pool, &strategy, NULL);
}

static void act_repair(void *argument)
{
    struct world *world = argument;

    gyre_pool_repair(world->pool);
}

/* ---- what the victim does first ---- */

static void hold_for_host(struct world *world)
{
    struct gyre_request request = {.size = sizeof request, .host = "shop.example"};

    REQUIRE(gyre_acquire(world->pool, &request, &world->lease) == 0);
}

static void hold_first(struct world *world)
{
    REQUIRE(gyre_acquire_id(world->pool, world->id[0], &world->lease) == 0);
}

static void hold_probe(struct world *world)
{
    REQUIRE(gyre_probe(world->pool, world->id[0], &world->lease) == 0);
}

static void hold_removed(struct world *world)
{
    hold_first(world);
    REQUIRE(gyre_pool_remove(world->pool, world->id[0]) == 0);
}

static void hold_many(struct world *world)
{
    struct gyre_lease lease;

    for (int i = 0; i < 20; i++) REQUIRE(gyre_acquire(world->pool, NULL, &lease) == 0);
}

/* The thread's record exists and the handle is the child's own: only the act itself is stepped. */
static void touch(struct world *world)
{
    struct gyre_proxy proxy = {.size = sizeof proxy};

    REQUIRE(gyre_pool_get(world->pool, world->id[1], &proxy) == 0);
}

/* ---- situations ---- */

static void fail_first(struct world *world)
{
    for (int i = 0; i < 4; i++) use_proxy(world->pool, world->id[0], GYRE_PROXY_BAD);
}

static void bench_first(struct world *world)
{
    for (int i = 0; i < 5; i++) use_proxy(world->pool, world->id[0], GYRE_PROXY_BAD);
    assert_int_equal(proxy_of(world->pool, world->id[0]).state, GYRE_OPEN);
}

static void half_open_first(struct world *world)
{
    bench_first(world);
    pass_time(world->pool, 40.0);
    use_proxy(world->pool, world->id[1], GYRE_OK);
    assert_int_equal(proxy_of(world->pool, world->id[0]).state, GYRE_HALF_OPEN);
}

static void limit_first(struct world *world)
{
    struct gyre_proxy_spec spec = {.size = sizeof spec, .max_active = 1, .has_max_active = 1};

    OK(gyre_pool_update(world->pool, world->id[0], &spec));
}

static void remove_last(struct world *world)
{
    OK(gyre_pool_remove(world->pool, world->id[PROXIES - 3]));
}

static void rate_first(struct world *world)
{
    struct gyre_proxy_spec spec = {.size = sizeof spec, .rate = "2/10s"};

    OK(gyre_pool_update(world->pool, world->id[0], &spec));
}

static void limit_life(struct world *world)
{
    struct gyre_proxy_spec spec = {.size = sizeof spec, .ttl = 50.0, .has_ttl = 1};

    OK(gyre_pool_update(world->pool, world->id[0], &spec));
}

static void open_session(struct world *world)
{
    act_session(world);
    OK(gyre_complete_ms(world->pool, &world->lease, GYRE_OK, 10.0));
}

static void lose_session(struct world *world)
{
    open_session(world);
    OK(gyre_pool_disable(world->pool, world->lease.id));
}

static void ban_first(struct world *world)
{
    act_ban(world);
}

/* Another process has died, with leases in flight. */
static void leave_leases(struct world *world)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (!child) {
        hold_many(world);
        _exit(0);
    }
    reap(child);
}

/* Another process died in the middle of an add or a remove, with the lock in its hand when the moment was right. */
static void die_inside(struct world *world)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (!child) {
        hold_first(world);
        touch(world);
        step_through(world->kill_first_at % 2 ? act_remove : act_add, world, world->kill_first_at / 2 % 1500 + 1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void set_strategy(struct world *world)
{
    struct gyre_strategy strategy = {.size = sizeof strategy, .picker = GYRE_PICK_LEAST_USED, .name = "least-used"};

    OK(gyre_strategy_set(world->pool, &strategy, NULL));
}

static const struct scenario scenarios[] = {
    {"acquire, first call of a process", 0, GYRE_PICK_ROUND_ROBIN, NULL, NULL, act_acquire, 4400},
    {"acquire round-robin", 0, GYRE_PICK_ROUND_ROBIN, NULL, touch, act_acquire, 700},
    {"acquire random", 0, GYRE_PICK_RANDOM, NULL, touch, act_acquire, 700},
    {"acquire least-used", 0, GYRE_PICK_LEAST_USED, NULL, touch, act_acquire, 2500},
    {"acquire least-active", 0, GYRE_PICK_LEAST_ACTIVE, NULL, touch, act_acquire, 20000},
    {"acquire best", 0, GYRE_PICK_BEST, NULL, touch, act_acquire, 2300},
    {"acquire weighted", 0, GYRE_PICK_WEIGHTED, NULL, touch, act_acquire, 2400},
    {"acquire hash", 0, GYRE_PICK_HASH, NULL, touch, act_acquire, 2300},
    {"acquire one with a limit", 0, 0, limit_first, touch, act_acquire_first, 700},
    {"acquire a probe", 0, 0, half_open_first, touch, act_acquire_first, 700},
    {"complete ok", GYRE_OK, 0, NULL, hold_first, act_complete, 700},
    {"complete ok after failures", GYRE_OK, 0, fail_first, hold_first, act_complete, 700},
    {"complete banned", GYRE_BANNED, 0, NULL, hold_first, act_complete, 700},
    {"complete throttled", GYRE_THROTTLED, 0, NULL, hold_first, act_complete, 700},
    {"complete proxy_bad", GYRE_PROXY_BAD, 0, NULL, hold_first, act_complete, 700},
    {"complete proxy_bad, opens", GYRE_PROXY_BAD, 0, fail_first, hold_first, act_complete, 700},
    {"complete target_bad", GYRE_TARGET_BAD, 0, NULL, hold_first, act_complete, 700},
    {"complete aborted", GYRE_ABORTED, 0, NULL, hold_first, act_complete, 700},
    {"complete with a limit", GYRE_OK, 0, limit_first, hold_first, act_complete, 700},
    {"fail with a limit", GYRE_PROXY_BAD, 0, limit_first, hold_first, act_complete, 700},
    {"probe ok", GYRE_OK, 0, half_open_first, hold_first, act_complete, 700},
    {"probe proxy_bad", GYRE_PROXY_BAD, 0, half_open_first, hold_first, act_complete, 700},
    {"probe aborted", GYRE_ABORTED, 0, half_open_first, hold_first, act_complete, 700},
    {"complete ok, removed", GYRE_OK, 0, NULL, hold_removed, act_complete, 700},
    {"complete proxy_bad, removed", GYRE_PROXY_BAD, 0, NULL, hold_removed, act_complete, 700},
    {"complete aborted, removed", GYRE_ABORTED, 0, NULL, hold_removed, act_complete, 700},
    {"add", 0, 0, NULL, touch, act_add, 5000},
    {"add in a used slot", 0, 0, remove_last, touch, act_add, 5000},
    {"update", 0, 0, NULL, touch, act_update, 1600},
    {"remove", 0, 0, NULL, touch, act_remove, 700},
    {"remove, in flight", 0, 0, NULL, hold_first, act_remove, 700},
    {"remove, benched", 0, 0, bench_first, touch, act_remove, 700},
    {"disable", 0, 0, NULL, touch, act_disable, 700},
    {"enable, benched", 0, 0, bench_first, touch, act_enable, 700},
    {"reset counters", 0, 0, fail_first, hold_first, act_reset, 2200},
    {"probe a benched one", 0, 0, bench_first, touch, act_probe_first, 1200},
    {"its probe ok", GYRE_OK, 0, bench_first, hold_probe, act_complete, 900},
    {"its probe proxy_bad", GYRE_PROXY_BAD, 0, bench_first, hold_probe, act_complete, 900},
    {"its probe aborted", GYRE_ABORTED, 0, bench_first, hold_probe, act_complete, 900},
    {"set books", 0, 0, fail_first, hold_first, act_books, 2600},
    {"set books, with a rate", 0, 0, rate_first, touch, act_books, 2600},
    {"close with leases", 0, 0, NULL, hold_many, act_close, 20000},
    {"tick expires", 0, 0, NULL, touch, act_tick, 20000},
    {"tick ends a bench", 0, 0, bench_first, touch, act_tick, 20000},
    {"tick buries", 0, 0, leave_leases, touch, act_tick, 20000},
    {"inherit the lock", 0, 0, die_inside, NULL, act_lock, 3400},
    {"acquire in a country", 0, 0, NULL, touch, act_country, 6800},
    {"acquire with a rate", 0, 0, rate_first, touch, act_acquire_first, 700},
    {"a new session", 0, 0, NULL, touch, act_session, 2400},
    {"an old session", 0, 0, open_session, touch, act_session, 1400},
    {"a session moves", 0, 0, lose_session, touch, act_session, 2800},
    {"close a session", 0, 0, open_session, touch, act_session_close, 1300},
    {"banned by a host", GYRE_BANNED, 0, NULL, hold_for_host, act_complete, 1400},
    {"banned by hand", 0, 0, NULL, touch, act_ban, 1600},
    {"unban", 0, 0, ban_first, touch, act_unban, 1900},
    {"throttled by a host", GYRE_THROTTLED, 0, NULL, hold_for_host, act_complete, 700},
    {"a new counter", 0, 0, NULL, touch, act_counter, 13000},
    {"the first strategy", 0, 0, NULL, touch, act_strategy, 14000},
    {"another strategy", 0, 0, set_strategy, touch, act_strategy, 14000},
    {"tick ends a TTL", 0, 0, limit_life, touch, act_tick, 20000},
    {"repair", 0, 0, leave_leases, touch, act_repair, 60000},
};

#endif
