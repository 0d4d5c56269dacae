/*
 * setup.c: every libcurl option gyre sets, and why.
 * Owns nothing; writes to the transfer's easy handle. What is the same for all requests is set once a handle, the rest
 * every time: options cost a tenth of a request otherwise.
 *
 * Fail closed: the proxy, the absence of exceptions to it, the protocols and the fate of a redirect are all said
 * explicitly, so that neither the environment nor a default of libcurl's can lead around the proxy.
 */
#include "setup.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "idn.h"

/*
 * Options that must not stay unset: without memory for one libcurl would go by its default, around the proxy or as somebody
 * else. So nothing is fetched by a handle that lacks one; gyre__transfer_setup() looks once, at the end.
 */
#define SET(transfer, option, value) keep_first(transfer, curl_easy_setopt((transfer)->call.easy, option, value))

enum {
    BUSY = 1000,          /* transfers in flight above which each gets a small buffer */
    BUSY_BUFFER = 4096,   /* 16.9 KiB instead of 19.9 per transfer in flight, at no cost in CPU */
};

static void keep_first(struct gyre__transfer *transfer, CURLcode code)
{
    if (transfer->unset == CURLE_OK) transfer->unset = code;
}

/* socks4 and socks5 would have names looked up here, which tells whoever runs the resolver where the requests go. */
static const char *scheme_name(uint32_t scheme, int local_dns)
{
    switch (scheme) {
    case GYRE_HTTP: return "http";
    case GYRE_HTTPS: return "https";
    case GYRE_SOCKS4: return local_dns ? "socks4" : "socks4a";
    case GYRE_SOCKS4A: return "socks4a";
    case GYRE_SOCKS5: return local_dns ? "socks5" : "socks5h";
    case GYRE_SOCKS5H: return "socks5h";
    }
    return NULL;
}

/*
 * "user:password", percent-encoded. CURLOPT_PROXYUSERPWD and not _PROXYUSERNAME and _PROXYPASSWORD: only the first is
 * documented to be decoded, and is by every libcurl; the other two are decoded up to 8.7 and are not from 8.8 on
 * (curl issue 13265), so that a per cent sign in a password would mean different things. NULL: no memory.
 */
static char *encode_credentials(CURL *easy, const struct gyre_url *url)
{
    char *user = curl_easy_escape(easy, url->user, (int)strlen(url->user));
    char *password = curl_easy_escape(easy, url->password, (int)strlen(url->password));
    char *text = NULL;

    if (user && password && asprintf(&text, "%s:%s", user, password) < 0) text = NULL;
    if (user) explicit_bzero(user, strlen(user));
    if (password) explicit_bzero(password, strlen(password));
    curl_free(user);
    curl_free(password);
    return text;
}

/* A scope in the URL, of the target or of the proxy, takes the place of the identity's. */
static int has_scope(const char *url)
{
    size_t authority = strcspn(url, "/") + 2;
    return strlen(url) > authority && memchr(url + authority, '%', strcspn(url + authority, "/?#")) != NULL;
}

/* Writes what libcurl shall be told of the identity's proxy into it, once. Returns NULL, or what is wrong. */
static const char *describe(CURL *easy, struct gyre__identity *identity, const struct gyre_url *url)
{
    const char *form = strchr(url->host, ':') ? "%s://[%s]:%u" : "%s://%s:%u";
    const char *scheme = scheme_name(url->scheme, identity->variant);

    if ((url->has_user || url->has_password) && !(identity->credentials = encode_credentials(easy, url)))
        return "not enough memory";
    if (asprintf(&identity->endpoint, form, scheme, url->host, (unsigned)url->port) < 0) {
        identity->endpoint = NULL;
        return "not enough memory";
    }
    gyre__identity_meet(identity);
    identity->secure = url->scheme == GYRE_HTTPS;
    identity->socks = url->scheme != GYRE_HTTP && url->scheme != GYRE_HTTPS;
    return NULL;
}

static const char *describe_proxy(CURL *easy, struct gyre__identity *identity)
{
    struct gyre_url url;
    if (!*identity->proxy) { /* "", not NULL: that is what the environment says */
        identity->endpoint = strdup("");
        return identity->endpoint ? NULL : "not enough memory";
    }
    const char *why = gyre_url_parse(identity->proxy, &url) == 0 ? describe(easy, identity, &url) : gyre_detail();
    explicit_bzero(&url, sizeof url);
    if (why) identity->forgotten = 1;
    return why;
}

