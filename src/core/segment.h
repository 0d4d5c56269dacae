/*
 * The layout of a segment: every struct that lives in shared memory, and the regions they form. Indices only, never
 * pointers. layout.c asserts each size; src/README.md draws the map. Any change of size, order or meaning here is a new
 * GYRE_ABI.
 */
#ifndef GYRE_SEGMENT_H
#define GYRE_SEGMENT_H

#include "atomic.h"

#include <gyre/gyre.h>

#define GYRE_ABI 4

#define SLOT_BITS 20u
#define SLOT_MASK ((1u << SLOT_BITS) - 1u)
#define MAX_PROXIES (1u << SLOT_BITS)
#define MAX_LEASES (1u << 24)
#define MAX_PROCESSES 1024u
#define MAX_LABELS 16384u
#define MAX_TAGS 12u
#define LABEL_TEXT 63u
#define VIEW_CURSORS 256u
#define CHANGES 4096u
#define ACTIVE_LEVELS 32u
#define WINDOW_BUCKETS 8u
#define RATE_MARKS 6u
#define MAX_BANS (1u << 22)
#define HOST_TEXT 78u
#define LEASE_CHUNK 64u
#define TEXT_BLOCK 32u
#define MAX_SESSIONS (1u << 22)
#define SESSION_WAYS 16u
#define SESSION_FILL 12u /* sessions a bucket is made for: with two buckets to choose from, 16 places hold them all */
#define SESSION_ID 128u
#define SESSION_HEAD 2u /* words of the id in its head; the rest is in its tail */
#define SESSION_TAIL (SESSION_ID / 8 - SESSION_HEAD)
#define MAX_COUNTERS 1024u
#define COUNTER_PLACES (2 * MAX_COUNTERS)
#define COUNTER_NAME 48u /* with its NUL */
#define DECISIONS 4096u
#define DECISION_WORDS 24u
#define STRATEGY_WORDS 427u
#define TEXT_CLASSES 57u /* an extent has 1 to 56 blocks: host 255 + user 511 + password 1023 bytes */

/* gyre_slot.use: started above, in flight below, so that one read shows both and one atomic add counts both. */
#define ACTIVE_BITS 24u
#define ACTIVE_MASK ((UINT64_C(1) << ACTIVE_BITS) - 1)
#define USE_START ((UINT64_C(1) << ACTIVE_BITS) + 1)
#define use_started(use) ((use) >> ACTIVE_BITS)
#define use_active(use) ((uint32_t)((use)&ACTIVE_MASK))

/* gyre_slot.flags. LIVE is set last when a proxy is added and cleared first when it is removed. */
enum slot_flag {
    SLOT_LIVE = 1u << 0,
    SLOT_DISABLED = 1u << 1,
    SLOT_DRAINING = 1u << 2,
    SLOT_OPEN = 1u << 3,    /* benched until slot_health.until */
    SLOT_HALF = 1u << 4,    /* may be probed */
    SLOT_PROBE = 1u << 5,   /* with HALF: the probe is out */
    SLOT_LIMITED = 1u << 6, /* slot_label.max_active > 0, or slot_rate.rule is not 0 */
    SLOT_QUIET = 1u << 7,   /* no new leases while a dead process's are settled */
};
#define SLOT_OUT (SLOT_DISABLED | SLOT_DRAINING | SLOT_OPEN | SLOT_PROBE | SLOT_QUIET)

/* Who a proxy is. Text (host, user, password without separators) is in REGION_TEXT. */
struct slot_identity {
    uint32_t text;   /* first block */
    uint16_t blocks; /* 0: no text */
    uint16_t port;
    uint32_t hash;
    uint8_t scheme;
    uint8_t host_size;
    uint8_t has_user, has_password;
    uint16_t user_size, password_size;
    uint32_t reserved[3];
};

struct slot_label {
    double weight, cost; /* cost NaN: unknown */
    uint32_t max_active;
    uint16_t country, region; /* index into REGION_LABELS, 0: none */
    uint16_t tags[MAX_TAGS];
    uint16_t tag_count;
    uint16_t reserved[7];
};

/* Totals at the start of a window bucket; see window.c. */
struct window_entry {
    uint32_t bucket; /* 0: never written */
    uint32_t started, succeeded, failed;
};

struct slot_window {
    struct window_entry entry[WINDOW_BUCKETS];
};

struct slot_health {
    uint64_t bytes;
    uint32_t until; /* stamp at which a bench ends */
    uint32_t opened; /* how often in a row the breaker opened: the exponent of the backoff */
    uint32_t expires; /* stamp at which the proxy is removed; 0: never */
    uint32_t reserved[3];
};

/* At most so many leases in any period; see limit.c. */
struct slot_rate {
    uint64_t word;   /* time << 24 | mark << 15 | leases since the mark */
    uint64_t rule;   /* period in ms << 32 | count; 0: no rate */
    uint64_t mark[RATE_MARKS]; /* number << 40 | time */
};

