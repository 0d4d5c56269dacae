/* charset.h: pages as UTF-8, which is all that the rest of gyre reads. */
#ifndef GYRE_JOB_CHARSET_H
#define GYRE_JOB_CHARSET_H

#include <stddef.h>

/* A page's text: the page itself, or a copy that gyre__charset_clear() frees. */
struct gyre__text {
    const char *bytes;
    size_t size;
    char *copy;
};

/*
 * A page as UTF-8. Its encoding is what it begins with (a byte order mark); UTF-8 when that is what it is, whoever says
 * otherwise; then as `content_type`, a header's value or NULL, has it; as the page says itself; UTF-8 when most of it is,
 * windows-1252 at last. Labels mean what the WHATWG Encoding Standard has them mean. What cannot be decoded becomes U+FFFD,
 * and what comes after it is not lost. Returns 0, or -1: no memory. Any thread.
 */
int gyre__charset_decode(struct gyre__text *text, const char *page, size_t size, const char *content_type);

void gyre__charset_clear(struct gyre__text *text);

#endif
