/*
 * A process's handle on a segment, and what the files of the core offer each other. Names with gyre__ are shared inside
 * the library; nothing here is visible outside it.
 */
#ifndef GYRE_POOL_H
#define GYRE_POOL_H

#include "bits.h"
#include "random.h"
#include "segment.h"

#include <stddef.h>
#include <time.h>

#define THREAD_ENTRIES 128u

/* What one thread keeps for one pool: a random generator, lease entries to hand out, scratch for excludes. */
struct thread {
    struct gyre_pool *pool;
    const void *owner; /* address of the thread's own variable: unique among living threads, passed on by dead ones */
    struct thread *next;
    uint64_t random[4];
    uint64_t *excluded; /* bitmap of max_proxies bits, made on first need, all clear between calls */
    uint32_t entries;
    uint32_t entry[THREAD_ENTRIES + 1]; /* free lease entries of this process, last in first out */
};

struct gyre_pool {
    /* Read on every call. */
    uint32_t *here; /* 1; on a page that the kernel zeroes in a forked child */
    uint64_t serial; /* unique in this process; another one after fork */
    struct segment_header *header;
    struct segment_control *control;
    struct gyre_slot *slots;
    struct lease_entry *leases;
    uint32_t max_proxies, max_leases;
    uint32_t process; /* index of this process in the table */
    uint32_t bucket_width, lease_timeout;
    uint32_t clock, picker;
    uint32_t keep; /* lease entries a thread may keep */
    double alpha;
    struct bits eligible;
    /* Read now and then. */
    struct bits live, free, benched;
    struct slot_identity *identity;
    struct slot_label *labels;
    struct slot_window *windows;
    struct slot_health *health;
    uint32_t *index, *chunks;
    uint16_t *label_index;
    struct label_text *label_texts;
    unsigned char *text;
    struct process_entry *processes;
    /* This process's own. */
    size_t size;
    uint32_t guard; /* spin lock over what follows */
    struct thread *threads;
    uint32_t *spare; /* lease entries no thread keeps */
    uint32_t spares, spare_capacity, owned_chunks;
};

/* error.c. Sets the thread's detail text and returns `error`. */
int gyre__fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* thread.c. The calling thread's record for this pool, made on first use; NULL and GYRE_ESYSTEM without memory. Notices a
 * fork. */
struct thread *gyre__thread_slow(struct gyre_pool *pool);
uint64_t gyre__thread_serial(void);
void gyre__thread_free_all(struct gyre_pool *pool);
void gyre__guard_lock(struct gyre_pool *pool);
void gyre__guard_unlock(struct gyre_pool *pool);

struct thread_cache {
    uint64_t serial;
    struct thread *thread;
};
#define THREAD_CACHE 4u
extern __thread struct thread_cache gyre__thread_cache[THREAD_CACHE]
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline struct thread *thread_get(struct gyre_pool *pool)
{
    struct thread_cache *cache = &gyre__thread_cache[pool->serial % THREAD_CACHE];
    if (likely(cache->serial == pool->serial && *pool->here)) return cache->thread;
    return gyre__thread_slow(pool);
}

/* clock.c. Pool time; a stamp is tenths of a second + 1, so that 0 can mean never. */
uint64_t gyre__clock_ms(const struct gyre_pool *pool);
uint64_t gyre__clock_realtime_ms(void);
void gyre__clock_attach(struct segment_control *control, const uint8_t boot_id[16], bool fresh, bool manual);

static inline uint32_t stamp_of_ms(uint64_t ms)
{
    return (uint32_t)(ms / 100) + 1;
}
/* Like stamp_of_ms(gyre__clock_ms()), for which the offset is kept a multiple of 100 ms. */
static inline uint32_t clock_stamp(const struct gyre_pool *pool)
{
    struct timespec t;
    if (unlikely(pool->clock == GYRE_CLOCK_MANUAL)) return stamp_of_ms(gyre__clock_ms(pool));
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)t.tv_sec * 10 + (uint32_t)t.tv_nsec / 100000000u + load_relaxed(&pool->control->clock_offset_stamps) + 1;
}
static inline double stamp_seconds(uint32_t stamp)
{
    return stamp ? (stamp - 1) / 10.0 : 0.0;
}

/* lock.c. The segment's one lock. Taking it from a dead process repairs what that process left half done. Waits
 * only for living holders, each of which works for microseconds. */
void gyre__lock(struct gyre_pool *pool);
bool gyre__trylock(struct gyre_pool *pool);
void gyre__unlock(struct gyre_pool *pool);

