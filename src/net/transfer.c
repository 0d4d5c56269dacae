/*
 * transfer.c: life and data of one HTTP transfer. What libcurl is told is in setup.c.
 * Owns the easy handle, the response's buffers, the limits on them. May call multi.c, classify.c. Knows no Lua, no
 * leases: it reports, and completes nothing.
 */
#include "transfer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "setup.h"

enum {
    FIRST_BUFFER = 512,      /* bytes; a usual head fits, and 10,000 of them in flight are 5 MiB */
    RESTARTS = 2,            /* of a transfer that was given connections that had ended */
    KEPT_BUFFER = 64 << 10,  /* bytes of a buffer that a free transfer keeps */
    KEPT_TRANSFERS = 1024,   /* transfers kept for use again, about 6 KiB each without buffers */
    MAX_HEADERS = 256 << 10, /* bytes of response headers in all, redirects included */
    MAX_COOKIES = 1 << 20,   /* bytes of cookies that an identity keeps, or twice as many */
};

/* Returns what libcurl is told: `length`, or less. */
static size_t append(struct gyre__transfer *transfer, char **buffer, size_t *size, size_t *room, const char *data,
                     size_t length)
{
    if (*size + length > *room) {
        size_t wanted = *room ? *room : FIRST_BUFFER;
        while (wanted < *size + length) wanted *= 2;
        char *bigger = realloc(*buffer, wanted);
        if (!bigger) {
            transfer->limit = GYRE__LIMIT_MEMORY;
            return 0;
        }
        *buffer = bigger;
        *room = wanted;
    }
    memcpy(*buffer + *size, data, length);
    *size += length;
    return length;
}

/* A connection is there. Where one that was used before ends without an answer, libcurl sends the request again by another:
 * what must not be sent twice ends here. After a redirect to a GET it may. */
int gyre__transfer_on_request(void *owner, char *to, char *from, int to_port, int from_port)
{
    struct gyre__transfer *transfer = owner;
    (void)to, (void)from, (void)to_port, (void)from_port;

    gyre__transfer_setup_cookie(transfer);
    if (transfer->asked && transfer->terms->once && !transfer->is_get_now) {
        transfer->limit = GYRE__LIMIT_ONCE;
        return CURL_PREREQFUNC_ABORT;
    }
    /* It counts how often it has done so, gives up after five, and forgets the count by nothing but a reset of the handle. */
    if (transfer->asked) transfer->reset_needed = transfer->terms_changed = 1;
    transfer->asked = 1;
    return CURL_PREREQFUNC_OK;
}

static long long number(CURL *easy, CURLINFO info)
{
    curl_off_t value = 0;
    curl_easy_getinfo(easy, info, &value);
    return value;
}

static long small_number(CURL *easy, CURLINFO info)
{
    long value = 0;
    curl_easy_getinfo(easy, info, &value);
    return value;
}

/* After a redirect the phases begin anew, with another connection perhaps. */
static void end_head(struct gyre__transfer *transfer)
{
    CURL *easy = transfer->call.easy;

    transfer->head_whole = 1;
    if (transfer->terms->max_redirects == 0) return;
    long status = small_number(easy, CURLINFO_RESPONSE_CODE);
    if (status / 100 != 3) return;
    transfer->next_hop = small_number(easy, CURLINFO_REDIRECT_COUNT) + 1;
    transfer->ready_before = number(easy, CURLINFO_PRETRANSFER_TIME_T);
    transfer->tls_begun = 0;
    gyre__transfer_setup_next(transfer, status);
}

/* Whether the value of a Location has a scope in its host: "http://[fe80::1%251]/". libcurl takes any number of slashes. */
static int has_scope(const char *at, const char *end)
{
    const char *from = at;

    while (at < end && isalnum((unsigned char)*at)) at++;
    if (at < end && *at == ':') at++;
    else if (end - from >= 2 && memcmp(from, "//", 2) == 0) at = from;
    else return 0; /* a path */
    while (at < end && *at == '/') at++;
    for (from = at; at < end && !strchr("/?#", *at);) at++;
    return memchr(from, '[', (size_t)(at - from)) && memchr(from, '%', (size_t)(at - from));
}

static int is_header(const char *line, size_t length, const char *name)
{
    size_t size = strlen(name);
    return length > size && strncasecmp(line, name, size) == 0;
}

