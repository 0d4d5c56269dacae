/* test_weburl.c: the normal form of URLs: the examples of RFC 3986, what is refused, and that it is a fixed point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "instrumented.h"
#include "job/weburl.h"

static void check(const char *url, const char *wanted)
{
    struct gyre__weburl got;
    const char *why = gyre__weburl_normalise(url, strlen(url), &got);
    assert_null(why);
    assert_string_equal(got.text, wanted);
    assert_int_equal(got.size, strlen(wanted));
    assert_int_equal(got.text[got.path], '/');
}

static void refuse(const char *url, const char *wanted)
{
    struct gyre__weburl got;
    const char *why = gyre__weburl_normalise(url, strlen(url), &got);
    assert_non_null(why);
    assert_non_null(strstr(why, wanted));
}

static void test_case_and_encoding(void **state)
{
    (void)state;
    check("HTTP://www.EXAMPLE.com/", "http://www.example.com/");
    check("http://a.example/%7euser/%41%2f%3a", "http://a.example/~user/A%2F%3A");
    check("http://a.example/a b\xc3\xa9|\"<>", "http://a.example/a%20b%C3%A9%7C%22%3C%3E");
    check("http://a.example/100%/%4", "http://a.example/100%25/%254");
    check("http://a.example/?q=%7e%2f&A=b c", "http://a.example/?q=%7e%2f&A=b%20c"); /* the query stays */
    check("http://a.example/;p=1,2!$&'()*+=:@", "http://a.example/;p=1,2!$&'()*+=:@");
}

static void test_dot_segments(void **state)
{
    (void)state;
    check("http://h/a/b/c/./../../g", "http://h/a/g"); /* RFC 3986, 5.2.4 */
    check("http://h/mid/content=5/../6", "http://h/mid/6");
    check("http://h/..", "http://h/");
    check("http://h/../../x", "http://h/x");
    check("http://h/a/.", "http://h/a/");
    check("http://h/a/..", "http://h/");
    check("http://h/a//../b", "http://h/a/b");
    check("http://h/a/%2e%2E/b/%2e/c", "http://h/b/c");
    check("http://h/.hidden/..x/x../...", "http://h/.hidden/..x/x../...");
    check("http://h//a///b/", "http://h//a///b/");
    check("http://h/a?x=/../y", "http://h/a?x=/../y");
}

static void test_host_and_port(void **state)
{
    (void)state;
    check("http://h", "http://h/");
    check("http://h:80/", "http://h/");
    check("https://h:443", "https://h/");
    check("http://h:443/", "http://h:443/");
    check("http://h:0080/", "http://h/");
    check("http://h:/x", "http://h/x");
    check("http://[2001:DB8::1]:8080/x", "http://[2001:db8::1]:8080/x");
    check("http://[2001:db8:0:0:0:0:0:1]/", "http://[2001:db8::1]/");
    refuse("http://[20]:8080/x", "IPv6"); /* found by fuzz_weburl */
    refuse("http://[]/", "IPv6");
    refuse("http://[v1.x]/", "IPv6");
    refuse("http://[::1%25eth0]/", "IPv6");
    refuse("http://h:65536/", "between 1 and 65535");
    refuse("http://h:0/", "between 1 and 65535");
    check("http://h?q", "http://h/?q");
    check("http://h#f", "http://h/");
    check("http://h/a#b?c", "http://h/a");
    check("http://h/a?b#c", "http://h/a?b");
}

static void test_refused(void **state)
{
    (void)state;
    refuse("", "neither http");
    refuse("ftp://h/", "neither http");
    refuse("/relative", "neither http");
    refuse("http://", "no host");
    refuse("http:///x", "no host");
    refuse("http://user:secret@h/", "credentials");
    refuse("http://h:99999999/", "port");
    refuse("http://h:8x/", "port");
    refuse("http://a b/", "no host has");
    refuse("http://h%41/", "no host has");
    refuse("http://[::1]x/", "something else");
}

static void test_length(void **state)
{
    (void)state;
    char *url = malloc(GYRE__WEBURL_MAX + 100);
    struct gyre__weburl got;

    memset(url, 'a', GYRE__WEBURL_MAX + 100);
    memcpy(url, "http://h/", 9);
    assert_null(gyre__weburl_normalise(url, GYRE__WEBURL_MAX, &got));
    assert_int_equal(got.size, GYRE__WEBURL_MAX);
    assert_string_equal(gyre__weburl_normalise(url, GYRE__WEBURL_MAX + 1, &got), "the URL is longer than 8192 bytes");
    memset(url + 9, ' ', 4000); /* each becomes three */
    assert_non_null(gyre__weburl_normalise(url, 4009, &got));
    free(url);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Whatever is accepted: the normal form of it is a fixed point, has no dot segment, no fragment and no byte that a URL may
 * not hold, and begins with its origin in lower case. Seeded. */
static void test_normal_form_is_a_fixed_point(void **state)
{
    (void)state;
    static const char *const pieces[] = {"/",   ".",   "..",  "//",  "%2e", "%2F", "%41", "%e9", "%",   "%4",  "a",  "B",
                                         "~",   " ",   "?",   "#",   "&",   "=",   "\xff", "\xc3\xa9", "[", "]", "@", ":",
                                         "%7E", "\\",  "\t",  "x.y", "-",   "_",   ";",   "\"",  "{",   "|",   "^",  "%25"};
    static const char *const starts[] = {"http://Host.Example", "HTTPS://h:443", "http://h:81", "http://[::A]:80"};
    uint64_t seed = 20240229;
    int accepted = 0, rounds = is_instrumented() ? 20000 : 200000;

    for (int round = 0; round < rounds; round++) {
        char url[512];
        struct gyre__weburl once, twice;
        strcpy(url, starts[next_random(&seed) % 4]);
        if (next_random(&seed) % 8) strcat(url, "/");
        for (uint64_t n = next_random(&seed) % 12; n > 0; n--)
            strcat(url, pieces[next_random(&seed) % (sizeof pieces / sizeof *pieces)]);
        if (gyre__weburl_normalise(url, strlen(url), &once)) continue;
        accepted++;
        assert_null(gyre__weburl_normalise(once.text, once.size, &twice));
        assert_string_equal(once.text, twice.text);
        assert_int_equal(once.path, twice.path);
        for (size_t i = 0; i < once.size; i++) {
            assert_true(once.text[i] > ' ' && (unsigned char)once.text[i] < 0x7f);
            assert_null(strchr("#\\\"<>^`{|}", once.text[i]));
            assert_true(i >= once.path || once.text[i] < 'A' || once.text[i] > 'Z');
        }
        char *query = strchr(once.text, '?');
        if (query) *query = '\0';
        assert_null(strstr(once.text + once.path, "/../"));
        assert_null(strstr(once.text + once.path, "/./"));
    }
    assert_true(accepted > rounds / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_case_and_encoding), cmocka_unit_test(test_dot_segments),
        cmocka_unit_test(test_host_and_port),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_length),            cmocka_unit_test(test_normal_form_is_a_fixed_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
