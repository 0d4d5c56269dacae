/* See support.h. */
#include "support.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *result_name(int result)
{
    return result >= 0 ? "a count" : gyre_error_name(result);
}

void expect_result(int got, int wanted, const char *call, const char *file, int line)
{
    if (got == wanted) return;
    print_error("%s\n  is %d (%s: %s), expected %d (%s)\n", call, got, result_name(got), gyre_detail(), wanted,
                result_name(wanted));
    _fail(file, line);
}

void expect_count(uint64_t got, uint64_t wanted, const char *expression, const char *file, int line,
                  const char *what, ...)
{
    char text[256];
    va_list arguments;

    if (got == wanted) return;
    va_start(arguments, what);
    vsnprintf(text, sizeof text, what, arguments);
    va_end(arguments);
    print_error("%s is %" PRIu64 ", expected %" PRIu64 " (%s)\n", expression, got, wanted, text);
    _fail(file, line);
}

void expect_nothing_found(struct gyre_pool *pool, const char *when, ...)
{
    struct gyre_check report = {.size = sizeof report};
    int found = gyre_pool_check(pool, &report);
    char text[256];
    va_list arguments;

    va_start(arguments, when);
    vsnprintf(text, sizeof text, when, arguments);
    va_end(arguments);
    if (found) fail_msg("%s: %d findings, first: %s", text, found, report.first);
    assert_string_equal(report.first, "");
}

void require_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: process %d requires %s; last detail: %s\n", file, line, (int)getpid(), condition,
            gyre_detail());
    _exit(99);
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

uint32_t rng_below(struct rng *rng, uint32_t limit)
{
    return (uint32_t)(((rng_next(rng) >> 32) * limit) >> 32);
}

double rng_unit(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

uint64_t test_seed(uint64_t usual)
{
    const char *text = getenv("GYRE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : getenv("GYRE_LONG") ? (uint64_t)time(NULL) : usual;

    print_message("seed: GYRE_SEED=%" PRIu64 "\n", seed);
    return seed;
}

int under_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");

    return preload && strstr(preload, "vgpreload") != NULL;
}

unsigned long rounds(unsigned long small)
{
    if (getenv("GYRE_LONG")) small *= 20;
#ifdef __SANITIZE_THREAD__
    small /= 5;
#elif defined GYRE_PREEMPT
    small /= 3;
#elif !defined NDEBUG /* debug, asan */
    small /= 2;
#endif
    if (under_valgrind()) small /= 50;
    return small ? small : 1;
}

struct gyre_options manual_options(void)
{
    return (struct gyre_options){.size = sizeof(struct gyre_options), .clock = GYRE_CLOCK_MANUAL, .seed = 1};
}

struct gyre_pool *open_pool(const struct gyre_options *options)
{
    struct gyre_pool *pool = NULL;

    OK(gyre_pool_open(options, &pool));
    assert_non_null(pool);
    return pool;
}

struct gyre_pool *pool_of(uint32_t n, uint64_t *ids, const struct gyre_options *options)
{
    struct gyre_options defaults = manual_options();
    struct gyre_pool *pool = open_pool(options ? options : &defaults);

    if (!options || options->clock == GYRE_CLOCK_MANUAL) OK(gyre_pool_set_time(pool, 1000.0));
    add_numbered(pool, 0, n, ids);
    return pool;
}

uint64_t add_url(struct gyre_pool *pool, const char *url)
{
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url};
    uint64_t id = 0;

    OK(gyre_pool_add(pool, &spec, &id));
    assert_true(id != 0 && id < (UINT64_C(1) << 53));
    return id;
}

void add_numbered(struct gyre_pool *pool, uint32_t from, uint32_t n, uint64_t *ids)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t number = from + i;
        char url[64];

        snprintf(url, sizeof url, "http://10.%u.%u.%u:3128", number >> 16 & 255, number >> 8 & 255, number & 255);
        ids[i] = add_url(pool, url);
    }
}