/* One proxy banned by one host, at the index where its key stands in REGION_BAN_KEYS; see ban.c. */
struct ban_record {
    uint64_t host; /* hash of the name */
    uint64_t id;
    uint32_t until;  /* stamp at which the ban ends */
    uint32_t forget; /* stamp at which the proxy's row of bans is forgotten */
    uint16_t strikes; /* bans in a row */
    uint16_t bits;    /* enum ban_bit */
    uint32_t serial;  /* with BAN_COUNTED: of the host record that counts it */
};

/* A host that has bans or is throttled, at the index where its hash stands in REGION_HOST_KEYS. */
struct host_record {
    uint64_t throttle; /* time in ms at which it ends << 24 | length of the last one in ms */
    uint32_t bans;     /* in force; ended ones are taken off late, so it is never too small */
    uint32_t judged;   /* those of them that verdicts made */
    uint32_t recount;  /* stamp of the last exact count */
    uint32_t until;    /* stamp by which all its bans and throttles have ended */
    uint32_t refused;  /* bans that max_benched or blame forbade */
    uint32_t burst_bucket, burst, burst_before; /* bans by verdicts, of late; see blame.c */
    uint32_t blamed;   /* stamp until which no verdict of it benches anybody */
    uint16_t size;     /* of the name; 0: not known yet */
    char text[HOST_TEXT];
    uint32_t serial; /* of its making: a host that was pushed out and comes back counts no ban of its first time */
};

/* A lease in flight. word = serial << 32 | slot << 12 | verdict << 8 | bits; see lease.c for its life. */
struct lease_entry {
    uint64_t word;
    uint32_t deadline; /* stamp */
    uint32_t target;   /* low half of the failed or aborted counter after this lease has been counted */
};

struct process_entry {
    uint32_t state; /* enum process_state */
    uint32_t pid;
    uint64_t started; /* start time of the process, clock ticks since boot */
    uint32_t incarnation; /* how often the entry was taken: the lock's word holds it */
    uint32_t pid_space; /* the pid namespace, as /proc numbers it; 0: not known */
    uint64_t locked;    /* 1: the file's lock on the byte of this entry was had; NO_LOCK: it could not be */
    uint64_t reserved[4];
};

struct label_text {
    uint8_t size;
    char text[LABEL_TEXT];
};

/* The round-robin cursor of a filter, on two cache lines of its own: cursor = turn << 32 | next slot. */
struct view_cursor {
    uint64_t cursor;
    uint32_t key; /* hash of the filter, 0: unused */
    uint32_t reserved[29];
};

/* The tags of a bucket of sessions: 32 bits of each id's hash, 0 where there is none. See session.h. */
struct session_tags {
    uint32_t tag[SESSION_WAYS];
};

/* What is read whenever a session is used, four to a cache line. */
struct session_entry {
    uint64_t proxy; /* id */
    uint32_t last; /* stamp of the last use */
    uint32_t seal; /* 24 more bits of the id's hash, and below them a version: odd while the entry is written */
};

/* The id, for lists and checks. One of less than 16 bytes is here as a whole. */
struct session_head {
    uint64_t text[SESSION_HEAD];
};

struct session_tail {
    uint64_t text[SESSION_TAIL]; /* with a zero behind its end; of a short id, left as it was */
};

/* A counter by name. `hash` is written last: 0 is a free entry, and a name once there never changes. */
struct counter_entry {
    uint64_t value; /* bits of a double */
    uint32_t hash;
    uint32_t size;
    char name[COUNTER_NAME];
};

/* Room for a struct gyre_decision, as words so that readers may race with the writer. */
struct decision_entry {
    uint64_t word[DECISION_WORDS];
};

/* Room for a struct gyre_strategy, as words; which of the two counts, strategy.c says. */
struct strategy_entry {
    uint64_t checksum;
    uint64_t word[STRATEGY_WORDS];
};

/* Settings fixed when the segment is made. */
struct segment_config {
    double alpha;
    double breaker_base, breaker_max; /* seconds */
    double max_benched;
    uint64_t seed;
    uint32_t bucket_width;  /* of the sliding window, in stamps (tenths of a second) */
    uint32_t lease_timeout; /* in stamps */
    uint32_t breaker_failures;
    uint32_t picker;
    uint32_t clock;
    uint32_t session_ttl;      /* in stamps */
    uint32_t session_lifetime; /* in stamps; UINT32_MAX: no limit */
    uint32_t reserved;
};

