/*
 * classify.h: what went wrong, where, and whose fault it was, from codes and phases; never from message texts, which
 * change with every libcurl.
 */
#ifndef GYRE_NET_CLASSIFY_H
#define GYRE_NET_CLASSIFY_H

#include <curl/curl.h>

#include <gyre/gyre.h>

/* Limits of ours that end a transfer with a libcurl code that would mislead. */
enum gyre__limit {
    GYRE__LIMIT_NONE,
    GYRE__LIMIT_BODY,
    GYRE__LIMIT_HEADERS,
    GYRE__LIMIT_MEMORY, /* there was none for what came */
    GYRE__LIMIT_ONCE,   /* libcurl would have sent again what must not be sent twice */
    GYRE__LIMIT_SCOPE,  /* a redirect that is not followed: identity.h */
    GYRE__LIMIT_CANCELLED,
};

/* How a transfer went, as far as it matters here. */
struct gyre__evidence {
    CURLcode code;
    CURLproxycode proxy_code; /* CURLINFO_PROXY_ERROR: of a SOCKS handshake */
    long connect_code;        /* CURLINFO_HTTP_CONNECTCODE: the proxy's answer to CONNECT, 0: none */
    long status;              /* of the response, 0: none */
    long redirects;           /* followed */
    enum gyre__limit limit;
    int socket_errno;         /* no socket could be had */
    int proxied;              /* through a proxy at all */
    int tunnelled;            /* SOCKS, or CONNECT for https: what follows comes from the target */
    int connected;            /* the TCP connection stood */
    int tls_begun;            /* to the target: the tunnel stood */
    int ready;                /* the tunnel and TLS stood: the request could be sent; after redirects, the last one */
    int secure_proxy;         /* TLS to the proxy itself */
};

struct gyre__failure {
    const char *kind;  /* see the table in classify.c; constant texts */
    const char *where; /* "proxy", "target", "local" */
    int verdict;       /* enum gyre_verdict: the default, which a script's judge may overrule */
};

/* Returns 1 and fills *failure, or 0 when the transfer brought a response of the target. Pure. */
int gyre__classify(const struct gyre__evidence *evidence, struct gyre__failure *failure);

#endif
