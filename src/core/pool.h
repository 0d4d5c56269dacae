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
    uint64_t random, ahead[2]; /* ahead: drawn already, for the next pick; see quick.h */
    uint64_t *excluded; /* bitmap of max_proxies bits, made on first need, all clear between calls */
    struct view *views, *last_view, *all_view, *last_stated; /* last_stated: the last one that asks for a state */
    uint64_t log_random; /* draws which decisions are logged, so that logging changes no other choice */
    uint32_t session_hits; /* not handed in yet */
    int tid; /* of the thread that has the record, for the kernel */
    uint32_t batch; /* entries it is given when it has none: more each time */
    uint32_t entries;
    uint32_t entry[THREAD_ENTRIES + 1]; /* free lease entries of this process, last in first out */
};

struct gyre_pool {
    /* Read on every call. */
    uint64_t *here; /* serial, and whether a thread is at setting it; on a page that the kernel zeroes in a forked child */
    uint64_t serial; /* unique in this process, never 0; another one after fork; see thread_cache_of */
    struct segment_header *header;
    struct segment_control *control;
    struct gyre_slot *slots;
    struct lease_entry *leases;
    uint32_t max_proxies, max_leases;
    uint32_t process; /* index of this process in the table */
    uint32_t lock_word; /* what stands in control->lock while this process holds it */
    uint32_t bucket_width, lease_timeout;
    uint32_t clock;
    struct gyre_hook *hook; /* NULL: none; see hook.c */
    uint32_t keep; /* lease entries a thread may keep: the fewer the more threads there are */
    int (*coarse)(clockid_t, struct timespec *); /* clock_gettime, by the shortest way; clock.c */
    double alpha;
    struct bits eligible;
    struct view_cursor *cursors;
    struct session_tags *session_tags;
    struct session_entry *sessions;
    struct session_head *session_heads;
    struct session_tail *session_tails;
    uint32_t *session_created;
    uint64_t session_seed[2];
    uint32_t session_buckets, session_ttl, session_lifetime;
    /* Read now and then. */
    uint32_t *session_locks;
    struct counter_entry *counters;
    struct decision_entry *decisions;
    struct strategy_entry *strategies;
    int64_t *base;
    uint32_t *changes;
    struct bits level[ACTIVE_LEVELS];
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
    struct slot_rate *rates;
    struct bits paced, mortal; /* proxies that wait for their rate; proxies with a TTL */
    uint64_t *ban_keys, *host_keys;
    struct ban_record *bans;
    struct host_record *hosts;
    uint32_t ban_mask, host_mask;
    /* This process's own. */
    size_t size;
    struct mapping *mapping; /* of a file; NULL: the memory is this handle's alone */
    uint32_t guard; /* spin lock over what follows */
    struct thread *threads;
    uint32_t thread_count;
    uint64_t looked; /* when it was last looked whether threads have ended: gyre__clock_machine_ms() */
    uint64_t *stock; /* lease entries no thread keeps: a bit each, a word for each chunk of the table; NULL: none ever */
    uint32_t stock_from, whole_chunks; /* no chunk before has any; how many are there whole */
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

/* mapping.c. The files this process has mapped, once each. */
struct stat;
struct mapping *gyre__mapping_find(const struct stat *st);
void gyre__mapping_begin(void);
void gyre__mapping_end(void);
struct mapping *gyre__mapping_add(const struct stat *st, void *memory, size_t size, int fd);
int gyre__mapping_file(const struct mapping *mapping);
void gyre__mapping_part(struct mapping *mapping);
void gyre__mapping_lock(void);
void gyre__mapping_unlock(void);
void *gyre__mapping_memory(const struct mapping *mapping, size_t *size);
void gyre__mapping_drop(struct mapping *mapping);

struct thread_cache {
    uint64_t key; /* serial of the pool; NO_SERIAL is never what `here` says, not in a forked child either */
    struct thread *thread;
};
#define NO_SERIAL UINT64_MAX
#define THREAD_CACHE 4u
extern __thread struct thread_cache gyre__thread_cache[THREAD_CACHE]
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Serials count in steps of an entry's size, so that the place needs no multiplication. */
static inline const struct thread_cache *thread_cache_of(const struct gyre_pool *pool)
{
    return (const void *)((const char *)gyre__thread_cache + load_relaxed(&pool->serial) % sizeof gyre__thread_cache);
}
static inline bool thread_is_known(const struct gyre_pool *pool, const struct thread_cache *cache)
{
    return cache->key == load_relaxed(pool->here);
}
static inline struct thread *thread_get(struct gyre_pool *pool)
{
    const struct thread_cache *cache = thread_cache_of(pool);
    return likely(thread_is_known(pool, cache)) ? cache->thread : gyre__thread_slow(pool);
}
/* What calls of the interface begin with: 0, or GYRE_EINVALID without a pool, GYRE_ESYSTEM without memory. */
static inline int begin_call(struct gyre_pool *pool)
{
    if (!pool) return gyre__fail(GYRE_EINVALID, "no pool");
    return thread_get(pool) ? 0 : GYRE_ESYSTEM;
}

/* clock.c. Pool time; a stamp is tenths of a second + 1, so that 0 can mean never. */
uint64_t gyre__clock_ms(const struct gyre_pool *pool);
uint64_t gyre__clock_exact_ms(const struct gyre_pool *pool);
uint64_t gyre__clock_machine_ms(void); /* of the machine, also where the pool's is manual */
uint64_t gyre__clock_realtime_ms(void);
/* The kernel's own function behind clock_gettime(), where there is one. */
int (*gyre__clock_function(void))(clockid_t, struct timespec *);
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
    pool->coarse(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)t.tv_sec * 10 + (uint32_t)t.tv_nsec / 100000000u + load_relaxed(&pool->control->clock_offset_stamps) + 1;
}
static inline double stamp_seconds(uint32_t stamp)
{
    return stamp ? (stamp - 1) / 10.0 : 0.0;
}
/* So many seconds before `now`, not before the segment's time began; 0 (never) when negative. */
static inline uint32_t stamp_before(uint32_t now, double seconds)
{
    if (!(seconds >= 0)) return 0;
    double stamps = seconds * 10.0 + 0.5;
    return stamps < now ? now - (uint32_t)stamps : 1;
}

