/*
 * Sizes and offsets of everything in a segment. Owns nothing; called by segment.c alone.
 */
#include "bits.h"
#include "segment.h"

#include <stddef.h>
#include <string.h>

#define ABI_SIZE(type, bytes)                                                                                \
    _Static_assert(sizeof(type) == (bytes), #type " changed its size: bump GYRE_ABI in segment.h")

ABI_SIZE(struct gyre_slot, 64);
ABI_SIZE(struct slot_identity, 32);
ABI_SIZE(struct slot_label, 64);
ABI_SIZE(struct window_entry, 16);
ABI_SIZE(struct slot_window, 128);
ABI_SIZE(struct slot_health, 32);
ABI_SIZE(struct slot_rate, 64);
ABI_SIZE(struct ban_record, 32);
ABI_SIZE(struct host_record, 128);
ABI_SIZE(struct lease_entry, 16);
ABI_SIZE(struct process_entry, 64);
ABI_SIZE(struct label_text, 64);
ABI_SIZE(struct session_tags, 64);
ABI_SIZE(struct session_entry, 16);
ABI_SIZE(struct session_head, 16);
ABI_SIZE(struct session_tail, 112);
ABI_SIZE(struct counter_entry, 64);
ABI_SIZE(struct decision_entry, 192);
ABI_SIZE(struct strategy_entry, 3424);
ABI_SIZE(struct view_cursor, 128);
_Static_assert(offsetof(struct gyre_slot, use) == 0, "gyre_slot.use moved: bump GYRE_ABI in segment.h");
_Static_assert(offsetof(struct gyre_slot, generation) == 32, "gyre_slot moved: bump GYRE_ABI in segment.h");
_Static_assert(sizeof(struct segment_header) <= HEADER_SIZE, "the header outgrew its page");
_Static_assert(sizeof(struct segment_control) <= CONTROL_SIZE, "the control words outgrew their page");

static uint64_t region_bytes(const struct segment_header *header, enum region region)
{
    uint64_t n = header->max_proxies, leases = header->max_leases, buckets = header->session_buckets;
    switch (region) {
    case REGION_SLOTS: return n * sizeof(struct gyre_slot);
    case REGION_IDENTITY: return n * sizeof(struct slot_identity);
    case REGION_LABEL: return n * sizeof(struct slot_label);
    case REGION_WINDOW: return n * sizeof(struct slot_window);
    case REGION_HEALTH: return n * sizeof(struct slot_health);
    case REGION_ELIGIBLE:
    case REGION_LIVE:
    case REGION_FREE:
    case REGION_BENCHED:
    case REGION_PACED:
    case REGION_MORTAL: return bits_bytes(header->max_proxies);
    case REGION_RATE: return n * sizeof(struct slot_rate);
    case REGION_BAN_KEYS: return (uint64_t)header->ban_size * sizeof(uint64_t);
    case REGION_BANS: return (uint64_t)header->ban_size * sizeof(struct ban_record);
    case REGION_HOST_KEYS: return (uint64_t)header->host_size * sizeof(uint64_t);
    case REGION_HOSTS: return (uint64_t)header->host_size * sizeof(struct host_record);
    case REGION_INDEX: return (uint64_t)header->index_size * sizeof(uint32_t);
    case REGION_TEXT: return (uint64_t)header->text_blocks * TEXT_BLOCK;
    case REGION_LABELS: return MAX_LABELS * sizeof(struct label_text);
    case REGION_LABEL_INDEX: return 2 * MAX_LABELS * sizeof(uint16_t);
    case REGION_LEASES: return leases * sizeof(struct lease_entry);
    case REGION_CHUNKS: return leases / LEASE_CHUNK * sizeof(uint32_t);
    case REGION_PROCESSES: return MAX_PROCESSES * sizeof(struct process_entry);
    case REGION_BASE: return n * sizeof(int64_t);
    case REGION_LEVELS: return (uint64_t)ACTIVE_LEVELS * bits_bytes(header->max_proxies);
    case REGION_VIEWS: return VIEW_CURSORS * sizeof(struct view_cursor);
    case REGION_CHANGES: return CHANGES * sizeof(uint32_t);
    case REGION_SESSION_TAGS: return buckets * sizeof(struct session_tags);
    case REGION_SESSIONS: return buckets * SESSION_WAYS * sizeof(struct session_entry);
    case REGION_SESSION_HEADS: return buckets * SESSION_WAYS * sizeof(struct session_head);
    case REGION_SESSION_TAILS: return buckets * SESSION_WAYS * sizeof(struct session_tail);
    case REGION_SESSION_CREATED: return buckets * SESSION_WAYS * sizeof(uint32_t);
    case REGION_SESSION_LOCKS: return buckets * sizeof(uint32_t);
    case REGION_COUNTERS: return COUNTER_PLACES * sizeof(struct counter_entry);
    case REGION_DECISIONS: return DECISIONS * sizeof(struct decision_entry);
    case REGION_STRATEGY: return 2 * sizeof(struct strategy_entry);
    case REGION_COUNT: break;
    }
    return 0;
}

/* A power of two that is at least twice n. */
static uint32_t table_size(uint32_t n)
{
    uint32_t size = 64;
    while (size < 2 * n) size *= 2;
    return size;
}

void gyre__layout(struct segment_header *header)
{
    header->index_size = table_size(header->max_proxies);
    header->ban_size = table_size(header->max_bans);
    header->max_hosts = header->max_bans / 4;
    header->host_size = table_size(header->max_hosts);
    /* 96 bytes of host, user and password for each proxy, and room for some long ones in small pools. */
    header->text_blocks = 3 * header->max_proxies + 4096;
    header->session_buckets = (header->max_sessions + SESSION_FILL - 1) / SESSION_FILL;
    uint64_t at = HEADER_SIZE + CONTROL_SIZE;
    for (int r = 0; r < REGION_COUNT; r++) {
        header->region[r] = at;
        at += region_bytes(header, (enum region)r);
        at = (at + LINE - 1) / LINE * LINE;
    }
    header->size = (at + 4095) / 4096 * 4096;
}

/* FNV-1a, 64 bits. */
uint64_t gyre__header_checksum(const struct segment_header *header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < offsetof(struct segment_header, checksum); i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}
