/*
 * classify.c: codes and phases -> kind, where, default verdict.
 * Owns nothing, calls nothing.
 *
 * kinds: timeout connect dns tls proxy_auth protocol redirect too_large invalid system aborted
 *
 * A target is blamed only on evidence: a tunnel that stood, or a proxy that says in so many words that the target is
 * unreachable. What could be either's fault counts against the proxy: five such failures in a row bench it for a
 * while, and a proxy that works has successes in between. The other way round a dead proxy would never be noticed.
 */
#include "classify.h"

#include <stddef.h>

static int fail(struct gyre__failure *failure, const char *kind, const char *where, int verdict)
{
    *failure = (struct gyre__failure){kind, where, verdict};
    return 1;
}

static int blame_proxy(struct gyre__failure *failure, const char *kind)
{
    return fail(failure, kind, "proxy", GYRE_PROXY_BAD);
}

static int blame_target(struct gyre__failure *failure, const char *kind)
{
    return fail(failure, kind, "target", GYRE_TARGET_BAD);
}

static int blame_us(struct gyre__failure *failure, const char *kind)
{
    return fail(failure, kind, "local", GYRE_ABORTED);
}

/* Whoever was last known to be on the line. */
static int blame_peer(const struct gyre__evidence *evidence, struct gyre__failure *failure, const char *kind)
{
    int answered = evidence->ready || evidence->tls_begun || evidence->connect_code / 100 == 2;
    int tunnel_stood = evidence->tunnelled && answered;
    if (!evidence->proxied || tunnel_stood) return blame_target(failure, kind);
    return blame_proxy(failure, kind);
}

/* An answer to CONNECT other than 2xx. */
static int classify_connect(const struct gyre__evidence *evidence, struct gyre__failure *failure)
{
    if (evidence->connect_code == 407) return blame_proxy(failure, "proxy_auth");
    if (evidence->connect_code == 504) return blame_target(failure, "timeout"); /* RFC 9110: the target was late */
    return blame_proxy(failure, "connect"); /* 502, 503 and 500 may be the proxy's own trouble */
}

/* A SOCKS handshake that failed. */
static int classify_socks(const struct gyre__evidence *evidence, struct gyre__failure *failure)
{
    switch (evidence->proxy_code) {
    case CURLPX_USER_REJECTED:
    case CURLPX_NO_AUTH:
    case CURLPX_IDENTD:
    case CURLPX_IDENTD_DIFFER:
    case CURLPX_GSSAPI:
    case CURLPX_GSSAPI_PERMSG:
    case CURLPX_GSSAPI_PROTECTION:
    case CURLPX_LONG_USER:
    case CURLPX_LONG_PASSWD: return blame_proxy(failure, "proxy_auth");
    case CURLPX_REPLY_CONNECTION_REFUSED:
    case CURLPX_REPLY_HOST_UNREACHABLE: return blame_target(failure, "connect");
    case CURLPX_REPLY_TTL_EXPIRED: return blame_target(failure, "timeout");
    case CURLPX_RESOLVE_HOST: return blame_target(failure, "dns"); /* socks4 and socks5: looked up here */
    case CURLPX_LONG_HOSTNAME: return blame_us(failure, "invalid");
    case CURLPX_REPLY_GENERAL_SERVER_FAILURE:
    case CURLPX_REPLY_NETWORK_UNREACHABLE:
    case CURLPX_REPLY_NOT_ALLOWED:
    case CURLPX_REPLY_COMMAND_NOT_SUPPORTED:
    case CURLPX_REPLY_ADDRESS_TYPE_NOT_SUPPORTED:
    case CURLPX_REQUEST_FAILED: return blame_proxy(failure, "connect");
    default: return blame_proxy(failure, "protocol");
    }
}

/* TLS to an https proxy comes before its answer to CONNECT, TLS to the target after. */
static int classify_tls(const struct gyre__evidence *evidence, struct gyre__failure *failure)
{
    if (evidence->secure_proxy && evidence->connect_code == 0 && !evidence->tls_begun) return blame_proxy(failure, "tls");
    return blame_target(failure, "tls");
}

static int classify_code(const struct gyre__evidence *evidence, struct gyre__failure *failure)
{
    switch (evidence->code) {
    case CURLE_OPERATION_TIMEDOUT: return blame_peer(evidence, failure, "timeout");
    case CURLE_COULDNT_RESOLVE_PROXY: return blame_proxy(failure, "dns");
    case CURLE_COULDNT_RESOLVE_HOST: return blame_target(failure, "dns");
    case CURLE_COULDNT_CONNECT: return blame_peer(evidence, failure, "connect");
    case CURLE_PROXY: return classify_socks(evidence, failure);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ISSUER_ERROR: return classify_tls(evidence, failure);
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM: return blame_us(failure, "invalid");
    case CURLE_URL_MALFORMAT:
        return evidence->redirects > 0 ? blame_target(failure, "redirect") : blame_us(failure, "invalid");
    case CURLE_TOO_MANY_REDIRECTS: return blame_target(failure, "redirect");
    case CURLE_FILESIZE_EXCEEDED: return blame_target(failure, "too_large");
    case CURLE_BAD_CONTENT_ENCODING: return blame_target(failure, "protocol");
    case CURLE_FAILED_INIT: /* of the handle, or of sending by a connection that has ended meanwhile */
        if (evidence->ready) return blame_peer(evidence, failure, "protocol");
        return blame_us(failure, "system");
    case CURLE_OUT_OF_MEMORY: return blame_us(failure, "system");
    case CURLE_UNSUPPORTED_PROTOCOL: /* a redirect to ftp:, or an answer that is not HTTP */
        if (evidence->redirects > 0 && !evidence->ready) return blame_target(failure, "redirect");
        return evidence->connected || evidence->ready ? blame_peer(evidence, failure, "protocol") : blame_us(failure, "invalid");
    default: return blame_peer(evidence, failure, "protocol");
    }
}

int gyre__classify(const struct gyre__evidence *evidence, struct gyre__failure *failure)
{
    switch (evidence->limit) {
    case GYRE__LIMIT_BODY: return blame_target(failure, "too_large");
    case GYRE__LIMIT_HEADERS: /* before the request is sent only a proxy has anything to say */
        if (evidence->proxied && !evidence->ready) return blame_proxy(failure, "too_large");
        return blame_peer(evidence, failure, "too_large");
    case GYRE__LIMIT_MEMORY: return blame_us(failure, "system");
    case GYRE__LIMIT_ONCE: return blame_peer(evidence, failure, "protocol");
    case GYRE__LIMIT_CANCELLED: return blame_us(failure, "aborted");
    case GYRE__LIMIT_SCOPE: return blame_target(failure, "redirect");
    case GYRE__LIMIT_NONE: break;
    }
    if (evidence->code == CURLE_OK) {
        /* Without a tunnel a 407 is the proxy's own word. */
        if (evidence->status == 407 && evidence->proxied && !evidence->tunnelled)
            return blame_proxy(failure, "proxy_auth");
        return 0;
    }
    if (evidence->socket_errno) return blame_us(failure, "system");
    if (evidence->connect_code != 0 && evidence->connect_code / 100 != 2) return classify_connect(evidence, failure);
    return classify_code(evidence, failure);
}
