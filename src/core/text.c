/*
 * Host, user and password of each proxy: extents of 1 to 56 blocks in REGION_TEXT. Free extents of one size form a list
 * through their first word; when none fits any more, those that touch are put together. Everything here is wiped when it
 * is freed. Caller holds the segment lock throughout.
 */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

static unsigned char *block(const struct gyre_pool *pool, uint32_t first)
{
    return pool->text + (size_t)first * TEXT_BLOCK;
}

/* Is it an extent? Everything read from the segment is doubted. */
static bool is_extent(const struct gyre_pool *pool, uint32_t first, uint32_t blocks)
{
    uint32_t all = pool->header->text_blocks;
    return blocks > 0 && blocks < TEXT_CLASSES && first < all && blocks <= all - first;
}

static void give(struct gyre_pool *pool, uint32_t first, uint32_t blocks)
{
    if (!is_extent(pool, first, blocks)) return;
    unsigned char *memory = block(pool, first);
    explicit_bzero(memory, (size_t)blocks * TEXT_BLOCK);
    memcpy(memory, &pool->control->text_free[blocks], sizeof(uint32_t));
    pool->control->text_free[blocks] = first + 1;
}

/* First block of a list, taken off it; NO_BIT when it is empty. */
static uint32_t pop(struct gyre_pool *pool, uint32_t blocks)
{
    uint32_t *head = &pool->control->text_free[blocks], first = *head - 1;
    if (!*head) return NO_BIT;
    if (!is_extent(pool, first, blocks)) { /* damaged: the list is lost until the next repair */
        *head = 0;
        return NO_BIT;
    }
    memcpy(head, block(pool, first), sizeof *head);
    return first;
}

static uint32_t take(struct gyre_pool *pool, uint32_t blocks)
{
    uint32_t first = pop(pool, blocks);
    if (first != NO_BIT) return first;
    first = pool->control->text_next;
    if (is_extent(pool, first, blocks)) {
        pool->control->text_next = first + blocks;
        return first;
    }
    for (uint32_t larger = blocks + 1; larger < TEXT_CLASSES; larger++) {
        first = pop(pool, larger);
        if (first == NO_BIT) continue;
        give(pool, first + blocks, larger - blocks);
        return first;
    }
    return NO_BIT;
}

int gyre__text_put(struct gyre_pool *pool, uint32_t slot, const struct gyre_url *url)
{
    struct slot_identity *identity = &pool->identity[slot];
    size_t host = strlen(url->host), user = strlen(url->user), password = strlen(url->password);
    uint32_t blocks = (uint32_t)((host + user + password + TEXT_BLOCK - 1) / TEXT_BLOCK), first = take(pool, blocks);
    if (first == NO_BIT) { /* there may be enough in pieces that are too small */
        gyre__text_rebuild(pool);
        first = take(pool, blocks);
    }
    if (first == NO_BIT)
        return gyre__fail(GYRE_EFULL, "no room left for the texts of more proxies; open the segment with more max_proxies");
    unsigned char *memory = block(pool, first);
    memset(memory, 0, sizeof(uint32_t));
    memcpy(memory, url->host, host);
    memcpy(memory + host, url->user, user);
    memcpy(memory + host + user, url->password, password);
    *identity = (struct slot_identity){.text = first,
                                       .blocks = (uint16_t)blocks,
                                       .port = (uint16_t)url->port,
                                       .hash = gyre__url_hash(url),
                                       .scheme = (uint8_t)url->scheme,
                                       .host_size = (uint8_t)host,
                                       .has_user = (uint8_t)url->has_user,
                                       .has_password = (uint8_t)url->has_password,
                                       .user_size = (uint16_t)user,
                                       .password_size = (uint16_t)password};
    return 0;
}

void gyre__text_wipe(struct gyre_pool *pool, uint32_t slot)
{
    struct slot_identity identity = pool->identity[slot];
    memset(&pool->identity[slot], 0, sizeof identity); /* first: a kill after it leaks blocks, which repair finds */
    if (identity.blocks) give(pool, identity.text, identity.blocks);
}

int gyre__text_get(struct gyre_pool *pool, uint32_t slot, struct gyre_url *url)
{
    struct slot_identity identity = pool->identity[slot];
    uint32_t size = (uint32_t)identity.host_size + identity.user_size + identity.password_size;
    memset(url, 0, sizeof *url);
    if (!is_extent(pool, identity.text, identity.blocks) || size > (uint32_t)identity.blocks * TEXT_BLOCK ||
        identity.user_size >= sizeof url->user || identity.password_size >= sizeof url->password)
        return gyre__fail(GYRE_ECORRUPT, "the identity in slot %u is damaged", slot);
    const unsigned char *memory = block(pool, identity.text);
    memcpy(url->host, memory, identity.host_size);
    memcpy(url->user, memory + identity.host_size, identity.user_size);
    memcpy(url->password, memory + identity.host_size + identity.user_size, identity.password_size);
    url->scheme = identity.scheme;
    url->port = identity.port;
    url->has_user = identity.has_user;
    url->has_password = identity.has_password;
    return 0;
}

/* Frees [from, to) in pieces no larger than the largest class. */
static void give_range(struct gyre_pool *pool, uint32_t from, uint32_t to)
{
    while (from < to) {
        uint32_t n = to - from < TEXT_CLASSES - 1 ? to - from : TEXT_CLASSES - 1;
        give(pool, from, n);
        from += n;
    }
}

/* Makes the free lists anew from the extents that living proxies use; wipes the rest. */
void gyre__text_rebuild(struct gyre_pool *pool)
{
    uint32_t all = pool->header->text_blocks, end = 0;
    unsigned char *used = calloc(all, 1);
    memset(pool->control->text_free, 0, sizeof pool->control->text_free);
    if (!used) { /* without memory: nothing below the mark is used again until the next repair */
        if (pool->control->text_next > all) pool->control->text_next = all;
        return;
    }
    for (uint32_t slot = 0; slot < pool->max_proxies; slot++) {
        const struct slot_identity *identity = &pool->identity[slot];
        if (!(load_relaxed(&pool->slots[slot].flags) & SLOT_LIVE)) continue;
        if (!is_extent(pool, identity->text, identity->blocks)) continue;
        memset(used + identity->text, 1, identity->blocks);
        if (identity->text + identity->blocks > end) end = identity->text + identity->blocks;
    }
    uint32_t mark = pool->control->text_next <= all ? pool->control->text_next : all;
    for (uint32_t b = 0; b < end;) {
        uint32_t from = b;
        while (b < end && !used[b]) b++;
        give_range(pool, from, b);
        while (b < end && used[b]) b++;
    }
    if (mark > end) explicit_bzero(block(pool, end), (size_t)(mark - end) * TEXT_BLOCK);
    pool->control->text_next = end;
    free(used);
}
