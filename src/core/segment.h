/*
 * The layout of a segment: every struct that lives in shared memory, and the regions they form. Indices only, never
 * pointers. layout.c asserts each size; src/README.md draws the map. Any change of size, order or meaning here is a new
 * GYRE_ABI.
 */
#ifndef GYRE_SEGMENT_H
#define GYRE_SEGMENT_H

#include "atomic.h"

#include <gyre/gyre.h>

#define GYRE_ABI 1

#define SLOT_BITS 20u
#define SLOT_MASK ((1u << SLOT_BITS) - 1u)
#define MAX_PROXIES (1u << SLOT_BITS)
#define MAX_LEASES (1u << 24)
#define MAX_PROCESSES 1024u
#define MAX_LABELS 16384u
#define MAX_TAGS 12u
#define LABEL_TEXT 63u
#define WINDOW_BUCKETS 8u
#define LEASE_CHUNK 64u
#define TEXT_BLOCK 32u
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
    SLOT_LIMITED = 1u << 6, /* slot_label.max_active > 0 */
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
    uint64_t reserved[2];
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
    uint64_t reserved[6];
};

struct label_text {
    uint8_t size;
    char text[LABEL_TEXT];
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
    REGION_BENCHED,
    REGION_INDEX,
    REGION_TEXT,
    REGION_LABELS,
    REGION_LABEL_INDEX,
    REGION_LEASES,
    REGION_CHUNKS,
    REGION_PROCESSES,
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
    struct segment_config config;
    uint64_t region[REGION_COUNT];
    uint64_t reserved[64];
    uint64_t checksum;
};

#define LINE 128u
#define OWN_LINE __attribute__((aligned(LINE)))

/* Second page: the words that everybody shares, each with the two cache lines it would otherwise fight over. */
struct segment_control {
    OWN_LINE uint64_t cursor; /* round-robin: turn << 32 | next slot */
    OWN_LINE uint32_t lock;   /* process index + 1 of the holder; lock.c */
    OWN_LINE uint32_t tick;   /* stamp at which tick.c last ran */
    uint32_t bucket;          /* number of the window bucket at that time */
    uint32_t clock_offset_stamps; /* pool time - CLOCK_MONOTONIC in tenths of a second, modulo 2^32 */
    uint32_t due;             /* stamp of the next timed health change; UINT32_MAX: none */
    uint32_t reap;            /* stamp of the next look for dead processes */
    uint32_t sweep;           /* next lease chunk to look at for passed deadlines */
    OWN_LINE uint64_t manual_ms; /* time of GYRE_CLOCK_MANUAL */
    int64_t clock_offset_ms;     /* pool time - CLOCK_MONOTONIC, a multiple of 100 */
    uint64_t seen_ms, seen_realtime_ms;
    uint8_t boot_id[16];
    OWN_LINE uint64_t random[4]; /* for decisions made under the lock */
    uint32_t streams;            /* thread generators handed out */
    uint32_t live;
    uint32_t benched;         /* proxies whose breaker is not closed */
    uint32_t bench_refused;   /* benches that max_benched forbade */
    uint32_t high;            /* no live slot at or above */
    uint32_t chunks;          /* no used lease chunk at or above */
    uint32_t text_next;       /* first block never used */
    uint32_t labels;          /* used entries of REGION_LABELS, the empty one included */
    uint32_t tombstones;      /* removed entries of REGION_INDEX */
    uint32_t text_free[TEXT_CLASSES]; /* first free extent of each size, block + 1 */
};

#define HEADER_SIZE 4096u
#define CONTROL_SIZE 4096u

/* Where each region begins and how large the whole is, from the capacities. Pure. */
void gyre__layout(struct segment_header *header);

/* Checksum over the constant part of the header. Pure. */
uint64_t gyre__header_checksum(const struct segment_header *header);

#endif
