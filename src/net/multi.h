/*
 * multi.h: libcurl's multi interface on a libuv loop. Sockets and timers; no HTTP, no proxies, no Lua.
 *
 * Transfers are spread over shards, one CURLM each, because a CURLM walks all its connections on every request
 * (10,000 in flight: 43 us instead of 140 per request). An identity has few of them: see identity.h.
 */
#ifndef GYRE_NET_MULTI_H
#define GYRE_NET_MULTI_H

#include <curl/curl.h>
#include <uv.h>

#include "identity.h"

struct gyre__multi;
struct gyre__shard;
struct gyre__poll;

/* One easy handle on its way. Embedded in what the layer above calls a transfer. */
struct gyre__call {
    CURL *easy;                 /* its CURLOPT_PRIVATE is this struct */
    unsigned shard;             /* below GYRE__SHARDS */
    void (*done)(struct gyre__call *call, CURLcode code); /* the call is out of the multi by then */
    int socket_errno;           /* why no socket could be had (EMFILE, mostly), or 0 */
    struct gyre__multi *multi;
    struct gyre__call *next;    /* in the admission queue; among the lost ones of its shard */
    int is_lost;                /* runs, and nobody watches its socket */
    enum { GYRE__CALL_IDLE, GYRE__CALL_QUEUED, GYRE__CALL_RUNNING } state;
};

struct gyre__multi {
    uv_loop_t *loop;
    struct gyre__shard *shards[GYRE__SHARDS]; /* made when first used */
    struct gyre__poll **polls;                /* by file descriptor */
    unsigned shard_count;                     /* of these in use */
    unsigned poll_count;
    unsigned running, max_running;
    unsigned sockets, max_sockets;            /* open, idle ones included; see relieve() */
    struct gyre__call *queue, **queue_tail;   /* beyond max_running */
    CURLSH *dns;                              /* names of proxies, looked up once for all shards */
};

/* So many connections may be open, idle ones included, when so many transfers may run: what the descriptors of a
 * process are shared out by. Pure. */
unsigned gyre__multi_sockets(unsigned max_running);

/* Returns 0 or a negative errno. */
int gyre__multi_init(struct gyre__multi *multi, uv_loop_t *loop, unsigned max_running);

/* Closes everything; no call may be in it any more. The loop must run once after, for its close callbacks. */
void gyre__multi_close(struct gyre__multi *multi);

/* Prepares the call's fresh (or reset) easy handle: private pointer, socket callbacks. */
void gyre__multi_adopt(struct gyre__multi *multi, struct gyre__call *call);

/* Starts the call, or queues it for when there is room. `done` follows from the loop, never from here. Returns 0
 * or a negative errno (no memory). */
int gyre__multi_add(struct gyre__multi *multi, struct gyre__call *call);

/* Takes the call out before it is done; one that waits may start in its place. Not inside a callback of libcurl's. */
void gyre__multi_remove(struct gyre__multi *multi, struct gyre__call *call);

/* From now on nothing starts that waits or is added. */
void gyre__multi_stop(struct gyre__multi *multi);

#endif
