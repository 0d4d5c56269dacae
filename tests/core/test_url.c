/* gyre_url_parse(): what is accepted, what it means, what is refused, and that no refusal tells a password. */
#include "support.h"

#include <ctype.h>

static struct gyre_url parsed(const char *text)
{
    struct gyre_url url;

    memset(&url, 0xa5, sizeof url); /* every field must be set by the call */
    OK(gyre_url_parse(text, &url));
    return url;
}

static void refuse(const char *text)
{
    struct gyre_url url;
    int result = gyre_url_parse(text, &url);

    if (result == 0) print_error("accepted: %s\n", text);
    assert_int_equal(result, GYRE_EINVALID);
    assert_string_not_equal(gyre_detail(), "");
    if (strstr(gyre_detail(), "hunter2")) fail_msg("password in the detail of %s: %s", text, gyre_detail());
}

static void test_schemes_and_default_ports(void **state)
{
    static const struct {
        const char *name;
        uint32_t scheme, port;
    } schemes[] = {{"http", GYRE_HTTP, 80},         {"https", GYRE_HTTPS, 443},    {"socks4", GYRE_SOCKS4, 1080},
                   {"socks4a", GYRE_SOCKS4A, 1080}, {"socks5", GYRE_SOCKS5, 1080}, {"socks5h", GYRE_SOCKS5H, 1080}};

    (void)state;
    for (size_t i = 0; i < COUNT(schemes); i++) {
        char text[64];
        struct gyre_url url;

        snprintf(text, sizeof text, "%s://proxy.example", schemes[i].name);
        url = parsed(text);
        assert_int_equal(url.scheme, schemes[i].scheme);
        assert_int_equal(url.port, schemes[i].port);
        assert_string_equal(url.host, "proxy.example");
        assert_int_equal(url.has_user, 0);
        assert_int_equal(url.has_password, 0);
        assert_string_equal(url.user, "");
        assert_string_equal(url.password, "");

        snprintf(text, sizeof text, "%s://u:p@proxy.example:8123/", schemes[i].name);
        for (char *c = text; *c != ':'; c++) *c = (char)toupper(*c);
        url = parsed(text);
        assert_int_equal(url.scheme, schemes[i].scheme);
        assert_int_equal(url.port, 8123);
        assert_string_equal(url.user, "u");
        assert_string_equal(url.password, "p");
    }
}

static void test_hosts(void **state)
{
    (void)state;
    assert_string_equal(parsed("http://Proxy.EXAMPLE:1").host, "proxy.example");
    assert_string_equal(parsed("http://192.0.2.7:3128").host, "192.0.2.7");
    assert_string_equal(parsed("http://[2001:DB8::7]:3128").host, "2001:db8::7");
    assert_int_equal(parsed("http://[2001:db8::7]:3128").port, 3128);
    assert_string_equal(parsed("socks5://[::1]").host, "::1");
    assert_int_equal(parsed("socks5://[::1]").port, 1080);
    assert_string_equal(parsed("http://u:p@[::1]:9").host, "::1");
    assert_string_equal(parsed("http://[FE80::1%25eth0]:80").host, "fe80::1%eth0"); /* RFC 6874 */
    assert_string_equal(parsed("http://a-b.c_d.example").host, "a-b.c_d.example");
    assert_string_equal(parsed("http://ex%61mple.com").host, "example.com");
    assert_int_equal(parsed("http://h:65535").port, 65535);
    assert_int_equal(parsed("http://h:1").port, 1);
}

static void test_credentials(void **state)
{
    struct gyre_url url;

    (void)state;
    url = parsed("http://user@h");
    assert_int_equal(url.has_user, 1);
    assert_int_equal(url.has_password, 0);
    url = parsed("http://user:@h");
    assert_int_equal(url.has_password, 1);
    assert_string_equal(url.password, "");
    url = parsed("http://:secret@h");
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "secret");
    assert_int_equal(url.has_password, 1);

    /* Only the first colon parts user and password. */
    url = parsed("http://user:a:b:c@h");
    assert_string_equal(url.user, "user");
    assert_string_equal(url.password, "a:b:c");
    url = parsed("http://customer-x;cc=de:p=1;q&r+s!$'()*,~@h");
    assert_string_equal(url.user, "customer-x;cc=de");
    assert_string_equal(url.password, "p=1;q&r+s!$'()*,~");
}