/* process.c */
enum process_state { PROCESS_FREE = 0, PROCESS_ALIVE = 1, PROCESS_DEAD = 2 };
int gyre__process_register(struct gyre_pool *pool);
void gyre__process_leave(struct gyre_pool *pool);
bool gyre__process_alive(const struct gyre_pool *pool, uint32_t process);
/* Marks processes that died, for settle. Caller holds the segment lock. */
bool gyre__process_find_dead(struct gyre_pool *pool);

/* repair.c. Rebuilds everything that can be derived from the slots. Caller holds the segment lock. */
void gyre__repair(struct gyre_pool *pool);

/* text.c. Extents of REGION_TEXT. Caller holds the segment lock. */
int gyre__text_put(struct gyre_pool *pool, uint32_t slot, const struct gyre_url *url);
void gyre__text_wipe(struct gyre_pool *pool, uint32_t slot);
int gyre__text_get(struct gyre_pool *pool, uint32_t slot, struct gyre_url *url);
void gyre__text_rebuild(struct gyre_pool *pool);

/* url.c. Writes the URL, percent-encoded; length or GYRE_EINVALID when it does not fit. */
int gyre__url_format(const struct gyre_url *url, bool credentials, char *buffer, size_t size);
uint32_t gyre__url_hash(const struct gyre_url *url);
bool gyre__url_equal(const struct gyre_url *a, const struct gyre_url *b);

/* index.c. Identity to slot. Caller holds the segment lock. */
uint32_t gyre__index_find(struct gyre_pool *pool, const struct gyre_url *url, uint32_t hash);
void gyre__index_add(struct gyre_pool *pool, uint32_t slot, uint32_t hash);
void gyre__index_remove(struct gyre_pool *pool, uint32_t slot, uint32_t hash);
void gyre__index_rebuild(struct gyre_pool *pool);

/* label.c. Interned words: country codes, regions, tags. Caller holds the segment lock. */
int gyre__label_apply(struct gyre_pool *pool, uint32_t slot, const struct gyre_proxy_spec *spec);
void gyre__label_rebuild(struct gyre_pool *pool);
void gyre__label_read(const struct gyre_pool *pool, uint32_t slot, struct gyre_proxy *proxy);

/* window.c */
void gyre__window_roll(struct gyre_pool *pool, uint32_t slot, uint32_t bucket);
void gyre__window_read(const struct gyre_pool *pool, uint32_t slot, uint32_t stamp, uint64_t out[3]);
void gyre__window_reset(struct gyre_pool *pool, uint32_t slot, uint32_t stamp);

/* The bucket is the one of the last tick: no division and no clock here. A lease that ends while nothing is acquired for
 * long may so be counted in an older bucket than its own. */
static inline void window_touch(struct gyre_pool *pool, uint32_t slot)
{
    uint32_t bucket = load_relaxed(&pool->control->bucket);
    if (unlikely(load_relaxed(&pool->slots[slot].window_bucket) != bucket)) gyre__window_roll(pool, slot, bucket);
}

/* health.c. Caller holds the segment lock, except for the first three, which are lock-free. */
void gyre__health_refresh(struct gyre_pool *pool, uint32_t slot); /* eligible bit from flags and limit */
bool gyre__health_take_probe(struct gyre_pool *pool, uint32_t slot, uint32_t flags);
void gyre__health_probe_back(struct gyre_pool *pool, uint32_t slot);
void gyre__health_success(struct gyre_pool *pool, uint32_t slot, bool probe);
void gyre__health_failure(struct gyre_pool *pool, uint32_t slot, bool probe, uint32_t stamp);
void gyre__health_due(struct gyre_pool *pool, uint32_t stamp);
void gyre__health_forget(struct gyre_pool *pool, uint32_t slot); /* out of all counts of states: it is removed */

/* lease.c. The life of a lease is drawn there. */
enum lease_state { LEASE_FREE = 0, LEASE_STARTING = 1, LEASE_HELD = 2, LEASE_ENDING = 3, LEASE_ORPHAN = 4 };
#define LEASE_STATE 0x0fu
#define LEASE_PROBE 0x10u   /* it is the probe of a half-open proxy */
#define LEASE_COUNTED 0x20u /* with ENDING: entry.target is valid */
#define LEASE_FOREIGN 0x40u /* with ENDING: it is ended by the holder of the lock, not by its owner */