/* lock.c. The segment's one lock. Taking it from a dead process repairs what that process left half done. Waits
 * only for living holders, each of which works for microseconds. */
void gyre__lock(struct gyre_pool *pool);
bool gyre__trylock(struct gyre_pool *pool);
/* Is `word`, read from control->lock, that of a process that will never unlock it? */
bool gyre__lock_abandoned(const struct gyre_pool *pool, uint32_t word);
/* The word of the process in the table's entry `process`, which it has just taken. */
uint32_t gyre__lock_word(const struct gyre_pool *pool, uint32_t process);
void gyre__unlock(struct gyre_pool *pool);

/*
 * Locks of one word for small things: a bucket of sessions, the decision ring. A dead owner's is simply taken over, so
 * what such a lock guards must be sound after every single store. The segment lock may be taken inside of one, never the
 * other way round.
 */
void gyre__word_lock(struct gyre_pool *pool, uint32_t *word);
bool gyre__word_trylock(struct gyre_pool *pool, uint32_t *word); /* allowed under the segment lock */
static inline void word_unlock(uint32_t *word)
{
    store_release(word, 0u);
}

/* process.c */
/* LEAVING: it closes its handle; its leases are a dead one's, but the lock may still be in its hand. */
enum process_state { PROCESS_FREE = 0, PROCESS_ALIVE = 1, PROCESS_DEAD = 2, PROCESS_LEAVING = 3 };
int gyre__process_register(struct gyre_pool *pool);
void gyre__process_let_go(const struct gyre_pool *pool, uint32_t process);
bool gyre__process_any_held(const struct gyre_pool *pool);
uint32_t gyre__pid_space(void); /* the calling process's pid namespace, 0: not known */
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
void gyre__label_store(struct gyre_pool *pool, uint32_t slot, const struct slot_label *label);
int gyre__label_apply(struct gyre_pool *pool, uint32_t slot, const struct gyre_proxy_spec *spec);
void gyre__label_rebuild(struct gyre_pool *pool);
bool gyre__label_is_word(const struct gyre_pool *pool, uint32_t id);
void gyre__label_read(const struct gyre_pool *pool, uint32_t slot, struct gyre_proxy *proxy);

