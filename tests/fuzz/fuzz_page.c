/*
 * A page of any bytes, behind a line that is its Content-Type. It is decoded to UTF-8 that the libc takes, its links are read
 * without a fault, and no bytes in its text cost the link that comes after them.
 */
#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "job/charset.h"
#include "job/html.h"
#include "require.h"

static const char last[] = "<a href='http://end.example/'>";

static void check_utf8(const struct gyre__text *text)
{
    char *copy = malloc(text->size + 1), *out = malloc(text->size * 4 + 8), *in = copy, *to = out;
    size_t left = text->size, room = text->size * 4 + 8;
    iconv_t decoder = iconv_open("UTF-32", "UTF-8");

    REQUIRE(copy && out && decoder != (iconv_t)-1);
    memcpy(copy, text->bytes, text->size);
    REQUIRE(iconv(decoder, &in, &left, &to, &room) != (size_t)-1 && left == 0);
    iconv_close(decoder);
    free(out);
    free(copy);
}

static void check_links(const char *page, size_t size, const char *content_type)
{
    struct gyre__html html = {0};

    REQUIRE(gyre__html_parse(&html, page, size, content_type, "http://site.example/a/b") == 0);
    for (size_t i = 0; i < html.link_count; i++) REQUIRE(strncmp(html.links[i], "http", 4) == 0);
    gyre__html_clear(&html);
}

/* Text without markup, and a link. */
static void check_last_link(const struct gyre__text *text)
{
    size_t size = text->size + sizeof last - 1;
    char *page = malloc(size);
    struct gyre__html html = {0};

    REQUIRE(page);
    memcpy(page, text->bytes, text->size);
    memcpy(page + text->size, last, sizeof last - 1);
    REQUIRE(gyre__html_parse(&html, page, size, "text/html; charset=utf-8", "http://site.example/") == 0);
    REQUIRE(html.link_count == 1 && strcmp(html.links[0], "http://end.example/") == 0);
    gyre__html_clear(&html);
    free(page);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const unsigned char *end = memchr(data, '\n', size);
    size_t label = end ? (size_t)(end - data) : 0, skip = end ? label + 1 : 0;
    char *content_type = malloc(label + 1);
    const char *page = (const char *)data + skip;
    struct gyre__text text;

    REQUIRE(content_type);
    memcpy(content_type, data, label);
    content_type[label] = '\0';
    size -= skip;
    REQUIRE(gyre__charset_decode(&text, page, size, label ? content_type : NULL) == 0);
    check_utf8(&text);
    check_links(page, size, label ? content_type : NULL);
    if (!memchr(text.bytes, '<', text.size)) check_last_link(&text);
    gyre__charset_clear(&text);
    free(content_type);
    return 0;
}
