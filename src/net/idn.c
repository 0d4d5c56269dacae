/*
 * idn.c: hosts in ASCII.
 * Owns nothing. May call libidn2 only: libcurl would read names in the locale's encoding, and a program that sets no locale
 * could ask for none.
 */
#include "idn.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <idn2.h>

/* Where the host begins and how long it is. */
static const char *find_host(const char *url, size_t *size)
{
    const char *host = strstr(url, "://");

    if (!host) return NULL;
    host += 3;
    size_t authority = strcspn(host, "/?#");
    const char *user = memrchr(host, '@', authority);
    if (user) {
        authority -= (size_t)(user + 1 - host);
        host = user + 1;
    }
    const char *port = memchr(host, ':', authority);
    *size = port ? (size_t)(port - host) : authority;
    return host;
}

static int is_ascii(const char *text, size_t size)
{
    while (size > 0 && (unsigned char)*text < 0x80) text++, size--;
    return size == 0;
}

/* Wide forms of what ends a host are mapped too: a URL must not get another one by that. */
static int is_name(const char *ascii)
{
    return strspn(ascii, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~") == strlen(ascii);
}

char *gyre__idn_url(const char *url)
{
    size_t size = 0;
    const char *host = find_host(url, &size);
    uint8_t *ascii = NULL;
    char *found = NULL;

    if (!host || is_ascii(host, size)) return NULL;
    char *name = strndup(host, size);
    if (name && idn2_lookup_u8((uint8_t *)name, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK && is_name((char *)ascii) &&
        asprintf(&found, "%.*s%s%s", (int)(host - url), url, (char *)ascii, host + size) < 0)
        found = NULL;
    idn2_free(ascii);
    free(name);
    return found;
}
