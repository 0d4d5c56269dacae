/*
 * One operation, killed at one instruction of it, for every operation in every situation; the survivor must find
 * everything in order: nothing in flight, sums exact, every proxy pickable and findable, no slot and no lease lost.
 * A random choice of instructions (each costs microseconds), larger under GYRE_LONG. Storms (test_storm.c) meet these windows by luck; here they are visited one by one.
 */
#include "kill_scenarios.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t *shared_count; /* instructions of an act, told by the child that lives through it */

/* ---- what must hold afterwards ---- */

static uint32_t count_live(struct gyre_pool *pool, uint64_t *ids)
{
    uint32_t n = 0;
    uint64_t id = 0;

    while (gyre_pool_next(pool, &id) == 1) {
        assert_true(n < CAPACITY);
        ids[n++] = id;
    }
    return n;
}

/* Wakes whatever notices the dead: by the lock, or by time passing. */
static void notice(struct world *world, uint32_t way)
{
    struct gyre_proxy proxy = {.size = sizeof proxy};
    struct gyre_lease lease;

    if (way % 2) gyre_pool_get(world->pool, world->id[1], &proxy);
    for (int i = 0; i < 3; i++) {
        pass_time(world->pool, 1.5);
        if (gyre_acquire(world->pool, NULL, &lease) == 0) OK(gyre_complete_ms(world->pool, &lease, GYRE_OK, 10.0));
    }
}

static void check_states(struct gyre_pool *pool, const uint64_t *ids, uint32_t n)
{
    struct gyre_stats stats = stats_of(pool);
    uint32_t benched = 0, disabled = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct gyre_proxy proxy = proxy_of(pool, ids[i]);
        char url[256];
        uint64_t found = 0;

        benched += proxy.state == GYRE_OPEN || proxy.state == GYRE_HALF_OPEN;
        disabled += proxy.state == GYRE_DISABLED;
        assert_true(gyre_pool_url_with_credentials(pool, ids[i], url, sizeof url) > 0);
        OK(gyre_pool_find(pool, url, &found));
        EXPECT_COUNT(found, ids[i], "%s", url);
    }
    EXPECT_COUNT(stats.proxies, n, "live");
    EXPECT_COUNT(stats.benched, benched, "benched");
    EXPECT_COUNT(stats.disabled, disabled, "disabled");
}

/*
 * Every closed proxy comes up: once among as many leases as there are eligible proxies by round-robin and, while they
 * are held, by least-active; at all, in many picks, by least-used, random and weighted.
 */
static void check_picks(struct gyre_pool *pool, const uint64_t *ids, uint32_t n, uint32_t picker)
{
    struct gyre_request request = {.size = sizeof request, .picker = picker};
    int exact = picker == GYRE_PICK_ROUND_ROBIN || picker == GYRE_PICK_LEAST_ACTIVE;
    uint32_t seen[CAPACITY] = {0}, picks = exact ? stats_of(pool).eligible : 40 * n;
    struct gyre_lease lease[40 * CAPACITY];

    if (picker == GYRE_PICK_HASH || picker == GYRE_PICK_BEST) return; /* they may well keep to some */
    for (uint32_t i = 0; i < picks; i++) {
        OK(gyre_acquire(pool, &request, &lease[i]));
        for (uint32_t k = 0; k < n; k++) seen[k] += ids[k] == lease[i].id;
        if (!exact) OK(gyre_complete_ms(pool, &lease[i], GYRE_OK, 10.0));
    }
    for (uint32_t i = 0; exact && i < picks; i++) OK(gyre_complete_ms(pool, &lease[i], GYRE_OK, 10.0));
    for (uint32_t k = 0; k < n; k++) {
        if (proxy_of(pool, ids[k]).state != GYRE_CLOSED) continue;
        if (exact) EXPECT_COUNT(seen[k], 1, "picks of proxy %u in a round by picker %u", k, picker);
        else if (!seen[k]) fail_msg("proxy %u of %u is never picked by picker %u", k, n, picker);
    }
}

