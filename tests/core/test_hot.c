/*
 * The hot path: acquire and complete with native pickers make no system call and allocate nothing, after a
 * thread's first call of its kind. The first by a seccomp filter that kills on any call but exit; the second by counting.
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

enum { N = 600, CYCLES = 2000 };

static atomic_ulong allocations;

#if !UNDER_SANITIZER
/* In front of libc's for the whole program, libgyre included. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
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
__attribute__((visibility("default"))) void *realloc(void *memory, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(memory, size);
}
#endif

/* What a request may say beside its picker, one kind each. */
enum { NOTHING, FILTER, STATE, SESSION, HOST, FEW_OUT, MANY_OUT, FIT, ALL_AT_ONCE, KINDS };

static struct gyre_request request_of(const uint64_t *ids, uint32_t picker, int kind)
{
    struct gyre_request request = {.size = sizeof request, .picker = picker, .key = "key"};

    if (kind == FILTER || kind == ALL_AT_ONCE) request.country = "de,fr", request.tags = "a,cost<=2";
    if (kind == STATE || kind == ALL_AT_ONCE) request.state = GYRE_CLOSED;
    if (kind == SESSION || kind == ALL_AT_ONCE) request.session = "cart";
    if (kind == HOST || kind == ALL_AT_ONCE) request.host = "shop.example";
    if (kind == FIT || kind == ALL_AT_ONCE) request.min_success = 0.01, request.max_ms = 80000;
    if (kind == FEW_OUT) request.exclude = ids, request.exclude_count = 2;
    if (kind == MANY_OUT || kind == ALL_AT_ONCE) request.exclude = ids, request.exclude_count = 500;
    return request;
}

/* One of each: every picker with every kind of request, by id, and the choice that leases nothing. */
static void cycle(struct gyre_pool *pool, const uint64_t *ids, int i)
{
    struct gyre_lease lease;
    uint64_t id;

    for (uint32_t picker = GYRE_PICK_ROUND_ROBIN; picker <= GYRE_PICK_HASH; picker++)
        for (int kind = 0; kind < KINDS; kind++) {
            struct gyre_request request = request_of(ids, picker, kind);

            REQUIRE(gyre_acquire(pool, &request, &lease) == 0);
            REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0) == 0);
            REQUIRE(gyre_pick(pool, &request, &id) == 0);
            REQUIRE(gyre_acquire_chosen(pool, &request, ids[N - 1], &lease) == 0);
            REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0) == 0);
        }
    REQUIRE(gyre_acquire(pool, NULL, &lease) == 0);
    REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0) == 0);
    REQUIRE(gyre_acquire_id(pool, ids[i % N], &lease) == 0);
    REQUIRE(gyre_complete_ms(pool, &lease, 1 + i % 6, 5.0) == 0);
}

static int not_measurable(void)
{
    return UNDER_SANITIZER || under_valgrind(); /* they allocate and call the kernel on their own account */
}

/* Opening a breaker is no hot path: it never opens here. Some are banned by the host, not the last. */
static struct gyre_pool *healthy_pool(uint64_t *ids)
{
    struct gyre_options options = manual_options();
    struct gyre_proxy_spec spec = {.size = sizeof spec, .country = "DE", .tags = "a,b", .cost = 1, .has_cost = 1};
    struct gyre_pool *pool;

    options.breaker_failures = 1000000000;
    pool = pool_of(N, ids, &options);
    for (int i = 0; i < N; i += 2) OK(gyre_pool_update(pool, ids[N - 1 - i], &spec));
    for (int i = 0; i < 10; i++) OK(gyre_host_ban(pool, ids[N - 20 + i], "shop.example", 5000));
    return pool;
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
    for (int i = 0; i < 20; i++) cycle(pool, ids, i);
    before = atomic_load(&allocations);
    for (int i = 0; i < CYCLES; i++) {
        cycle(pool, ids, i);
        if (i % 10 == 0) pass_time(pool, 0.1); /* ticks; one in ten looks who is alive */
    }
    EXPECT_COUNT(atomic_load(&allocations), before, "allocations in %d cycles", CYCLES);
    gyre_pool_close(pool);
}

/* After a change of membership weighted makes its table anew, once; other picks without a filter allocate nothing even then. */
static void test_weighted_allocates_after_a_change(void **state)
{
    uint64_t ids[N], fresh;
    struct gyre_pool *pool;
    struct gyre_lease lease;

    (void)state;
    if (not_measurable()) skip();
    pool = healthy_pool(ids);
    cycle(pool, ids, 0);
    for (int i = 0; i < 5; i++) {
        unsigned long before;

        add_numbered(pool, N + (uint32_t)i, 1, &fresh);
        before = atomic_load(&allocations);
        for (uint32_t picker = GYRE_PICK_ROUND_ROBIN; picker <= GYRE_PICK_HASH; picker++) {
            struct gyre_request request = request_of(ids, picker, NOTHING);

            if (picker == GYRE_PICK_WEIGHTED || picker == GYRE_PICK_LEAST_USED) continue;
            OK(gyre_acquire(pool, &request, &lease));
            OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0));
            EXPECT_COUNT(atomic_load(&allocations), before, "picker %u after change %d", picker, i);
        }
        struct gyre_request weighted = request_of(ids, GYRE_PICK_WEIGHTED, NOTHING);
        OK(gyre_acquire(pool, &weighted, &lease));
        OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0));
        assert_true(atomic_load(&allocations) > before);
        before = atomic_load(&allocations);
        for (int k = 0; k < 1000; k++) {
            OK(gyre_acquire(pool, &weighted, &lease));
            OK(gyre_complete_ms(pool, &lease, GYRE_OK, 5.0));
        }
        EXPECT_COUNT(atomic_load(&allocations), before, "weighted, once it has its table");
    }
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

    for (int i = 0; i < 20; i++) cycle(plan->pool, plan->ids, i); /* this process's first calls */
    allow_only_exit();
    for (int i = 0; i < CYCLES; i++) cycle(plan->pool, plan->ids, i);
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
        cmocka_unit_test(test_weighted_allocates_after_a_change),
        cmocka_unit_test(test_calls_no_system),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