/* Which TLS sessions and cookies it may use. */
static const char *set_share(struct gyre__transfer *transfer, const struct gyre__fetch *fetch)
{
    struct gyre__identity *identity = transfer->identity;
    int cookies = fetch->terms->cookies, tls = identity->secure || strncasecmp(fetch->url, "https:", 6) == 0;
    CURLSH *common = transfer->http->multi.dns, *share = common;

    if ((tls || cookies) && !(share = gyre__identity_share(identity, cookies))) return "not enough memory";
    if (share == transfer->share) return NULL;
    transfer->share = share;
    SET(transfer, CURLOPT_SHARE, share);
    if (cookies) SET(transfer, CURLOPT_COOKIEFILE, ""); /* the engine on, no file */
    /* Without the identity's own share (http:, and a redirect to https: may follow) the handle would keep them. */
    SET(transfer, CURLOPT_SSL_SESSIONID_CACHE, share == common ? 0L : 1L);
    return NULL;
}

/* Who the request is: by which proxy, and which connections, TLS sessions and cookies it may use. */
static const char *set_identity(struct gyre__transfer *transfer, const struct gyre__fetch *fetch)
{
    const struct gyre__terms *terms = fetch->terms;
    if (fetch->proxy && !*fetch->proxy) return "the proxy's URL is empty"; /* which is not to go without one */
    struct gyre__identity *identity = gyre__identity_get(&transfer->http->identities, fetch->proxy ? fetch->proxy : "",
                                                         terms->session, terms->isolate, terms->local_dns);
    const char *why = identity ? NULL : "not enough memory";

    transfer->identity = identity;
    if (why || (!identity->endpoint && (why = describe_proxy(transfer->call.easy, identity)))) return why;
    transfer->proxied = fetch->proxy != NULL;
    transfer->socks = identity->socks;
    transfer->secure_proxy = identity->secure;
    transfer->lane = gyre__identity_enter(identity);
    transfer->call.shard = gyre__identity_shard(identity, transfer->lane);
    SET(transfer, CURLOPT_PROXY, identity->endpoint);
    if (identity->credentials) SET(transfer, CURLOPT_PROXYUSERPWD, identity->credentials);
    SET(transfer, CURLOPT_ADDRESS_SCOPE, (long)(transfer->scope = identity->scope));
    int scoped = terms->isolate && (has_scope(fetch->url) || has_scope(identity->endpoint));
    if (scoped != transfer->scoped) {
        transfer->scoped = scoped;
        SET(transfer, CURLOPT_FRESH_CONNECT, (long)scoped);
        SET(transfer, CURLOPT_FORBID_REUSE, (long)scoped);
    }
    return set_share(transfer, fetch);
}

/* RFC 9110, 5.6.2. */
static int is_token(const char *text)
{
    size_t length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~");
    return length > 0 && text[length] == '\0';
}

static const char *set_method(struct gyre__transfer *transfer, const struct gyre__terms *terms)
{
    const char *method = terms->method ? terms->method : "GET";

    if (strcmp(method, "GET") == 0 && !terms->body) return NULL;
    if (!is_token(method)) return "the method is not a token";
    transfer->reset_needed = 1;
    if (terms->body) { /* the terms live as long as the handle is set up by them */
        SET(transfer, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)terms->body_size);
        SET(transfer, CURLOPT_POSTFIELDS, terms->body);
    }
    if (strcmp(method, "HEAD") == 0) {
        SET(transfer, CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "POST") == 0) { /* not a custom one: libcurl then knows what a 303 asks for */
        SET(transfer, CURLOPT_POST, 1L);
        if (!terms->body) SET(transfer, CURLOPT_COPYPOSTFIELDS, "");
    } else {
        SET(transfer, CURLOPT_CUSTOMREQUEST, method);
        /* Of a 301 and a 302 it would send the same method to the next place, without the body. */
        SET(transfer, CURLOPT_POSTREDIR, (long)(CURL_REDIR_POST_301 | CURL_REDIR_POST_302));
    }
    return NULL;
}

/* Scheme, host and port of a URL, as a number (FNV-1a). */
static uint64_t origin_of(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    const char *end = host + strcspn(host, "/?#"), *at = memrchr(host, '@', (size_t)(end - host));
    uint64_t h = UINT64_C(14695981039346656037);

    for (const char *c = url; c < end; c++)
        if (!at || c < host || c > at) h = (h ^ (unsigned char)tolower((unsigned char)*c)) * UINT64_C(1099511628211);
    return h;
}

