/*
 * hosts.h: the hosts of a crawl that are in memory: what each has to do next, and whose turn comes when.
 * Not thread-safe, no I/O: frontier.c fills the queues.
 */
#ifndef GYRE_JOB_HOSTS_H
#define GYRE_JOB_HOSTS_H

#include <stddef.h>
#include <stdint.h>

#include "frontier.h"

/* A URL's place in its host's queue. */
struct gyre__queued {
    int64_t id, rank;
    int priority;
};

enum gyre__host_robots { GYRE__ROBOTS_UNKNOWN, GYRE__ROBOTS_ASKED, GYRE__ROBOTS_KNOWN, GYRE__ROBOTS_HOPELESS };

struct gyre__host {
    int64_t id;
    char *origin;
    const char *authority;      /* in origin: what its gate is called, the same for http and https */
    struct gyre__queued queue[GYRE__QUEUE]; /* the best of those that wait, best first */
    unsigned count;
    int complete;               /* none waits that is not in `queue` */
    int64_t *taken;             /* under way: they still count as waiting in the file */
    unsigned taken_count, taken_room;
    enum gyre__host_robots robots;
    int64_t robots_expires;     /* seconds since 1970 */
    double ready_at;            /* not worth looking at before */
    size_t place;               /* in the heap, from 1; 0: not there */
    uint64_t hash;
    struct gyre__host *next;    /* of the same hash */
};

struct gyre__hosts {
    struct gyre__host *slots[GYRE__MAX_HOSTS];
    struct gyre__host *heap[GYRE__MAX_HOSTS + 1]; /* from 1, by ready_at */
    size_t heap_size, count;
    size_t hand; /* where the next look for one that can be forgotten begins */
};

struct gyre__host *gyre__hosts_find(struct gyre__hosts *hosts, const char *origin, size_t size);

/* A new host, or NULL: no memory, or no room. */
struct gyre__host *gyre__hosts_add(struct gyre__hosts *hosts, int64_t id, const char *origin, size_t size);

/* Forgets one that has nothing to do, if there is one. Its name goes to `forgotten`, which must be called for each. */
int gyre__hosts_evict(struct gyre__hosts *hosts, void (*forgotten)(void *data, struct gyre__host *host), void *data);

void gyre__hosts_clear(struct gyre__hosts *hosts);

/* The host whose turn is next, or NULL. */
struct gyre__host *gyre__hosts_first(struct gyre__hosts *hosts);

/* Puts a host into the order, or moves it there; takes it out. */
void gyre__hosts_schedule(struct gyre__hosts *hosts, struct gyre__host *host, double ready_at);
void gyre__hosts_unschedule(struct gyre__hosts *hosts, struct gyre__host *host);

/* A URL that waits now: it takes its place in the queue if that is among the best. */
void gyre__host_offer(struct gyre__host *host, struct gyre__queued queued);
struct gyre__queued gyre__host_pop(struct gyre__host *host);

/* What is under way. take returns 0, or -1: no memory. */
int gyre__host_take(struct gyre__host *host, int64_t id);
void gyre__host_untake(struct gyre__host *host, int64_t id);
int gyre__host_has_taken(const struct gyre__host *host, int64_t id);

#endif
