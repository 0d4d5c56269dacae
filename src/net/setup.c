/*
 * setup.c: every libcurl option gyre sets, and why.
 * Owns nothing; writes to the transfer's easy handle. What is the same for all requests is set once a handle, the rest
 * every time: options cost a tenth of a request otherwise.
 *
 * Fail closed: the proxy, the absence of exceptions to it, the protocols and the fate of a redirect are all said
 * explicitly, so that neither the environment nor a default of libcurl's can lead around the proxy.
 */
#include "setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUSY = 1000,          /* transfers in flight above which each gets a small buffer */
    BUSY_BUFFER = 4096,   /* 16.9 KiB instead of 19.9 per transfer in flight, at no cost in CPU */
};

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

/* Who the request is: which connections, TLS sessions and cookies it may use, and where. Returns NULL or why not. */
static const char *set_identity(struct gyre__transfer *transfer, const struct gyre__fetch *fetch, const char *endpoint,
                                const char *credentials)
{
    CURL *easy = transfer->call.easy;
    struct gyre__http *http = transfer->http;
    struct gyre__identity *identity =
        gyre__identity_get(&http->identities, endpoint, fetch->isolate ? credentials : NULL, fetch->session);
    if (!(transfer->identity = identity)) return "not enough memory";

    int tls = transfer->secure_proxy || strncasecmp(fetch->url, "https:", 6) == 0;
    CURLSH *share = tls || fetch->cookies ? gyre__identity_share(identity, fetch->cookies) : http->multi.dns;
    if (!share) return "not enough memory";
    curl_easy_setopt(easy, CURLOPT_SHARE, share);
    curl_easy_setopt(easy, CURLOPT_COOKIEFILE, fetch->cookies ? "" : NULL); /* "": the engine on, no file */
    /* Without the identity's own share (http:, and a redirect to https: may follow) the handle would keep them. */
    curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, share == http->multi.dns ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_ADDRESS_SCOPE, (long)identity->scope);
    int scoped = fetch->isolate && (has_scope(fetch->url) || has_scope(endpoint));
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)scoped);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, (long)scoped);
    transfer->call.shard = identity->shard;
    return NULL;
}

static const char *set_proxy_parsed(struct gyre__transfer *transfer, const struct gyre__fetch *fetch,
                                    const struct gyre_url *url)
{
    CURL *easy = transfer->call.easy;
    int is_ipv6 = strchr(url->host, ':') != NULL;
    char endpoint[sizeof url->host + 32];
    char *credentials = encode_credentials(easy, url);

    if (!credentials) return "not enough memory";
    snprintf(endpoint, sizeof endpoint, is_ipv6 ? "%s://[%s]:%u" : "%s://%s:%u",
             scheme_name(url->scheme, fetch->local_dns), url->host, (unsigned)url->port);
    curl_easy_setopt(easy, CURLOPT_PROXY, endpoint);
    if (url->has_user || url->has_password) curl_easy_setopt(easy, CURLOPT_PROXYUSERPWD, credentials);

    transfer->secure_proxy = url->scheme == GYRE_HTTPS;
    transfer->socks = url->scheme != GYRE_HTTP && url->scheme != GYRE_HTTPS;
    const char *why = set_identity(transfer, fetch, endpoint, credentials);
    explicit_bzero(credentials, strlen(credentials));
    free(credentials);
    return why;
}

static const char *set_proxy(struct gyre__transfer *transfer, const struct gyre__fetch *fetch)
{
    struct gyre_url url;

    transfer->proxied = fetch->proxy != NULL;
    transfer->socks = transfer->secure_proxy = 0;
    if (!fetch->proxy) {
        curl_easy_setopt(transfer->call.easy, CURLOPT_PROXY, ""); /* not NULL: that is what the environment says */
        return set_identity(transfer, fetch, "direct:", "");
    }
    const char *why = "the proxy's URL cannot be parsed";
    if (gyre_url_parse(fetch->proxy, &url) == 0) why = set_proxy_parsed(transfer, fetch, &url);
    explicit_bzero(&url, sizeof url);
    return why;
}

static int is_token(const char *text)
{
    size_t length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_");
    return length > 0 && length < 32 && text[length] == '\0';
}

static const char *set_method(struct gyre__transfer *transfer, const struct gyre__fetch *fetch)
{
    CURL *easy = transfer->call.easy;
    const char *method = fetch->method ? fetch->method : "GET";

    if (strcmp(method, "GET") == 0 && !fetch->body) return NULL;
    if (!is_token(method)) return "the method is not a token";
    transfer->reset_needed = 1;
    if (fetch->body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)fetch->body_size);
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, fetch->body);
    }
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "POST") == 0) { /* not a custom one: libcurl then knows what a 303 asks for */
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        if (!fetch->body) curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, "");
    } else {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    }
    return NULL;
}