/*
 * Two words of a slot that are side by side, read as one, at one moment: generation and flags, consecutive failures and success
 * rate. One comparison then does for both.
 */
typedef uint64_t __attribute__((may_alias)) two_words;
#define FIRST_WORD (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 32)
#define SIDE_BY_SIDE(a, b) (offsetof(struct gyre_slot, a) % 8 == 0 && offsetof(struct gyre_slot, b) == offsetof(struct gyre_slot, a) + 4)
_Static_assert(SIDE_BY_SIDE(generation, flags) && SIDE_BY_SIDE(consecutive_failures, success_rate), "read as one");
static inline uint64_t slot_head(const struct gyre_slot *hot)
{
    return load_acquire((const two_words *)(const void *)&hot->generation);
}
static inline uint32_t head_generation(uint64_t head)
{
    return (uint32_t)(head >> FIRST_WORD);
}
static inline uint32_t head_flags(uint64_t head)
{
    return (uint32_t)(head >> (32 - FIRST_WORD));
}
/* No failure in a row, and a success rate of 1.0f, which is never above. */
#define SLOT_SPOTLESS (UINT64_C(0x3f800000) << (32 - FIRST_WORD))
static inline bool slot_is_spotless(const struct gyre_slot *hot)
{
    return load_relaxed((const two_words *)(const void *)&hot->consecutive_failures) == SLOT_SPOTLESS;
}

/* window.c */
void gyre__window_roll(struct gyre_pool *pool, uint32_t slot, uint32_t bucket);
void gyre__window_read(const struct gyre_pool *pool, uint32_t slot, uint32_t stamp, uint64_t out[3]);
void gyre__window_reset(struct gyre_pool *pool, uint32_t slot, uint32_t stamp);
/* For books.c; caller holds the segment lock. Of leases in flight, `active`, nothing is told. */
uint32_t gyre__window_notes(const struct gyre_pool *pool, uint32_t slot, uint32_t stamp, uint32_t active,
                            struct gyre_window_note *notes);
void gyre__window_restore(struct gyre_pool *pool, uint32_t slot, uint32_t stamp, const struct gyre_window_note *notes,
                          uint32_t count);

/* The bucket is the one of the last tick: no division and no clock here. A lease that ends while nothing is acquired for
 * long may so be counted in an older bucket than its own. */
static inline void window_touch(struct gyre_pool *pool, uint32_t slot)
{
    uint32_t bucket = load_relaxed(&pool->control->bucket);
    if (unlikely(load_relaxed(&pool->slots[slot].window_bucket) != bucket)) gyre__window_roll(pool, slot, bucket);
}

/* health.c. Caller holds the segment lock, except for the first two, which are lock-free unless the proxy is benched, and
 * the third where health.c says so. */
void gyre__health_refresh(struct gyre_pool *pool, uint32_t slot); /* eligible bit from flags and limit */
bool gyre__health_take_probe(struct gyre_pool *pool, uint32_t slot, uint32_t flags);
void gyre__health_probe_back(struct gyre_pool *pool, uint32_t slot);
void gyre__health_success(struct gyre_pool *pool, uint32_t slot, bool probe);
void gyre__health_failure(struct gyre_pool *pool, uint32_t slot, bool probe, uint32_t stamp);
void gyre__health_due(struct gyre_pool *pool, uint32_t stamp);
void gyre__health_forget(struct gyre_pool *pool, uint32_t slot); /* out of all counts of states: it is removed */
void gyre__health_read(const struct gyre_pool *pool, uint32_t slot, uint32_t stamp, struct gyre_books *books);
void gyre__health_restore(struct gyre_pool *pool, uint32_t slot, uint32_t stamp, const struct gyre_books *books);