/* libcurl keeps as many cookies as it is given. An identity that has been given too many, which no site does that means well,
 * loses them all. */
static void weigh_cookies(struct gyre__transfer *transfer)
{
    struct gyre__shares *shares = transfer->identity->shares;
    struct curl_slist *cookies = NULL;
    size_t bytes = 0;

    if (shares->cookie_bytes < MAX_COOKIES) return;
    shares->cookie_bytes = 0;
    curl_easy_getinfo(transfer->call.easy, CURLINFO_COOKIELIST, &cookies);
    for (struct curl_slist *cookie = cookies; cookie; cookie = cookie->next) bytes += strlen(cookie->data);
    curl_slist_free_all(cookies);
    if (bytes >= MAX_COOKIES) curl_easy_setopt(transfer->call.easy, CURLOPT_COOKIELIST, "ALL");
}

/* Whether this header sends us to such a URL. */
static int is_scoped_redirect(const struct gyre__transfer *transfer, const char *line, size_t length)
{
    static const char name[] = "location:";
    const char *status = transfer->head_size > 0 ? memchr(transfer->head, ' ', transfer->head_size) : NULL;
    const char *at = line + sizeof name - 1, *end = line + length;

    if (!is_header(line, length, name)) return 0;
    if (!status || status + 1 == transfer->head + transfer->head_size || status[1] != '3') return 0;
    if (transfer->terms->max_redirects == 0 || !transfer->terms->isolate) return 0;
    while (at < end && isspace((unsigned char)*at)) at++;
    return has_scope(at, end);
}

size_t gyre__transfer_on_header(char *data, size_t unit, size_t count, void *owner)
{
    struct gyre__transfer *transfer = owner;
    size_t length = unit * count;

    if (length >= 5 && memcmp(data, "HTTP/", 5) == 0) { /* of the next response: after a redirect or a 1xx */
        transfer->head_size = transfer->body_size = 0;
        transfer->head_whole = transfer->asked = 0;
    }
    if (transfer->terms->cookies && is_header(data, length, "set-cookie:")) transfer->identity->shares->cookie_bytes += length;
    transfer->head_seen += length;
    if (transfer->head_seen > MAX_HEADERS) {
        transfer->limit = GYRE__LIMIT_HEADERS;
        return 0;
    }
    if (transfer->head_whole) return length; /* a trailer, which is none of the headers (RFC 9110, 6.5.1) */
    if (is_scoped_redirect(transfer, data, length)) {
        transfer->limit = GYRE__LIMIT_SCOPE;
        return 0;
    }
    if (length <= 2) end_head(transfer);
    return append(transfer, &transfer->head, &transfer->head_size, &transfer->head_room, data, length);
}

size_t gyre__transfer_on_body(char *data, size_t unit, size_t count, void *owner)
{
    struct gyre__transfer *transfer = owner;
    size_t length = unit * count;

    if (length > transfer->terms->max_body - transfer->body_size) {
        transfer->limit = GYRE__LIMIT_BODY;
        return 0;
    }
    return append(transfer, &transfer->body, &transfer->body_size, &transfer->body_room, data, length);
}

static int is_https(const char *url)
{
    return url && strncasecmp(url, "https:", 6) == 0;
}

static const char *http_version(long version)
{
    switch (version) {
    case CURL_HTTP_VERSION_1_0: return "1.0";
    case CURL_HTTP_VERSION_1_1: return "1.1";
    case CURL_HTTP_VERSION_2_0: return "2";
    default: return "";
    }
}

static const char *message(const struct gyre__transfer *transfer, CURLcode code)
{
    switch (transfer->limit) {
    case GYRE__LIMIT_BODY: return "the body is larger than max_body";
    case GYRE__LIMIT_HEADERS: return "the response headers are larger than 256 KiB";
    case GYRE__LIMIT_MEMORY: return "not enough memory";
    case GYRE__LIMIT_ONCE: return "the connection ended without an answer";
    case GYRE__LIMIT_CANCELLED: return "cancelled";
    case GYRE__LIMIT_SCOPE: return "a redirect to a URL with a scope";
    case GYRE__LIMIT_NONE: break;
    }
    if (transfer->call.socket_errno) return strerror(transfer->call.socket_errno);
    if (transfer->result.connect_code == 407 || (code == CURLE_OK && transfer->result.status == 407))
        return "the proxy wants other credentials (407)";
    return transfer->error[0] ? transfer->error : curl_easy_strerror(code);
}

