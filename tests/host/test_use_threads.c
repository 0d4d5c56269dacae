/*
 * Many threads whose acquires run Lua: strategies are swapped under them, and every acquire that begins after a swap is by
 * the new one or a newer; a hundred of them hold ten thousand leases at once, for every built-in strategy; nothing is lost.
 */
#include "support.h"

#include <dirent.h>
#include <gyre/host.h>
#include <pthread.h>
#include <time.h>

enum { THREADS = 100, EACH = 100, N = 50 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Fewer where all is slow: a Lua state each. */
static unsigned threads(void)
{
    return under_valgrind() ? 8 : UNDER_SANITIZER ? 32 : THREADS;
}

static int each(void)
{
    return under_valgrind() ? EACH / 5 : EACH;
}

/* ---- hot swap ---- */

struct swapping {
    struct gyre_pool *pool;
    uint64_t *ids;
    pthread_barrier_t *warm;
    uint32_t *swaps; /* the k that is in use, at least */
    int *stop;
    uint64_t leases;
};

static void *acquire_on(void *argument)
{
    struct swapping *own = argument;
    struct gyre_lease lease;
    REQUIRE(gyre_acquire(own->pool, NULL, &lease) == 0 && gyre_complete_ms(own->pool, &lease, GYRE_OK, 1) == 0);
    own->leases = 1;
    pthread_barrier_wait(own->warm);
    while (!__atomic_load_n(own->stop, __ATOMIC_ACQUIRE)) {
        uint32_t least = __atomic_load_n(own->swaps, __ATOMIC_ACQUIRE), k = 0;
        REQUIRE(gyre_acquire(own->pool, NULL, &lease) == 0);
        while (own->ids[k] != lease.id) k++;
        REQUIRE(k >= least); /* the strategy of swap k picks the k-th proxy */
        REQUIRE(gyre_complete_ms(own->pool, &lease, GYRE_OK, 1) == 0);
        /* A request takes its time; and the swapping thread must get its turn on a machine with few cores. */
        if (++own->leases % 10 == 0) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return NULL;
}

static const char *kth_script(void)
{
    static char path[256];
    snprintf(path, sizeof path, "%s.lua", temp_path("kth"));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("return { name = 'kth', options = { k = 1 }, configure = function(self, options) self.k = options.k end,\n"
          "  select = function(self, view) return view[self.k] end, record = function() end }\n", file);
    fclose(file);
    return path;
}

/* Changes the strategy; the swap is done when this returns. Returns the time it took. */
static double swap_to(struct swapping *shared, const char *path, uint32_t k)
{
    char options[32];
    double began = now_ms();
    snprintf(options, sizeof options, "{\"k\": %u}", k + 1);
    OK(gyre_host_use(shared->pool, path, options));
    __atomic_store_n(shared->swaps, k, __ATOMIC_RELEASE);
    return now_ms() - began;
}

static void test_swaps_under_threads(void **state)
{
    uint32_t all = under_valgrind() ? 5 : 20;
    static struct swapping own[THREADS];
    uint64_t ids[N], leases = 0;
    uint32_t swaps = 0, n = threads();
    int stop = 0;
    pthread_t thread[THREADS];
    pthread_barrier_t warm;
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    struct swapping shared = {pool, ids, &warm, &swaps, &stop, 0};
    const char *path = kth_script();
    double slowest = 0;

    (void)state;
    pthread_barrier_init(&warm, NULL, n + 1);
    swap_to(&shared, path, 0);
    for (uint32_t i = 0; i < n; i++) {
        own[i] = shared;
        assert_int_equal(pthread_create(&thread[i], NULL, acquire_on, &own[i]), 0);
    }
    pthread_barrier_wait(&warm);
    for (uint32_t k = 1; k <= all; k++) {
        double took = swap_to(&shared, path, k);
        if (took > slowest) slowest = took;
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < n; i++) {
        pthread_join(thread[i], NULL);
        leases += own[i].leases;
    }
    struct gyre_stats stats = stats_of(pool);
    EXPECT_COUNT(stats.succeeded, leases, "none is lost");
    EXPECT_COUNT(stats.active, 0, "none is left");
    printf("%u swaps under %u threads and %llu leases: the slowest took %.1f ms\n", all, n, (unsigned long long)leases,
           slowest);
    pthread_barrier_destroy(&warm);
    gyre_pool_close(pool);
}

/* ---- ten thousand at once ---- */

struct holding {
    struct gyre_pool *pool;
    pthread_barrier_t *all;
    uint32_t number;
};

/* What any strategy could ask of a request. */
static void *hold(void *argument)
{
    struct holding *own = argument;
    struct gyre_lease lease[EACH];
    char session[32];
    struct gyre_request request = {.size = sizeof request, .session = session, .host = "shop.example", .key = session};
    for (int i = 0; i < each(); i++) {
        snprintf(session, sizeof session, "s-%u-%d", own->number, i);
        REQUIRE(gyre_acquire(own->pool, &request, &lease[i]) == 0);
    }
    pthread_barrier_wait(own->all);
    pthread_barrier_wait(own->all); /* looked at */
    for (int i = 0; i < each(); i++)
        REQUIRE(gyre_complete_ms(own->pool, &lease[i], i % 10 ? GYRE_OK : GYRE_TARGET_BAD, 1 + i) == 0);
    return NULL;
}

static void hold_all(struct gyre_pool *pool, const char *name)
{
    static struct holding own[THREADS];
    uint32_t n = threads();
    pthread_t thread[THREADS];
    pthread_barrier_t all;
    struct gyre_stats before = stats_of(pool);
    pthread_barrier_init(&all, NULL, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        own[i] = (struct holding){pool, &all, i};
        assert_int_equal(pthread_create(&thread[i], NULL, hold, &own[i]), 0);
    }
    pthread_barrier_wait(&all);
    EXPECT_COUNT(stats_of(pool).active, (uint64_t)n * (unsigned)each(), "%s: in flight", name);
    pthread_barrier_wait(&all);
    for (uint32_t i = 0; i < n; i++) pthread_join(thread[i], NULL);
    struct gyre_stats after = stats_of(pool);
    EXPECT_COUNT(after.active, 0, "%s: at the end", name);
    EXPECT_COUNT(after.completed - before.completed, (uint64_t)n * (unsigned)each(), "%s: completed", name);
    pthread_barrier_destroy(&all);
}

/* A pool in which nothing is missing that a strategy may require. */
static struct gyre_pool *rich_pool(void)
{
    static const char *const countries[] = {"DE", "FR", "US"};
    uint64_t ids[N];
    struct gyre_pool *pool = pool_of(N, ids, NULL);
    for (int i = 0; i < N; i++) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .country = countries[i % 3], .region = "west", .tags = "cheap",
                                       .has_cost = 1, .cost = i % 4, .has_weight = 1, .weight = 1 + i % 3};
        OK(gyre_pool_update(pool, ids[i], &spec));
    }
    return pool;
}

static void test_every_builtin(void **state)
{
    struct gyre_pool *pool = rich_pool();
    DIR *folder = opendir(SOURCE_DIR "/strategies");
    struct dirent *entry;
    int tried = 0;

    (void)state;
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        char name[256];
        char *end;
        snprintf(name, sizeof name, "%s", entry->d_name);
        if (!(end = strstr(name, ".lua"))) continue;
        *end = 0;
        OK(gyre_host_use(pool, name, strcmp(name, "composite") ? NULL : "{\"strategy\": \"least-used\"}"));
        hold_all(pool, name);
        tried++;
    }
    closedir(folder);
    assert_true(tried >= 9);
    /* And one that is Lua all the way. */
    OK(gyre_host_use(pool, kth_script(), "{\"k\": 3}"));
    hold_all(pool, "kth");
    gyre_pool_close(pool);
}

static int find_modules(void **state)
{
    (void)state;
    setenv("GYRE_LUA_PATH", SOURCE_DIR "/lua", 1);
    setenv("GYRE_STRATEGY_PATH", SOURCE_DIR "/strategies", 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swaps_under_threads),
        cmocka_unit_test(test_every_builtin),
    };
    return cmocka_run_group_tests(tests, find_modules, remove_temp);
}