/* May it be picked, as its flags, limit and rate say? Lock-free. */
bool gyre__health_wanted(struct gyre_pool *pool, uint32_t slot);
/* All eligible bits made anew, after a process may have died between a look and a write. Lock-free. */
void gyre__health_refresh_all(struct gyre_pool *pool);

/* proxy.c. Counters of one moment that agree with each other; lock-free. */
struct counters {
    uint64_t started, completed, succeeded, failed, aborted, active;
};
void gyre__proxy_counters(const struct gyre_slot *hot, struct counters *counters);
/* enum gyre_state of a slot's flags. Pure. */
uint32_t gyre__proxy_state(uint32_t flags);

/* May an eligible slot with these flags serve a request that asks for this state? Pure. */
static inline bool flags_are_of(uint32_t flags, uint32_t state)
{
    return likely(!state) || !!(flags & SLOT_HALF) == (state == GYRE_HALF_OPEN);
}

/* proxy.c. Takes a living proxy out of the pool. Caller holds the segment lock. */
void gyre__proxy_withdraw(struct gyre_pool *pool, uint32_t slot);

/* limit.c. What a spec says of rate and TTL, checked. */
struct limits {
    bool has_rate, has_ttl;
    uint32_t count, period; /* ms */
    double ttl;
};
enum rate_result { RATE_EMPTY, RATE_TAKEN, RATE_LAST };
int gyre__limit_parse(const struct gyre_proxy_spec *spec, struct limits *limits);
/* Take, open, waits and recheck are lock-free; for the others the caller holds the segment lock. */
enum rate_result gyre__limit_take(struct gyre_pool *pool, uint32_t slot);
bool gyre__limit_open(struct gyre_pool *pool, uint32_t slot); /* if not, it will be looked at again in time */
bool gyre__limit_waits(struct gyre_pool *pool, uint32_t slot); /* like !open, without effect */
bool gyre__limit_recheck(struct gyre_pool *pool); /* has a proxy become eligible before tick noticed? */
void gyre__limit_apply(struct gyre_pool *pool, uint32_t slot, const struct limits *limits);
void gyre__limit_reset(struct gyre_pool *pool, uint32_t slot);
void gyre__limit_forget(struct gyre_pool *pool, uint32_t slot);
uint32_t gyre__limit_used(struct gyre_pool *pool, uint32_t slot); /* leases of the period that are used up; lock-free */
void gyre__limit_restore(struct gyre_pool *pool, uint32_t slot, uint32_t used);
void gyre__limit_read(const struct gyre_pool *pool, uint32_t slot, struct gyre_proxy *proxy);
void gyre__limit_due_paced(struct gyre_pool *pool, uint32_t stamp);
void gyre__limit_due_mortal(struct gyre_pool *pool, uint32_t stamp);
void gyre__limit_mend(struct gyre_pool *pool, uint32_t slot);
const char *gyre__limit_fault(struct gyre_pool *pool, uint32_t slot); /* what is unsound, or NULL */
static inline bool limit_has_rate(const struct gyre_pool *pool, uint32_t slot)
{
    return load_relaxed(&pool->rates[slot].rule) != 0;
}

/* hook.c. The ending of a lease, told to the hook there is. */
struct ending;
void gyre__hook_complete(struct gyre_pool *pool, const struct gyre_lease *lease, const struct ending *ending);
void gyre__hook_close(struct gyre_pool *pool);
static inline const struct gyre_hook *hook_of(const struct gyre_pool *pool)
{
    return load_acquire(&pool->hook); /* pairs with gyre_pool_hook */
}