struct gyre_proxy proxy_of(struct gyre_pool *pool, uint64_t id)
{
    struct gyre_proxy proxy = {.size = sizeof proxy};

    OK(gyre_pool_get(pool, id, &proxy));
    EXPECT_COUNT(proxy.id, id, "the id of a snapshot");
    EXPECT_COUNT(proxy.completed + proxy.active, proxy.started, "completed + active, proxy %" PRIx64, id);
    EXPECT_COUNT(proxy.succeeded + proxy.failed + proxy.aborted, proxy.completed, "sum of verdicts, proxy %" PRIx64,
                 id);
    assert_true(proxy.state >= GYRE_CLOSED && proxy.state <= GYRE_DISABLED);
    assert_true(isnan(proxy.ema_ms) || (proxy.ema_ms >= 0 && isfinite(proxy.ema_ms)));
    assert_true(proxy.success_rate >= 0 && proxy.success_rate <= 1);
    return proxy;
}

struct gyre_stats stats_of(struct gyre_pool *pool)
{
    struct gyre_stats stats = {.size = sizeof stats};

    OK(gyre_pool_stats(pool, &stats));
    EXPECT_COUNT(stats.completed + stats.active, stats.started, "completed + active of the pool");
    EXPECT_COUNT(stats.succeeded + stats.failed + stats.aborted, stats.completed, "sum of verdicts of the pool");
    EXPECT_COUNT(stats.proxies, (uint64_t)gyre_pool_count(pool), "proxies in stats and by count");
    return stats;
}

void pass_time(struct gyre_pool *pool, double seconds)
{
    OK(gyre_pool_set_time(pool, gyre_pool_time(pool) + seconds));
}

struct gyre_outcome outcome_of(int verdict)
{
    return (struct gyre_outcome){.size = sizeof(struct gyre_outcome), .verdict = (uint32_t)verdict};
}

void use_proxy(struct gyre_pool *pool, uint64_t id, int verdict)
{
    struct gyre_lease lease;

    OK(gyre_acquire_id(pool, id, &lease));
    OK(gyre_complete_ms(pool, &lease, verdict, -1.0));
}

static char temp_dir[64];

const char *temp_path(const char *name)
{
    static char path[128];
    static unsigned number;

    if (!temp_dir[0]) {
        snprintf(temp_dir, sizeof temp_dir, "/dev/shm/gyre-test-XXXXXX");
        assert_non_null(mkdtemp(temp_dir));
    }
    snprintf(path, sizeof path, "%s/%s-%u", temp_dir, name, ++number);
    return path;
}

int remove_temp(void **state)
{
    DIR *directory = temp_dir[0] ? opendir(temp_dir) : NULL;
    const struct dirent *entry;
    char path[512];

    (void)state;
    if (!directory) return 0;
    while ((entry = readdir(directory)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", temp_dir, entry->d_name);
        if (entry->d_name[0] != '.' && unlink(path) < 0) rmdir(path);
    }
    closedir(directory);
    return rmdir(temp_dir);
}

pid_t spawn(void (*function)(void *), void *argument)
{
    static const int caught[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS};
    pid_t child;

    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing running */
        /* Past cmocka's handlers and atexit: the child must never report, or clean up, as if it were the parent. */
        for (size_t i = 0; i < COUNT(caught); i++) signal(caught[i], SIG_DFL);
        function(argument);
        _exit(0);
    }
    return child;
}

void reap(pid_t child)
{
    int status = 0;

    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) print_error("child %d: signal %d\n", (int)child, WTERMSIG(status));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void slay(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

void run_threads(unsigned n, void *(*function)(void *), void *arguments, size_t argument_size)
{
    pthread_t *threads = calloc(n, sizeof *threads);

    assert_non_null(threads);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, function, (char *)arguments + i * argument_size), 0);
    for (unsigned i = 0; i < n; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    free(threads);
}