/*
 * "No filter connected": libcurl 7.88 gives out connections of HTTP/2 that have ended, and keeps them for as long as others
 * wait there for their answers.
 */
static int met_dead_connection(const struct gyre__transfer *transfer, CURLcode code)
{
    return code == CURLE_FAILED_INIT && transfer->asked;
}

/* Without a tunnel a 407 is the proxy's own: it has passed nothing on. */
static int is_refused_by_proxy(const struct gyre__transfer *transfer)
{
    return transfer->result.status == 407 && transfer->proxied && !transfer->socks && !is_https(transfer->result.url);
}

/* What went wrong, whose fault it was, and the words for it. */
static void conclude_failure(struct gyre__transfer *transfer, CURLcode code, long header_size)
{
    CURL *easy = transfer->call.easy;
    struct gyre__result *result = &transfer->result;

    /* The headers of an answer to CONNECT do not pass on_header(); libcurl's own limit on them is a bit above ours. */
    if (code != CURLE_OK && transfer->limit == GYRE__LIMIT_NONE && header_size > MAX_HEADERS)
        transfer->limit = GYRE__LIMIT_HEADERS;
    long long ready = number(easy, CURLINFO_PRETRANSFER_TIME_T);
    long redirects = small_number(easy, CURLINFO_REDIRECT_COUNT);
    int moved = transfer->next_hop > 0 && redirects >= transfer->next_hop;
    result->connect_code = small_number(easy, CURLINFO_HTTP_CONNECTCODE);
    result->sent = ready > 0 && (redirects > 0 || !is_refused_by_proxy(transfer));
    if (result->connect_code / 100 == 2 && moved) result->connect_code = 0; /* it may be of a tunnel before */
    struct gyre__evidence evidence = {
        .code = code,
        .proxy_code = (CURLproxycode)small_number(easy, CURLINFO_PROXY_ERROR),
        .connect_code = result->connect_code,
        .status = result->status,
        .redirects = redirects,
        .limit = transfer->limit,
        .socket_errno = transfer->call.socket_errno,
        .proxied = transfer->proxied,
        .tunnelled = transfer->socks || (transfer->proxied && is_https(result->url)),
        .connected = number(easy, CURLINFO_CONNECT_TIME_T) > 0,
        .tls_begun = transfer->tls_begun > transfer->secure_proxy,
        .ready = transfer->asked || ready > (moved ? transfer->ready_before : 0),
        .secure_proxy = transfer->secure_proxy,
    };
    result->failed = gyre__classify(&evidence, &result->failure);
    if (result->failed) result->message = message(transfer, code);
}

static void conclude(struct gyre__transfer *transfer, CURLcode code)
{
    CURL *easy = transfer->call.easy;
    struct gyre__result *result = &transfer->result;
    long header_size = small_number(easy, CURLINFO_HEADER_SIZE);

    /* libcurl takes headers that end with the connection for a response, with an empty body. */
    if (code == CURLE_OK && !transfer->head_whole) code = CURLE_PARTIAL_FILE;
    result->ms = (double)number(easy, CURLINFO_TOTAL_TIME_T) / 1000.0;
    result->bytes = (uint64_t)(number(easy, CURLINFO_SIZE_DOWNLOAD_T) + number(easy, CURLINFO_SIZE_UPLOAD_T)) +
                    (uint64_t)(small_number(easy, CURLINFO_REQUEST_SIZE) + header_size);
    result->status = small_number(easy, CURLINFO_RESPONSE_CODE);
    if (transfer->next_hop > 0) result->redirects = small_number(easy, CURLINFO_REDIRECT_COUNT);
    result->http = http_version(small_number(easy, CURLINFO_HTTP_VERSION));
    curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &result->url);
    if (code != CURLE_OK || result->status == 407) conclude_failure(transfer, code, header_size);
}

/* Whoever came next would be given the same one: the identity leaves it. What was not sent begins anew. */
static int avoid_dead_connection(struct gyre__transfer *transfer, CURLcode code)
{
    CURL *easy = transfer->call.easy;

    if (!met_dead_connection(transfer, code)) return 0;
    gyre__identity_renew(&transfer->http->identities, transfer->identity, transfer->scope);
    if (transfer->restarts >= RESTARTS || number(easy, CURLINFO_PRETRANSFER_TIME_T) > 0) return 0;
    transfer->restarts++;
    transfer->asked = 0;
    transfer->scope = transfer->identity->scope;
    curl_easy_setopt(easy, CURLOPT_ADDRESS_SCOPE, (long)transfer->scope);
    return gyre__multi_add(&transfer->http->multi, &transfer->call) == 0;
}

