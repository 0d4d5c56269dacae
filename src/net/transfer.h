/*
 * transfer.h: one HTTP request through one given proxy.
 */
#ifndef GYRE_NET_TRANSFER_H
#define GYRE_NET_TRANSFER_H

#include <stddef.h>
#include <stdint.h>

#include "classify.h"
#include "identity.h"
#include "multi.h"
#include "terms.h"

struct gyre__transfer;

/* All transfers of a loop. */
struct gyre__http {
    struct gyre__multi multi;
    struct gyre__identities identities;
    struct gyre__transfer *free; /* finished ones, with their easy handles, to be used again */
    unsigned free_count;
    unsigned in_flight; /* started and not yet done or cancelled */
};

/* What to fetch. Texts are copied or used before start returns. */
struct gyre__fetch {
    const char *url;
    const char *proxy;             /* URL with credentials; NULL: direct */
    struct gyre__terms *terms;
};

/* How it went. `failed` decides which of the two groups counts. */
struct gyre__result {
    double ms;
    uint64_t bytes;                /* both directions, as far as libcurl counts them */
    long status;
    long redirects;                /* that were followed */
    const char *http;              /* version of the response: "1.0", "1.1", "2" */
    const char *url;               /* after redirects; the transfer's until it starts anew */
    int failed;
    struct gyre__failure failure;
    const char *message;           /* for people; no credentials */
    long connect_code;
    int sent;                      /* the request may have reached the target */
};

struct gyre__transfer {
    struct gyre__call call; /* first: a call is cast to its transfer */
    struct gyre__http *http;
    struct gyre__identity *identity; /* while it is under way */
    unsigned lane;                   /* of the identity; GYRE__LANES: none */
    uint32_t scope;                  /* of the identity when it began */
    struct gyre__transfer *next; /* in the free list */
    void (*done)(struct gyre__transfer *transfer);
    void *owner;
    struct gyre__terms *terms; /* that the easy handle is set up by; NULL: none */
    /* What else it is set to: */
    CURLSH *share;
    long buffer;
    int scoped;
    CURLcode unset; /* why an option could not be set, or CURLE_OK */
    char *head, *body;
    size_t head_size, head_room, body_size, body_room, head_seen;
    unsigned restarts;
    uint64_t origin; /* of the first request, where that matters; 0: not yet known */
    int is_get_now;  /* a redirect has asked for it */
    int head_whole; /* the last response's head has ended */
    int asked;      /* libcurl has begun to send the request, and no response has begun */
    enum gyre__limit limit;
    int proxied, socks, secure_proxy;
    int tls_begun;    /* TLS handshakes of a connection made for the last request, redirects included: so many have begun */
    long next_hop;    /* the redirect that the last 3xx would be, from 1 on; 0: there was none */
    long long ready_before; /* CURLINFO_PRETRANSFER_TIME_T then, which adds up */
    int terms_changed; /* the handle is set up by something else than the terms: after a redirect, or a fault of theirs */
    int reset_needed; /* the terms have rare options, which are easier forgotten all at once */
    struct gyre__result result;
    char error[CURL_ERROR_SIZE];
};

/* Returns 0 or a negative errno. */
int gyre__http_init(struct gyre__http *http, uv_loop_t *loop, unsigned max_running);

/* Every transfer must have been deleted. The loop must run once after. */
void gyre__http_close(struct gyre__http *http);

/* A transfer to start, from the free list or new; NULL: no memory. */
struct gyre__transfer *gyre__transfer_new(struct gyre__http *http);

/*
 * Starts it; transfer->done follows from the loop, once, unless it is cancelled first. Returns NULL, or why it could
 * not start: a bad URL, proxy or method, or no memory. Any number may be started; see gyre__multi_add().
 */
const char *gyre__transfer_start(struct gyre__transfer *transfer, const struct gyre__fetch *fetch);

/* Ends a transfer that is under way: its result is an `aborted` failure, and `done` is not called. */
void gyre__transfer_cancel(struct gyre__transfer *transfer);

/* Cancels it if need be and gives it back. */
void gyre__transfer_delete(struct gyre__transfer *transfer);

#endif