static inline uint64_t lease_word(uint32_t serial, uint32_t slot, uint32_t verdict, uint32_t bits)
{
    return (uint64_t)serial << 32 | (uint64_t)slot << 12 | verdict << 8 | bits;
}
static inline uint32_t lease_serial(uint64_t word)
{
    return (uint32_t)(word >> 32);
}
static inline uint32_t lease_slot(uint64_t word)
{
    return (uint32_t)(word >> 12) & SLOT_MASK;
}
static inline uint32_t lease_verdict(uint64_t word)
{
    return (uint32_t)(word >> 8) & 15u;
}
static inline uint32_t lease_state(uint64_t word)
{
    return (uint32_t)word & LEASE_STATE;
}

/* What finish needs to know of an outcome. */
struct ending {
    uint32_t verdict;
    bool has_ms, locked; /* locked: the caller holds the segment lock */
    double ms;
    uint64_t bytes;
};
int gyre__lease_start(struct gyre_pool *pool, struct thread *thread, uint32_t slot, uint32_t stamp,
                      struct gyre_lease *lease);
/* Counts an entry that is ENDING and takes it out of `active`; the caller frees the entry. */
void gyre__lease_finish(struct gyre_pool *pool, struct lease_entry *entry, const struct ending *ending);
/* Ends the leases of the next `chunks` chunks whose deadline has passed. Caller holds the segment lock. */
void gyre__lease_expire(struct gyre_pool *pool, uint32_t stamp, uint32_t chunks);

/* entry.c. Free lease entries, dealt in chunks to processes and one by one to threads. */
bool gyre__entry_refill(struct gyre_pool *pool, struct thread *thread);
void gyre__entry_spill(struct gyre_pool *pool, struct thread *thread);

/* settle.c. Ends what dead processes, or a dead holder of the lock, had in flight; processes that are settled
 * become free. Caller holds the segment lock. */
void gyre__settle(struct gyre_pool *pool);

/* tick.c. Timed work on the way through acquire: at most ten times a second, by one thread. */
void gyre__tick(struct gyre_pool *pool, uint32_t stamp);

/* pick.c: a slot, or NO_BIT. Lock-free. */
struct pick {
    const struct gyre_request *request;
    struct thread *thread;
    bool marked; /* excludes are in thread->excluded */
};
/* The common case of round-robin, by its rule in pick.c: the next eligible slot is before the end. NO_BIT otherwise. */
static inline uint32_t pick_round_robin(struct gyre_pool *pool)
{
    uint64_t cursor = load_relaxed(&pool->control->cursor);
    uint32_t slot;
    do {
        slot = bits_next(&pool->eligible, (uint32_t)cursor);
        if (unlikely(slot == NO_BIT || !cursor)) return NO_BIT;
    } while (!compare_swap(&pool->control->cursor, &cursor, ((cursor >> 32) + 1) << 32 | (slot + 1)));
    return slot;
}

uint32_t gyre__pick(struct gyre_pool *pool, struct pick *pick, uint32_t picker);
void gyre__pick_begin(struct gyre_pool *pool, struct pick *pick);
void gyre__pick_end(struct gyre_pool *pool, struct pick *pick);
/* Why nothing was picked: sets the detail and returns GYRE_ENO_PROXY or GYRE_EBUSY. */
int gyre__pick_failed(struct gyre_pool *pool, const struct gyre_request *request);

static inline uint64_t make_id(uint32_t generation, uint32_t slot)
{
    return (uint64_t)generation << SLOT_BITS | slot;
}
static inline uint32_t id_slot(uint64_t id)
{
    return (uint32_t)id & SLOT_MASK;
}
/* The slot of a living proxy, or NO_BIT. */
static inline uint32_t slot_of_id(const struct gyre_pool *pool, uint64_t id)
{
    uint32_t slot = id_slot(id);
    if (slot >= pool->max_proxies || load_acquire(&pool->slots[slot].generation) != id >> SLOT_BITS) return NO_BIT;
    return load_relaxed(&pool->slots[slot].flags) & SLOT_LIVE ? slot : NO_BIT;
}

static inline double load_double(const double *p)
{
    uint64_t bits = load_relaxed((const uint64_t *)(const void *)p);
    double value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
static inline uint64_t double_bits(double value)
{
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline float load_float(const float *p)
{
    uint32_t bits = load_relaxed((const uint32_t *)(const void *)p);
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
static inline void store_float(float *p, float value)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    store_relaxed((uint32_t *)(void *)p, bits);
}

#endif
