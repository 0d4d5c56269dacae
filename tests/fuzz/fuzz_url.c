/*
 * gyre_url_parse() on any bytes. What it accepts it must format and parse back to the same, within the documented
 * limits; and where libcurl accepts the same text, both must mean the same scheme, host, port, user and password:
 * curl is what would have connected with it.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gyre/gyre.h"
#include "require.h"

static const char *const schemes[] = {NULL, "http", "https", "socks4", "socks4a", "socks5", "socks5h"};
static const unsigned default_ports[] = {0, 80, 443, 1080, 1080, 1080, 1080};

static void check_fields(const struct gyre_url *url)
{
    const char *const texts[] = {url->host, url->user, url->password};

    REQUIRE(url->scheme >= GYRE_HTTP && url->scheme <= GYRE_SOCKS5H);
    REQUIRE(url->port >= 1 && url->port <= 65535);
    REQUIRE(url->host[0]);
    REQUIRE(memchr(url->host, 0, sizeof url->host) && memchr(url->user, 0, sizeof url->user));
    REQUIRE(memchr(url->password, 0, sizeof url->password));
    REQUIRE(url->has_user <= 1 && url->has_password <= 1);
    REQUIRE(url->has_user || !url->user[0]);
    REQUIRE(url->has_password || !url->password[0]);
    for (int i = 0; i < 3; i++)
        for (const unsigned char *c = (const unsigned char *)texts[i]; *c; c++) REQUIRE(*c >= 32 && *c != 127);
    REQUIRE(!strpbrk(url->host, "/?#@[] \\"));
    for (const char *c = url->host; *c && *c != '%'; c++)
        REQUIRE(!isupper((unsigned char)*c)); /* zones keep their case */
}

/* Through a pool and back: add, find, format, parse. */
static void check_round_trip(const char *text, const struct gyre_url *url)
{
    static struct gyre_pool *pool;
    struct gyre_options options = {.size = sizeof options, .max_proxies = 64, .max_leases = 64};
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = text};
    struct gyre_url again;
    char formatted[8192];
    uint64_t id, found;

    if (!pool) REQUIRE(gyre_pool_open(&options, &pool) == 0);
    REQUIRE(gyre_pool_add(pool, &spec, &id) == 0);
    REQUIRE(gyre_pool_url_with_credentials(pool, id, formatted, sizeof formatted) == (int)strlen(formatted));
    REQUIRE(gyre_url_parse(formatted, &again) == 0);
    REQUIRE(again.scheme == url->scheme && again.port == url->port);
    REQUIRE(!strcmp(again.host, url->host) && !strcmp(again.user, url->user));
    REQUIRE(!strcmp(again.password, url->password));
    REQUIRE(again.has_user == url->has_user && again.has_password == url->has_password);
    REQUIRE(gyre_pool_find(pool, formatted, &found) == 0 && found == id);
    REQUIRE(gyre_pool_url(pool, id, formatted, sizeof formatted) > 0);
    REQUIRE(!strchr(formatted, '@'));
    REQUIRE(gyre_pool_remove(pool, id) == 0);
}

/* A part of what curl understood; NULL when the URL has none. The caller frees it with curl_free(). */
static char *part(CURLU *handle, CURLUPart what, unsigned flags, int *refused)
{
    char *text = NULL;
    CURLUcode code = curl_url_get(handle, what, &text, flags);

    if (code && code != CURLUE_NO_USER && code != CURLUE_NO_PASSWORD && code != CURLUE_NO_PORT &&
        code != CURLUE_NO_ZONEID)
        *refused = 1;
    return code ? NULL : text;
}

/* The same address, zones aside; 0 when either is none. */
static int same_ipv6(const char *ours, const char *theirs)
{
    struct in6_addr a, b;
    char x[256], y[256];

    snprintf(x, sizeof x, "%.*s", (int)strcspn(ours, "%"), ours);
    snprintf(y, sizeof y, "%.*s", (int)strcspn(theirs, "%]"), theirs);
    return inet_pton(AF_INET6, x, &a) == 1 && inet_pton(AF_INET6, y, &b) == 1 && !memcmp(&a, &b, sizeof a);
}

/* curl brings 0x7f.1 and 2001:0:0::1 into their usual form; gyre leaves them, and the resolver does it. */
static int same_host(const char *ours, const char *theirs)
{
    struct in_addr address;

    if (theirs[0] == '[') return same_ipv6(ours, theirs + 1);
    if (inet_pton(AF_INET, theirs, &address) == 1) return strspn(ours, "0123456789abcdefx.") == strlen(ours);
    return !strcasecmp(ours, theirs);
}

static void check_with_curl(const char *text, const struct gyre_url *url)
{
    CURLU *handle = curl_url();
    int refused = 0;

    REQUIRE(handle);
    if (curl_url_set(handle, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK) {
        char *scheme = part(handle, CURLUPART_SCHEME, 0, &refused),
             *host = part(handle, CURLUPART_HOST, CURLU_URLDECODE, &refused);
        char *port = part(handle, CURLUPART_PORT, 0, &refused),
             *user = part(handle, CURLUPART_USER, CURLU_URLDECODE, &refused);
        char *password = part(handle, CURLUPART_PASSWORD, CURLU_URLDECODE, &refused);
        char *zone = part(handle, CURLUPART_ZONEID, 0, &refused);

        /* Of two raw '@' curl means the first and gyre the last; then only a "zone" lets curl accept the host. */
        refused |= zone && strchr(zone, '@');
        if (!refused) {
            REQUIRE(scheme && !strcasecmp(scheme, schemes[url->scheme]));
            REQUIRE(host && same_host(url->host, host));
            REQUIRE(url->port == (port ? (unsigned)atoi(port) : default_ports[url->scheme]));
            REQUIRE(!strcmp(url->user, user ? user : ""));
            REQUIRE(!strcmp(url->password, password ? password : ""));
        }
        curl_free(zone);
        curl_free(scheme);
        curl_free(host);
        curl_free(port);
        curl_free(user);
        curl_free(password);
    }
    curl_url_cleanup(handle);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    char *text = malloc(size + 1);
    struct gyre_url url;

    REQUIRE(text);
    memcpy(text, data, size);
    text[size] = 0;
    memset(&url, 0xa5, sizeof url);
    if (gyre_url_parse(text, &url) == 0) {
        check_fields(&url);
        check_round_trip(text, &url);
        check_with_curl(text, &url);
    } else {
        REQUIRE(gyre_detail()[0]);
    }
    free(text);
    return 0;
}
