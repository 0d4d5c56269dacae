/*
 * The atomic operations of the core, by the order they need. All shared words are plain integers in the segment,
 * so that the layout is the same for every compiler and for LuaJIT's FFI; only these macros touch them.
 *
 * GYRE_SCHED_POINT is empty except in the preemption build (-DGYRE_PREEMPT), where it yields at random before every
 * operation, so that tests meet the interleavings a busy machine would show once a month.
 */
#ifndef GYRE_ATOMIC_H
#define GYRE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#ifdef GYRE_PREEMPT
void gyre__preempt(void);
#define GYRE_SCHED_POINT() gyre__preempt()
#else
#define GYRE_SCHED_POINT() ((void)0)
#endif

/* Single values nobody orders anything by: counters read for reports, stamps. */
#define load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)

/*
 * Publication: what was written before a store_release is seen after the load_acquire that reads it. And of two that each change
 * a word by a read-modify-write and then look at the other's by load_acquire, one sees the other (eligible bits, summaries, QUIET
 * and generations against `use`): that takes sequential consistency, which costs loads nothing on x86-64 and arm64.
 */
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define store_release(p, v) (GYRE_SCHED_POINT(), __atomic_store_n((p), (v), __ATOMIC_RELEASE))

/* Read-modify-write; always sequentially consistent: on x86-64 the weaker orders cost the same. */
#define fetch_add(p, v) (GYRE_SCHED_POINT(), __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST))
#define fetch_sub(p, v) (GYRE_SCHED_POINT(), __atomic_fetch_sub((p), (v), __ATOMIC_SEQ_CST))
#define fetch_or(p, v) (GYRE_SCHED_POINT(), __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST))
#define fetch_and(p, v) (GYRE_SCHED_POINT(), __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST))

/* *p becomes `desired` if it is *expected; otherwise *expected becomes what was there. */
#define compare_swap(p, expected, desired)                                                                   \
    (GYRE_SCHED_POINT(), __atomic_compare_exchange_n((p), (expected), (desired), false, __ATOMIC_SEQ_CST,    \
                                                     __ATOMIC_SEQ_CST))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * Asks for the cache line of *p, to be written to. Where another core wrote it last, one journey then does what a load and an
 * atomic operation after it take two for. (Compilers make a plain prefetch of it unless told of a newer processor; those of
 * x86-64 without PREFETCHW do nothing.)
 */
static inline void prefetch_write(const void *p)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1);
#endif
}

/* Zeroes whole words that others may be reading. */
static inline void wipe_words(void *memory, uint64_t bytes)
{
    uint64_t *word = (uint64_t *)memory;
    for (uint64_t i = 0; i < bytes / sizeof *word; i++) store_relaxed(&word[i], UINT64_C(0));
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

#endif
