/* test_html.c: title and links of pages as they come: relative, broken, in other encodings, hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libxml/tree.h>

#include "job/html.h"

static const char base[] = "http://site.example/a/b.html?q#f";

/* Compares and clears. `links` is the expected list, joined by spaces. */
static void compare(struct gyre__html *html, const char *title, const char *links)
{
    char joined[4096] = "";

    for (size_t i = 0; i < html->link_count; i++) {
        if (i > 0) strcat(joined, " ");
        strcat(joined, html->links[i]);
    }
    if (title) assert_string_equal(html->title ? html->title : "(none)", title);
    else assert_null(html->title);
    assert_string_equal(joined, links);
    gyre__html_clear(html);
}

/* Reads the page without a tree and with one. */
static void check(const char *page, const char *title, const char *links)
{
    struct gyre__html html = {0};
    int whole;

    assert_int_equal(gyre__html_parse(&html, page, strlen(page), base), 0);
    compare(&html, title, links);
    xmlDocPtr tree = gyre__html_tree(page, strlen(page), &whole);
    assert_true(whole);
    assert_int_equal(gyre__html_read(&html, tree, base), 0);
    compare(&html, title, links);
    if (tree) xmlFreeDoc(tree);
}

static void test_links(void **state)
{
    (void)state;
    check("<a href=c.html>c</a><a href='/d'>d</a><a href=\"?e=1&amp;f=2\">e</a><a href=../g/./h>h</a>", NULL,
          "http://site.example/a/c.html http://site.example/d http://site.example/a/b.html?e=1&f=2 "
          "http://site.example/g/h");
    check("<a href=//other.example/x>x</a><area href=https://third.example>", NULL,
          "http://other.example/x https://third.example/");
    check("<a href='c.html#part'>c</a><a href='#top'>t</a><a name=n>n</a>", NULL,
          "http://site.example/a/c.html http://site.example/a/b.html?q");
    check("<a href='mailto:a@b.example'>m</a><a href='javascript:f()'>j</a><a href=ftp://f.example/>f</a>", NULL, "");
    check("<a href=' c d.html\n'>c</a><a href='%41 %zz'>p</a>", NULL,
          "http://site.example/a/c%20d.html http://site.example/a/%41%20%25zz");
    check("<a href='x%2Fy?z=%26'>p</a><a href=HTTP://B.example:80/>u</a>", NULL,
          "http://site.example/a/x%2Fy?z=%26 http://B.example:80/");
    check("<a href=''>e</a><a href='/[x]|y'>i</a>", NULL, "http://site.example/a/b.html?q http://site.example/[x]%7Cy");
    check("<a href='caf\xc3\xa9'>c</a>", NULL, "http://site.example/a/caf%C3%A9");
}

static void test_base(void **state)
{
    (void)state;
    check("<a href=x>x</a><head><base href=/root/><base href=/no/></head><a href=y>y</a>", NULL,
          "http://site.example/root/x http://site.example/root/y");
    check("<base href='javascript:x'><a href=y>y</a>", NULL, "http://site.example/a/y");
}

static void test_title(void **state)
{
    (void)state;
    check("<title>\n  One\t &amp;\n two </title><p><svg><title>not this</title></svg>", "One & two", "");
    check("<title></title>", NULL, "");
    check("<title>cut <b>short", "cut short", "");
}

/* UTF-8 without a word about it, Latin-1 that says so, Latin-1 that does not. */
static void test_encodings(void **state)
{
    (void)state;
    check("<title>\xc3\xa9t\xc3\xa9</title>", "\xc3\xa9t\xc3\xa9", "");
    check("<meta charset=iso-8859-1><title>\xe9t\xe9</title>", "\xc3\xa9t\xc3\xa9", "");
    check("<title>\xe9t\xe9</title>", "\xc3\xa9t\xc3\xa9", "");
}

static void test_broken(void **state)
{
    (void)state;
    check("", NULL, "");
    check("<", NULL, "");
    check("<a href=x<b>>y", NULL, "http://site.example/a/x%3Cb");
    check("</a></title></title><a href=ok>", NULL, "http://site.example/a/ok");
    check("<!-- <a href=no> --><script>'<a href=no>'</script><a href=yes>", NULL, "http://site.example/a/yes");
}

