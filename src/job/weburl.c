/*
 * weburl.c: the normal form of weburl.h.
 * Owns nothing, calls nothing but libc.
 */
#include "weburl.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char too_long[] = "the URL is longer than 8192 bytes";

static int is_unreserved(unsigned char c)
{
    return (c < 0x80 && isalnum(c)) || c == '-' || c == '.' || c == '_' || c == '~';
}

/* What may stand in a path or query as it is; "/" and "?" are looked at before. */
static int is_allowed(unsigned char c)
{
    return is_unreserved(c) || (c != '\0' && strchr("!$&'()*+,;=:@/?[]", c) != NULL);
}

static int hex(unsigned char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (unsigned char)tolower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int put(struct gyre__weburl *out, char c)
{
    if (out->size == GYRE__WEBURL_MAX) return 0;
    out->text[out->size++] = c;
    return 1;
}

static int put_encoded(struct gyre__weburl *out, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";
    return put(out, '%') && put(out, digits[c >> 4]) && put(out, digits[c & 15]);
}

/*
 * One character of a path or query: `in` points at it. An encoding of an unreserved character is undone in a path, and
 * kept as it is in a query; a per cent sign that encodes nothing stands for itself. Returns how many bytes it took, or 0.
 */
static size_t put_character(struct gyre__weburl *out, const char *in, const char *end, int in_query)
{
    unsigned char c = (unsigned char)*in;

    if (c == '%' && end - in >= 3 && hex((unsigned char)in[1]) >= 0 && hex((unsigned char)in[2]) >= 0) {
        unsigned char decoded = (unsigned char)(hex((unsigned char)in[1]) * 16 + hex((unsigned char)in[2]));
        int good;
        if (in_query) good = put(out, '%') && put(out, in[1]) && put(out, in[2]);
        else if (is_unreserved(decoded)) good = put(out, (char)decoded);
        else good = put_encoded(out, decoded);
        return good ? 3 : 0;
    }
    return (is_allowed(c) ? put(out, (char)c) : put_encoded(out, c)) ? 1 : 0;
}

/* An IPv6 address between brackets, in the one spelling of RFC 5952. */
static const char *put_address(struct gyre__weburl *out, const char *in, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "";
    struct in6_addr address;

    if (size < sizeof text) memcpy(text, in, size);
    if (inet_pton(AF_INET6, text, &address) != 1) return "the URL's host is no IPv6 address";
    inet_ntop(AF_INET6, &address, text, sizeof text);
    if (!put(out, '[')) return too_long;
    for (const char *c = text; *c; c++)
        if (!put(out, *c)) return too_long;
    return put(out, ']') ? NULL : too_long;
}

/* host[:port]: lower case, without the default port. */
static const char *put_authority(struct gyre__weburl *out, const char *in, const char *end, const char *default_port)
{
    const char *bracket = in < end && *in == '[' ? memchr(in, ']', (size_t)(end - in)) : NULL;
    const char *host_end = bracket ? bracket + 1 : memchr(in, ':', (size_t)(end - in));

    if (memchr(in, '@', (size_t)(end - in))) return "the URL holds credentials";
    if (!host_end) host_end = end;
    if (host_end == in) return "the URL has no host";
    if (bracket) {
        const char *why = put_address(out, in + 1, (size_t)(bracket - in - 1));
        if (why) return why;
        in = host_end;
    }
    for (; in < host_end; in++) {
        unsigned char c = (unsigned char)*in;
        if (!is_unreserved(c)) return "the URL's host holds a character that no host has";
        if (!put(out, (char)tolower(c))) return too_long;
    }
    if (in == end) return NULL;
    if (*in++ != ':') return "the URL's host is followed by something else than a port";
    while (in < end - 1 && *in == '0') in++;
    size_t size = (size_t)(end - in);
    if (size == 0 || (size == strlen(default_port) && memcmp(in, default_port, size) == 0)) return NULL;
    if (size > 5) return "the URL's port is no number";
    if (!put(out, ':')) return too_long;
    unsigned port = 0;
    for (; in < end; in++) {
        if (*in < '0' || *in > '9') return "the URL's port is no number";
        if (!put(out, *in)) return too_long;
        port = port * 10 + (unsigned)(*in - '0');
    }
    return port >= 1 && port <= 65535 ? NULL : "the URL's port is not between 1 and 65535";
}

/* Takes off the last segment, and leaves the path ending in the slash before it. */
static void drop_segment(struct gyre__weburl *out)
{
    if (out->size > out->path + 1) out->size--;
    while (out->size > out->path + 1 && out->text[out->size - 1] != '/') out->size--;
}

/* The segment from `start` on has been written. Whether it was "." or "..", which are taken off again. */
static int resolve_dots(struct gyre__weburl *out, size_t start)
{
    size_t size = out->size - start;
    int up = size == 2 && memcmp(out->text + start, "..", 2) == 0;

    if (!up && !(size == 1 && out->text[start] == '.')) return 0;
    out->size = start;
    if (up) drop_segment(out);
    return 1;
}

/* RFC 3986, 5.2.4, in one pass: encodings are undone first, so that %2E%2E is the ".." that it means. */
static const char *put_path(struct gyre__weburl *out, const char *in, const char *end)
{
    if (!put(out, '/')) return too_long;
    if (in < end) in++;
    for (size_t start = out->size;;) {
        int at_end = in == end;
        if (at_end || *in == '/') {
            int dots = resolve_dots(out, start);
            if (at_end) return NULL;
            if (!dots && !put(out, '/')) return too_long;
            start = out->size;
            in++;
        } else {
            size_t took = put_character(out, in, end, 0);
            if (took == 0) return too_long;
            in += took;
        }
    }
}

const char *gyre__weburl_normalise(const char *url, size_t size, struct gyre__weburl *out)
{
    const char *end = url + size, *fragment = memchr(url, '#', size), *why;
    int secure = size >= 8 && strncasecmp(url, "https://", 8) == 0;

    if (!secure && !(size >= 7 && strncasecmp(url, "http://", 7) == 0)) return "the URL begins with neither http:// nor https://";
    if (fragment) end = fragment;
    out->size = out->authority = secure ? 8 : 7;
    memcpy(out->text, secure ? "https://" : "http://", out->size);

    const char *in = url + out->size, *after = in;
    while (after < end && *after != '/' && *after != '?') after++;
    if ((why = put_authority(out, in, after, secure ? "443" : "80"))) return why;
    out->path = out->size;
    const char *query = memchr(after, '?', (size_t)(end - after));
    if ((why = put_path(out, after, query ? query : end))) return why;
    for (in = query; in && in < end;) {
        size_t took = put_character(out, in, end, 1);
        if (took == 0) return too_long;
        in += took;
    }
    out->text[out->size] = '\0';
    return NULL;
}
