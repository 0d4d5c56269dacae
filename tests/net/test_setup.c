/*
 * test_setup.c: a request for which libcurl cannot be told everything, for want of memory, is not made: an option that is
 * missing would lead around the proxy. libcurl's allocator fails once, at each place in turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/net.h"

static int allocations, failing; /* so many; and the number of the one that fails, 0: none does */

static int allocations_made; /* to set a request up */

static int fails(void)
{
    return ++allocations == failing;
}

static void *take(size_t size)
{
    return fails() ? NULL : malloc(size);
}

static void *retake(void *old, size_t size)
{
    return fails() ? NULL : realloc(old, size);
}

static void *take_zeroed(size_t count, size_t size)
{
    return fails() ? NULL : calloc(count, size);
}

static char *copy(const char *text)
{
    return fails() ? NULL : strdup(text);
}

static int begin(void **state)
{
    (void)state;
    setenv("NO_PROXY", "*", 1);
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, take, free, retake, copy, take_zeroed) != CURLE_OK;
}

static int listen_somewhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* What came to a listener that nobody reads from the wire but us; "" when nobody came. */
static void hear(int listener, char text[512])
{
    text[0] = '\0';
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) return;
    ssize_t got = recv(fd, text, 511, 0);
    text[got > 0 ? got : 0] = '\0';
    close(fd);
}

static void on_done(struct gyre__transfer *transfer)
{
    *(int *)transfer->owner = 1;
}

static void on_wait(uv_timer_t *timer)
{
    (void)timer;
}

/* One request by a loop of its own, while which is set up the allocation with the number fails. Returns whether it was made. */
static int fetch(int number, const char *url, const char *proxy, struct gyre__terms *terms, int listener, char text[512])
{
    struct gyre__fetch what = {.url = url, .proxy = proxy, .terms = terms};
    struct gyre__http http;
    uv_timer_t timer;
    uv_loop_t loop;
    int is_done = 0;

    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(gyre__http_init(&http, &loop, 4), 0);
    allocations = 0;
    failing = number;
    text[0] = '\0';
    struct gyre__transfer *transfer = gyre__transfer_new(&http);
    const char *why = NULL;
    if (transfer) {
        transfer->owner = &is_done;
        transfer->done = on_done;
        why = gyre__transfer_start(transfer, &what);
    }
    int made = transfer && !why;
    allocations_made = allocations;
    failing = 0;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_wait, 1, 1);
    for (int i = 0; made && i < 1000 && !is_done && !text[0]; i++) {
        uv_run(&loop, UV_RUN_ONCE);
        hear(listener, text);
    }
    if (transfer) gyre__transfer_delete(transfer);
    gyre__http_close(&http);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return made;
}

static void test_fails_closed(void **state)
{
    char url[64], proxy[64], text[512], other[512];
    int target_port, proxy_port, target = listen_somewhere(&target_port), listener = listen_somewhere(&proxy_port);
    struct gyre__terms *terms = gyre__terms_new();
    int refused = 0, n = 1;

    (void)state;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", target_port);
    snprintf(proxy, sizeof proxy, "http://user:secret@127.0.0.1:%d", proxy_port);
    terms->method = strdup("DELETE");
    for (; n < 1000; n++) {
        int made = fetch(n, url, proxy, terms, listener, text);
        hear(target, other);
        assert_string_equal(other, "");
        if (text[0] && (!strstr(text, "DELETE http") || !strstr(text, "Proxy-Authorization: Basic"))) fail_msg("%d: %s", n, text);
        refused += !made;
        if (made && allocations_made < n) break; /* nothing failed */
    }
    assert_true(refused > 10 && n < 1000 && text[0]);
    gyre__terms_release(terms);
    close(target);
    close(listener);
}

/* What terms cannot hold raises: a header less, or another method, is another request. */
static void test_terms(void **state)
{
    static const char code[] = "local ran, why = pcall(require('gyre.net').terms, { body = 'x', headers = { 'A: 1', 'B: 2' } }) "
                               "result = ran and 'made' or why";
    struct gyre_host_options options = {.size = sizeof options};
    struct gyre_host *host;
    struct gyre__net *net;

    (void)state;
    assert_int_equal(gyre_host_open(&options, &host), 0);
    assert_int_equal(gyre__net_open(host, 10, &net), 0);
    lua_State *L = gyre_host_state(host);
    for (int n = 1, made = 0; !made; n++) {
        assert_int_equal(luaL_loadbuffer(L, code, strlen(code), "=test"), 0);
        allocations = 0;
        failing = n;
        assert_int_equal(gyre_host_call(host, 0, 0), 0);
        lua_getglobal(L, "result");
        made = allocations < n;
        failing = 0;
        assert_string_equal(lua_tostring(L, -1), made ? "made" : "not enough memory");
        lua_pop(L, 1);
    }
    gyre_host_close(host);
    gyre__net_close(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_fails_closed, begin), cmocka_unit_test(test_terms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