/* libcurl takes what CURLOPT_COOKIE says along to wherever a redirect leads. */
void gyre__transfer_setup_cookie(struct gyre__transfer *transfer)
{
    CURL *easy = transfer->call.easy;
    const char *url = NULL;

    if (!transfer->terms->cookie) return;
    curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
    uint64_t origin = url ? origin_of(url) : 0;
    if (!transfer->origin) transfer->origin = origin;
    if (transfer->origin == origin) return;
    transfer->terms_changed = 1;
    curl_easy_setopt(easy, CURLOPT_COOKIE, NULL);
}

/* RFC 9110, 15.4: a 303 asks for a GET, whatever it answers but HEAD; a 301 and a 302 by custom when they answer a POST. */
static int asks_for_get(long status, const char *method)
{
    if (strcmp(method, "HEAD") == 0) return 0;
    return status == 303 || ((status == 301 || status == 302) && strcmp(method, "POST") == 0);
}

/* libcurl drops the body by itself, but neither a method that it does not know nor headers that were about the body. */
void gyre__transfer_setup_next(struct gyre__transfer *transfer, long status)
{
    CURL *easy = transfer->call.easy;
    const struct gyre__terms *terms = transfer->terms;

    if (!terms->method || transfer->is_get_now || !asks_for_get(status, terms->method)) return;
    transfer->terms_changed = transfer->is_get_now = 1;
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
    if (terms->body) curl_easy_setopt(easy, CURLOPT_HTTPHEADER, terms->bare_headers);
}

/* What is wrong with a URL; NULL: nothing that can be seen. Of a URL without a host libcurl takes what comes next. */
static const char *check_url(const char *url)
{
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return "the URL must begin with http:// or https://";
    for (const char *at = url; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f) return "the URL holds a space or a control character";
    return strchr("/?#", *(strstr(url, "://") + 3)) ? "the URL has no host" : NULL;
}

