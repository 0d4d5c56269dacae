/*
 * What the C tests share: assertions that name both values, pools with a manual clock, a seeded generator,
 * threads and processes whose failures reach the test that started them.
 *
 * cmocka's assertions jump out of the running test, so only the main thread of the main process may use them
 * (and the helpers below that do). Threads and forked children use REQUIRE, which records or exits.
 */
#ifndef GYRE_TEST_SUPPORT_H
#define GYRE_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include "gyre/gyre.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Calls and compares the result with 0 (OK) or a GYRE_E*; prints both names and gyre_detail() when they differ. */
#define EXPECT(wanted, call) expect_result((call), (wanted), #call, __FILE__, __LINE__)
#define OK(call)             EXPECT(0, call)
void expect_result(int got, int wanted, const char *call, const char *file, int line);

/* Two 64-bit counters are equal; `what` is a printf format that says which. */
#define EXPECT_COUNT(got, wanted, ...) expect_count((got), (wanted), #got, __FILE__, __LINE__, __VA_ARGS__)
void expect_count(uint64_t got, uint64_t wanted, const char *expression, const char *file, int line,
                  const char *what, ...) __attribute__((format(printf, 6, 7)));

/* gyre_pool_check() finds nothing; `when` is a printf format. */
void expect_nothing_found(struct gyre_pool *pool, const char *when, ...) __attribute__((format(printf, 2, 3)));

/* For threads and children: ends the process with a message, which fails the test as a crash would. */
#define REQUIRE(condition)                                                                                         \
    do {                                                                                                           \
        if (!(condition)) require_failed(#condition, __FILE__, __LINE__);                                          \
    } while (0)
void require_failed(const char *condition, const char *file, int line) __attribute__((noreturn));

/* splitmix64: as good as a test needs, and the same everywhere. */
struct rng {
    uint64_t state;
};
uint64_t rng_next(struct rng *rng);
uint32_t rng_below(struct rng *rng, uint32_t limit);
double rng_unit(struct rng *rng);

/* The seed of this run: GYRE_SEED, else the clock under GYRE_LONG, else `usual`. Printed, so that a failure says
 * how to repeat it. */
uint64_t test_seed(uint64_t usual);

/* How much work to do: `small` as it is, more under GYRE_LONG=1, less where all is slow (debug, asan, tsan, preempt,
 * valgrind). */
unsigned long rounds(unsigned long small);
int under_valgrind(void);
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define UNDER_SANITIZER 1
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

/* Options with size, a manual clock and a fixed seed set; the rest are defaults. */
struct gyre_options manual_options(void);
struct gyre_pool *open_pool(const struct gyre_options *options);

/* A private pool of `n` proxies http://10.a.b.c:3128 on `options` (NULL: manual_options()), clock at 1000 s. */
struct gyre_pool *pool_of(uint32_t n, uint64_t *ids, const struct gyre_options *options);
uint64_t add_url(struct gyre_pool *pool, const char *url);
void add_numbered(struct gyre_pool *pool, uint32_t from, uint32_t n, uint64_t *ids);

/* Snapshots, checked against the invariants of the accounting. */
struct gyre_proxy proxy_of(struct gyre_pool *pool, uint64_t id);
struct gyre_stats stats_of(struct gyre_pool *pool);

/* Moves the manual clock by `seconds`. */
void pass_time(struct gyre_pool *pool, double seconds);

struct gyre_outcome outcome_of(int verdict);
/* Leases `id` and completes it with `verdict`, no latency. */
void use_proxy(struct gyre_pool *pool, uint64_t id, int verdict);

/* A directory of this process's own on /dev/shm, and a path in it that is never the same twice. */
const char *temp_path(const char *name);
/* cmocka group teardown: removes that directory and what is in it. */
int remove_temp(void **state);

/* Forks; the child runs `function` and exits 0. */
pid_t spawn(void (*function)(void *), void *argument);
/* Waits for a child of spawn() and fails the test unless it ended by `exit 0`. */
void reap(pid_t child);
/* Kills with SIGKILL a child that this test started, and waits for it. */
void slay(pid_t child);

/* Runs `function` in `n` threads, each with its own element of `arguments`, and joins them. */
void run_threads(unsigned n, void *(*function)(void *), void *arguments, size_t argument_size);

#endif