static void on_done(struct gyre__call *call, CURLcode code)
{
    struct gyre__transfer *transfer = (struct gyre__transfer *)(void *)call;
    if (avoid_dead_connection(transfer, code)) return;
    transfer->http->in_flight--;
    conclude(transfer, code);
    weigh_cookies(transfer);
    transfer->done(transfer);
}

/* Forgets the last response and what was asked. */
static void reset(struct gyre__transfer *transfer)
{
    if (transfer->body_room > KEPT_BUFFER) {
        free(transfer->body);
        transfer->body = NULL;
        transfer->body_room = 0;
    }
    if (transfer->lane < GYRE__LANES) gyre__identity_leave(transfer->identity, transfer->lane);
    transfer->lane = GYRE__LANES;
    gyre__identity_put(&transfer->http->identities, transfer->identity);
    transfer->identity = NULL;
    transfer->head_size = transfer->body_size = transfer->head_seen = 0;
    transfer->head_whole = transfer->asked = 0;
    transfer->restarts = 0;
    transfer->origin = 0;
    transfer->is_get_now = 0;
    transfer->limit = GYRE__LIMIT_NONE;
    transfer->tls_begun = 0;
    transfer->next_hop = 0;
    transfer->call.socket_errno = 0;
    transfer->error[0] = '\0';
    memset(&transfer->result, 0, sizeof transfer->result);
}

static void destroy(struct gyre__transfer *transfer)
{
    if (transfer->call.easy) curl_easy_cleanup(transfer->call.easy);
    gyre__terms_release(transfer->terms);
    free(transfer->head);
    free(transfer->body);
    free(transfer);
}

struct gyre__transfer *gyre__transfer_new(struct gyre__http *http)
{
    struct gyre__transfer *transfer = http->free;
    if (transfer) {
        http->free = transfer->next;
        http->free_count--;
        return transfer;
    }
    if (!(transfer = calloc(1, sizeof *transfer))) return NULL;
    transfer->http = http;
    transfer->lane = GYRE__LANES;
    transfer->call.done = on_done;
    if (!(transfer->call.easy = curl_easy_init())) {
        destroy(transfer);
        return NULL;
    }
    gyre__transfer_setup_once(transfer);
    return transfer;
}

const char *gyre__transfer_start(struct gyre__transfer *transfer, const struct gyre__fetch *fetch)
{
    reset(transfer);
    const char *why = gyre__transfer_setup(transfer, fetch);
    if (why) return why;
    if (gyre__multi_add(&transfer->http->multi, &transfer->call) < 0) return "not enough memory";
    transfer->http->in_flight++;
    return NULL;
}

void gyre__transfer_cancel(struct gyre__transfer *transfer)
{
    if (transfer->call.state == GYRE__CALL_IDLE) return;
    gyre__multi_remove(&transfer->http->multi, &transfer->call);
    transfer->http->in_flight--;
    transfer->limit = GYRE__LIMIT_CANCELLED;
    conclude(transfer, CURLE_ABORTED_BY_CALLBACK);
}

void gyre__transfer_delete(struct gyre__transfer *transfer)
{
    struct gyre__http *http = transfer->http;

    gyre__transfer_cancel(transfer);
    gyre__transfer_forget(transfer);
    reset(transfer);
    if (http->free_count >= KEPT_TRANSFERS) {
        destroy(transfer);
        return;
    }
    transfer->next = http->free;
    http->free = transfer;
    http->free_count++;
}

int gyre__http_init(struct gyre__http *http, uv_loop_t *loop, unsigned max_running)
{
    memset(http, 0, sizeof *http);
    gyre__identities_init(&http->identities, GYRE__MAX_IDENTITIES);
    return gyre__multi_init(&http->multi, loop, max_running);
}

void gyre__http_close(struct gyre__http *http)
{
    while (http->free) {
        struct gyre__transfer *transfer = http->free;
        http->free = transfer->next;
        destroy(transfer);
    }
    gyre__multi_close(&http->multi);
    gyre__identities_clear(&http->identities);
}