/* NUL bytes, deep nesting, a title without end: no crash, and a bounded title that is still UTF-8. */
static void test_hostile(void **state)
{
    (void)state;
    enum { SIZE = 300000 };
    struct gyre__html html = {0};
    char *page = malloc(SIZE);

    memset(page, 0, SIZE);
    assert_int_equal(gyre__html_parse(&html, page, SIZE, base), 0);
    gyre__html_clear(&html);

    for (size_t i = 0; i + 3 <= SIZE; i += 3) memcpy(page + i, "<b>", 3);
    assert_int_equal(gyre__html_parse(&html, page, SIZE, base), 0);
    gyre__html_clear(&html);

    memcpy(page, "<title>x", 8);
    for (size_t i = 8; i + 2 <= SIZE; i += 2) memcpy(page + i, "\xc3\xa9", 2);
    assert_int_equal(gyre__html_parse(&html, page, SIZE, base), 0);
    assert_int_equal(strlen(html.title), 4095); /* 1 + 2 * 2047: half a character was cut off */
    assert_int_equal((unsigned char)html.title[4094], 0xa9);
    gyre__html_clear(&html);
    free(page);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

/* Anything of pieces of HTML: what is read from a tree is what is read without one. */
static void test_alike(void **state)
{
    static const char *const pieces[] = {
        "<a href=a>", "<a href='b?c=1&amp;d'>", "<a href>", "<a href=''>", "<A HREF=\"x y\" href=z>", "</a>",
        "<area href=q>", "<base href=/r/>", "<base>", "<title>", "</title>", "<title>t &lt; u</title>", "text",
        " ", "\n", "&amp;", "&#233;", "\xc3\xa9", "\xe9", "<p>", "</p>", "<b>", "</b>", "<div>", "</div>",
        "<table>", "<tr><td>", "</table>", "<!-- <a href=no> -->", "<script>'<a href=no>'</script>",
        "<style>a{}</style>", "<head>", "</head>", "<body>", "</body>", "<html>", "</html>", "<textarea>",
        "</textarea>", "<svg><a href=s>", "<", ">", "<a", "\"", "'", "<![CDATA[x]]>", "<!DOCTYPE html>",
        "<meta charset=utf-8>", "<li>", "<select><option>", "<frameset>", "<noscript>", "</x>", "<x:y href=n>",
    };
    enum { COUNT = sizeof pieces / sizeof *pieces, PAGES = 20000, LONGEST = 24 };
    uint64_t seed = 20261126;
    int cut = 0;

    (void)state;
    for (int i = 0; i < PAGES; i++) {
        char page[LONGEST * 40] = "";
        struct gyre__html without = {0}, with = {0};
        int whole;

        for (uint64_t n = next_random(&seed) % LONGEST; n > 0; n--) strcat(page, pieces[next_random(&seed) % COUNT]);
        xmlDocPtr tree = gyre__html_tree(page, strlen(page), &whole);
        if (!whole) { /* libxml2 has given up, and nothing is read from such a tree */
            if (tree) xmlFreeDoc(tree);
            cut++;
            continue;
        }
        assert_int_equal(gyre__html_parse(&without, page, strlen(page), base), 0);
        assert_int_equal(gyre__html_read(&with, tree, base), 0);
        int alike = with.link_count == without.link_count && !with.title == !without.title &&
                    (!with.title || strcmp(with.title, without.title) == 0);
        for (size_t k = 0; alike && k < with.link_count; k++) alike = strcmp(with.links[k], without.links[k]) == 0;
        if (!alike) fail_msg("page %d: %s\nwith a tree %zu links, title %s; without %zu, %s", i, page, with.link_count,
                             with.title ? with.title : "-", without.link_count, without.title ? without.title : "-");
        gyre__html_clear(&with);
        gyre__html_clear(&without);
        if (tree) xmlFreeDoc(tree);
    }
    assert_in_range(cut, 0, PAGES / 10);
}

/* Deeper than libxml2 builds trees: the links are not lost with what is missing. */
static void test_deep(void **state)
{
    enum { DEPTH = 1000 };
    static char page[DEPTH * 5 + 64];
    struct gyre__html html = {0};
    int whole;

    (void)state;
    for (int i = 0; i < DEPTH; i++) strcat(page, "<div>");
    strcat(page, "<a href=deep>x</a>");
    xmlDocPtr tree = gyre__html_tree(page, strlen(page), &whole);
    assert_non_null(tree);
    assert_false(whole);
    xmlFreeDoc(tree);
    assert_int_equal(gyre__html_parse(&html, page, strlen(page), base), 0);
    compare(&html, NULL, "http://site.example/a/deep");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),     cmocka_unit_test(test_base),   cmocka_unit_test(test_title),
        cmocka_unit_test(test_encodings), cmocka_unit_test(test_broken), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_alike),
        cmocka_unit_test(test_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
