/* test_html.c: title and links of pages as they come: relative, broken, in other encodings, hostile. */
#include "support.h"

#include <time.h>

#include <libxml/tree.h>

#include "job/html.h"
#include "net/idn.h"

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
static void check_bytes(const char *page, size_t size, const char *content_type, const char *title, const char *links)
{
    struct gyre__html html = {0};
    int whole;

    assert_int_equal(gyre__html_parse(&html, page, size, content_type, base), 0);
    compare(&html, title, links);
    xmlDocPtr tree = gyre__html_tree(page, size, content_type, &whole);
    assert_true(whole);
    assert_int_equal(gyre__html_read(&html, tree, base), 0);
    compare(&html, title, links);
    if (tree) xmlFreeDoc(tree);
}

static void check(const char *page, const char *title, const char *links)
{
    check_bytes(page, strlen(page), NULL, title, links);
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
    check("<a href='//b\xc3\xbc" "cher.example:8/\xc3\xa9'>c</a><a href='http://b%C3%BCcher.example'>d</a>", NULL,
          "http://xn--bcher-kva.example:8/%C3%A9 http://xn--bcher-kva.example/");
    /* Wide forms of '@', '/' and ':' in a host, which IDNA maps to what would end it. */
    char *at = gyre__idn_url("http://good.example\xef\xbc\xa0" "evil.example/"), *slash = gyre__idn_url("http://a\xef\xbc\x8f" "b.example/"),
         *colon = gyre__idn_url("http://a.example\xef\xbc\x9a" "81/");
    assert_true(!at && !slash && !colon);
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

/* UTF-8 without a word about it, or with a wrong one; what a page says of itself; windows-1252, which Latin-1 means too. */
static void test_encodings(void **state)
{
    (void)state;
    check("<title>\xc3\xa9t\xc3\xa9</title>", "\xc3\xa9t\xc3\xa9", "");
    check("<meta charset=iso-8859-1><title>\xc3\xa9t\xc3\xa9</title>", "\xc3\xa9t\xc3\xa9", "");
    check("<meta charset=iso-8859-1><title>\xe9t\xe9 \x96 \x93x\x94</title>",
          "\xc3\xa9t\xc3\xa9 \xe2\x80\x93 \xe2\x80\x9cx\xe2\x80\x9d", "");
    check("<title>it\x92s \xe9t\xe9</title>", "it\xe2\x80\x99s \xc3\xa9t\xc3\xa9", "");
    check("<!-- <meta charset=koi8-r> --><meta http-equiv='Content-Type' content='text/html; charset=windows-1251'>"
          "<title>\xcf\xf0\xe8</title>", "\xd0\x9f\xd1\x80\xd0\xb8", "");
    check("<?xml version='1.0' encoding='windows-1251'?><title>\xcf\xf0\xe8</title>", "\xd0\x9f\xd1\x80\xd0\xb8", "");
    check("<meta charset=utf-16><title>plain</title><a href=x>", "plain", "http://site.example/a/x");
    check("<meta charset=no-such><title>\xe9t\xe9</title>", "\xc3\xa9t\xc3\xa9", "");
    check("<meta charset=big5><title>\xa4\xa4</title>", "\xe4\xb8\xad", "");
}

/* What the header says comes before what the page says, and a byte order mark before both. */
static void test_content_type(void **state)
{
    static const char cyrillic[] = "<title>\xcf\xf0\xe8</title>", wide[] = "<\0t\0i\0t\0l\0e\0>\0\x1f\x04";
    static const char own[] = "<meta charset=koi8-r><title>\xcf</title>";
    static const char shifting[] = "<title>\033$BF|\033(B</title><a href=x>";
    static const char marked[] = "\xfe\xff\0<\0t\0i\0t\0l\0e\0>\x04\x1f\xd8\0\0x";

    (void)state;
    check_bytes(cyrillic, strlen(cyrillic), "text/html; charset=windows-1251", "\xd0\x9f\xd1\x80\xd0\xb8", "");
    check_bytes(cyrillic, strlen(cyrillic), "text/html; Charset = \"CP1251\"; x=y", "\xd0\x9f\xd1\x80\xd0\xb8", "");
    check_bytes(cyrillic, strlen(cyrillic), "text/html; charset=no-such", "\xc3\x8f\xc3\xb0\xc3\xa8", "");
    check_bytes(cyrillic, strlen(cyrillic), "text/html; charset", "\xc3\x8f\xc3\xb0\xc3\xa8", "");
    check_bytes(own, strlen(own), "text/html; charset=windows-1251", "\xd0\x9f", "");
    check_bytes(shifting, strlen(shifting), "text/html; charset=iso-2022-jp", "\xe6\x97\xa5", "http://site.example/a/x");
    check_bytes(wide, sizeof wide - 1, "text/html; charset=utf-16le", "\xd0\x9f", "");
    check_bytes(marked, sizeof marked - 1, "text/html; charset=koi8-r", "\xd0\x9f\xef\xbf\xbdx", "");
}

/* A byte that is none of the encoding costs a character, and nothing of what comes after it. */
static void test_undecodable(void **state)
{
    static const char nul[] = "<title>a\0b</title>\0<a href=x>";

    (void)state;
    check("<meta charset=gb2312><title>\xd6\xec\xe9\x46</title><a href=x>", "\xe6\x9c\xb1\xe9\x95\x95", /* GBK, not GB 2312 */
          "http://site.example/a/x");
    check("<meta charset=shift_jis><title>\x87\x40</title>\xff\xff<a href=x>", "\xe2\x91\xa0", "http://site.example/a/x");
    check("<meta charset=windows-1252><title>a\x81</title><a href=x>", "a\xef\xbf\xbd", "http://site.example/a/x");
    check("<meta charset=utf-8><title>\xc3\xa9\xff</title><a href=x>\xe2\x82", "\xc3\xa9\xef\xbf\xbd", "http://site.example/a/x");
    check("<title>\xc3\xa9t\xc3\xa9\xff</title><a href=x>", "\xc3\xa9t\xc3\xa9\xef\xbf\xbd", "http://site.example/a/x");
    check("<meta charset=euc-jp><title>\xa4</title><a href=x>", "\xef\xbf\xbd", "http://site.example/a/x");
    check("<meta charset=utf-8><title>\xc3\xa9\xed\xa0\x80</title>\xc0\x80\xf4\x90\x80\x80<a href=x>", /* they look like some */
          "\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "http://site.example/a/x");
    check("<meta charset=utf-7><title>+AGE-</title>", "+AGE-", "");
    check_bytes(nul, sizeof nul - 1, NULL, "a\xef\xbf\xbd" "b", "http://site.example/a/x");
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
    assert_int_equal(gyre__html_parse(&html, page, SIZE, NULL, base), 0);
    gyre__html_clear(&html);

    for (size_t i = 0; i + 3 <= SIZE; i += 3) memcpy(page + i, "<b>", 3);
    assert_int_equal(gyre__html_parse(&html, page, SIZE, NULL, base), 0);
    gyre__html_clear(&html);

    memcpy(page, "<title>x", 8);
    for (size_t i = 8; i + 2 <= SIZE; i += 2) memcpy(page + i, "\xc3\xa9", 2);
    assert_int_equal(gyre__html_parse(&html, page, SIZE, NULL, base), 0);
    assert_int_equal(strlen(html.title), 4095); /* 1 + 2 * 2047: half a character was cut off */
    assert_int_equal((unsigned char)html.title[4094], 0xa9);
    gyre__html_clear(&html);
    free(page);
}

/* Fills `page` with a piece, again and again. */
static void repeat(char *page, size_t size, const char *piece)
{
    size_t length = strlen(piece);
    while (size >= length) {
        memcpy(page, piece, length);
        page += length;
        size -= length;
    }
    memset(page, ' ', size);
}

/* Both ways, within a few seconds of processor time. */
static void check_quick(const char *page, size_t size)
{
    struct gyre__html html = {0};
    clock_t began = clock();
    int whole;

    assert_int_equal(gyre__html_parse(&html, page, size, NULL, base), 0);
    gyre__html_clear(&html);
    xmlDocPtr tree = gyre__html_tree(page, size, NULL, &whole);
    if (tree) xmlFreeDoc(tree);
    assert_true(clock() - began < 5 * CLOCKS_PER_SEC);
}

/* What takes a parser the square of it in time: attributes of one element, end tags of what is not open in a deep page. */
static void test_square(void **state)
{
    enum { SIZE = 1 << 20 };
    char *page = malloc(SIZE);

    (void)state;
    repeat(page, SIZE, "<b>");
    repeat(page + SIZE / 2, SIZE / 2, "</i>");
    check_quick(page, SIZE);
    char *at = stpcpy(page, "<a ");
    for (int i = 0; at < page + SIZE - 16; i++) at += sprintf(at, "a%d ", i);
    strcpy(at, ">x</a>");
    check_quick(page, strlen(page));
    free(page);
}

static size_t bytes_of_links(const char *page, size_t size, const char *url)
{
    struct gyre__html html = {0};
    size_t sum = 0;

    assert_int_equal(gyre__html_parse(&html, page, size, NULL, url), 0);
    for (size_t i = 0; i < html.link_count; i++) sum += strlen(html.links[i]);
    gyre__html_clear(&html);
    return sum;
}

/* Short links that a long URL of the page or of its <base> would make long ones: they are not, beyond a sum. */
static void test_long_base(void **state)
{
    enum { SIZE = 1 << 20, URL = 200000 };
    char *page = malloc(SIZE), *url = malloc(URL + 64);

    (void)state;
    strcpy(url, "http://site.example/");
    repeat(url + strlen(url), URL, "a");
    strcpy(url + URL, "/");
    repeat(page, SIZE, "<a href=x>");
    assert_int_equal(bytes_of_links(page, SIZE, url), 0);
    url[8000] = '\0';
    url[7999] = '/';
    assert_in_range(bytes_of_links(page, SIZE, url), 1 << 20, 64 << 20);
    memcpy(page + sprintf(page, "<base href='http://site.example/"), "/", 1);
    repeat(page + strlen("<base href='http://site.example/"), URL, "a");
    memcpy(page + URL, "/'>   ", 6);
    assert_in_range(bytes_of_links(page, SIZE, base), 0, 4 << 20);
    free(page);
    free(url);
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
    enum { LONGEST = 24 };
    struct rng rng = {test_seed(20261126)};
    unsigned long pages = rounds(20000), cut = 0;

    (void)state;
    for (unsigned long i = 0; i < pages; i++) {
        char page[LONGEST * 40] = "";
        struct gyre__html without = {0}, with = {0};
        int whole;

        for (uint32_t n = rng_below(&rng, LONGEST); n > 0; n--) strcat(page, pieces[rng_below(&rng, COUNT(pieces))]);
        xmlDocPtr tree = gyre__html_tree(page, strlen(page), NULL, &whole);
        if (!whole) { /* libxml2 has given up, and nothing is read from such a tree */
            if (tree) xmlFreeDoc(tree);
            cut++;
            continue;
        }
        assert_int_equal(gyre__html_parse(&without, page, strlen(page), NULL, base), 0);
        assert_int_equal(gyre__html_read(&with, tree, base), 0);
        int alike = with.link_count == without.link_count && !with.title == !without.title &&
                    (!with.title || strcmp(with.title, without.title) == 0);
        for (size_t k = 0; alike && k < with.link_count; k++) alike = strcmp(with.links[k], without.links[k]) == 0;
        if (!alike) fail_msg("page %lu: %s\nwith a tree %zu links, title %s; without %zu, %s", i, page, with.link_count,
                             with.title ? with.title : "-", without.link_count, without.title ? without.title : "-");
        gyre__html_clear(&with);
        gyre__html_clear(&without);
        if (tree) xmlFreeDoc(tree);
    }
    assert_in_range(cut, 0, pages / 10);
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
    xmlDocPtr tree = gyre__html_tree(page, strlen(page), NULL, &whole);
    assert_non_null(tree);
    assert_false(whole);
    xmlFreeDoc(tree);
    assert_int_equal(gyre__html_parse(&html, page, strlen(page), NULL, base), 0);
    compare(&html, NULL, "http://site.example/a/deep");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),     cmocka_unit_test(test_base),   cmocka_unit_test(test_title),
        cmocka_unit_test(test_encodings), cmocka_unit_test(test_content_type), cmocka_unit_test(test_undecodable),
        cmocka_unit_test(test_broken),    cmocka_unit_test(test_hostile), cmocka_unit_test(test_alike), cmocka_unit_test(test_deep),
        cmocka_unit_test(test_square),    cmocka_unit_test(test_long_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
