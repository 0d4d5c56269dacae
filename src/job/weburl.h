/*
 * weburl.h: the one spelling of a URL by which a crawl knows a page.
 *
 * RFC 3986, section 6.2.2 and 6.2.3: scheme and host in lower case, an IPv6 address as RFC 5952 writes it,
 * percent-encodings in upper case and only where they are needed, dot segments removed, the scheme's default port and a
 * fragment left out, an empty path written "/". The query is left as it is, but for what no URL may hold (spaces,
 * controls, non-ASCII bytes), which is encoded.
 */
#ifndef GYRE_JOB_WEBURL_H
#define GYRE_JOB_WEBURL_H

#include <stddef.h>

enum { GYRE__WEBURL_MAX = 8192 }; /* bytes of the normal form, without the NUL */

struct gyre__weburl {
    char text[GYRE__WEBURL_MAX + 1];
    size_t size;
    size_t authority; /* where host[:port] begins in text */
    size_t path;      /* where the path begins: text[0..path) is the origin */
};

/*
 * Writes the normal form of an absolute http or https URL of `size` bytes. Returns NULL, or what is wrong with it. Pure;
 * the normal form of a normal form is itself.
 */
const char *gyre__weburl_normalise(const char *url, size_t size, struct gyre__weburl *out);

#endif