enum region {
    REGION_SLOTS,
    REGION_IDENTITY,
    REGION_LABEL,
    REGION_WINDOW,
    REGION_HEALTH,
    REGION_ELIGIBLE,
    REGION_LIVE,
    REGION_FREE,
    REGION_BENCHED, /* whose breaker is not closed */
    REGION_INDEX,
    REGION_TEXT,
    REGION_LABELS,
    REGION_LABEL_INDEX,
    REGION_LEASES,
    REGION_CHUNKS,
    REGION_PROCESSES,
    REGION_RATE,
    REGION_PACED,
    REGION_MORTAL,
    REGION_BAN_KEYS,
    REGION_BANS,
    REGION_HOST_KEYS,
    REGION_HOSTS,
    REGION_BASE,    /* least-used: base * 2 + 1 when the slot came back and is not clamped yet; pick_least.c */
    REGION_LEVELS,  /* least-active: a bitmap for each number in flight */
    REGION_VIEWS,   /* cursors of views; the first is the view of all */
    REGION_CHANGES, /* ring of slots whose labels changed; view.c */
    REGION_SESSION_TAGS,
    REGION_SESSIONS,
    REGION_SESSION_HEADS,
    REGION_SESSION_TAILS,
    REGION_SESSION_CREATED,
    REGION_SESSION_LOCKS,
    REGION_COUNTERS,
    REGION_DECISIONS,
    REGION_STRATEGY,
    REGION_COUNT
};

/* First page of a segment. What is above `checksum` never changes after creation. */
struct segment_header {
    char magic[8];
    uint32_t abi;
    uint32_t header_size;
    uint64_t size;
    uint32_t max_proxies;
    uint32_t max_leases;
    uint32_t index_size;  /* power of two */
    uint32_t text_blocks;
    uint32_t max_bans, ban_size; /* ban_size, host_size: of the tables, powers of two, half used at most */
    uint32_t max_hosts, host_size;
    uint32_t max_sessions, session_buckets;
    struct segment_config config;
    uint64_t region[REGION_COUNT];
    uint64_t reserved[64];
    uint64_t checksum;
};

#define LINE 128u
#define OWN_LINE __attribute__((aligned(LINE)))

/* Second page: the words that everybody shares, each with the two cache lines it would otherwise fight over. */
struct segment_control {
    OWN_LINE uint64_t epoch;  /* changes of membership or labels so far */
    uint32_t levels_on;       /* 1: every lease keeps REGION_LEVELS right */
    double prior;             /* mean of the known latency averages, ms; tick.c */
    OWN_LINE uint32_t lock;   /* word of the holder, 0: free; lock.c */
    OWN_LINE uint32_t tick;   /* stamp at which tick.c last ran */
    uint32_t bucket;          /* number of the window bucket at that time */
    uint32_t clock_offset_stamps; /* pool time - CLOCK_MONOTONIC in tenths of a second, modulo 2^32 */
    uint32_t due;             /* stamp of the next timed health change; UINT32_MAX: none */
    uint32_t reap;            /* stamp of the next look for dead processes */
    uint32_t sweep;           /* next lease chunk to look at for passed deadlines */
    uint32_t due_paced;       /* like due, of the next proxy that its rate lets return */
    uint32_t due_mortal;      /* and of the next whose TTL passes */
    uint32_t ban_sweep, host_sweep; /* next entries to look at for what is over */
    uint32_t log_sample;      /* share of decisions to log, of 2^32 - 1; 0: the log is off */
    uint64_t strategy;        /* generation << 32 | how to pick; strategy.c */
    OWN_LINE uint64_t manual_ms; /* time of GYRE_CLOCK_MANUAL */
    int64_t clock_offset_ms;     /* pool time - CLOCK_MONOTONIC, a multiple of 100 */
    uint64_t seen_ms, seen_realtime_ms;
    uint8_t boot_id[16];
    OWN_LINE uint64_t random; /* for decisions made under the lock */
    uint32_t streams;            /* thread generators handed out */
    uint32_t live;
    uint32_t benched;         /* proxies whose breaker is not closed */
    uint32_t bench_refused;   /* benches that max_benched forbade */
    uint32_t high;            /* no live slot at or above */
    uint32_t chunks;          /* no used lease chunk at or above */
    uint32_t text_next;       /* first block never used */
    uint32_t labels;          /* used entries of REGION_LABELS, the empty one included */
    uint32_t tombstones;      /* removed entries of REGION_INDEX */
    uint32_t bans, hosts;     /* used entries of the two tables */
    uint32_t host_serial;     /* of the last host record made */
    uint32_t ban_refused;     /* bans of a proxy by a host that max_benched or blame forbade */
    uint32_t ban_blamed;      /* how often a host was blamed */
    uint32_t text_free[TEXT_CLASSES]; /* first free extent of each size, block + 1 */
    OWN_LINE uint64_t session_hits;   /* what threads have handed in; see session.c */
    uint64_t session_assigned, session_moved, session_evicted, session_expired, session_closed;
    OWN_LINE uint64_t decisions;      /* written so far: the number of the next */
    uint32_t decision_lock;           /* a word lock, see lock.c */
};

#define HEADER_SIZE 4096u
#define CONTROL_SIZE 4096u

/* Where each region begins and how large the whole is, from the capacities. Pure. */
void gyre__layout(struct segment_header *header);

/* Checksum over the constant part of the header. Pure. */
uint64_t gyre__header_checksum(const struct segment_header *header);

#endif
