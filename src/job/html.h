/* html.h: HTML pages without Lua: their trees; their title and links, with a tree or without. */
#ifndef GYRE_JOB_HTML_H
#define GYRE_JOB_HTML_H

#include <stddef.h>

struct _xmlDoc; /* libxml2's xmlDoc */

struct gyre__html {
    char *title;        /* UTF-8, white space collapsed; NULL: none */
    char **links;       /* absolute, http or https, without fragment; in order, repeated as on the page */
    size_t link_count, link_room;
    char *base;         /* href of the first <base>, NULL: none */
    size_t title_size, title_room;
    int in_title;       /* 0 before <title>, 1 inside, 2 after */
    int failed;         /* no memory */
};

/*
 * Reads a page, however broken its markup, in whatever encoding (charset.h). `html` must be zero. Links are the href of
 * <a> and <area>, resolved against <base> or `base_url`. Left out is what is longer than any URL that can be fetched
 * (weburl.h), and what is beyond limits that no page but a hostile one comes near: elements nested 1,000 deep, 500 attributes
 * of one, 100,000 links, 32 MiB of them. Returns 0, or -1: no memory. Clear it in either case.
 */
int gyre__html_parse(struct gyre__html *html, const char *page, size_t size, const char *content_type, const char *base_url);

/*
 * The page as a tree, for xmlFreeDoc(); NULL: no memory, or an empty page. `whole` says whether all of the page is in it: what is
 * nested more than 256 deep ends one, as more than 500 attributes do.
 */
struct _xmlDoc *gyre__html_tree(const char *page, size_t size, const char *content_type, int *whole);

/* As gyre__html_parse(), of a tree. */
int gyre__html_read(struct gyre__html *html, const struct _xmlDoc *tree, const char *base_url);

/* What a reference on a page at `base` means; free it. NULL: nothing that can be fetched (or no memory). */
char *gyre__html_resolve(const char *reference, const char *base);

void gyre__html_clear(struct gyre__html *html);

#endif