/* check.c, audit.c. */
void gyre__finding(struct gyre_check *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
int gyre__audit_leases(struct gyre_pool *pool, struct gyre_check *report); /* NULL: mend; caller holds the segment lock */

/* host.c and ban.c; more in host.h. */
struct ending;
/* 0 and the host's hash for gyre_lease.host; GYRE_EBUSY while it is throttled, GYRE_EINVALID. Lock-free. */
int gyre__host_enter(struct gyre_pool *pool, const char *name, uint64_t *host);
/* The host's hash if it bans any proxy, else 0. Lock-free. */
uint64_t gyre__host_banning(const struct gyre_pool *pool, const char *name);
bool gyre__ban_holds(const struct gyre_pool *pool, uint64_t host, uint32_t slot); /* Lock-free. */
/* The verdict of a lease for a host. Takes the lock for banned and throttled. */
void gyre__host_verdict(struct gyre_pool *pool, const struct gyre_lease *lease, const struct ending *ending);
void gyre__host_name(const struct gyre_pool *pool, uint64_t hash, char out[256]);
/* For the rest the caller holds the segment lock. */
void gyre__ban_verdict(struct gyre_pool *pool, uint32_t slot, uint64_t host, double retry_after);
void gyre__host_due(struct gyre_pool *pool, uint32_t stamp);
void gyre__ban_due(struct gyre_pool *pool, uint32_t stamp);
void gyre__host_repair(struct gyre_pool *pool);
void gyre__ban_repair(struct gyre_pool *pool);
const char *gyre__host_fault(const struct gyre_pool *pool, uint32_t at); /* what is unsound, or NULL */
const char *gyre__ban_fault(const struct gyre_pool *pool, uint32_t at);

/* Start only if (use & mask) == value. mask 0: in any case. */
struct commit {
    uint64_t mask, value;
    uint64_t use; /* with a mask: what was seen, tried first */
    bool benched; /* a probe: one that is on the bench may be leased too */
    uint32_t state; /* GYRE_CLOSED: not as a probe, GYRE_HALF_OPEN: only as one; 0: either */
};

/* lease.c; more in lease.h. */
struct ending;
int gyre__acquire_plain(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint32_t stamp,
                        struct gyre_lease *lease); /* acquire.c */
/* Tries the quick way first; with a session, session.c calls gyre__acquire_plain. */
int gyre__acquire_sessionless(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                              uint32_t stamp, struct gyre_lease *lease); /* acquire.c */
/* A lease of this proxy if the request lets it through; sets the detail on failure. acquire.c */
int gyre__acquire_chosen(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint64_t id,
                         uint32_t stamp, struct gyre_lease *lease);
/* Takes a start back that came too late, or over a rate. Lock-free. */
void gyre__lease_undo(struct gyre_pool *pool, uint32_t slot);
void gyre__lease_retract(struct gyre_pool *pool, const struct thread *thread, uint32_t slot);
int gyre__lease_start(struct gyre_pool *pool, struct thread *thread, uint32_t slot, uint32_t stamp, const struct commit *commit,
                      struct gyre_lease *lease);
/* Counts an entry that is ENDING and takes it out of `active`; the caller frees the entry. */
void gyre__lease_finish(struct gyre_pool *pool, struct lease_entry *entry, const struct ending *ending);
/* Ends the leases of the next `chunks` chunks whose deadline has passed. Caller holds the segment lock. */
void gyre__lease_expire(struct gyre_pool *pool, uint32_t stamp, uint32_t chunks);

/* acquire.c. May this request have the slot: is it in its view, not excluded, not banned by its host, in the state it asks for?
 * Whether the slot is eligible is not asked. Lock-free. */
bool gyre__acquire_allows(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                          uint32_t slot);

/* session.c. What gyre__acquire_plain and gyre__acquire_chosen do, for a request with a session. */
int gyre__session_acquire(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                          uint32_t stamp, struct gyre_lease *lease);
/* The same by a thread that has been here before, when there is no log and the request says nothing else. */
int gyre__session_quick(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                        struct gyre_lease *lease);
int gyre__session_chosen(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request, uint64_t id,
                         uint32_t stamp, struct gyre_lease *lease);
uint64_t gyre__session_hash(const struct gyre_pool *pool, const char *id); /* 0 for none */
void gyre__session_hand_in(struct gyre_pool *pool, struct thread *thread);
/* Tells of damaged entries, or without a report drops them; counter.c likewise. Caller holds the segment lock. */
void gyre__session_audit(struct gyre_pool *pool, struct gyre_check *report);
void gyre__counter_audit(struct gyre_pool *pool, struct gyre_check *report);

/* decision.c. Acquires, and logs what was decided; for when the log is on. */
int gyre__decision_acquire(struct gyre_pool *pool, struct thread *thread, const struct gyre_request *request,
                           uint32_t stamp, struct gyre_lease *lease);

/* strategy.c. control->strategy: generation << 32 | bits. LOGGED is no part of the strategy: decisions are being logged. */
enum strategy_bit {
    STRATEGY_PICKER = 0xffu,
    STRATEGY_CHOICES_AT = 8,
    STRATEGY_TIES = 1u << 16,
    STRATEGY_SCRIPTED = 1u << 17,
    STRATEGY_LOGGED = 1u << 18
};
static inline uint32_t strategy_bits(const struct gyre_pool *pool)
{
    return (uint32_t)load_relaxed(&pool->control->strategy);
}
static inline uint32_t strategy_picker(const struct gyre_pool *pool)
{
    return strategy_bits(pool) & STRATEGY_PICKER;
}
static inline bool strategy_is_scripted(const struct gyre_pool *pool)
{
    return strategy_bits(pool) & STRATEGY_SCRIPTED;
}
static inline uint32_t strategy_choices(uint32_t bits)
{
    return bits >> STRATEGY_CHOICES_AT & 0xffu;
}
/* The first bytes of its name, cut where they do not fit, and its generation. */
uint32_t gyre__strategy_name(struct gyre_pool *pool, char *name, size_t size);
/* Makes LOGGED what log_sample says. Caller holds the segment lock. */
void gyre__strategy_mark_log(struct gyre_pool *pool);
/* Tells of a damaged record, or without a report puts the segment back to a native picker. Caller holds the segment lock. */
void gyre__strategy_audit(struct gyre_pool *pool, struct gyre_check *report);

/* entry.c. Free lease entries, dealt in chunks to processes and one by one to threads. */
bool gyre__entry_refill(struct gyre_pool *pool, struct thread *thread);
int gyre__entry_none_free(const struct gyre_pool *pool);
void gyre__entry_spill(struct gyre_pool *pool, struct thread *thread);
void gyre__entry_after_fork(struct gyre_pool *pool); /* in the child: the parent's are not its own */

/* settle.c. Ends what dead processes, or a dead holder of the lock, had in flight; processes that are settled
 * become free. Caller holds the segment lock. */
bool gyre__settle(struct gyre_pool *pool);

/* pick_least.c. The structures of least-used and least-active. */
void gyre__least_joined(struct gyre_pool *pool, uint32_t slot);
void gyre__least_returned(struct gyre_pool *pool, uint32_t slot);
void gyre__least_moved(struct gyre_pool *pool, uint32_t slot, uint32_t from, uint32_t to);
void gyre__least_rebuild(struct gyre_pool *pool);

/* pick_score.c. Caller holds the segment lock. */
void gyre__score_prior(struct gyre_pool *pool);

/* tick.c. Timed work on the way through acquire: at most ten times a second, by one thread. */
void gyre__tick(struct gyre_pool *pool, uint32_t stamp);

/* The stamp of now, with the timed work done that has become due. */
static inline uint32_t tick_now(struct gyre_pool *pool)
{
    uint32_t stamp = clock_stamp(pool);
    if (unlikely(load_relaxed(&pool->control->tick) != stamp)) gyre__tick(pool, stamp);
    return stamp;
}

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