/* A session sticks, a counter counts; both may or may not have been made by the victim. */
static void check_tables(struct gyre_pool *pool)
{
    struct gyre_request request = {.size = sizeof request, .session = "cart-17", .host = "shop.example"};
    struct gyre_lease first, second;
    double value = 0;

    OK(gyre_host_throttle(pool, "shop.example", 0.0));
    OK(gyre_acquire(pool, &request, &first));
    OK(gyre_complete_ms(pool, &first, GYRE_OK, 10.0)); /* before the second: it may be the proxy with a limit */
    OK(gyre_acquire(pool, &request, &second));
    EXPECT_COUNT(second.id, first.id, "the proxy of a session");
    OK(gyre_complete_ms(pool, &second, GYRE_OK, 10.0));
    OK(gyre_counter_add(pool, "pages", 1.0, &value));
    assert_true(value == 1.0 || value == 2.0);
}

/* The segment follows one strategy whole: the one that was there, or the victim's. */
static void check_strategy(struct gyre_pool *pool)
{
    struct gyre_strategy strategy = {.size = sizeof strategy};
    static const char *const names[] = {"", "", "random", "least-used"};

    OK(gyre_strategy_get(pool, &strategy));
    if (strategy.picker > GYRE_PICK_LEAST_USED || strcmp(strategy.name, names[strategy.picker]))
        fail_msg("'%s' with picker %u", strategy.name, strategy.picker);
    EXPECT_COUNT(*gyre_strategy_generation(pool), strategy.generation, "generation");
}

/* No lease entry and no slot is lost: as many as ever can be had. */
static void check_capacity(struct gyre_pool *pool)
{
    struct gyre_lease leases[LEASES + 1];
    uint32_t n = 0, live = (uint32_t)gyre_pool_count(pool);
    uint64_t id;

    while (n <= LEASES && gyre_acquire(pool, NULL, &leases[n]) == 0) n++;
    EXPECT_COUNT(n, LEASES, "leases to be had; %s", gyre_detail());
    while (n--) OK(gyre_complete_ms(pool, &leases[n], GYRE_OK, 10.0));
    for (; live < CAPACITY; live++) add_numbered(pool, 5000 + live, 1, &id);
    EXPECT_COUNT(stats_of(pool).active, 0, "at rest");
}

static void check_world(struct world *world, uint32_t way, uint64_t started)
{
    const struct gyre_proxy_spec unpaced = {.size = sizeof unpaced, .rate = ""};
    uint64_t ids[CAPACITY];
    uint32_t n;
    struct gyre_stats stats;

    gyre_pool_update(world->pool, world->id[0], &unpaced);
    notice(world, way);
    stats = stats_of(world->pool);
    for (int i = 0; i < world->holding; i++) {
        int result = gyre_complete_ms(world->pool, &world->mine[i], GYRE_OK, 10.0);

        if (result == 0)
            EXPECT_COUNT(proxy_of(world->pool, world->id[PROXIES - 2 + i]).active, 0, "proxy of the survivor");
        else
            EXPECT(GYRE_ECLOSED, result); /* a tick a thousand seconds later has ended it */
    }
    pass_time(world->pool, 4000.0); /* all benches are over */
    notice(world, 0);
    for (uint64_t id = 0; gyre_pool_next(world->pool, &id) == 1;) /* probes out of the way */
        if (proxy_of(world->pool, id).state == GYRE_HALF_OPEN) use_proxy(world->pool, id, GYRE_OK);
    n = count_live(world->pool, ids);
    if (n < PROXIES - 1 || n > PROXIES + 1) fail_msg("%u proxies of %u are left", n, PROXIES);
    if (stats.started > started + 26)
        fail_msg("%" PRIu64 " leases started, at most %" PRIu64 " can have", stats.started, started + 26);
    EXPECT_COUNT(stats_of(world->pool).active, 0, "nothing is in flight");
    check_states(world->pool, ids, n);
    expect_nothing_found(world->pool, "check");
    for (uint32_t picker = GYRE_PICK_ROUND_ROBIN; picker <= GYRE_PICK_HASH; picker++) {
        struct gyre_request request = {.size = sizeof request, .picker = picker, .key = "k"};
        struct gyre_lease lease;

        if (gyre_acquire(world->pool, &request, &lease) != 0) continue; /* this library does not have it */
        OK(gyre_complete_ms(world->pool, &lease, GYRE_OK, 10.0));
        check_picks(world->pool, ids, n, picker);
    }
    check_tables(world->pool);
    check_strategy(world->pool);
    check_capacity(world->pool);
}

