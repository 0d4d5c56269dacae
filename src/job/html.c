/*
 * html.c: a page's title and links, by the SAX interface of libxml2's HTML parser, where no tree is built, which
 * takes longer. But when there has to be a tree, for XPath, they are read from it.
 * What a hostile page could make take long, or fill the memory with, has its limits here, far beyond what pages have.
 * Owns what it collects. May call libxml2, and libcurl's URL functions. Never fetches anything: HTML_PARSE_NONET.
 */
#include "html.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <libxml/HTMLparser.h>
#include <libxml/uri.h>

#include "charset.h"
#include "net/idn.h"
#include "weburl.h"

enum {
    MAX_TITLE = 4096,
    MAX_LINKS = 100000,
    MAX_LINK_BYTES = 32 << 20, /* of the links of a page, each with what it is relative to */
    MAX_DEPTH = 1000,          /* of elements; where a tree is built libxml2 has its own limit, of 256 */
    MAX_ATTRIBUTES = 500,      /* of one element, or some more */
};

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

static int has_href(const char *element)
{
    return strcmp(element, "a") == 0 || strcmp(element, "area") == 0 || strcmp(element, "base") == 0;
}

/* An element with its href, if it may have one and has. */
static void begin(struct gyre__html *html, const char *element, const char *href)
{
    if (strcmp(element, "title") == 0) {
        if (html->in_title == 0) html->in_title = 1;
    } else if (!href) {
        return;
    } else if (strcmp(element, "base") != 0) {
        add_link(html, href);
    } else if (!html->base && !(html->base = strdup(href))) {
        html->failed = 1;
    }
}