static void test_percent_decoding_once(void **state)
{
    struct gyre_url url;

    (void)state;
    url = parsed("http://u%3Aser%40corp:%3a%40%23%25%3D%3b%2F%3F%5b%5d@h:8080");
    assert_string_equal(url.user, "u:ser@corp");
    assert_string_equal(url.password, ":@#%=;/?[]");
    assert_string_equal(url.host, "h");
    assert_int_equal(url.port, 8080);

    /* Twice-encoded stays once-encoded, and plus is not a space. */
    url = parsed("http://u%2540:p%253A%252525+x@h");
    assert_string_equal(url.user, "u%40");
    assert_string_equal(url.password, "p%3A%2525+x");

    url = parsed("http://%C3%BCser:p%E2%82%ACss@h");
    assert_string_equal(url.user, "\xc3\xbcser");
    assert_string_equal(url.password, "p\xe2\x82\xacss");
    url = parsed("http://u:%ff%80@h"); /* credentials are bytes, not text */
    assert_string_equal(url.password, "\xff\x80");
    url = parsed("http://us%20er:pass%20word@h");
    assert_string_equal(url.user, "us er");
    assert_string_equal(url.password, "pass word");
}

static void test_every_byte_in_credentials(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        int control = byte < 0x20 || byte == 0x7f;
        char text[64], wanted[8];

        for (int upper = 0; upper < 2; upper++) {
            snprintf(text, sizeof text, upper ? "http://u%%%02X:p%%%02X@h" : "http://u%%%02x:p%%%02x@h", byte,
                     byte);
            if (control) {
                refuse(text);
                continue;
            }
            snprintf(wanted, sizeof wanted, "u%c", byte);
            assert_string_equal(parsed(text).user, wanted);
            wanted[0] = 'p';
            assert_string_equal(parsed(text).password, wanted);
        }
        if (byte == 0 || !control) continue;
        snprintf(text, sizeof text, "http://u:p%chunter2@h", byte);
        refuse(text);
        snprintf(text, sizeof text, "http://u:hunter2@h%cx", byte);
        refuse(text);
    }
}

static void test_refusals(void **state)
{
    static const char *const bad[] = {
        "", " ", "http", "http:", "http:/", "http://", "://h", "//h", "h", "h:80", "u:hunter2@h:80",
        "http:/u:hunter2@h", "http:u:hunter2@h", "ftp://u:hunter2@h", "socks://u:hunter2@h", "socks6://u:hunter2@h",
        "httpss://u:hunter2@h", "htt p://u:hunter2@h", " http://u:hunter2@h", "http://u:hunter2@h ",
        /* no host */
        "http://u:hunter2@", "http://u:hunter2@:80", "http://:80", "http:///", "http://u:hunter2@/",
        /* ports */
        "http://u:hunter2@h:0", "http://u:hunter2@h:65536", "http://u:hunter2@h:99999999999999999999",
        "http://u:hunter2@h:4294967376", "http://u:hunter2@h:-1", "http://u:hunter2@h:+80",
        "http://u:hunter2@h: 80", "http://u:hunter2@h:80x", "http://u:hunter2@h:0x50", "http://u:hunter2@h:%38%30",
        "http://u:hunter2@h:8:80",
        /* path, query, fragment: a proxy has none, and an unencoded / ? # in a password looks like one */
        "http://u:hunter2@h/path", "http://u:hunter2@h:80/x", "http://u:hunter2@h//", "http://u:hunter2@h?q",
        "http://u:hunter2@h/?q", "http://u:hunter2@h#f", "http://u:hunter2@h/#f", "http://u:hunter2/x@h",
        "http://u:hunter2?x@h", "http://u:hunter2#x@h",
        /* hosts */
        "http://u:hunter2@h h", "http://u:hunter2@h%00", "http://u:hunter2@h%0a", "http://u:hunter2@h%2fx",
        "http://u:hunter2@a%40b", "http://u:hunter2@h%20h", "http://u:hunter2@h\\x", "http://u:hunter2@h%3a80",
        /* IPv6 */
        "http://u:hunter2@::1:80", "http://u:hunter2@[::1", "http://u:hunter2@::1]", "http://u:hunter2@[]",
        "http://u:hunter2@[::g]", "http://u:hunter2@[::1]x", "http://u:hunter2@[::1]80",
        "http://u:hunter2@[1.2.3.4]", "http://u:hunter2@[h]", "http://u:hunter2@x[::1]",
        "http://u:hunter2@[1:2:3:4:5:6:7:8:9]", "http://u:hunter2@[::%65]", "http://u:hunter2@[::1%25]",
        "http://u:hunter2@[::1%25a%2fb]", "http://u:hunter2@[::1%25a%5db]", "http://u:hunter2@[::1%25a%20]",
        "http://u:hunter2@[::1%eth0]", "http://u:hunter2@h%25x",
        /* percent signs that encode nothing */
        "http://u:hunter2%@h", "http://u:hunter2%4@h", "http://u:hunter2%zz@h", "http://u:hunter2%4g@h",
        "http://u:hunter2%-1@h", "http://u:hunter2% 1@h", "http://u%:hunter2@h", "http://u:hunter2@h%",
        "http://u:hunter2@h%4",
        /* what would split a header or a log line */
        "http://u:hunter2%0d%0ax@h", "http://u%0d%0a:hunter2@h", "http://u:hunter2\r\n@h", "http://u:hunter2@h\n",
        "http://u:hunter2%00@h", "http://u%00:hunter2@h"};

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) refuse(bad[i]);
    EXPECT(GYRE_EINVALID, gyre_url_parse(NULL, &(struct gyre_url){0}));
    EXPECT(GYRE_EINVALID, gyre_url_parse("http://h", NULL));
}

