/*
 * test_frontier_kill.c: a crawl in a child process, killed at random moments and continued, until it is done: each page
 * has its items exactly once, and no page is taken more often than once and once a kill. No network: a page is a number
 * that leads to two others. GYRE_LONG=1: 300 kills.
 */
#include "frontiers.h"
#include "instrumented.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { PAGES = 5000, PLACES = 8 };

/* Shared with the children: how often each page was taken, and how many takes there were. */
struct progress {
    unsigned takes;
    unsigned char times[PAGES + 1];
};

static void page_url(char *url, int page)
{
    snprintf(url, 64, "http://h%d/%d", page % 7, page);
}

/* Ends a page: it leads to 2n and 2n + 1, and has one item, its number. */
static void end_page(struct gyre__frontier *frontier, struct gyre__taken *taken)
{
    struct gyre__follow follows[2];
    char urls[2][64], item[32];
    const char *items[] = {item};
    int host, page;
    size_t count = 0;

    if (sscanf(taken->url, "http://h%d/%d", &host, &page) != 2) abort();
    for (int next = 2 * page; next <= 2 * page + 1; next++)
        if (next <= PAGES) {
            page_url(urls[count], next);
            follows[count] = frontiers_follow(urls[count], 0, 0);
            count++;
        }
    size_t size = (size_t)snprintf(item, sizeof item, "%d\n", page);
    struct gyre__finish finish = {.end = GYRE__END_DONE, .retry_after = -1, .follows = follows, .follow_count = count,
                                  .items = items, .item_sizes = &size, .item_count = 1};
    if (gyre__frontier_finish(frontier, taken, 0, &finish) < 0) abort();
    gyre__taken_clear(taken);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The child: takes up to PLACES pages, ends them, commits, and so on. Exits 0 when the frontier is empty. */
static void crawl(enum gyre__compression compression, const char *out, struct progress *progress)
{
    struct gyre__frontier_options options = frontiers_options("kill");
    char why[512];
    int resumed;

    options.concurrency = PLACES;
    options.output = (struct gyre__output_options){out, compression, 4000};
    struct gyre__frontier *frontier = gyre__frontier_open(&options, &resumed, why, sizeof why);
    if (!frontier) _exit(3);
    struct gyre__follow start = frontiers_follow("http://h1/1", 0, 0);
    gyre__frontier_add(frontier, &start, 1);
    for (;;) {
        struct gyre__taken taken[PLACES];
        int count = 0, kind = GYRE__TAKE_PAGE;
        double wait;
        while (count < PLACES && (kind = gyre__frontier_take(frontier, seconds(), &taken[count], &wait)) == GYRE__TAKE_PAGE) {
            progress->times[atoi(strchr(taken[count].url + 8, '/') + 1)]++;
            __atomic_add_fetch(&progress->takes, 1, __ATOMIC_RELEASE);
            count++;
        }
        if (kind < 0) _exit(4);
        if (count == 0 && kind == GYRE__TAKE_EMPTY) break;
        for (int i = 0; i < count; i++) end_page(frontier, &taken[i]);
        if (gyre__frontier_commit(frontier, seconds()) < 0) _exit(5);
    }
    _exit(gyre__frontier_close(frontier, why, sizeof why) == 0 ? 0 : 6);
}

static void pause_us(long microseconds)
{
    nanosleep(&(struct timespec){0, microseconds * 1000}, NULL);
}

/* Kills the child a moment after it has taken so many pages more; 0: never. By progress and not by time, which is another on each
 * machine. Returns whether it was killed. */
static int run_and_kill(enum gyre__compression compression, const char *out, struct progress *progress, unsigned takes)
{
    unsigned before = progress->takes;
    int status = 0;
    pid_t child = fork(), ended = 0;

    assert_true(child >= 0);
    if (child == 0) crawl(compression, out, progress);
    if (takes) {
        while (!(ended = waitpid(child, &status, WNOHANG)) &&
               __atomic_load_n(&progress->takes, __ATOMIC_ACQUIRE) - before < takes)
            pause_us(50);
        pause_us(rand() % 300);
        if (!ended) kill(child, SIGKILL);
    }
    if (!ended) ended = waitpid(child, &status, 0);
    assert_int_equal(ended, child);
    if (WIFSIGNALED(status)) return 1;
    assert_int_equal(WEXITSTATUS(status), 0);
    return 0;
}

static void check_items(const char *command)
{
    unsigned char seen[PAGES + 1] = {0};
    FILE *pipe = popen(command, "r");
    int page;

    while (fscanf(pipe, "%d\n", &page) == 1) {
        assert_in_range(page, 1, PAGES);
        assert_int_equal(seen[page]++, 0);
    }
    assert_true(feof(pipe));
    assert_int_equal(pclose(pipe), 0);
    for (page = 1; page <= PAGES; page++) assert_int_equal(seen[page], 1);
}

static void check_kills(enum gyre__compression compression, const char *name, const char *read)
{
    int wanted = is_instrumented() ? 3 : getenv("GYRE_LONG") ? 300 : 20, kills = 0;
    char out[256], command[600];
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    strcpy(out, frontiers_path(name));
    unlink(frontiers_path("kill"));
    unlink(frontiers_path("kill-wal"));
    srand(7);
    while (kills < wanted && run_and_kill(compression, out, progress, 1 + (unsigned)(rand() % (PAGES / wanted)))) kills++;
    assert_true(is_instrumented() || kills >= 5);
    assert_int_equal(run_and_kill(compression, out, progress, 0), 0);
    snprintf(command, sizeof command, "%s '%s'/%.1s*", read, frontiers_folder, name);
    check_items(command);

    for (int page = 1; page <= PAGES; page++) assert_true(progress->times[page] >= 1);
    int again = (int)progress->takes - PAGES;
    print_message("%d kills, %d pages taken again, %d allowed\n", kills, again, kills * PLACES);
    assert_true(again <= kills * PLACES);
    munmap(progress, sizeof *progress);
}

static void test_plain(void **state)
{
    (void)state;
    check_kills(GYRE__PLAIN, "plain.jsonl", "cat");
}

static void test_gzip(void **state)
{
    (void)state;
    check_kills(GYRE__GZIP, "gz.jsonl.gz", "gzip -dc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_gzip)};
    return cmocka_run_group_tests(tests, frontiers_begin, frontiers_finish);
}
