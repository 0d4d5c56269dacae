/*
 * Sizes and offsets of everything in a segment. Owns nothing; called by segment.c alone.
 */
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
ABI_SIZE(struct lease_entry, 16);
ABI_SIZE(struct process_entry, 64);
ABI_SIZE(struct label_text, 64);
_Static_assert(offsetof(struct gyre_slot, use) == 0, "gyre_slot.use moved: bump GYRE_ABI in segment.h");
_Static_assert(offsetof(struct gyre_slot, generation) == 32, "gyre_slot moved: bump GYRE_ABI in segment.h");
_Static_assert(sizeof(struct segment_header) <= HEADER_SIZE, "the header outgrew its page");
_Static_assert(sizeof(struct segment_control) <= CONTROL_SIZE, "the control words outgrew their page");

/* Bytes of a three-level bitmap over n bits; see bits.h. */
static uint64_t bitmap_bytes(uint64_t n)
{
    uint64_t words = (n + 63) / 64, summary = (words + 63) / 64, top = (summary + 63) / 64;
    return 8 * (words + summary + top);
}

static uint64_t region_bytes(const struct segment_header *header, enum region region)
{
    uint64_t n = header->max_proxies, leases = header->max_leases;
    switch (region) {
    case REGION_SLOTS: return n * sizeof(struct gyre_slot);
    case REGION_IDENTITY: return n * sizeof(struct slot_identity);
    case REGION_LABEL: return n * sizeof(struct slot_label);
    case REGION_WINDOW: return n * sizeof(struct slot_window);
    case REGION_HEALTH: return n * sizeof(struct slot_health);
    case REGION_ELIGIBLE:
    case REGION_LIVE:
    case REGION_FREE:
    case REGION_BENCHED: return bitmap_bytes(n);
    case REGION_INDEX: return (uint64_t)header->index_size * sizeof(uint32_t);
    case REGION_TEXT: return (uint64_t)header->text_blocks * TEXT_BLOCK;
    case REGION_LABELS: return MAX_LABELS * sizeof(struct label_text);
    case REGION_LABEL_INDEX: return 2 * MAX_LABELS * sizeof(uint16_t);
    case REGION_LEASES: return leases * sizeof(struct lease_entry);
    case REGION_CHUNKS: return leases / LEASE_CHUNK * sizeof(uint32_t);
    case REGION_PROCESSES: return MAX_PROCESSES * sizeof(struct process_entry);
    case REGION_COUNT: break;
    }
    return 0;
}

void gyre__layout(struct segment_header *header)
{
    uint32_t index = 64;
    while (index < 2 * header->max_proxies) index *= 2;
    header->index_size = index;
    /* 96 bytes of host, user and password for each proxy, and room for some long ones in small pools. */
    header->text_blocks = 3 * header->max_proxies + 4096;
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
