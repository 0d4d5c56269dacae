/*
 * Proxy URLs: parse, format, compare. RFC 3986 with one liberty: a raw character that could not be meant otherwise is
 * taken as it stands in user and password ("p;a=b@c"), since provider pages print them so; '/', '?' and '#' end them. Pure;
 * calls nothing.
 */
#include "ascii.h"
#include "pool.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t scheme, port;
} schemes[] = {{"http", GYRE_HTTP, 80},     {"https", GYRE_HTTPS, 443},   {"socks4", GYRE_SOCKS4, 1080},
               {"socks4a", GYRE_SOCKS4A, 1080}, {"socks5", GYRE_SOCKS5, 1080}, {"socks5h", GYRE_SOCKS5H, 1080}};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Decodes [text, end) once into buffer; NULL, or what is wrong. */
static const char *decode(const char *text, const char *end, char *buffer, size_t size)
{
    size_t n = 0;
    while (text < end) {
        int c = (unsigned char)*text++;
        if (c == '%') {
            if (end - text < 2 || hex_digit(text[0]) < 0 || hex_digit(text[1]) < 0) return "a broken percent-encoding";
            c = hex_digit(text[0]) << 4 | hex_digit(text[1]);
            text += 2;
        }
        if (c < 32 || c == 127) return "a control character";
        if (n + 1 >= size) return "too long a part";
        buffer[n++] = (char)c;
    }
    buffer[n] = 0;
    return NULL;
}

static const char *parse_scheme(const char *text, const char **rest, struct gyre_url *url)
{
    const char *colon = strstr(text, "://");
    if (!colon) return "no scheme (http, https, socks4, socks4a, socks5 or socks5h, then ://)";
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t n = strlen(schemes[i].name);
        if ((size_t)(colon - text) == n && ascii_same(text, schemes[i].name, n)) {
            url->scheme = schemes[i].scheme;
            url->port = schemes[i].port;
            *rest = colon + 3;
            return NULL;
        }
    }
    snprintf(url->host, sizeof url->host, "%.*s", (int)(colon - text < 12 ? colon - text : 12), text);
    return "an unknown scheme";
}

static const char *parse_credentials(const char *text, const char *at, struct gyre_url *url)
{
    const char *colon = memchr(text, ':', (size_t)(at - text));
    const char *bad = decode(text, colon ? colon : at, url->user, sizeof url->user);
    if (bad) return bad;
    url->has_user = 1;
    if (!colon) return NULL;
    url->has_password = 1;
    return decode(colon + 1, at, url->password, sizeof url->password);
}

/* Digits up to here are no secret: the message names them. */
static const char *too_large_port(uint32_t port, struct gyre_url *url)
{
    snprintf(url->host, sizeof url->host, "%u", port);
    url->scheme = 0;
    return "a port above 65535";
}

static const char *parse_port(const char *text, const char *end, struct gyre_url *url)
{
    uint32_t port = 0;
    if (text == end) return "no port after ':'";
    for (; text < end; text++) {
        if (*text < '0' || *text > '9') return "a port that is no number";
        port = port * 10 + (uint32_t)(*text - '0');
        if (port > 65535) return too_large_port(port, url);
    }
    if (!port) return "port 0";
    url->port = port;
    return NULL;
}

/* What stands in brackets: an address, perhaps with a zone (RFC 6874: "fe80::1%25eth0", kept as "fe80::1%eth0"). */
static const char *parse_ipv6(const char *text, const char *end, char *host, size_t size)
{
    static const char bad[] = "a host in brackets that is no IPv6 address";
    struct in6_addr address;
    const char *zone = memchr(text, '%', (size_t)(end - text));
    size_t n = (size_t)((zone ? zone : end) - text);
    if (n + 1 >= size) return bad;
    memcpy(host, text, n);
    host[n] = 0;
    if (inet_pton(AF_INET6, host, &address) != 1) return bad;
    for (char *c = host; *c; c++) *c = ascii_lower(*c);
    if (!zone) return NULL;
    if (end - zone < 4 || strncmp(zone, "%25", 3) || n + (size_t)(end - zone) >= size) return bad;
    host[n++] = '%';
    for (zone += 3; zone < end; zone++) {
        if (!ascii_is_alnum(*zone) && !strchr("-._~", *zone)) return bad;
        host[n++] = *zone;
    }
    host[n] = 0;
    return NULL;
}

static bool is_host(const char *host)
{
    if (!*host) return false;
    for (; *host; host++)
        if (!ascii_is_alnum(*host) && !strchr("-._~", *host) && (unsigned char)*host < 128) return false;
    return true;
}

static const char *parse_host(const char *text, const char *end, struct gyre_url *url)
{
    const char *bad, *stop, *after;
    bool bracket = text < end && *text == '[';
    if (bracket) {
        stop = memchr(text, ']', (size_t)(end - text));
        if (!stop) return "'[' without ']'";
        text++;
        after = stop + 1;
    } else {
        stop = memchr(text, ':', (size_t)(end - text));
        if (!stop) stop = end;
        after = stop;
    }
    if (bracket) {
        bad = parse_ipv6(text, stop, url->host, sizeof url->host);
        if (bad) return bad;
    } else {
        bad = decode(text, stop, url->host, sizeof url->host);
        if (bad) return bad;
        for (char *c = url->host; *c; c++) *c = ascii_lower(*c);
        if (!is_host(url->host)) return *url->host ? "a host that is none" : "no host";
    }
    if (after == end) return NULL;
    if (*after != ':') return "text between host and port";
    return parse_port(after + 1, end, url);
}