/* ---- running ---- */

static void make_world(struct world *world, const struct scenario *scenario, uint64_t kill_first_at)
{
    struct gyre_options options = manual_options();

    *world = (struct world){
        .verdict = scenario->verdict, .picker = scenario->picker, .kill_first_at = kill_first_at, .holding = 2};
    options.max_proxies = CAPACITY;
    options.max_leases = LEASES;
    options.max_sessions = options.max_bans = 64;
    world->pool = pool_of(PROXIES, world->id, &options);
    for (int i = 0; i < PROXIES; i++) use_proxy(world->pool, world->id[i], GYRE_OK);
    for (int i = 0; i < 2; i++) OK(gyre_acquire_id(world->pool, world->id[PROXIES - 2 + i], &world->mine[i]));
    if (scenario->situation) scenario->situation(world);
}

/* Runs the act in a child that dies after `kill_at` instructions. Was it killed? */
static int run_victim(struct world *world, const struct scenario *scenario, uint64_t kill_at)
{
    int status;
    pid_t child;

    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (!child) {
        alarm(300); /* slow, step by step */
        if (scenario->before) scenario->before(world);
        step_through(act_nothing, NULL, 0); /* binds what the stepping itself calls */
        *shared_count = step_through(scenario->act, world, kill_at);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return 1;
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        fail_msg("%s: the victim ended with status %x", scenario->name, status);
    return 0;
}

static const char *current;
static uint64_t current_at;

static void too_long(int number)
{
    static const char text[] = "test_kill_points: the survivor hangs; see the last line printed\n";

    (void)number;
    if (write(2, text, sizeof text - 1) < 0) _exit(98);
    _exit(99);
}

static void kill_at(const struct scenario *scenario, uint64_t point, struct rng *rng)
{
    static struct world world;
    uint64_t first = rng_next(rng), started;

    current = scenario->name;
    current_at = point;
    if (getenv("GYRE_VERBOSE"))
        print_message("%s: at instruction %" PRIu64 ", first %" PRIu64 "\n", scenario->name, point, first);
    make_world(&world, scenario, first);
    started = stats_of(world.pool).started;
    run_victim(&world, scenario, point);
    alarm(60);
    check_world(&world, rng_below(rng, 2), started);
    alarm(0);
    gyre_pool_close(world.pool);
}

/* A kill at each stride-th instruction of the act, the first at random. */
static void kill_throughout(const struct scenario *scenario, struct rng *rng)
{
    unsigned long budget = scenario->about > 10000 ? 20 : 100;
    uint64_t total, stride;

    kill_at(scenario, 0, rng); /* lives through it, and says how many instructions there are */
    total = *shared_count;
    stride = budget >= total ? 1 : total / budget;
    print_message("%s: %" PRIu64 " instructions, killed at every %" PRIu64 "th\n", scenario->name, total, stride);
    for (uint64_t point = 1 + rng_below(rng, (uint32_t)stride); point <= total; point += stride) kill_at(scenario, point, rng);
}

static void test_every_scenario(void **state)
{
    const char *only = getenv("GYRE_ONLY"), *at = getenv("GYRE_AT");
    struct rng rng = {test_seed(3)};

    (void)state;
    if (!CAN_STEP || under_valgrind()) skip();
    for (size_t i = 0; i < COUNT(scenarios); i++) {
        const struct scenario *scenario = &scenarios[i];

        if (only && !strstr(scenario->name, only)) continue;
        if (at) kill_at(scenario, strtoull(at, NULL, 10), &rng);
        else if (getenv("GYRE_LONG")) kill_throughout(scenario, &rng);
        else
            for (int k = scenario->about > 10000 ? 1 : 3; k; k--) kill_at(scenario, 1 + rng_below(&rng, scenario->about), &rng);
    }
}

/* Prints where it was when a check failed: cmocka has jumped out by then. */
static int say_where(void **state)
{
    (void)state;
    alarm(0);
    if (current)
        print_message("last: '%s' killed at instruction %" PRIu64 " (GYRE_ONLY, GYRE_AT repeat it)\n", current,
                      current_at);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_every_scenario, say_where)};

    setenv("LD_BIND_NOW", "1", 1);
    signal(SIGALRM, too_long);
    shared_count = mmap(NULL, sizeof *shared_count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
