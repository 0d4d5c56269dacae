/*
 * What each thread keeps for each pool. Records are found through a small thread-local cache, and on a miss by the
 * address of that cache, which is unique among living threads; a thread that comes to life at the address of a dead one
 * goes on with its record. So nothing has to run when a thread ends, and the library may be unloaded at any time
 * (nginx does so on reload).
 */
#include "view.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef GYRE_PREEMPT
#include <time.h>
#endif

__thread struct thread_cache gyre__thread_cache[] = {{.key = NO_SERIAL}, {.key = NO_SERIAL}, {.key = NO_SERIAL}, {.key = NO_SERIAL}};
_Static_assert(sizeof gyre__thread_cache == THREAD_CACHE * sizeof(struct thread_cache), "each begins with no serial");

uint64_t gyre__thread_serial(void)
{
    static uint64_t last;
    return fetch_add(&last, sizeof(struct thread_cache)) + sizeof(struct thread_cache);
}

void gyre__guard_lock(struct gyre_pool *pool)
{
    uint32_t open = 0;
    for (uint32_t tries = 0; !compare_swap(&pool->guard, &open, 1u); tries++, open = 0) {
        if (tries < 64) cpu_relax();
        else sched_yield();
    }
}

void gyre__guard_unlock(struct gyre_pool *pool)
{
    store_release(&pool->guard, 0u);
}

/* An eighth of the table at most is with idle threads, or a few entries each. */
static void share_entries(struct gyre_pool *pool)
{
    uint32_t fair = pool->max_leases / (8 * pool->thread_count);
    if (pool->keep > fair) store_relaxed(&pool->keep, fair > 4 ? fair : 4);
}

static struct thread *make(struct gyre_pool *pool)
{
    struct thread *thread = calloc(1, sizeof *thread);
    if (!thread) return NULL;
    thread->pool = pool;
    thread->owner = gyre__thread_cache;
    thread->random = random_seed(pool->header->config.seed, 1 + fetch_add(&pool->control->streams, 1));
    uint64_t mix = thread->random;
    for (int i = 0; i < 2; i++) thread->ahead[i] = random_mix(&mix);
    thread->next = pool->threads;
    pool->threads = thread;
    pool->thread_count++;
    share_entries(pool);
    return thread;
}

/* This process is a forked child: its own entry in the table, and nothing of the parent's leases. */
static bool begin_after_fork(struct gyre_pool *pool)
{
    pool->guard = 0;
    for (struct thread *t = pool->threads; t; t = t->next) t->entries = t->session_hits = 0, t->owner = NULL;
    gyre__entry_after_fork(pool);
    store_relaxed(&pool->serial, gyre__thread_serial());
    if (gyre__process_register(pool) < 0) return false;
    store_release(pool->here, pool->serial); /* pairs with is_here */
    return true;
}

/* Has this process begun? If not it does now, in one thread, for which the others wait. The word that says who is at it is on
 * the page that a fork zeroes too. */
static bool is_here(struct gyre_pool *pool)
{
    while (!load_acquire(pool->here)) {
        uint64_t nobody = 0;
        if (!compare_swap(&pool->here[1], &nobody, UINT64_C(1))) {
            sched_yield();
            continue;
        }
        bool begun = load_acquire(pool->here) || begin_after_fork(pool);
        store_release(&pool->here[1], UINT64_C(0));
        if (!begun) return false;
    }
    return true;
}

struct thread *gyre__thread_slow(struct gyre_pool *pool)
{
    if (!is_here(pool)) return NULL;
    gyre__guard_lock(pool);
    struct thread *thread = pool->threads;
    while (thread && thread->owner != gyre__thread_cache) thread = thread->next;
    if (!thread) thread = make(pool);
    if (thread) thread->tid = gettid();
    gyre__guard_unlock(pool);
    if (!thread) {
        gyre__fail(GYRE_ESYSTEM, "no memory for a thread's record");
        return NULL;
    }
    struct thread_cache *cache = &gyre__thread_cache[pool->serial / sizeof *cache % THREAD_CACHE];
    cache->key = pool->serial;
    cache->thread = thread;
    return thread;
}

void gyre__thread_free_all(struct gyre_pool *pool)
{
    while (pool->threads) {
        struct thread *thread = pool->threads;
        pool->threads = thread->next;
        if (load_relaxed(pool->here)) gyre__session_hand_in(pool, thread); /* else they are the parent's, who does it */
        gyre__view_free_all(thread);
        free(thread->excluded);
        free(thread);
    }
    free(pool->stock);
}

#ifdef GYRE_PREEMPT
/* One operation in eight yields; in one of 64 of those the thread sleeps for a moment. */
void gyre__preempt(void)
{
    static __thread uint64_t state;
    if (!state) state = (uint64_t)(uintptr_t)&state;
    uint64_t r = random_mix(&state);
    if (r % 512 == 0) nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    else if (r % 8 == 0) sched_yield();
}
#endif