static int is_http_url(const char *url)
{
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0) return 0;
    for (; *url; url++)
        if ((unsigned char)*url <= ' ' || *url == 0x7f) return 0;
    return 1;
}

static const char *set_target(CURL *easy, const struct gyre__fetch *fetch)
{
    if (!is_http_url(fetch->url)) return "the URL must begin with http:// or https:// and hold no spaces";
    curl_easy_setopt(easy, CURLOPT_URL, fetch->url);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, fetch->max_redirects > 0 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, fetch->max_redirects);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     (long)(fetch->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    return NULL;
}

static void set_headers(struct gyre__transfer *transfer, struct curl_slist *headers)
{
    CURL *easy = transfer->call.easy;
    struct curl_slist *all = curl_slist_append(headers, "Expect:"); /* or a second's wait before a large body */

    transfer->headers = all ? all : headers;
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
}

static void set_tls(struct gyre__transfer *transfer, const struct gyre__fetch *fetch)
{
    CURL *easy = transfer->call.easy;

    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, fetch->verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, fetch->verify ? 2L : 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYPEER, fetch->verify_proxy ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYHOST, fetch->verify_proxy ? 2L : 0L);
    if (!fetch->cacert) return;
    transfer->reset_needed = 1; /* libcurl has no other way back to the system's file */
    curl_easy_setopt(easy, CURLOPT_CAINFO, fetch->cacert);
    curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, fetch->cacert);
}

static long milliseconds(double seconds)
{
    if (seconds >= 86400.0) return 86400000L;
    return seconds <= 0.001 ? 1L : (long)(seconds * 1000.0);
}

static void set_limits(struct gyre__transfer *transfer, const struct gyre__fetch *fetch)
{
    CURL *easy = transfer->call.easy;

    transfer->max_body = fetch->max_body;
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, milliseconds(fetch->timeout));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(fetch->connect_timeout));
    /* Refuses by Content-Length before the first byte; not for HEAD, which announces what it does not send. */
    int is_head = fetch->method && strcmp(fetch->method, "HEAD") == 0;
    curl_off_t largest = fetch->max_body > 0 ? (curl_off_t)fetch->max_body : 1; /* 0 would be: no limit */
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, is_head ? (curl_off_t)0 : largest);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, transfer->http->in_flight > BUSY ? (long)BUSY_BUFFER : CURL_MAX_WRITE_SIZE);
}

/* CURLOPT_SSL_CTX_FUNCTION. Changes nothing; that it is called says that the connection has come so far. */
static CURLcode on_tls(CURL *easy, void *context, void *owner)
{
    struct gyre__transfer *transfer = owner;
    (void)easy, (void)context;
    transfer->tls_begun = 1;
    return CURLE_OK;
}

void gyre__transfer_setup_once(struct gyre__transfer *transfer)
{
    CURL *easy = transfer->call.easy;

    curl_easy_reset(easy);
    transfer->reset_needed = 0;
    gyre__multi_adopt(&transfer->http->multi, &transfer->call);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, ""); /* or NO_PROXY in the environment sends requests direct */
    curl_easy_setopt(easy, CURLOPT_PROXYAUTH, (long)CURLAUTH_BASIC);
    curl_easy_setopt(easy, CURLOPT_SOCKS5_AUTH, (long)CURLAUTH_BASIC);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, ""); /* all that libcurl can undo */
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "gyre/" GYRE_VERSION);
    curl_easy_setopt(easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* the target's headers are not the proxy's */
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* Debian's default CAPATH turns libcurl's cache of certificates off: 24 ms and 1.4 MiB a connection. */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, gyre__transfer_on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, gyre__transfer_on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
}

const char *gyre__transfer_setup(struct gyre__transfer *transfer, const struct gyre__fetch *fetch)
{
    const char *why;

    set_headers(transfer, fetch->headers);
    if ((why = set_target(transfer->call.easy, fetch)) || (why = set_method(transfer, fetch))) return why;
    set_tls(transfer, fetch);
    set_limits(transfer, fetch);
    return set_proxy(transfer, fetch);
}

void gyre__transfer_forget(struct gyre__transfer *transfer)
{
    CURL *easy = transfer->call.easy;

    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(easy, CURLOPT_URL, NULL);
    curl_easy_setopt(easy, CURLOPT_PROXYUSERPWD, NULL);
    curl_easy_setopt(easy, CURLOPT_COOKIEFILE, NULL);
    curl_easy_setopt(easy, CURLOPT_SHARE, NULL); /* it is the identity's, which may be forgotten */
    if (transfer->reset_needed) gyre__transfer_setup_once(transfer);
}
