/*
 * hosts.c: a table of hosts, and a binary heap of those that have something to do.
 * Owns both. libc only.
 */
#include "hosts.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *text, size_t size)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */
    for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    return h ^ h >> 32;
}

struct gyre__host *gyre__hosts_find(struct gyre__hosts *hosts, const char *origin, size_t size)
{
    uint64_t hash = hash_of(origin, size);
    struct gyre__host *host = hosts->slots[hash % GYRE__MAX_HOSTS];
    while (host && (host->hash != hash || strlen(host->origin) != size || memcmp(host->origin, origin, size) != 0))
        host = host->next;
    return host;
}

struct gyre__host *gyre__hosts_add(struct gyre__hosts *hosts, int64_t id, const char *origin, size_t size)
{
    if (hosts->count == GYRE__MAX_HOSTS) return NULL;
    struct gyre__host *host = calloc(1, sizeof *host);
    if (!host || !(host->origin = strndup(origin, size))) {
        free(host);
        return NULL;
    }
    const char *slashes = strstr(host->origin, "://");
    host->authority = slashes ? slashes + 3 : host->origin;
    host->id = id;
    host->hash = hash_of(origin, size);
    struct gyre__host **head = &hosts->slots[host->hash % GYRE__MAX_HOSTS];
    host->next = *head;
    *head = host;
    hosts->count++;
    return host;
}

static void free_host(struct gyre__host *host)
{
    free(host->origin);
    free(host->taken);
    free(host);
}

static int is_idle(const struct gyre__host *host)
{
    return host->count == 0 && host->complete && host->taken_count == 0 && host->robots != GYRE__ROBOTS_ASKED;
}

int gyre__hosts_evict(struct gyre__hosts *hosts, void (*forgotten)(void *data, struct gyre__host *host), void *data)
{
    for (size_t looked = 0; looked < GYRE__MAX_HOSTS; looked++) {
        struct gyre__host **link = &hosts->slots[hosts->hand++ % GYRE__MAX_HOSTS];
        while (*link && !is_idle(*link)) link = &(*link)->next;
        if (!*link) continue;
        struct gyre__host *host = *link;
        *link = host->next;
        gyre__hosts_unschedule(hosts, host);
        forgotten(data, host);
        free_host(host);
        hosts->count--;
        return 1;
    }
    return 0;
}

void gyre__hosts_clear(struct gyre__hosts *hosts)
{
    for (size_t i = 0; i < GYRE__MAX_HOSTS; i++)
        for (struct gyre__host *host = hosts->slots[i], *next; host; host = next) {
            next = host->next;
            free_host(host);
        }
    memset(hosts, 0, sizeof *hosts);
}

static void put(struct gyre__hosts *hosts, struct gyre__host *host, size_t place)
{
    hosts->heap[place] = host;
    host->place = place;
}

/* Moves a host up or down until the heap is one again. */
static void sift(struct gyre__hosts *hosts, struct gyre__host *host)
{
    size_t at = host->place;

    while (at > 1 && hosts->heap[at / 2]->ready_at > host->ready_at) {
        put(hosts, hosts->heap[at / 2], at);
        at /= 2;
    }
    for (size_t child; (child = at * 2) <= hosts->heap_size; at = child) {
        if (child < hosts->heap_size && hosts->heap[child + 1]->ready_at < hosts->heap[child]->ready_at) child++;
        if (hosts->heap[child]->ready_at >= host->ready_at) break;
        put(hosts, hosts->heap[child], at);
    }
    put(hosts, host, at);
}

struct gyre__host *gyre__hosts_first(struct gyre__hosts *hosts)
{
    return hosts->heap_size > 0 ? hosts->heap[1] : NULL;
}

void gyre__hosts_schedule(struct gyre__hosts *hosts, struct gyre__host *host, double ready_at)
{
    host->ready_at = ready_at;
    if (host->place == 0) host->place = ++hosts->heap_size;
    sift(hosts, host);
}

void gyre__hosts_unschedule(struct gyre__hosts *hosts, struct gyre__host *host)
{
    size_t place = host->place;

    if (place == 0) return;
    struct gyre__host *last = hosts->heap[hosts->heap_size--];
    host->place = 0;
    if (last == host) return;
    last->place = place;
    sift(hosts, last);
}

static int is_before(const struct gyre__queued *a, const struct gyre__queued *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->rank < b->rank;
}

void gyre__host_offer(struct gyre__host *host, struct gyre__queued queued)
{
    unsigned at = host->count;

    while (at > 0 && is_before(&queued, &host->queue[at - 1])) at--;
    if (at == host->count && !host->complete) return; /* one of those in the file comes before it */
    if (at == GYRE__QUEUE) {
        host->complete = 0;
        return;
    }
    if (host->count == GYRE__QUEUE) {
        host->count--;
        host->complete = 0;
    }
    memmove(&host->queue[at + 1], &host->queue[at], (host->count - at) * sizeof queued);
    host->queue[at] = queued;
    host->count++;
}

struct gyre__queued gyre__host_pop(struct gyre__host *host)
{
    struct gyre__queued first = host->queue[0];
    host->count--;
    memmove(&host->queue[0], &host->queue[1], host->count * sizeof first);
    return first;
}

int gyre__host_take(struct gyre__host *host, int64_t id)
{
    if (host->taken_count == host->taken_room) {
        unsigned room = host->taken_room ? host->taken_room * 2 : 4;
        int64_t *taken = realloc(host->taken, room * sizeof *taken);
        if (!taken) return -1;
        host->taken = taken;
        host->taken_room = room;
    }
    host->taken[host->taken_count++] = id;
    return 0;
}

void gyre__host_untake(struct gyre__host *host, int64_t id)
{
    for (unsigned i = 0; i < host->taken_count; i++)
        if (host->taken[i] == id) {
            host->taken[i] = host->taken[--host->taken_count];
            return;
        }
}

int gyre__host_has_taken(const struct gyre__host *host, int64_t id)
{
    for (unsigned i = 0; i < host->taken_count; i++)
        if (host->taken[i] == id) return 1;
    return 0;
}
