/*
 * The hot path: acquire and complete with native pickers make no system call and allocate nothing, after a
 * thread's first call. The first by a seccomp filter that kills on any call but exit; the second by counting.
 */
#include "support.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { N = 100 };

static atomic_ulong allocations;

#if !UNDER_SANITIZER
/* In front of libc's for the whole program, libgyre included. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
__attribute__((visibility("default"))) void *malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}
__attribute__((visibility("default"))) void *calloc(size_t count, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, size);
}
#endif

static void cycle(struct gyre_pool *pool, const uint64_t *ids, int i)
{
    struct gyre_request request = {
        .size = sizeof request, .picker = 1 + (uint32_t)i % 2, .exclude = ids, .exclude_count = 2};
    struct gyre_lease lease;

    REQUIRE(gyre_acquire(pool, i % 3 ? &request : NULL, &lease) == 0);
    REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0) == 0);
    REQUIRE(gyre_acquire_id(pool, ids[i % N], &lease) == 0);
    REQUIRE(gyre_complete_ms(pool, &lease, 1 + i % 6, 5.0) == 0);
}

static int not_measurable(void)
{
    return UNDER_SANITIZER || under_valgrind(); /* they allocate and call the kernel on their own account */
}

/* Opening a breaker is no hot path: it never opens here. */
static struct gyre_pool *healthy_pool(uint64_t *ids)
{
    struct gyre_options options = manual_options();

    options.breaker_failures = 1000000000;
    return pool_of(N, ids, &options);
}

static void test_allocates_nothing(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool;
    unsigned long before;

    (void)state;
    if (not_measurable()) skip();
    pool = healthy_pool(ids);
    assert_true(atomic_load(&allocations) > 0); /* the counter counts */
    cycle(pool, ids, 0);
    before = atomic_load(&allocations);
    for (int i = 0; i < 10000; i++) cycle(pool, ids, i);
    EXPECT_COUNT(atomic_load(&allocations), before, "allocations in 10000 cycles");
    gyre_pool_close(pool);
}

static void allow_only_exit(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {.len = COUNT(filter), .filter = filter};

    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

struct plan {
    struct gyre_pool *pool;
    const uint64_t *ids;
};

static void cycle_without_kernel(void *argument)
{
    const struct plan *plan = argument;

    cycle(plan->pool, plan->ids, 0); /* this process's first call */
    allow_only_exit();
    for (int i = 0; i < 10000; i++) cycle(plan->pool, plan->ids, i);
}

static void test_calls_no_system(void **state)
{
    uint64_t ids[N];
    struct gyre_pool *pool;

    (void)state;
    if (not_measurable()) skip();
#ifdef GYRE_PREEMPT
    skip(); /* this build yields at every atomic operation */
#endif
    pool = healthy_pool(ids);
    reap(spawn(cycle_without_kernel, &(struct plan){pool, ids}));
    gyre_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocates_nothing),
        cmocka_unit_test(test_calls_no_system),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