/* A password that is encoded, that ends the authority early, or that has a bad byte anywhere before or after it. */
static void test_refusals_keep_secrets(void **state)
{
    static const char whole[] = "http://u:hunter2@h:77777";
    struct gyre_url url;

    (void)state;
    refuse("http://u:%68unter2@h:bad");
    refuse("http://u:hunter2%@h:bad");
    EXPECT(GYRE_EINVALID, gyre_url_parse("http://u:86420975/x@h", &url)); /* parses as a port, is a password */
    assert_null(strstr(gyre_detail(), "86420975"));
    for (size_t i = 0; i < strlen(whole); i++) {
        char text[sizeof whole];

        memcpy(text, whole, sizeof whole);
        text[i] = '\x01';
        refuse(text);
    }
}

static char *repeated(char c, size_t n)
{
    static char text[8192];

    assert_true(n < sizeof text);
    memset(text, c, n);
    text[n] = 0;
    return text;
}

static void test_long_parts(void **state)
{
    char text[16384];
    struct gyre_url url;

    (void)state;
    /* gyre_url holds 255, 511 and 1023 bytes: the longest fit whole, one more is refused, never cut. */
    snprintf(text, sizeof text, "http://%s@h", repeated('u', 511));
    assert_int_equal(strlen(parsed(text).user), 511);
    snprintf(text, sizeof text, "http://%s@h", repeated('u', 512));
    EXPECT(GYRE_EINVALID, gyre_url_parse(text, &url));
    snprintf(text, sizeof text, "http://u:%s@h", repeated('p', 1023));
    assert_int_equal(strlen(parsed(text).password), 1023);
    snprintf(text, sizeof text, "http://u:%s@h", repeated('p', 1024));
    EXPECT(GYRE_EINVALID, gyre_url_parse(text, &url));
    assert_null(strstr(gyre_detail(), "pppp"));
    snprintf(text, sizeof text, "http://%s", repeated('h', 250));
    assert_int_equal(strlen(parsed(text).host), 250);
    snprintf(text, sizeof text, "http://%s", repeated('h', 256));
    EXPECT(GYRE_EINVALID, gyre_url_parse(text, &url));
    snprintf(text, sizeof text, "http://h:%s", repeated('1', 5000));
    EXPECT(GYRE_EINVALID, gyre_url_parse(text, &url));
    snprintf(text, sizeof text, "%s://h", repeated('s', 5000));
    EXPECT(GYRE_EINVALID, gyre_url_parse(text, &url));

    /* Lengths count after decoding: 1023 bytes are 3069 encoded. */
    strcpy(text, "http://u:");
    for (int i = 0; i < 1023; i++) strcat(text, "%40");
    strcat(text, "@h");
    assert_string_equal(parsed(text).password, repeated('@', 1023));
}

static void test_detail_is_of_the_last_failure(void **state)
{
    struct gyre_url url;

    (void)state;
    refuse("gopher://h");
    assert_non_null(strstr(gyre_detail(), "gopher")); /* "in words that name the input" */
    refuse("http://h:66000");
    assert_non_null(strstr(gyre_detail(), "66000"));
    assert_null(strstr(gyre_detail(), "gopher"));
    OK(gyre_url_parse("http://h", &url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schemes_and_default_ports),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_percent_decoding_once),
        cmocka_unit_test(test_every_byte_in_credentials),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refusals_keep_secrets),
        cmocka_unit_test(test_long_parts),
        cmocka_unit_test(test_detail_is_of_the_last_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