static void set_tls(struct gyre__transfer *transfer, const struct gyre__terms *terms)
{
    SET(transfer, CURLOPT_HTTP_VERSION, (long)(terms->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    SET(transfer, CURLOPT_SSL_VERIFYPEER, terms->verify ? 1L : 0L);
    SET(transfer, CURLOPT_SSL_VERIFYHOST, terms->verify ? 2L : 0L);
    SET(transfer, CURLOPT_PROXY_SSL_VERIFYPEER, terms->verify_proxy ? 1L : 0L);
    SET(transfer, CURLOPT_PROXY_SSL_VERIFYHOST, terms->verify_proxy ? 2L : 0L);
    if (!terms->cacert) return;
    transfer->reset_needed = 1; /* libcurl has no other way back to the system's file */
    SET(transfer, CURLOPT_CAINFO, terms->cacert);
    SET(transfer, CURLOPT_PROXY_CAINFO, terms->cacert);
}

static long milliseconds(double seconds)
{
    if (seconds >= 86400.0) return 86400000L;
    return seconds <= 0.001 ? 1L : (long)(seconds * 1000.0);
}

static void set_limits(struct gyre__transfer *transfer, const struct gyre__terms *terms)
{
    SET(transfer, CURLOPT_FOLLOWLOCATION, terms->max_redirects > 0 ? 1L : 0L);
    SET(transfer, CURLOPT_MAXREDIRS, terms->max_redirects);
    SET(transfer, CURLOPT_TIMEOUT_MS, milliseconds(terms->timeout));
    SET(transfer, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(terms->connect_timeout));
    /* Refuses by Content-Length before the first byte; not for HEAD, which announces what it does not send. */
    int is_head = terms->method && strcmp(terms->method, "HEAD") == 0;
    curl_off_t largest = terms->max_body > 0 ? (curl_off_t)terms->max_body : 1; /* 0 would be: no limit */
    SET(transfer, CURLOPT_MAXFILESIZE_LARGE, is_head ? (curl_off_t)0 : largest);
}

/* What many requests have in common. Returns NULL, or what is wrong. */
static const char *set_terms(struct gyre__transfer *transfer, struct gyre__terms *terms)
{
    if (transfer->reset_needed) gyre__transfer_setup_once(transfer);
    gyre__terms_keep(terms);
    gyre__terms_release(transfer->terms);
    transfer->terms = terms;
    transfer->terms_changed = 0;
    SET(transfer, CURLOPT_HTTPHEADER, terms->headers);
    if (terms->cookie) {
        transfer->reset_needed = 1;
        SET(transfer, CURLOPT_COOKIE, terms->cookie);
    }
    set_tls(transfer, terms);
    set_limits(transfer, terms);
    return set_method(transfer, terms);
}

/* CURLOPT_SSL_CTX_FUNCTION. Changes nothing; that it is called says that the connection has come so far. */
static CURLcode on_tls(CURL *easy, void *context, void *owner)
{
    struct gyre__transfer *transfer = owner;
    (void)easy, (void)context;
    transfer->tls_begun++;
    return CURLE_OK;
}

void gyre__transfer_setup_once(struct gyre__transfer *transfer)
{
    CURL *easy = transfer->call.easy;

    curl_easy_setopt(easy, CURLOPT_SHARE, NULL); /* which a reset leaves */
    curl_easy_reset(easy);
    transfer->reset_needed = transfer->scoped = 0;
    transfer->share = NULL;
    transfer->unset = CURLE_OK;
    transfer->buffer = 0;
    gyre__multi_adopt(&transfer->http->multi, &transfer->call);
    SET(transfer, CURLOPT_NOPROXY, ""); /* or NO_PROXY in the environment sends requests direct */
    SET(transfer, CURLOPT_PROXYAUTH, (long)CURLAUTH_BASIC);
    SET(transfer, CURLOPT_SOCKS5_AUTH, (long)CURLAUTH_BASIC);
    SET(transfer, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(transfer, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(transfer, CURLOPT_ACCEPT_ENCODING, ""); /* all that libcurl can undo */
    SET(transfer, CURLOPT_USERAGENT, "gyre/" GYRE_VERSION);
    SET(transfer, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* the target's headers are not the proxy's */
    SET(transfer, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* Debian's default CAPATH turns libcurl's cache of certificates off: 24 ms and 1.4 MiB a connection. */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    SET(transfer, CURLOPT_PREREQFUNCTION, gyre__transfer_on_request);
    SET(transfer, CURLOPT_PREREQDATA, transfer);
    SET(transfer, CURLOPT_HEADERFUNCTION, gyre__transfer_on_header);
    SET(transfer, CURLOPT_HEADERDATA, transfer);
    SET(transfer, CURLOPT_WRITEFUNCTION, gyre__transfer_on_body);
    SET(transfer, CURLOPT_WRITEDATA, transfer);
}

/* Returns NULL, or what is wrong. What could not be set is in transfer->unset. */
static const char *set_all(struct gyre__transfer *transfer, const struct gyre__fetch *fetch)
{
    int is_set = transfer->terms == fetch->terms && !transfer->terms_changed;
    const char *why = is_set ? NULL : set_terms(transfer, fetch->terms);
    if (why || (why = check_url(fetch->url))) return why;
    char *ascii = gyre__idn_url(fetch->url);
    SET(transfer, CURLOPT_URL, ascii ? ascii : fetch->url);
    free(ascii);
    long buffer = transfer->http->in_flight > BUSY ? (long)BUSY_BUFFER : CURL_MAX_WRITE_SIZE;
    /* A handle that lives in streams of HTTP/2 may refuse to: then it keeps the size that it has. */
    if (buffer != transfer->buffer && curl_easy_setopt(transfer->call.easy, CURLOPT_BUFFERSIZE, buffer) == CURLE_OK)
        transfer->buffer = buffer;
    return set_identity(transfer, fetch);
}

/* What the handle is set to is not certain: the next request begins with a reset. */
static void distrust(struct gyre__transfer *transfer)
{
    transfer->reset_needed = 1;
    gyre__terms_release(transfer->terms);
    transfer->terms = NULL;
}

const char *gyre__transfer_setup(struct gyre__transfer *transfer, const struct gyre__fetch *fetch)
{
    const char *why = set_all(transfer, fetch);
    if (!why && transfer->unset == CURLE_OUT_OF_MEMORY) why = "not enough memory";
    if (!why && transfer->unset != CURLE_OK) why = curl_easy_strerror(transfer->unset);
    if (why) distrust(transfer);
    return why;
}

void gyre__transfer_forget(struct gyre__transfer *transfer)
{
    CURL *easy = transfer->call.easy;

    curl_easy_setopt(easy, CURLOPT_URL, NULL);
    if (transfer->identity && transfer->identity->credentials) curl_easy_setopt(easy, CURLOPT_PROXYUSERPWD, NULL);
    if (!transfer->share || transfer->share == transfer->http->multi.dns) return;
    if (!transfer->terms || transfer->terms->cookies) curl_easy_setopt(easy, CURLOPT_COOKIEFILE, NULL);
    curl_easy_setopt(easy, CURLOPT_SHARE, transfer->share = NULL); /* it is the identity's, which may be forgotten */
}