static void on_start(void *data, const xmlChar *name, const xmlChar **attributes)
{
    const char *element = (const char *)name;
    begin(data, element, has_href(element) ? attribute(attributes, "href") : NULL);
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

/* A copy as browsers read an href: without the white space around it and the line ends inside; a per cent sign that
 * encodes nothing stands for itself. NULL: no memory. */
static char *tidy(const char *href)
{
    while (is_space((unsigned char)*href)) href++;
    char *copy = malloc(3 * strlen(href) + 1), *to = copy;
    if (!copy) return NULL;
    for (; *href; href++) {
        if (*href == '\t' || *href == '\n' || *href == '\r') continue;
        *to++ = *href;
        if (*href == '%' && !(isxdigit((unsigned char)href[1]) && isxdigit((unsigned char)href[2])))
            to = stpcpy(to, "25");
    }
    while (to > copy && is_space((unsigned char)to[-1])) to--;
    *to = '\0';
    return copy;
}

/* Whether text begins with a scheme other than http and https: mailto:, javascript: and the like. */
static int has_other_scheme(const char *text)
{
    if (strncasecmp(text, "http:", 5) == 0 || strncasecmp(text, "https:", 6) == 0) return 0;
    if (!isalpha((unsigned char)*text)) return 0;
    while (isalnum((unsigned char)*text) || *text == '+' || *text == '-' || *text == '.') text++;
    return *text == ':';
}

/* Longer than any URL that can be fetched. One of a megabyte before a hundred thousand short links would fill the memory. */
static int is_too_long(const char *url)
{
    return strlen(url) > GYRE__WEBURL_MAX;
}

/*
 * The URL of an href, or NULL when it is none that can be fetched; curl_url_cleanup it. By libcurl, so that a link means
 * what it means when it is fetched; libxml2's xmlBuildURI would decode %2F in a path.
 */
static CURLU *resolve(const char *href, const CURLU *base)
{
    char *text = tidy(href);
    xmlChar *escaped = NULL;
    CURLU *url = NULL;

    if (!text) return NULL;
    text[strcspn(text, "#")] = '\0';
    if (!has_other_scheme(text) && !is_too_long(text)) {
        /* What a URL may not hold is encoded; the page's own encoding stays. */
        escaped = xmlURIEscapeStr((const xmlChar *)text, (const xmlChar *)":/?#[]@!$&'()*+,;=%");
        url = curl_url_dup((CURLU *)base); /* takes no const, and changes nothing */
    }
    if (!escaped || !url || (*escaped && curl_url_set(url, CURLUPART_URL, (char *)escaped, 0) != CURLUE_OK) ||
        curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK) {
        curl_url_cleanup(url);
        url = NULL;
    }
    xmlFree(escaped);
    free(text);
    return url;
}

static char *resolve_text(const char *href, const CURLU *base)
{
    CURLU *url = resolve(href, base);
    char *found = NULL, *text = NULL;

    if (url && curl_url_get(url, CURLUPART_URL, &found, 0) == CURLUE_OK && !is_too_long(found)) {
        text = gyre__idn_url(found);
        if (!text) text = strdup(found);
    }
    curl_free(found);
    curl_url_cleanup(url);
    return text;
}

char *gyre__html_resolve(const char *reference, const char *base)
{
    CURLU *page = is_too_long(base) ? NULL : curl_url();
    char *text = NULL;

    if (page && curl_url_set(page, CURLUPART_URL, base, 0) == CURLUE_OK) text = resolve_text(reference, page);
    curl_url_cleanup(page);
    return text;
}

/* Replaces what the page says by what it means, and drops what cannot be fetched. */
static void resolve_links(struct gyre__html *html, const char *base_url)
{
    CURLU *page = is_too_long(base_url) ? NULL : curl_url(), *own = NULL;
    size_t kept = 0, left = MAX_LINK_BYTES, base_size = strlen(base_url) + (html->base ? strlen(html->base) : 0);

    int known = page && curl_url_set(page, CURLUPART_URL, base_url, 0) == CURLUE_OK;
    if (known && html->base) own = resolve(html->base, page);
    for (size_t i = 0; i < html->link_count; i++) {
        size_t size = strlen(html->links[i]) + base_size;
        left = size < left ? left - size : 0;
        char *link = known && left > 0 ? resolve_text(html->links[i], own ? own : page) : NULL;
        free(html->links[i]);
        html->links[i] = NULL;
        if (link) html->links[kept++] = link;
    }
    html->link_count = kept;
    curl_url_cleanup(own);
    curl_url_cleanup(page);
}

/* A page on its way into the parser. */
struct source {
    const char *at;
    size_t left;
    htmlParserCtxtPtr parser;
    int is_cut; /* not all of it has come */
};

/*
 * xmlInputReadCallback. libxml2 compares each attribute of an element with all before it, and each end tag with all that is
 * open: a page of many would take hours. It ends there.
 */
static int read_more(void *data, char *to, int room)
{
    struct source *source = data;
    size_t size = source->left < (size_t)room ? source->left : (size_t)room;

    /* maxatts: room for names and values, which doubles. */
    if (source->parser->nameNr > MAX_DEPTH || source->parser->maxatts > 2 * 2 * MAX_ATTRIBUTES) {
        source->is_cut = source->left > 0;
        source->left = size = 0;
    }
    memcpy(to, source->at, size);
    source->at += size;
    source->left -= size;
    return (int)size;
}

/* By `parser`, which has been told what to do with what it finds. NULL: nothing was found, or no tree was built. `whole` says
 * whether all of the page has been read. */
static xmlDocPtr parse(htmlParserCtxtPtr parser, const struct gyre__text *text, int *whole)
{
    struct source source = {.at = text->bytes, .left = text->size, .parser = parser};
    xmlDocPtr tree = htmlCtxtReadIO(parser, read_more, NULL, &source, NULL, "UTF-8",
                                    HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET | HTML_PARSE_COMPACT);
    *whole = !parser->disableSAX && !source.is_cut;
    return tree;
}

static int conclude(struct gyre__html *html, const char *base_url)
{
    finish_title(html);
    resolve_links(html, base_url);
    return html->failed ? -1 : 0;
}

int gyre__html_parse(struct gyre__html *html, const char *page, size_t size, const char *content_type, const char *base_url)
{
    struct gyre__text text;
    int whole;

    if (size == 0) return 0;
    htmlParserCtxtPtr parser = htmlNewParserCtxt();
    if (!parser || gyre__charset_decode(&text, page, size, content_type) < 0) {
        htmlFreeParserCtxt(parser);
        return -1;
    }
    *parser->sax = (htmlSAXHandler){
        .startElement = on_start, .endElement = on_end, .characters = on_text, .cdataBlock = on_text};
    parser->userData = html;
    xmlDocPtr document = parse(parser, &text, &whole);
    if (document) xmlFreeDoc(document);
    htmlFreeParserCtxt(parser);
    gyre__charset_clear(&text);
    return conclude(html, base_url);
}

struct _xmlDoc *gyre__html_tree(const char *page, size_t size, const char *content_type, int *whole)
{
    struct gyre__text text = {0};
    xmlDocPtr tree = NULL;

    *whole = 1;
    htmlParserCtxtPtr parser = size > 0 ? htmlNewParserCtxt() : NULL;
    if (!parser) return NULL;
    if (gyre__charset_decode(&text, page, size, content_type) == 0) tree = parse(parser, &text, whole);
    htmlFreeParserCtxt(parser);
    gyre__charset_clear(&text);
    return tree;
}

static void visit(struct gyre__html *html, const xmlNode *node)
{
    if (node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE) {
        if (html->in_title == 1 && node->content) on_text(html, node->content, xmlStrlen(node->content));
    } else if (node->type == XML_ELEMENT_NODE) {
        const char *element = (const char *)node->name;
        const xmlAttr *href = has_href(element) ? xmlHasProp((xmlNode *)node, (const xmlChar *)"href") : NULL;
        const xmlNode *value = href ? href->children : NULL; /* one text, and none for an attribute without "=" */
        begin(html, element, value && value->content ? (const char *)value->content : value ? "" : NULL);
    }
}

int gyre__html_read(struct gyre__html *html, const struct _xmlDoc *tree, const char *base_url)
{
    const xmlNode *root = (const xmlNode *)tree, *node = root;

    while (node) { /* each before its children; without recursion, however deep */
        visit(html, node);
        const xmlNode *child = node->type == XML_ELEMENT_NODE || node == root ? node->children : NULL;
        if (child) {
            node = child;
            continue;
        }
        while (node != root && !node->next) {
            if (node->type == XML_ELEMENT_NODE) on_end(html, node->name);
            node = node->parent;
        }
        if (node == root) break;
        if (node->type == XML_ELEMENT_NODE) on_end(html, node->name);
        node = node->next;
    }
    return conclude(html, base_url);
}

void gyre__html_clear(struct gyre__html *html)
{
    for (size_t i = 0; i < html->link_count; i++) free(html->links[i]);
    free(html->links);
    free(html->title);
    free(html->base);
    memset(html, 0, sizeof *html);
}
