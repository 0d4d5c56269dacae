/*
 * gyre.h: the pool of outbound proxies, in shared memory.
 *
 * A *segment* holds proxies, their counters and their health. It is private to a process or shared, as
 * a file, between processes. A *pool* is one process's handle on a segment. A *lease* is a proxy handed
 * out for one request; it ends exactly once, by gyre_complete() or, when it is forgotten, by its deadline.
 *
 *     struct gyre_options options = {.size = sizeof options};
 *     struct gyre_proxy_spec spec = {.size = sizeof spec, .url = "http://user:pass@192.0.2.7:3128"};
 *     struct gyre_outcome outcome = {.size = sizeof outcome, .verdict = GYRE_OK, .has_ms = 1, .ms = 132.0};
 *     struct gyre_pool *pool;
 *     struct gyre_lease lease;
 *     uint64_t id;
 *     if (gyre_pool_open(&options, &pool) < 0 || gyre_pool_add(pool, &spec, &id) < 0) return 1;
 *     if (gyre_acquire(pool, NULL, &lease) == 0) gyre_complete(pool, &lease, &outcome);
 *     gyre_pool_close(pool);
 *
 * Results are 0 (or a count) or a negative GYRE_E*; gyre_strerror() names it and gyre_detail() says, per
 * thread, what exactly was wrong with the last failed call. Every function may be called from any thread
 * of any process attached to the segment, at any time, unless its comment says otherwise. Structs that may
 * grow start with `size`: set it to sizeof, leave the rest zero for defaults. Strings are UTF-8, end in NUL,
 * and stay the caller's; the library copies what it keeps. Nothing here prints, and no text the library
 * makes holds a password unless the function's name says so.
 *
 * The block between the two markers is the source of lua/gyre/cdef.lua.
 */
#ifndef GYRE_GYRE_H
#define GYRE_GYRE_H

#ifdef GYRE_CDEF
#define GYRE_API
#else
#include <stddef.h>
#include <stdint.h>
#define GYRE_API __attribute__((visibility("default")))
#endif

#define GYRE_VERSION "0.1.0"

/* One line an error: name, number, text. Numbers are part of the ABI. */
#define GYRE_ERRNO_MAP(XX)                                                                                   \
    XX(INVALID, -1, "invalid argument")                                                                      \
    XX(NO_PROXY, -2, "no eligible proxy")                                                                    \
    XX(BUSY, -3, "every eligible proxy is at its limit")                                                     \
    XX(FULL, -4, "the segment is full")                                                                      \
    XX(EXISTS, -5, "already in the pool")                                                                    \
    XX(NOT_FOUND, -6, "not in the pool")                                                                     \
    XX(CLOSED, -7, "the lease has already ended")                                                            \
    XX(CORRUPT, -8, "the segment is damaged")                                                                \
    XX(ABI, -9, "the segment was made by an incompatible version")                                           \
    XX(SYSTEM, -10, "a system call failed")

