/*
 * terms.h: how requests are to be made: everything that a script says once for many of them. Read once, kept with a count of
 * who needs it; an easy handle that was set up by the same terms before is set up already.
 */
#ifndef GYRE_NET_TERMS_H
#define GYRE_NET_TERMS_H

#include <stddef.h>
#include <stdint.h>

#include <curl/curl.h>

struct gyre__terms {
    unsigned references;
    char *method;                  /* token; NULL: GET */
    char *body;                    /* NULL: none */
    size_t body_size;
    struct curl_slist *headers;    /* "Name: value" */
    struct curl_slist *bare_headers; /* those of them that say nothing of the body, when there is one */
    char *cookie;                  /* beside those that are kept, in one header; for the first origin only. NULL: none */
    char *cacert;                  /* file; NULL: the system's */
    char *session;                 /* whose requests they are, beside the proxy; NULL: nobody's in particular */
    double timeout, connect_timeout; /* seconds, > 0 */
    uint64_t max_body;             /* bytes, after decompression */
    long max_redirects;            /* 0: a redirect is a response like any other */
    int verify, verify_proxy;      /* TLS certificates */
    int isolate;                   /* keep the identity apart from others: see identity.h */
    int cookies;                   /* keep and send them, by identity */
    int http2;                     /* offer HTTP/2 over TLS */
    int local_dns;                 /* look names up here for socks4 and socks5, not there */
    int once;                      /* the target must not see it twice: the method is not idempotent */
};

/* One reference, everything else as for a plain GET. NULL: no memory. */
struct gyre__terms *gyre__terms_new(void);

void gyre__terms_keep(struct gyre__terms *terms);

/* The last one wipes and frees them. NULL is allowed. */
void gyre__terms_release(struct gyre__terms *terms);

#endif
