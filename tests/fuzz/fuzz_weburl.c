/*
 * gyre__weburl_normalise() on any bytes, as pages hold them. What it accepts has a normal form that is its own normal form and
 * holds nothing that a request line could not; and libcurl, which makes the request, reads the same scheme, host and port from
 * it, and from the original where it takes that.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "job/weburl.h"
#include "require.h"

static void check_form(const struct gyre__weburl *url)
{
    REQUIRE(url->size <= GYRE__WEBURL_MAX && strlen(url->text) == url->size);
    REQUIRE(strncmp(url->text, "http://", 7) == 0 || strncmp(url->text, "https://", 8) == 0);
    REQUIRE(url->authority == (url->text[4] == 's' ? 8u : 7u));
    REQUIRE(url->authority < url->path && url->path < url->size && url->text[url->path] == '/');
    for (size_t i = 0; i < url->size; i++) REQUIRE(url->text[i] > ' ' && url->text[i] < 127 && url->text[i] != '#');
    for (size_t i = 0; i < url->path; i++) REQUIRE(!isupper((unsigned char)url->text[i]));
    REQUIRE(!strstr(url->text + url->path, "/../") || strchr(url->text, '?'));
}

static void check_again(const struct gyre__weburl *url)
{
    static struct gyre__weburl again;
    REQUIRE(gyre__weburl_normalise(url->text, url->size, &again) == NULL);
    REQUIRE(strcmp(again.text, url->text) == 0 && again.path == url->path && again.authority == url->authority);
}

/* libcurl keeps the spelling of some addresses. */
static void respell(const char *host, char *into, size_t room)
{
    char text[INET6_ADDRSTRLEN] = "";
    struct in6_addr address;

    if (*host == '[' && strlen(host) - 2 < sizeof text) memcpy(text, host + 1, strlen(host) - 2);
    if (inet_pton(AF_INET6, text, &address) == 1) inet_ntop(AF_INET6, &address, into, (socklen_t)room);
}

/* Scheme, host and port as libcurl reads them; false where it refuses the text. */
static int origin(const char *text, char *into, size_t room)
{
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    int good = url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
               curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
               curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
               curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    if (good) {
        char address[INET6_ADDRSTRLEN] = "";
        respell(host, address, sizeof address);
        snprintf(into, room, "%s://%s:%s", scheme, *address ? address : host, port);
        for (char *c = into; *c; c++) *c = (char)tolower((unsigned char)*c);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
    return good;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static struct gyre__weburl url;
    static char text[GYRE__WEBURL_MAX + 1], ours[GYRE__WEBURL_MAX + 64], theirs[GYRE__WEBURL_MAX + 64];

    if (gyre__weburl_normalise((const char *)data, size, &url)) return 0;
    check_form(&url);
    check_again(&url);
    REQUIRE(origin(url.text, ours, sizeof ours));
    if (size > GYRE__WEBURL_MAX || memchr(data, 0, size)) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (origin(text, theirs, sizeof theirs)) REQUIRE(strcmp(ours, theirs) == 0);
    return 0;
}