#ifdef __cplusplus
extern "C" {
#endif

/* [cdef] */

enum gyre_error {
#define XX(name, number, text) GYRE_E##name = number,
    GYRE_ERRNO_MAP(XX)
#undef XX
};

/* Whose fault it was, and the one counter it adds to. Part of the ABI. */
enum gyre_verdict {
    GYRE_OK = 1,         /* succeeded; the only verdict whose latency is averaged */
    GYRE_BANNED = 2,     /* failed: the target refuses this proxy; no fault of the proxy in general */
    GYRE_THROTTLED = 3,  /* succeeded: the proxy carried the target's request to slow down */
    GYRE_PROXY_BAD = 4,  /* failed; feeds the breaker and success_rate */
    GYRE_TARGET_BAD = 5, /* succeeded: the proxy did its work, the target failed */
    GYRE_ABORTED = 6     /* aborted: says nothing about anyone */
};

enum gyre_scheme {
    GYRE_HTTP = 1,
    GYRE_HTTPS = 2,
    GYRE_SOCKS4 = 3,
    GYRE_SOCKS4A = 4,
    GYRE_SOCKS5 = 5,
    GYRE_SOCKS5H = 6
};

/* What a proxy is doing, as gyre_proxy.state. */
enum gyre_state {
    GYRE_CLOSED = 1,    /* in use (the circuit is closed) */
    GYRE_OPEN = 2,      /* benched until gyre_proxy.benched_until */
    GYRE_HALF_OPEN = 3, /* the next lease is a probe, or the probe is out (for a minute at most, then it is aborted) */
    GYRE_DRAINING = 4,  /* takes no new lease; those in flight finish */
    GYRE_DISABLED = 5   /* out until enabled */
};

/* How gyre_acquire() chooses. */
enum gyre_picker {
    GYRE_PICK_ROUND_ROBIN = 1,  /* the next eligible slot after the view's shared cursor */
    GYRE_PICK_RANDOM = 2,       /* uniform over the eligible proxies */
    GYRE_PICK_LEAST_USED = 3,   /* fewest leases started since it joined; exact: max - min <= 1 */
    GYRE_PICK_LEAST_ACTIVE = 4, /* fewest leases in flight; once used, every lease of the pool costs two bit changes more */
    GYRE_PICK_BEST = 5,         /* best of request.choices random ones by latency, load, success and weight */
    GYRE_PICK_WEIGHTED = 6,     /* random, proportional to weight */
    GYRE_PICK_HASH = 7          /* by request.key: multi-probe jump hash with bounded load */
};

enum gyre_clock {
    GYRE_CLOCK_SYSTEM = 0, /* CLOCK_MONOTONIC_COARSE */
    GYRE_CLOCK_MANUAL = 1  /* stands still; gyre_pool_set_time() moves it (tests, simulation) */
};

/*
 * How to open a pool. With `path` NULL the segment is private to this process and its children by fork, and pages that
 * are never touched cost nothing. A file is reserved whole when it is made, since a full /dev/shm would be a SIGBUS later:
 * 70 MiB with the defaults; 500 bytes for each of max_proxies, 210 of max_sessions, 150 of max_bans, 16 of max_leases, and 2 MiB.
 * With a path an existing file is attached (capacities and settings are then the file's and the ones here are
 * ignored) or made. 0 and 0.0 mean the default in brackets.
 */
struct gyre_options {
    uint32_t size;
    uint32_t mode;            /* permission bits of a new file [0600] */
    const char *path;         /* segment file, usually on /dev/shm; NULL: private */
    uint32_t max_proxies;     /* capacity, rounded up to a multiple of 64, at most 1048576 [65536] */
    uint32_t max_leases;      /* capacity for leases in flight, rounded up to a multiple of 64, at most 16777216 [65536]. Processes
                               * hold them by 64, as long as one of these is in flight; from 4096 on a thread keeps up to 128
                               * for itself, fewer where there are many, until it ends and they are wanted. So no more than
                               * max_leases / 64 handles, each process's own, can lease at the same time */
    uint32_t max_sessions;    /* so many fit for certain, up to a third more may; a new one that finds the 32
                               * places where it may be taken gets that of one that is over, or else of the least recently
                               * used of these; at most 4194304 [131072] */
    uint32_t max_bans;        /* capacity for proxy x host bans, rounded up to a multiple of 64; a quarter as many hosts may ban
                               * or throttle at once [65536]. Full: what has ended goes first, then what ends soonest */
    uint32_t picker;          /* enum gyre_picker, until a strategy is set [GYRE_PICK_ROUND_ROBIN] */
    uint32_t clock;           /* enum gyre_clock */
    uint64_t seed;            /* of every random choice; 0: from the system */
    double alpha;             /* weight of a new latency sample in ema_ms, 1e-6 to 1 [0.2] */
    double window;            /* length of the sliding window, seconds, 0.8 to 1e7, rounded down to a multiple of 0.8 [3600] */
    double lease_timeout;     /* a lease older than this is ended as aborted, seconds, 0.1 to 1e8, in tenths [300]; by whoever
                               * acquires then, within a second */
    double session_ttl;       /* a session unused for so long is over, seconds, 0.1 to 1e8, in tenths [3600] */
    double session_lifetime;  /* so is one that has had its proxy for so long, used or not [0: no limit] */
    uint32_t breaker_failures;/* consecutive proxy failures that bench a proxy, any number [5] */
    uint32_t reserved;
    double breaker_base;      /* first bench is random in (0, base], seconds, 0.1 to breaker_max [30, or breaker_max where
                               * that is less]; doubles with each */
    double breaker_max;       /* upper end of that range, seconds, 0.1 to 1e7 [3600] */
    double max_benched;       /* largest share of the pool on the bench, 1e-6 to 1 [0.8] */
    const char *group;        /* group of a new file, by name or number; NULL: the process's own. With mode 0660 for
                               * other users' processes; who may write the file is trusted with everything in it */
    double start;             /* pool time at which a new segment begins, seconds, to 1e8 [0] */
};

/* A proxy as it is added or updated. */
struct gyre_proxy_spec {
    uint32_t size;
    uint32_t max_active;      /* leases in flight at once; 0: no limit */
    const char *url;          /* scheme://[user[:password]@]host[:port]; percent-decoded once. Not for update */
    const char *country;      /* ISO 3166 code, any case; "*": any that is asked for; NULL: unknown. On update NULL leaves it,
                               * "" clears */
    const char *region;       /* free text, up to 63 bytes, case matters; likewise */
    const char *tags;         /* comma separated, at most 12 of up to 63 bytes, any case, none that begins like a comparison of
                               * costs ("cost=", "cost<", "cost>"); likewise */
    double weight;            /* 0, or 1e-44 to 3.4e38: kept as a float too; at 0 weighted and best leave it out; used when
                               * has_weight [1] */
    double cost;              /* finite, >= 0, in the user's unit per request; used when has_cost */
    const char *rate;         /* COUNT/[NUMBER]UNIT, unit ms, s, m, h or d: never more leases in any period so long, e.g.
                               * "40/10s", "2/s", "1/500ms"; count to 100000, period to 31 days; NULL leaves it, "" clears */
    double ttl;               /* seconds from now until it is removed, to 1e7; used when has_ttl, 0: never */
    uint32_t has_weight, has_cost, has_max_active, has_ttl;
};

/*
 * The 64-byte record that acquire and complete work on, one per slot, in the segment. Read-only for callers
 * (LuaJIT scores by it without a call); single fields are never torn, two fields may be from different moments.
 */
struct gyre_slot {
    uint64_t use;             /* started << 24 | active */
    uint64_t failed;
    uint64_t aborted;
    double ema_ms;            /* NaN until the first sample */
    uint32_t generation;      /* never 0 once the slot has been used */
    uint32_t flags;           /* private to the library */
    uint32_t consecutive_failures;
    float success_rate;
    uint32_t last_used;       /* tenths of a second of pool time + 1; 0: never */
    uint32_t last_sample;     /* likewise, of the last latency sample or proxy failure */
    uint32_t window_bucket;
    float weight;
};

/* A snapshot of one proxy. Times are pool times in seconds: see gyre_pool_time(). */
struct gyre_proxy {
    uint32_t size;
    uint32_t state;           /* enum gyre_state */
    uint64_t id;
    uint64_t started, completed, succeeded, failed, aborted;
    uint64_t window_started, window_succeeded, window_failed;
    uint64_t bytes;
    double ema_ms;            /* NaN until the first sample */
    double success_rate;      /* EMA of 1 and 0 over ok and proxy_bad, alpha 0.05 */
    double last_used;         /* when its last lease began, cut to tenths; 0: never, or in the first tenth */
    double benched_until;     /* 0 unless it is benched: state is GYRE_OPEN, or that is beneath DRAINING or DISABLED */
    double expires;           /* when its TTL passes; 0: never */
    double rate_period;       /* seconds in which it takes rate_count leases at most; 0: no rate */
    double weight, cost;      /* cost is NaN when unknown */
    uint32_t active;
    uint32_t consecutive_failures;
    uint32_t max_active;
    uint32_t scheme;          /* enum gyre_scheme */
    uint32_t port;
    uint32_t rate_count;
    char host[256];           /* IPv6 addresses without brackets */
    char country[64], region[64];
    char tags[768];           /* comma separated, lower case */
};

/* Sums over the pool. */
struct gyre_stats {
    uint32_t size;
    uint32_t proxies, eligible;
    uint32_t benched, half_open, disabled, draining; /* by state: GYRE_OPEN and so on */
    uint32_t bench_refused;   /* how often max_benched kept a failing proxy in use: is the rule, or the network, at fault? */
    uint32_t ban_refused;     /* likewise, bans of a proxy by one host: is the rule that reads its responses wrong? */
    uint32_t ban_blamed;      /* how often a host banned most of the pool within seconds: see gyre_host_blamed() */
    uint64_t started, completed, succeeded, failed, aborted, active;
};

/*
 * What the caller knows of the request to come. NULL instead of a request: all defaults. Strings are only read during
 * the call. A NULL or empty filter lets everyone through. `state` leaves out some of those who are eligible, and who is not
 * eligible serves nobody: GYRE_OPEN, GYRE_DRAINING and GYRE_DISABLED would find none ever, and are GYRE_EINVALID. With
 * GYRE_CLOSED the lease is certainly no probe, with GYRE_HALF_OPEN it certainly is one, also where the proxy's state changes
 * while it is chosen.
 */
struct gyre_request {
    uint32_t size;
    uint32_t picker;          /* enum gyre_picker; 0: the segment's, with its choices and ties where these are 0 here */
    const uint64_t *exclude;  /* ids not to choose, any number; unknown ids are ignored */
    uint32_t exclude_count;
    uint32_t choices;         /* of GYRE_PICK_BEST, 1 to 64 [3]; where at most 8 proxies have the labels asked for, eligible
                               * or not, all are compared */
    const char *session;      /* sticky: the same proxy for the same id; 1 to 128 bytes of [A-Za-z0-9._:@-] */
    const char *host;         /* the target's host name: proxies banned by it are left out */
    const char *key;          /* of GYRE_PICK_HASH [host, or else session] */
    const char *country;      /* ISO code; several, comma separated without spaces, in order of preference, none of them empty */
    const char *region;
    const char *tags;         /* comma separated, any case: the proxy has all of them; "cost<=0.5" and "cost=0.5" compare its cost */
    uint32_t random_ties;     /* least-used and least-active: 1 breaks ties at random [0: by slot] */
    uint32_t state;           /* leaves out who is in another one: GYRE_CLOSED or GYRE_HALF_OPEN [0: nobody] */
    double min_success;       /* leaves out whose success_rate is lower, 0 to 1 [0: nobody] */
    double max_ms;            /* leaves out whose ema_ms is higher; who has none yet may serve [0: nobody] */
    uint32_t unlogged;        /* 1: not for the log of decisions, since the caller does gyre_log_write() [0] */
    uint32_t reserved;
};

/*
 * How a segment chooses, for everybody on it at once: what gyre_acquire() follows where a request names no picker, and what
 * Lua states load. Kept in the segment; see gyre_strategy_set().
 */
struct gyre_strategy {
    uint32_t size;
    uint32_t generation;      /* how often it has been changed; set by the library. 0: still options.picker, without a name */
    uint32_t picker;          /* enum gyre_picker that gyre_acquire() follows */
    uint32_t choices;         /* of GYRE_PICK_BEST, 1 to 64 [3] */
    uint32_t random_ties;     /* of least-used and least-active: 1 breaks ties at random [0] */
    uint32_t scripted;        /* 1: a strategy in Lua decides; picker is only for those without Lua */
    char name[256];           /* of a strategy, or a path of one */
    char fallback[64];        /* name of the strategy that serves when it cannot [""] */
    char options[3072];       /* of the strategy, JSON ["": none] */
};

/* How an acquire came to its proxy. */
enum gyre_how {
    GYRE_PICKED = 0,
    GYRE_SESSION_HIT = 1,   /* the session's own */
    GYRE_SESSION_NEW = 2,   /* picked, and the session's from now on */
    GYRE_SESSION_MOVED = 3  /* likewise, instead of one that cannot serve */
};

/*
 * A lease, in memory of the caller's; plain data that may be copied, moved and thrown away. Copies are the
 * same lease: whichever completes first ends it.
 */
struct gyre_lease {
    uint64_t id;              /* the proxy */
    uint32_t slot;            /* its index in gyre_pool_slots() */
    uint32_t generation;      /* and its generation: id == generation << 20 | slot */
    uint32_t entry, serial;   /* private */
    uint64_t host;            /* hash of request.host, 0 without one */
    uint32_t strategy;        /* private to the hook that gave it; 0: nobody is to be told how it ends */
    uint32_t how;             /* enum gyre_how */
};

/* A proxy banned by a host, as gyre_host_next() shows it. */
struct gyre_ban {
    uint32_t size;
    uint32_t strikes;         /* bans in a row by verdicts */
    uint64_t id;              /* the proxy */
    double until;             /* pool time */
    uint32_t judged;          /* 1: by a verdict, 0: by gyre_host_ban() */
    uint32_t reserved;
    uint64_t hash;            /* of the host's name, the same in every segment */
    char host[256];           /* lower case; "" until a request has named it, "..." before the end of a long one */
};

/* A host that is throttled, as gyre_throttle_next() shows it. */
struct gyre_throttle {
    uint32_t size;
    uint32_t length;          /* of the last throttle, ms: what the next one doubles */
    uint64_t hash;            /* of the host's name, the same in every segment */
    double left;              /* seconds until requests may go on; 0: only length is remembered */
    char host[256];           /* as in gyre_ban */
};

/* What happened to a proxy since a moment of its sliding window. */
struct gyre_window_note {
    double ago;               /* seconds since that moment */
    uint32_t started, succeeded, failed;
    uint32_t reserved;
};

/*
 * The books of a proxy: all that a segment knows of it beside what gyre_pool_update() can set. Ages and times left instead of
 * pool times, so that they mean the same in another segment. Leases in flight are not part of it.
 */
struct gyre_books {
    uint32_t size;
    uint32_t state;           /* enum gyre_state; a DRAINING or DISABLED proxy may be benched beneath */
    uint64_t succeeded, failed, aborted, bytes;
    double ema_ms;            /* NaN: no sample yet */
    double success_rate;      /* 0 to 1 */
    double used_ago;          /* seconds since its last lease began; negative: never */
    double sampled_ago;       /* likewise, since its last latency sample or failure */
    double bench_left;        /* seconds of its bench that are left; 0: half-open; negative: it is not benched */
    int64_t level;            /* what least-used counts: leases since it joined */
    uint32_t unplaced;        /* 1: it joined or came back, and least-used has not put it level yet */
    uint32_t opened;          /* how often in a row the breaker opened */
    uint32_t consecutive_failures;
    uint32_t rate_used;       /* leases of its rate's period that are used up */
    uint32_t notes;           /* how many of `note` are set */
    uint32_t reserved;
    struct gyre_window_note note[8];
};

/* What gyre_pool_check() found. */
struct gyre_check {
    uint32_t size;
    uint32_t findings;
    char first[248];          /* the first one in words; "" when there is none */
};

/* How a lease ended. */
struct gyre_outcome {
    uint32_t size;
    uint32_t verdict;         /* enum gyre_verdict */
    double ms;                /* latency, milliseconds: finite, 0 to 86400000; used when has_ms */
    uint64_t bytes;           /* both directions */
    double retry_after;       /* with banned and throttled: seconds the target asked for; 0: it did not say; more than a
                               * week counts as a week */
    uint32_t has_ms;
    uint32_t reserved;
};

/* A session, as gyre_session_next() lists it. Times are pool times in seconds. */
struct gyre_session {
    uint32_t size;
    uint32_t reserved;
    uint64_t proxy;           /* id; may have been removed or benched: the session's next use moves it then */
    double created;           /* when it got this proxy */
    double last_used;
    double expires;           /* when it is over unless it is used before */
    char id[136];             /* 1 to 128 bytes */
};

struct gyre_session_stats {
    uint32_t size;
    uint32_t count;           /* sessions that are not over */
    uint32_t capacity;        /* places for sessions */
    uint32_t reserved;
    uint64_t hits;            /* uses of a session that had its proxy; up to 255 per thread of other processes are missing */
    uint64_t assigned;        /* sessions that got a proxy when they were new or had been over */
    uint64_t moved;           /* sessions that got another because theirs could not be used */
    uint64_t evicted, expired, closed; /* how they ended; expired ones count when their place is used or cleaned up */
};

/* A counter, as gyre_counter_next() lists it. */
struct gyre_counter {
    uint32_t size;
    uint32_t reserved;
    double value;
    char name[48];
};

/* An entry of the audit log: who was chosen, by whom, from how many, why. Never holds credentials or a session's id. */
struct gyre_decision {
    uint32_t size;
    uint32_t candidates;      /* how many could have been chosen; 0: not known */
    uint64_t sequence;        /* number of the entry; set by the library */
    uint64_t lost;            /* gyre_log_read(): so many before this one were overwritten unread */
    uint64_t proxy;           /* id; 0: nobody was chosen, and reason says why */
    uint64_t session;         /* keyed hash of the session's id; 0: none */
    double time;              /* pool time, seconds; set by the library */
    uint32_t generation;      /* how often strategies have been swapped when this one came; 0: it is not the segment's */
    uint32_t process;         /* pid; set by the library */
    char strategy[32];
    char reason[96];
};

/* The parts of a proxy URL, decoded. */
struct gyre_url {
    uint32_t scheme;          /* enum gyre_scheme */
    uint32_t port;
    char host[256];           /* lower case; IPv6 without brackets */
    char user[512];
    char password[1024];
    uint32_t has_user, has_password;
};

/* Where a function wants one, NULL is GYRE_EINVALID, or 0 or NULL from those that return no code. A thread's first call with a
 * handle, also the first after a fork, may be GYRE_ESYSTEM in any function that returns a code. */
struct gyre_pool;

/* Version text, e.g. "0.1.0". */
GYRE_API const char *gyre_version(void);

/* Number of the segment layout and of this interface; a loader compares it with the one it was written for. */
GYRE_API int gyre_abi(void);

/* sizeof of a struct between the two markers by its name without "gyre_", e.g. "lease"; for others, gyre_hook too,
 * GYRE_ENOT_FOUND. Pure. */
GYRE_API int gyre_struct_size(const char *name);

/* Text of a GYRE_E*, never NULL. */
GYRE_API const char *gyre_strerror(int error);

/* Name of a GYRE_E* in lower case without prefix, e.g. "no_proxy"; "unknown" for other numbers. Valid until the thread asks for
 * another one. */
GYRE_API const char *gyre_error_name(int error);

/* What was wrong with this thread's last failed call, in words that name the input; "" if none. Valid until the
 * thread's next call. */
GYRE_API const char *gyre_detail(void);

/*
 * Parses a proxy URL of one of the six schemes. Default ports: http 80, https 443, socks 1080. Everything
 * percent-encoded is decoded exactly once; a NUL byte, a control character or a path other than "/" is an error.
 * Returns 0 or GYRE_EINVALID. Pure; no lock.
 */
GYRE_API int gyre_url_parse(const char *text, struct gyre_url *url);

/*
 * Opens a pool; `options` may be NULL. On success *pool is the caller's until gyre_pool_close(). Errors: INVALID
 * (an option), ABI or CORRUPT (the file is something else, another version, or damaged), SYSTEM, FULL (1,024
 * handles of the file are open in all processes together). A file that is a symbolic link, or belongs to neither this user nor
 * root, is refused.
 * Takes nothing from those who have the file open, and they may be of other containers (pid namespaces). However often one process
 * opens a file it is mapped once, with one descriptor; each handle has leases of its own. A handle may be used on after fork(),
 * in the child too, which is a process of its own from its first use on (SYSTEM when there are 1,024); and a child that may not
 * open the file itself can still attach to what it inherited, by path.
 */
GYRE_API int gyre_pool_open(const struct gyre_options *options, struct gyre_pool **pool);

/* How the segment was made: fills *options (set its size) but for path, mode and group, which are 0; start is the pool time now.
 * INVALID. Pure. */
GYRE_API int gyre_pool_options(struct gyre_pool *pool, struct gyre_options *options);

/* Closes the handle; a shared segment stays. NULL is allowed. No other thread may be using the handle. */
GYRE_API void gyre_pool_close(struct gyre_pool *pool);

/* Adds a proxy and stores its id. Errors: INVALID, EXISTS (*id is then the existing one), FULL (of proxies, texts or labels).
 * Takes the segment's lock; O(1), or O(proxies) where texts must be put together or labels let go. */
GYRE_API int gyre_pool_add(struct gyre_pool *pool, const struct gyre_proxy_spec *spec, uint64_t *id);

/* Removes a proxy and wipes its credentials. Leases in flight complete harmlessly; until they have, its place is not
 * used for another proxy. NOT_FOUND. Takes the lock. */
GYRE_API int gyre_pool_remove(struct gyre_pool *pool, uint64_t id);

/* Changes what `spec` sets: labels, weight, cost, limits. INVALID, NOT_FOUND, FULL (16,383 different labels are in use). Takes the
 * lock; O(1), or O(proxies) where labels that nobody has any more must be let go. */
GYRE_API int gyre_pool_update(struct gyre_pool *pool, uint64_t id, const struct gyre_proxy_spec *spec);

/* Fills *proxy (set its size). INVALID, NOT_FOUND, CORRUPT. Takes the lock. */
GYRE_API int gyre_pool_get(struct gyre_pool *pool, uint64_t id, struct gyre_proxy *proxy);

/* The id of the proxy with this URL (scheme, host, port and credentials); `id` may be NULL. INVALID, NOT_FOUND. Takes the lock. */
GYRE_API int gyre_pool_find(struct gyre_pool *pool, const char *url, uint64_t *id);

/* Number of proxies in the pool, eligible or not. Lock-free, O(1). */
GYRE_API int gyre_pool_count(struct gyre_pool *pool);

/* Iteration by slot: set *id to 0, call until it returns 0 (and *id is 0); 1 means *id is the next proxy. One added or removed
 * meanwhile may be seen or not. Lock-free. */
GYRE_API int gyre_pool_next(struct gyre_pool *pool, uint64_t *id);

/* Writes the proxy's URL, percent-encoded, without and with its credentials; returns its length. INVALID when it
 * does not fit, NOT_FOUND. The first is safe to show. Takes the lock. */
GYRE_API int gyre_pool_url(struct gyre_pool *pool, uint64_t id, char *buffer, size_t size);
GYRE_API int gyre_pool_url_with_credentials(struct gyre_pool *pool, uint64_t id, char *buffer, size_t size);

/*
 * The books of a proxy, read and written: to move a pool to another segment, or restore it. set replaces all of them; leases in
 * flight go on and are counted on top; a rate may be used up to the end of its period although less was used. What is
 * impossible, or contradicts itself, is INVALID, its field is named, and nothing changes; a process killed in between leaves
 * sound books, some of them old. What another segment allowed and this one does not is cut: ages to that of the segment (see
 * gyre_options.start), bench_left to breaker_max, rate_used to the count of the rate. INVALID, NOT_FOUND. Both take the lock;
 * O(1).
 */
GYRE_API int gyre_books_get(struct gyre_pool *pool, uint64_t id, struct gyre_books *books);
GYRE_API int gyre_books_set(struct gyre_pool *pool, uint64_t id, const struct gyre_books *books);

/* Operator's switches. drain: no new lease, those in flight finish. enable ends both and any bench. NOT_FOUND. */
GYRE_API int gyre_pool_disable(struct gyre_pool *pool, uint64_t id);
GYRE_API int gyre_pool_drain(struct gyre_pool *pool, uint64_t id);
GYRE_API int gyre_pool_enable(struct gyre_pool *pool, uint64_t id);

/* Fills *stats (set its size). O(proxies), lock-free. */
GYRE_API int gyre_pool_stats(struct gyre_pool *pool, struct gyre_stats *stats);

/* Sets all counters, EMAs and windows back; leases in flight stay and count as started. Takes the lock. */
GYRE_API int gyre_pool_reset_counters(struct gyre_pool *pool);

/*
 * Hosts. A lease taken with request.host set tells the pool of that host by its verdict (names are compared without
 * regard to case):
 * - `banned` benches this proxy for this host: gyre_acquire() with the host leaves it out, with any other host not. For
 *   retry_after, or else a random time in (0, 60 s], doubling with each ban in a row up to (0, 1 h]; an hour without
 *   one ends the row. Never more than max_benched of the proxies by one host: gyre_stats.ban_refused counts the rest.
 *   A host that bans more than half of them within ten seconds is blamed itself: see gyre_host_blamed().
 * - `throttled` holds back all requests for this host: gyre_acquire() is BUSY until retry_after has passed, or else 1 s,
 *   doubling up to 60 s while throttles go on, halving with each `ok`.
 */

/* Bans a proxy for a host by hand for `seconds` (0 < seconds <= a week), in place of any ban there is. INVALID,
 * NOT_FOUND. Takes the lock. */
GYRE_API int gyre_host_ban(struct gyre_pool *pool, uint64_t id, const char *host, double seconds);

/* Lifts a proxy's ban; with host NULL all of the proxy's, with id 0 all of the host's. Returns how many were in force.
 * INVALID when both are missing. Takes the lock; O(max_bans). */
GYRE_API int gyre_host_unban(struct gyre_pool *pool, uint64_t id, const char *host);

/* Iteration over the bans in force: set *cursor to 0 and ban->size, call until it returns 0; 1 means *ban is the next.
 * INVALID. Takes the lock; one walk is O(max_bans). */
GYRE_API int gyre_host_next(struct gyre_pool *pool, uint32_t *cursor, struct gyre_ban *ban);

/* Holds back requests for a host for exactly `seconds` from now, whatever was there; 0 lets them through and forgets
 * earlier throttles. INVALID. Takes the lock. */
GYRE_API int gyre_host_throttle(struct gyre_pool *pool, const char *host, double seconds);

/* Puts a ban back as gyre_host_next() showed it: ban->until is a pool time of this segment. The host is known by ban->hash; its
 * name is learned if ban->host holds the whole of it. INVALID, NOT_FOUND. Takes the lock. */
GYRE_API int gyre_ban_restore(struct gyre_pool *pool, const struct gyre_ban *ban);

/* Iteration over the hosts that are throttled or were lately, as gyre_host_next(); and putting one back. INVALID. Take the
 * lock; one walk is O(max_bans). */
GYRE_API int gyre_throttle_next(struct gyre_pool *pool, uint32_t *cursor, struct gyre_throttle *throttle);
GYRE_API int gyre_throttle_restore(struct gyre_pool *pool, const struct gyre_throttle *given);

/* Says which host a lease of gyre_acquire_id() is for, as request.host does; by a copy of the lease that is completed.
 * INVALID. Pure. */
GYRE_API int gyre_lease_host(struct gyre_lease *lease, const char *host);

/* Seconds until requests for a host may go on; 0 when they may now. Lock-free; O(1). */
GYRE_API double gyre_host_delay(struct gyre_pool *pool, const char *host);

/*
 * Seconds for which no verdict benches a proxy for this host; 0: it is not blamed. When more than half of the pool's proxies,
 * and three verdicts at least, are banned by one host within ten seconds (five at least, the time is counted in two
 * halves), the rule that reads its responses is wrong, or the host refuses everybody: all its bans by verdicts are lifted,
 * and for a minute, longer while it goes on so, there are no new ones. Not with max_benched 1: everybody may be
 * benched then. Lock-free; O(1).
 */
GYRE_API double gyre_host_blamed(struct gyre_pool *pool, const char *host);

/*
 * Verifies what must hold between all parts of the segment: flags, bitmaps, counts, index, texts, labels, rates, bans, and,
 * where nothing is in motion, `active` against the leases in flight. Fills *report (set its size; may be NULL) and
 * returns the number of findings, 0 for a sound segment. Changes nothing. INVALID, SYSTEM. Takes the lock for
 * O(max_proxies + max_leases + max_bans); allocates.
 */
GYRE_API int gyre_pool_check(struct gyre_pool *pool, struct gyre_check *report);

/*
 * Makes anew what can be derived, drops what is unsound (a proxy whose identity is damaged, a ban with a wrong key), and
 * ends what dead processes had in flight. Happens by itself when the lock's holder has died and when a file is opened
 * that nobody has open; this does it now. Leases of living processes go on. SYSTEM. Takes the lock; costs as check.
 */
GYRE_API int gyre_pool_repair(struct gyre_pool *pool);

/* The hot records, indexed by slot; valid until close. */
GYRE_API const struct gyre_slot *gyre_pool_slots(struct gyre_pool *pool);

/* Pool time in seconds: counts on over restarts; with GYRE_CLOCK_MANUAL what set_time said (INVALID when that is
 * less than now, or the clock is the system's). */
GYRE_API double gyre_pool_time(struct gyre_pool *pool);
GYRE_API int gyre_pool_set_time(struct gyre_pool *pool, double seconds);

/*
 * Changes how the segment chooses, in one step: from the next acquire on, in every thread of every process. A process that
 * is killed in here leaves the old or the new. Stores the new generation in *generation (may be NULL). INVALID (no name, no
 * picker, a text without its end). Takes the lock; survives restarts of a segment in a file.
 */
GYRE_API int gyre_strategy_set(struct gyre_pool *pool, const struct gyre_strategy *strategy, uint32_t *generation);

/* Fills *strategy (set its size). Lock-free, unless others change it all the time; O(1). INVALID, CORRUPT. */
GYRE_API int gyre_strategy_get(struct gyre_pool *pool, struct gyre_strategy *strategy);

/* Where the generation stands, for a look at it before each acquire without a call; valid until close. Read-only. */
GYRE_API const uint32_t *gyre_strategy_generation(struct gyre_pool *pool);

/* Where the number of changes of membership and labels so far stands, modulo 2^32 (a repair counts as 4096); likewise: valid
 * until close, read-only, NULL without a pool. Lock-free, O(1). */
GYRE_API const uint32_t *gyre_pool_epoch(struct gyre_pool *pool);

/*
 * Picks a proxy and leases it: `started` and `active` are counted before it returns. Errors: NO_PROXY (detail
 * says how many are out for which reason), BUSY, FULL (no lease is free), INVALID, SYSTEM. Lock-free; no system call and no
 * allocation but where
 * - a thread calls first, or first with a picker, with labels, with more than 16 excludes;
 * - weighted picks first after a change of membership or labels;
 * - the call is the one that does the timed work: ten times a second one takes the lock if that is free, and once a second
 *   it reads in /proc who is alive;
 * - a session gets a proxy, or a decision is logged: they take short locks, and who waits for one long yields.
 */
GYRE_API int gyre_acquire(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease);

/*
 * Chooses as gyre_acquire() would, but leases nothing: for strategies that look first and call gyre_acquire_id(). Round-robin's
 * cursor moves. Sessions and throttles are not looked at. NO_PROXY, BUSY, INVALID, SYSTEM. Lock-free; like gyre_acquire(), this and
 * the three looks that follow do the timed work when it is due, so that who is back is found by those who only look.
 */
GYRE_API int gyre_pick(struct gyre_pool *pool, const struct gyre_request *request, uint64_t *id);

/*
 * `want` (1 to 64) different eligible proxies that pass the request's filters and excludes, any so many as likely, or all where
 * there are no more; of several countries those of the first, then, where it has too few, of the second, and so on, in this
 * order. Returns how many. NO_PROXY, BUSY, INVALID, SYSTEM. Lock-free; O(want) where many are eligible, else
 * O(capacity / 64 + eligible).
 */
GYRE_API int gyre_sample(struct gyre_pool *pool, const struct gyre_request *request, uint64_t *ids, int want);

/*
 * The slots of all proxies that are eligible and pass the request's filters and excludes, in rising order; of several countries
 * those of the first, then those of the second that are not among them, and so on. Returns how many, at most `capacity`.
 * INVALID, SYSTEM. Lock-free; O(capacity of the pool / 64 + result) for each country.
 */
GYRE_API int gyre_list(struct gyre_pool *pool, const struct gyre_request *request, uint32_t *slots, int capacity);

/* How many proxies are eligible and pass the request's filters, each counted once; excludes, host, min_success and max_ms are
 * not looked at. INVALID, SYSTEM. Lock-free, O(capacity / 64), and O(result) for each country but the first. */
GYRE_API int gyre_pool_eligible(struct gyre_pool *pool, const struct gyre_request *request);

/* Leases the proxy that the caller chose. NOT_FOUND, NO_PROXY (not eligible), BUSY, FULL. Lock-free. */
GYRE_API int gyre_acquire_id(struct gyre_pool *pool, uint64_t id, struct gyre_lease *lease);

/*
 * The same for a request, in one call: BUSY while request.host is throttled; NO_PROXY when the request's filters or excludes
 * or its host's bans do not let the proxy through; the lease knows its host. picker, key and choices are not looked at.
 *
 * With request.session the session's own proxy goes before `id`: it is leased if it can be used (lease->id says which one it
 * became); else `id` is leased and sticks. Get-or-assign is one step, as with gyre_acquire(). So a strategy need not choose
 * for nothing: call with id 0 first, which only tries the session's own. 0: leased. NOT_FOUND: there is no such session,
 * or NO_PROXY: its proxy cannot be used any more; then choose, and call with the choice. BUSY: the session's proxy is at
 * its limit, which is no reason to move. When the choice was taken meanwhile (NO_PROXY, BUSY, NOT_FOUND), exclude it and
 * choose again. INVALID, FULL. Lock-free but for a session that gets a proxy.
 */
GYRE_API int gyre_acquire_chosen(struct gyre_pool *pool, const struct gyre_request *request, uint64_t id,
                                 struct gyre_lease *lease);

/*
 * gyre_acquire_id() for who wants to know whether a proxy works: one that is benched can be leased too. Then it is half-open and
 * this lease is its probe: `ok` ends the bench, as do `throttled` and `target_bad`, for the proxy has carried it; `proxy_bad`
 * makes it longer, `banned` and `aborted` let it go on. NOT_FOUND, NO_PROXY (disabled, draining, or being
 * probed), BUSY, FULL. Takes the lock when it is benched.
 */
GYRE_API int gyre_probe(struct gyre_pool *pool, uint64_t id, struct gyre_lease *lease);

/*
 * Ends a lease, in the process that took it. Errors: CLOSED (it has ended already: completed, or aborted by who noticed that its
 * deadline had passed; until then a late one counts as any other), INVALID (also: of another process); an error counts
 * nothing. Lock-free on GYRE_OK; other verdicts may take a short lock.
 */
GYRE_API int gyre_complete(struct gyre_pool *pool, struct gyre_lease *lease, const struct gyre_outcome *outcome);

/* The same for callers to whom a struct is a burden: ms < 0 means no latency. */
GYRE_API int gyre_complete_ms(struct gyre_pool *pool, struct gyre_lease *lease, int verdict, double ms);

/*
 * Sessions. An acquire with request.session leases the same proxy for the same id: until the session is over
 * (options.session_ttl after its last use, options.session_lifetime after it got its proxy, gyre_session_close), or its
 * proxy is not eligible any more: benched, disabled, draining, removed, or not one the request lets through
 * (excluded, filtered out, banned by the host). Then the request's picker chooses once, and that one sticks. Any number of
 * threads and processes that present a new id at once get the same proxy. A failed request is no reason to move; neither is
 * a proxy that is merely at its limit (max_active, rate): the acquire is then GYRE_EBUSY, which counts as a use. When
 * nobody is eligible the session stays as it was, for when its proxy comes back.
 *
 * An id is 1 to 128 bytes of [A-Za-z0-9._:@-]; others are GYRE_EINVALID, and no text of the library holds an id. Sessions
 * survive restarts of a segment in a file. Using one is lock-free; a new one takes the locks of two of the table's buckets.
 * Two ids are told apart by some 70 bits of a hash keyed by the segment's seed: of 1,000,000 sessions, two are taken for one
 * with a probability below 1 in 1,000,000,000.
 */

/* The proxy of a session; it may be out just now. NOT_FOUND (none, over, or its proxy was removed), INVALID. Lock-free. The
 * second is for strategies that lease it themselves, by gyre_acquire_id(): it counts as a use, the first does not. */
GYRE_API int gyre_session_get(struct gyre_pool *pool, const char *session, uint64_t *proxy);
GYRE_API int gyre_session_use(struct gyre_pool *pool, const char *session, uint64_t *proxy);

/*
 * For strategies that pick themselves: the session gets `proxy` unless it has one that is eligible and not `refused`
 * (0: none is), in one step. *winner (may be NULL) is whom it has then. NOT_FOUND or NO_PROXY: `proxy` would be needed and
 * is not there, or not eligible; INVALID. Takes a short lock; O(1).
 */
GYRE_API int gyre_session_assign(struct gyre_pool *pool, const char *session, uint64_t proxy, uint64_t refused,
                                 uint64_t *winner);

/* Puts a session back: got its proxy and was last used so many seconds ago. In place of the one there is with this id;
 * one that is over by now is left out. INVALID, NOT_FOUND (no such proxy). Takes a short lock; O(1). */
GYRE_API int gyre_session_restore(struct gyre_pool *pool, const char *session, uint64_t proxy, double created_ago,
                                  double used_ago);

/* Ends a session. NOT_FOUND, INVALID. Takes a short lock; O(1). */
GYRE_API int gyre_session_close(struct gyre_pool *pool, const char *session);

/* Ends all; returns how many were not over. Those made meanwhile may stay. INVALID, SYSTEM. O(max_sessions); takes the short
 * lock of one bucket of 16 after the other. */
GYRE_API int gyre_session_close_all(struct gyre_pool *pool);

/* Empties the places of sessions that are over; returns how many. Never needed: new sessions do it as they come.
 * INVALID, SYSTEM. Cost and locks as close_all. */
GYRE_API int gyre_session_cleanup(struct gyre_pool *pool);

/* Iteration: set *cursor to 0 and session->size, call until it returns 0; 1 means *session is the next. In no order; one
 * made or ended meanwhile may be seen or not. Lock-free. */
GYRE_API int gyre_session_next(struct gyre_pool *pool, uint64_t *cursor, struct gyre_session *session);

/* One session by its id: fills *session (set its size); it is not used by that. NOT_FOUND (none, or over), INVALID. Lock-free. */
GYRE_API int gyre_session_info(struct gyre_pool *pool, const char *id, struct gyre_session *session);

/* Fills *stats (set its size). O(max_sessions), lock-free. */
GYRE_API int gyre_session_stats(struct gyre_pool *pool, struct gyre_session_stats *stats);

/*
 * Counters by name, shared by everybody on the segment and kept with it: 1 to 47 bytes without control characters, at most
 * 1024 of them, never removed. add makes one that is not there and stores the new value in *value (may be NULL); adding 1
 * is exact up to 2^53. INVALID (the name; a delta or a sum that is not finite), FULL. Lock-free once the name is there.
 */
GYRE_API int gyre_counter_add(struct gyre_pool *pool, const char *name, double delta, double *value);

/* NOT_FOUND, INVALID. Lock-free. */
GYRE_API int gyre_counter_get(struct gyre_pool *pool, const char *name, double *value);

/* Iteration, like gyre_session_next(). Lock-free. */
GYRE_API int gyre_counter_next(struct gyre_pool *pool, uint64_t *cursor, struct gyre_counter *counter);

/*
 * The audit log: the last 4095 decisions, for everybody on the segment to follow. sample_rate is the share that is
 * logged: 0 none (how a segment starts), 1 all; kept in the segment, valid for all processes at once. INVALID. Off it costs
 * nothing; on, each entry a short lock and a count of the eligible.
 */
GYRE_API int gyre_log_enable(struct gyre_pool *pool, double sample_rate);

/* The share that is logged. Lock-free. */
GYRE_API double gyre_log_share(struct gyre_pool *pool);

/* Is this decision to be logged? 1 or 0, drawn by the sample rate. Strategies outside the library ask before they
 * put an entry together; gyre_acquire() logs by itself, gyre_acquire_id() never. Lock-free. */
GYRE_API int gyre_log_sample(struct gyre_pool *pool);

/* gyre_decision.session of a session's id: a hash keyed by the segment's seed, the same for the same id on one segment;
 * 0 for NULL and for what is no id. Pure. */
GYRE_API uint64_t gyre_session_hash(struct gyre_pool *pool, const char *session);

/* Appends an entry: 1, or 0 when the log is off. What it says must hold neither credentials nor a session's id. INVALID. Takes a
 * short lock. */
GYRE_API int gyre_log_write(struct gyre_pool *pool, const struct gyre_decision *decision);

/* The next entry after *cursor: 1, or 0 when there is none yet. Begin with *cursor 0 for the oldest that is kept, or
 * UINT64_MAX for those to come. Any number may read; lock-free. INVALID. */
GYRE_API int gyre_log_read(struct gyre_pool *pool, uint64_t *cursor, struct gyre_decision *decision);

/* [/cdef] */

/*
 * Hooks: who decides for a segment whose strategy is a script (gyre_strategy.scripted), in this process. libgyre-host sets them;
 * see gyre/host.h. Without a hook gyre_acquire() follows gyre_strategy.picker.
 */
#define GYRE_HOOK_PASS 1 /* what `acquire` returns when it leaves the choice to gyre_strategy.picker */

#ifndef GYRE_CDEF
struct gyre_hook {
    uint32_t size;
    uint32_t reserved;
    void *data;
    /* In place of gyre_acquire() where the request names no picker and the strategy is a script: 0 with a lease, whose
     * `strategy` it may set, a GYRE_E* after gyre_hook_fail() or a failed call of the library, or GYRE_HOOK_PASS. Any thread
     * calls it, several at the same time; no lock is held. It may call the library, with requests that name a picker. */
    int (*acquire)(void *data, const struct gyre_request *request, struct gyre_lease *lease);
    /* A lease with `strategy` set has ended, by gyre_complete() or gyre_complete_ms(). Likewise. */
    void (*complete)(void *data, const struct gyre_lease *lease, const struct gyre_outcome *outcome);
    /* The handle is being closed; nothing is called afterwards. */
    void (*close)(void *data);
};
#endif

/* Sets the hook of a handle, for as long as that is open; the struct is copied. INVALID, EXISTS (there is one), SYSTEM. Takes
 * a short lock. */
GYRE_API int gyre_pool_hook(struct gyre_pool *pool, const struct gyre_hook *hook);

/* For hooks: sets what gyre_detail() says, and returns `error`. */
GYRE_API int gyre_hook_fail(int error, const char *text);

#ifdef __cplusplus
}
#endif
#endif
