/*
 * html.c: a page's title and links, by the SAX interface of libxml2's HTML parser: no tree is built.
 * Owns what it collects. May call libxml2. Never fetches anything: HTML_PARSE_NONET.
 */
#include "html.h"

#include <libxml/HTMLparser.h>
#include <libxml/uri.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TITLE = 4096, MAX_LINKS = 100000 };

static int is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static const char *attribute(const xmlChar **attributes, const char *name)
{
    for (; attributes && attributes[0]; attributes += 2)
        if (strcmp((const char *)attributes[0], name) == 0) return (const char *)attributes[1];
    return NULL;
}

static void add_link(struct gyre__html *html, const char *href)
{
    if (html->link_count == MAX_LINKS) return;
    if (html->link_count == html->link_room) {
        size_t room = html->link_room ? html->link_room * 2 : 64;
        char **links = realloc(html->links, room * sizeof *links);
        if (!links) {
            html->failed = 1;
            return;
        }
        html->links = links;
        html->link_room = room;
    }
    char *copy = strdup(href);
    if (copy) html->links[html->link_count++] = copy;
    else html->failed = 1;
}

static void on_start(void *data, const xmlChar *name, const xmlChar **attributes)
{
    struct gyre__html *html = data;
    const char *element = (const char *)name, *href;

    if (strcmp(element, "a") == 0 || strcmp(element, "area") == 0) {
        if ((href = attribute(attributes, "href"))) add_link(html, href);
    } else if (strcmp(element, "base") == 0 && !html->base) {
        if ((href = attribute(attributes, "href")) && !(html->base = strdup(href))) html->failed = 1;
    } else if (strcmp(element, "title") == 0 && html->in_title == 0) {
        html->in_title = 1;
    }
}

static void on_end(void *data, const xmlChar *name)
{
    struct gyre__html *html = data;
    if (html->in_title == 1 && strcmp((const char *)name, "title") == 0) html->in_title = 2;
}

/* Adds to the title, one space for any run of white space and none at the start. */
static void on_text(void *data, const xmlChar *text, int length)
{
    struct gyre__html *html = data;

    if (html->in_title != 1) return;
    if (!html->title && !(html->title = malloc(MAX_TITLE + 1))) {
        html->failed = 1;
        return;
    }
    for (int i = 0; i < length && html->title_size < MAX_TITLE; i++) {
        int space = is_space(text[i]);
        if (space && (html->title_size == 0 || html->title[html->title_size - 1] == ' ')) continue;
        html->title[html->title_size++] = space ? ' ' : (char)text[i];
    }
    html->title[html->title_size] = '\0';
}

/* Cuts the space at the end, and a character that MAX_TITLE has split. */
static void finish_title(struct gyre__html *html)
{
    size_t size = html->title_size;
    if (!html->title) return;
    if (size == MAX_TITLE) {
        while (size > 0 && ((unsigned char)html->title[size - 1] & 0xc0) == 0x80) size--;
        if (size > 0 && (unsigned char)html->title[size - 1] >= 0x80) size--;
    }
    while (size > 0 && html->title[size - 1] == ' ') size--;
    html->title[size] = '\0';
}

/* A copy without the white space around it and the line ends inside, as browsers read an href. */
static char *trim(const char *href)
{
    while (is_space((unsigned char)*href)) href++;
    char *copy = malloc(strlen(href) + 1), *to = copy;
    if (!copy) return NULL;
    for (; *href; href++)
        if (*href != '\t' && *href != '\n' && *href != '\r') *to++ = *href;
    while (to > copy && is_space((unsigned char)to[-1])) to--;
    *to = '\0';
    return copy;
}

static int is_http(const char *url)
{
    return strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
}

/* The absolute URL of an href, malloc'd by libxml2; NULL when it is none that can be fetched. */
static xmlChar *resolve(const char *href, const char *base)
{
    char *text = trim(href);
    if (!text) return NULL;
    text[strcspn(text, "#")] = '\0';
    /* What a URL may not hold is encoded; a per cent sign stays, it is taken for the page's own encoding. */
    xmlChar *escaped = xmlURIEscapeStr((const xmlChar *)text, (const xmlChar *)":/?#[]@!$&'()*+,;=%");
    xmlChar *url = escaped ? xmlBuildURI(escaped, (const xmlChar *)base) : NULL;
    if (escaped) xmlFree(escaped);
    free(text);
    if (!url) return NULL;
    url[strcspn((char *)url, "#")] = '\0'; /* of the base, when the href was empty */
    if (is_http((char *)url)) return url;
    xmlFree(url);
    return NULL;
}

/* Replaces what the page says by what it means, and drops what cannot be fetched. */
static void resolve_links(struct gyre__html *html, const char *base_url)
{
    xmlChar *own = html->base ? resolve(html->base, base_url) : NULL;
    const char *base = own ? (const char *)own : base_url;
    size_t kept = 0;

    for (size_t i = 0; i < html->link_count; i++) {
        xmlChar *url = resolve(html->links[i], base);
        free(html->links[i]);
        html->links[i] = NULL;
        if (!url) continue;
        if ((html->links[kept] = strdup((char *)url))) kept++;
        else html->failed = 1;
        xmlFree(url);
    }
    html->link_count = kept;
    if (own) xmlFree(own);
}

/* libxml2 takes a page that does not name its encoding for Latin-1; most are UTF-8 by now. */
static xmlCharEncoding guess_encoding(const char *page, size_t size)
{
    size_t i = 0, wide = 0;

    while (i < size) {
        unsigned char c = (unsigned char)page[i];
        size_t tail = c < 0x80 ? 0 : (c & 0xe0) == 0xc0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : (c & 0xf8) == 0xf0 ? 3 : size;
        if (tail >= size - i) return XML_CHAR_ENCODING_NONE;
        for (size_t k = 1; k <= tail; k++)
            if (((unsigned char)page[i + k] & 0xc0) != 0x80) return XML_CHAR_ENCODING_NONE;
        wide += tail;
        i += tail + 1;
    }
    return wide > 0 ? XML_CHAR_ENCODING_UTF8 : XML_CHAR_ENCODING_NONE;
}

int gyre__html_parse(struct gyre__html *html, const char *page, size_t size, const char *base_url)
{
    htmlSAXHandler sax = {.startElement = on_start, .endElement = on_end, .characters = on_text, .cdataBlock = on_text};

    if (size == 0) return 0;
    if (size > INT_MAX) size = INT_MAX; /* what libxml2 can take */
    htmlParserCtxtPtr parser = htmlCreatePushParserCtxt(&sax, html, NULL, 0, NULL, guess_encoding(page, size));
    if (!parser) return -1;
    htmlCtxtUseOptions(parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET);
    htmlParseChunk(parser, page, (int)size, 0);
    htmlParseChunk(parser, NULL, 0, 1);
    if (parser->myDoc) xmlFreeDoc(parser->myDoc);
    htmlFreeParserCtxt(parser);

    finish_title(html);
    resolve_links(html, base_url);
    return html->failed ? -1 : 0;
}

void gyre__html_clear(struct gyre__html *html)
{
    for (size_t i = 0; i < html->link_count; i++) free(html->links[i]);
    free(html->links);
    free(html->title);
    free(html->base);
    memset(html, 0, sizeof *html);
}
