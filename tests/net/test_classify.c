/* test_classify.c: kind, where and default verdict of every way a transfer ends, as src/net/classify.c promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/classify.h"

struct row {
    const char *what;
    struct gyre__evidence evidence;
    const char *kind, *where;
    int verdict;
};

/* Phases: through an HTTP proxy to an http target (PLAIN), or by CONNECT or SOCKS (TUNNEL). */
#define PLAIN  .proxied = 1
#define TUNNEL .proxied = 1, .tunnelled = 1
#define STOOD  .connected = 1, .ready = 1

static const struct row rows[] = {
    {"proxy refuses", {.code = CURLE_COULDNT_CONNECT, PLAIN}, "connect", "proxy", GYRE_PROXY_BAD},
    {"proxy refuses, https", {.code = CURLE_COULDNT_CONNECT, TUNNEL}, "connect", "proxy", GYRE_PROXY_BAD},
    {"direct, target refuses", {.code = CURLE_COULDNT_CONNECT}, "connect", "target", GYRE_TARGET_BAD},
    {"no descriptor left", {.code = CURLE_COULDNT_CONNECT, PLAIN, .socket_errno = 24}, "system", "local", GYRE_ABORTED},
    {"proxy has no address", {.code = CURLE_COULDNT_RESOLVE_PROXY, PLAIN}, "dns", "proxy", GYRE_PROXY_BAD},
    {"target has no address", {.code = CURLE_COULDNT_RESOLVE_HOST, TUNNEL}, "dns", "target", GYRE_TARGET_BAD},

    {"no TCP connection in time", {.code = CURLE_OPERATION_TIMEDOUT, PLAIN}, "timeout", "proxy", GYRE_PROXY_BAD},
    {"no answer in time", {.code = CURLE_OPERATION_TIMEDOUT, PLAIN, STOOD}, "timeout", "proxy", GYRE_PROXY_BAD},
    {"CONNECT never answered", {.code = CURLE_OPERATION_TIMEDOUT, TUNNEL, .connected = 1}, "timeout", "proxy",
     GYRE_PROXY_BAD},
    {"TLS in the tunnel too slow", {.code = CURLE_OPERATION_TIMEDOUT, TUNNEL, .connected = 1, .connect_code = 200},
     "timeout", "target", GYRE_TARGET_BAD},
    {"SOCKS handshake too slow", {.code = CURLE_OPERATION_TIMEDOUT, TUNNEL, .connected = 1}, "timeout", "proxy",
     GYRE_PROXY_BAD},
    {"TLS inside of SOCKS too slow", {.code = CURLE_OPERATION_TIMEDOUT, TUNNEL, .connected = 1, .tls_begun = 1},
     "timeout", "target", GYRE_TARGET_BAD},
    {"silence in the tunnel", {.code = CURLE_OPERATION_TIMEDOUT, TUNNEL, STOOD}, "timeout", "target", GYRE_TARGET_BAD},
    {"direct, silence", {.code = CURLE_OPERATION_TIMEDOUT, STOOD}, "timeout", "target", GYRE_TARGET_BAD},

    {"CONNECT 407", {.code = CURLE_RECV_ERROR, TUNNEL, .connect_code = 407}, "proxy_auth", "proxy", GYRE_PROXY_BAD},
    {"CONNECT 403", {.code = CURLE_RECV_ERROR, TUNNEL, .connect_code = 403}, "connect", "proxy", GYRE_PROXY_BAD},
    {"CONNECT 502", {.code = CURLE_RECV_ERROR, TUNNEL, .connect_code = 502}, "connect", "proxy", GYRE_PROXY_BAD},
    {"CONNECT 504", {.code = CURLE_RECV_ERROR, TUNNEL, .connect_code = 504}, "timeout", "target", GYRE_TARGET_BAD},
    {"407 without a tunnel", {.code = CURLE_OK, PLAIN, STOOD, .status = 407}, "proxy_auth", "proxy", GYRE_PROXY_BAD},

    {"SOCKS: user rejected", {.code = CURLE_PROXY, TUNNEL, .proxy_code = CURLPX_USER_REJECTED}, "proxy_auth", "proxy",
     GYRE_PROXY_BAD},
    {"SOCKS: wants credentials", {.code = CURLE_PROXY, TUNNEL, .proxy_code = CURLPX_NO_AUTH}, "proxy_auth", "proxy",
     GYRE_PROXY_BAD},
    {"SOCKS: target refused", {.code = CURLE_PROXY, TUNNEL, .proxy_code = CURLPX_REPLY_CONNECTION_REFUSED}, "connect",
     "target", GYRE_TARGET_BAD},
    {"SOCKS: target unreachable", {.code = CURLE_PROXY, TUNNEL, .proxy_code = CURLPX_REPLY_HOST_UNREACHABLE},
     "connect", "target", GYRE_TARGET_BAD},
    {"SOCKS: general failure", {.code = CURLE_PROXY, TUNNEL, .proxy_code = CURLPX_REPLY_GENERAL_SERVER_FAILURE},
     "connect", "proxy", GYRE_PROXY_BAD},
    {"SOCKS: local look-up", {.code = CURLE_PROXY, TUNNEL, .proxy_code = CURLPX_RESOLVE_HOST}, "dns", "target",
     GYRE_TARGET_BAD},
    {"SOCKS: not SOCKS", {.code = CURLE_PROXY, TUNNEL, .proxy_code = CURLPX_BAD_VERSION}, "protocol", "proxy",
     GYRE_PROXY_BAD},

    {"TLS to the proxy", {.code = CURLE_PEER_FAILED_VERIFICATION, TUNNEL, .secure_proxy = 1, .connected = 1}, "tls",
     "proxy", GYRE_PROXY_BAD},
    {"TLS to the target", {.code = CURLE_PEER_FAILED_VERIFICATION, TUNNEL, .connected = 1, .connect_code = 200}, "tls",
     "target", GYRE_TARGET_BAD},
    {"TLS behind an https proxy",
     {.code = CURLE_SSL_CONNECT_ERROR, TUNNEL, .secure_proxy = 1, .connected = 1, .connect_code = 200},
     "tls", "target", GYRE_TARGET_BAD},
    {"TLS behind an https proxy, after a redirect",
     {.code = CURLE_SSL_CONNECT_ERROR, TUNNEL, .secure_proxy = 1, .connected = 1, .tls_begun = 1},
     "tls", "target", GYRE_TARGET_BAD},
    {"no such file of certificates", {.code = CURLE_SSL_CACERT_BADFILE, TUNNEL}, "invalid", "local", GYRE_ABORTED},

    {"garbage without a tunnel", {.code = CURLE_UNSUPPORTED_PROTOCOL, PLAIN, STOOD}, "protocol", "proxy",
     GYRE_PROXY_BAD},
    {"garbage in the tunnel", {.code = CURLE_UNSUPPORTED_PROTOCOL, TUNNEL, STOOD}, "protocol", "target",
     GYRE_TARGET_BAD},
    {"connection cut", {.code = CURLE_GOT_NOTHING, PLAIN, STOOD}, "protocol", "proxy", GYRE_PROXY_BAD},
    {"body cut in the tunnel", {.code = CURLE_PARTIAL_FILE, TUNNEL, STOOD, .status = 200}, "protocol", "target",
     GYRE_TARGET_BAD},
    {"broken gzip", {.code = CURLE_BAD_CONTENT_ENCODING, PLAIN, STOOD, .status = 200}, "protocol", "target",
     GYRE_TARGET_BAD},

    {"redirects without end", {.code = CURLE_TOO_MANY_REDIRECTS, PLAIN, STOOD, .redirects = 10, .status = 302},
     "redirect", "target", GYRE_TARGET_BAD},
    {"redirect to ftp:", {.code = CURLE_UNSUPPORTED_PROTOCOL, PLAIN, .connected = 1, .redirects = 1, .status = 302},
     "redirect", "target", GYRE_TARGET_BAD},
    {"garbage after a redirect", {.code = CURLE_UNSUPPORTED_PROTOCOL, PLAIN, STOOD, .redirects = 1, .status = 302},
     "protocol", "proxy", GYRE_PROXY_BAD},
    {"garbage by a connection used before", {.code = CURLE_UNSUPPORTED_PROTOCOL, PLAIN, .ready = 1}, "protocol", "proxy",
     GYRE_PROXY_BAD},
    {"not to be sent twice", {.code = CURLE_ABORTED_BY_CALLBACK, TUNNEL, .ready = 1, .limit = GYRE__LIMIT_ONCE},
     "protocol", "target", GYRE_TARGET_BAD},
    {"redirect to nonsense", {.code = CURLE_URL_MALFORMAT, PLAIN, STOOD, .redirects = 1, .status = 302}, "redirect",
     "target", GYRE_TARGET_BAD},
    {"URL is nonsense", {.code = CURLE_URL_MALFORMAT, PLAIN}, "invalid", "local", GYRE_ABORTED},

    {"Content-Length too large", {.code = CURLE_FILESIZE_EXCEEDED, PLAIN, STOOD, .status = 200}, "too_large", "target",
     GYRE_TARGET_BAD},
    {"body over the limit", {.code = CURLE_WRITE_ERROR, PLAIN, STOOD, .limit = GYRE__LIMIT_BODY}, "too_large",
     "target", GYRE_TARGET_BAD},
    {"headers over the limit", {.code = CURLE_WRITE_ERROR, PLAIN, STOOD, .limit = GYRE__LIMIT_HEADERS}, "too_large",
     "proxy", GYRE_PROXY_BAD},
    {"CONNECT headers over the limit",
     {.code = CURLE_RECV_ERROR, TUNNEL, .connected = 1, .connect_code = 200, .limit = GYRE__LIMIT_HEADERS},
     "too_large", "proxy", GYRE_PROXY_BAD},
    {"headers over the limit, tunnel", {.code = CURLE_WRITE_ERROR, TUNNEL, STOOD, .limit = GYRE__LIMIT_HEADERS},
     "too_large", "target", GYRE_TARGET_BAD},
    {"cancelled", {.code = CURLE_ABORTED_BY_CALLBACK, PLAIN, STOOD, .limit = GYRE__LIMIT_CANCELLED}, "aborted",
     "local", GYRE_ABORTED},
    {"connection ended before it was used again", {.code = CURLE_FAILED_INIT, TUNNEL, .ready = 1}, "protocol", "target",
     GYRE_TARGET_BAD},
    {"handle cannot be made", {.code = CURLE_FAILED_INIT, TUNNEL}, "system", "local", GYRE_ABORTED},
    {"no memory for the body", {.code = CURLE_WRITE_ERROR, PLAIN, STOOD, .limit = GYRE__LIMIT_MEMORY}, "system", "local",
     GYRE_ABORTED},
    {"no memory", {.code = CURLE_OUT_OF_MEMORY, PLAIN}, "system", "local", GYRE_ABORTED},
    {"no memory for a body", {.code = CURLE_WRITE_ERROR, PLAIN, STOOD, .limit = GYRE__LIMIT_MEMORY}, "system", "local",
     GYRE_ABORTED},
    {"redirect to a scope", {.code = CURLE_WRITE_ERROR, PLAIN, STOOD, .status = 302, .limit = GYRE__LIMIT_SCOPE}, "redirect",
     "target", GYRE_TARGET_BAD},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gyre__failure failure = {0};
        print_message("%s\n", rows[i].what);
        assert_int_equal(gyre__classify(&rows[i].evidence, &failure), 1);
        assert_string_equal(failure.kind, rows[i].kind);
        assert_string_equal(failure.where, rows[i].where);
        assert_int_equal(failure.verdict, rows[i].verdict);
    }
}

