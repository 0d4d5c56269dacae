/*
 * Sums: a hundred threads, then sixteen processes, take and end leases with random verdicts as fast as they can; afterwards
 * every counter of every proxy is what they wrote down, exactly. 10,000,000 leases each under GYRE_LONG=1.
 */
#include "support.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PROXIES = 30, THREADS = 100, PROCESSES = 16, HANDS = 4, MAX_WORKERS = THREADS };
enum { SUCCEEDED, FAILED, ABORTED, ENDS };

struct book {
    uint64_t started[PROXIES], ended[PROXIES][ENDS], bytes[PROXIES];
};

struct task {
    struct gyre_pool *pool;
    struct book *book;
    uint64_t seed;
    unsigned long leases;
};

static struct book *books; /* shared with the children */

static int end_of(uint32_t verdict)
{
    if (verdict == GYRE_PROXY_BAD || verdict == GYRE_BANNED) return FAILED;
    return verdict == GYRE_ABORTED ? ABORTED : SUCCEEDED;
}

static void end_lease(const struct task *task, struct gyre_lease *lease, struct rng *rng)
{
    struct gyre_outcome outcome = outcome_of(rng_below(rng, 2) ? GYRE_OK : 1 + (int)rng_below(rng, 6));

    outcome.has_ms = 1;
    outcome.ms = 100 * rng_unit(rng);
    outcome.bytes = rng_below(rng, 1000);
    REQUIRE(gyre_complete(task->pool, lease, &outcome) == 0);
    task->book->ended[lease->slot][end_of(outcome.verdict)]++;
    task->book->bytes[lease->slot] += outcome.bytes;
}

static void *work(void *argument)
{
    const struct task *task = argument;
    struct rng rng = {task->seed};
    struct gyre_lease lease[HANDS];
    int holds[HANDS] = {0};
    struct gyre_request request = {.size = sizeof request, .key = "k"};

    for (unsigned long taken = 0; taken < task->leases;) {
        uint32_t hand = rng_below(&rng, HANDS);

        if (holds[hand]) {
            end_lease(task, &lease[hand], &rng);
        } else {
            request.picker = rng_below(&rng, GYRE_PICK_HASH + 1);
            REQUIRE(gyre_acquire(task->pool, &request, &lease[hand]) == 0);
            REQUIRE(lease[hand].slot < PROXIES);
            task->book->started[lease[hand].slot]++;
            taken++;
        }
        holds[hand] = !holds[hand];
    }
    for (int hand = 0; hand < HANDS; hand++)
        if (holds[hand]) end_lease(task, &lease[hand], &rng);
    return NULL;
}

static void work_in_process(void *argument)
{
    work(argument);
}

static void check_books(struct gyre_pool *pool, const uint64_t *ids, unsigned workers, uint64_t leases)
{
    struct gyre_stats stats = stats_of(pool);

    EXPECT_COUNT(stats.started, leases, "of all");
    EXPECT_COUNT(stats.active, 0, "of all");
    for (int p = 0; p < PROXIES; p++) {
        struct gyre_proxy proxy = proxy_of(pool, ids[p]);
        struct book sum = {0};

        for (unsigned w = 0; w < workers; w++) {
            sum.started[p] += books[w].started[p];
            sum.bytes[p] += books[w].bytes[p];
            for (int e = 0; e < ENDS; e++) sum.ended[p][e] += books[w].ended[p][e];
        }
        EXPECT_COUNT(proxy.started, sum.started[p], "proxy %d", p);
        EXPECT_COUNT(proxy.succeeded, sum.ended[p][SUCCEEDED], "proxy %d", p);
        EXPECT_COUNT(proxy.failed, sum.ended[p][FAILED], "proxy %d", p);
        EXPECT_COUNT(proxy.aborted, sum.ended[p][ABORTED], "proxy %d", p);
        EXPECT_COUNT(proxy.bytes, sum.bytes[p], "proxy %d", p);
    }
    expect_nothing_found(pool, "check");
}

static void run(unsigned workers, int processes)
{
    static struct task tasks[MAX_WORKERS];
    struct gyre_options options = {.size = sizeof options, .max_proxies = 64, .breaker_base = 0.1, .breaker_max = 0.2, .seed = 3};
    unsigned long leases = getenv("GYRE_LONG") ? 10000000 : UNDER_SANITIZER ? 50000 : under_valgrind() ? 5000 : 500000;
    uint64_t ids[PROXIES], seed = test_seed(41);
    struct gyre_pool *pool = pool_of(PROXIES, ids, &options);
    pid_t children[MAX_WORKERS];

    memset(books, 0, MAX_WORKERS * sizeof *books);
    for (unsigned i = 0; i < workers; i++) tasks[i] = (struct task){pool, &books[i], seed + i, leases / workers};
    if (!processes) run_threads(workers, work, tasks, sizeof *tasks);
    for (unsigned i = 0; processes && i < workers; i++) children[i] = spawn(work_in_process, &tasks[i]);
    for (unsigned i = 0; processes && i < workers; i++) reap(children[i]);
    check_books(pool, ids, workers, leases / workers * workers);
    gyre_pool_close(pool);
}

static void test_hundred_threads(void **state)
{
    (void)state;
    run(THREADS, 0);
}

static void test_sixteen_processes(void **state)
{
    (void)state;
    run(PROCESSES, 1);
}

static int make_books(void **state)
{
    (void)state;
    books = mmap(NULL, MAX_WORKERS * sizeof *books, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return books == MAP_FAILED ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hundred_threads), cmocka_unit_test(test_sixteen_processes)};

    return cmocka_run_group_tests(tests, make_books, NULL);
}