static const char *parse(const char *text, struct gyre_url *url)
{
    const char *rest = NULL, *bad = parse_scheme(text, &rest, url);
    if (bad) return bad;
    const char *end = rest + strcspn(rest, "/?#"), *at = memrchr(rest, '@', (size_t)(end - rest));
    if (*end && strcmp(end, "/") != 0)
        return "a path, query or fragment ('/', '?' and '#' in a password are written %2F, %3F and %23)";
    if (at && (bad = parse_credentials(rest, at, url))) return bad;
    return parse_host(at ? at + 1 : rest, end, url);
}

GYRE_API int gyre_url_parse(const char *text, struct gyre_url *url)
{
    if (!text || !url) return gyre__fail(GYRE_EINVALID, "no URL given");
    memset(url, 0, sizeof *url);
    const char *bad = parse(text, url);
    if (!bad) return 0;
    /* The text may hold a password anywhere: only what is wrong goes into the message, and a scheme or port
     * that was left in `host` if it looks like one. */
    bool tell = !url->scheme && *url->host && strspn(url->host, "abcdefghijklmnopqrstuvwxyz0123456789+.-") == strlen(url->host);
    int error = gyre__fail(GYRE_EINVALID, "proxy URL has %s%s%s", bad, tell ? ": " : "", tell ? url->host : "");
    explicit_bzero(url, sizeof *url);
    return error;
}

static size_t put(char *buffer, size_t size, size_t at, const char *text)
{
    size_t n = strlen(text);
    if (at + n < size) memcpy(buffer + at, text, n + 1);
    return at + n;
}

static size_t put_char(char *buffer, size_t size, size_t at, char c)
{
    if (at + 1 < size) {
        buffer[at] = c;
        buffer[at + 1] = 0;
    }
    return at + 1;
}

static size_t put_encoded(char *buffer, size_t size, size_t at, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (ascii_is_alnum((char)c) || strchr("-._~", c)) {
            at = put_char(buffer, size, at, (char)c);
            continue;
        }
        at = put_char(buffer, size, at, '%');
        at = put_char(buffer, size, at, digits[c >> 4]);
        at = put_char(buffer, size, at, digits[c & 15]);
    }
    return at;
}

static size_t put_number(char *buffer, size_t size, size_t at, uint32_t number)
{
    char text[12], *digit = text + sizeof text - 1;
    *digit = 0;
    do *--digit = (char)('0' + number % 10);
    while (number /= 10);
    return put(buffer, size, at, digit);
}

int gyre__url_format(const struct gyre_url *url, bool credentials, char *buffer, size_t size)
{
    size_t at = 0;
    uint32_t scheme = url->scheme >= GYRE_HTTP && url->scheme <= GYRE_SOCKS5H ? url->scheme : GYRE_HTTP;
    at = put(buffer, size, at, schemes[scheme - 1].name);
    at = put(buffer, size, at, "://");
    if (credentials && url->has_user) {
        at = put_encoded(buffer, size, at, url->user);
        if (url->has_password) {
            at = put(buffer, size, at, ":");
            at = put_encoded(buffer, size, at, url->password);
        }
        at = put(buffer, size, at, "@");
    }
    bool bracket = strchr(url->host, ':') != NULL;
    at = put(buffer, size, at, bracket ? "[" : "");
    for (const char *c = url->host; *c; c++)
        at = *c == '%' ? put(buffer, size, at, "%25") : put_char(buffer, size, at, *c);
    at = put(buffer, size, at, bracket ? "]:" : ":");
    at = put_number(buffer, size, at, url->port);
    if (at >= size) return gyre__fail(GYRE_EINVALID, "the URL needs %zu bytes, the buffer has %zu", at + 1, size);
    return (int)at;
}

static uint32_t hash_text(uint32_t hash, const char *text)
{
    do hash = (hash ^ (unsigned char)*text) * 16777619u;
    while (*text++);
    return hash;
}

uint32_t gyre__url_hash(const struct gyre_url *url)
{
    uint32_t hash = 2166136261u ^ (url->scheme << 16 | url->port);
    hash = hash_text(hash, url->host);
    hash = hash_text(hash ^ url->has_user, url->user);
    hash = hash_text(hash ^ url->has_password, url->password);
    return hash ^ hash >> 15;
}

bool gyre__url_equal(const struct gyre_url *a, const struct gyre_url *b)
{
    return a->scheme == b->scheme && a->port == b->port && a->has_user == b->has_user &&
           a->has_password == b->has_password && !strcmp(a->host, b->host) && !strcmp(a->user, b->user) &&
           !strcmp(a->password, b->password);
}