/* Whatever the target answers is a response; a 407 is, where no proxy could have said it. */
static void test_responses(void **state)
{
    (void)state;
    static const struct gyre__evidence responses[] = {
        {.code = CURLE_OK, PLAIN, STOOD, .status = 200},  {.code = CURLE_OK, PLAIN, STOOD, .status = 503},
        {.code = CURLE_OK, TUNNEL, STOOD, .status = 407}, {.code = CURLE_OK, STOOD, .status = 407},
        {.code = CURLE_OK, TUNNEL, STOOD, .status = 404, .connect_code = 200},
    };
    for (size_t i = 0; i < sizeof responses / sizeof *responses; i++) {
        struct gyre__failure failure;
        assert_int_equal(gyre__classify(&responses[i], &failure), 0);
    }
}

/* No libcurl code, known or to come, leaves a failure without a name. */
static void test_every_code(void **state)
{
    (void)state;
    for (int code = 1; code <= CURL_LAST + 10; code++) {
        struct gyre__evidence evidence = {.code = (CURLcode)code, PLAIN, STOOD};
        struct gyre__failure failure = {0};
        assert_int_equal(gyre__classify(&evidence, &failure), 1);
        assert_non_null(failure.kind);
        assert_non_null(failure.where);
        assert_int_not_equal(failure.verdict, GYRE_OK);
    }
    for (int code = CURLPX_OK; code <= CURLPX_LAST + 10; code++) {
        struct gyre__evidence evidence = {.code = CURLE_PROXY, .proxy_code = (CURLproxycode)code, TUNNEL};
        struct gyre__failure failure = {0};
        assert_int_equal(gyre__classify(&evidence, &failure), 1);
        assert_non_null(failure.kind);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_every_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
