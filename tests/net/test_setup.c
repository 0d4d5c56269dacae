/*
 * test_setup.c: what goes out is what was asked for, and stays apart. A request for which libcurl cannot be told everything,
 * for want of memory, is not made: an option that is missing would lead around the proxy. A redirect to a URL with a scope
 * is not followed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/net.h"

static int allocations, failing; /* so many; and the number of the one that fails, 0: none does */

static int allocations_at_setup;
static const char fine[] = "HTTP/1.0 204 No Content\r\n\r\n";

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
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), seconds = 5;

    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds), 0); /* nobody without a request */
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* What comes to a listener, "" when nobody comes; the answer. */
static void hear(int listener, char text[512], const char *answer)
{
    static char request[65536];
    int room = 200000;

    text[0] = '\0';
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) return;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0); /* for the whole answer: we read it, too */
    ssize_t got = recv(fd, request, sizeof request - 1, 0);
    request[got > 0 ? got : 0] = '\0';
    snprintf(text, 512, "%.511s", request);
    assert_int_equal(send(fd, answer, strlen(answer), MSG_NOSIGNAL), (ssize_t)strlen(answer));
    close(fd);
}

static uv_poll_t *watching; /* a thief, see steal() */

static void on_done(struct gyre__transfer *transfer)
{
    *(int *)transfer->owner = 1;
    if (watching) uv_close((uv_handle_t *)watching, NULL); /* of a descriptor that is closed by now */
    watching = NULL;
}

static void on_wait(uv_timer_t *timer)
{
    (void)timer;
}

/* One request through a proxy that gives this answer first. */
struct trial {
    int failing; /* this allocation while it is set up; 0: none */
    const char *url, *proxy, *answer;
    struct gyre__terms *terms;
    uv_poll_t *thief; /* watches its socket before gyre does; NULL: nobody */
    int listener;     /* of the proxy */
    char text[512]; /* what came to it */
    int is_made;
    char kind[32];
};

static void wait_for_end(struct trial *trial, uv_loop_t *loop, const int *is_done)
{
    char more[512];
    uv_timer_t timer;

    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_wait, 1, 1);
    for (int i = 0; i < 5000 && !*is_done; i++) {
        uv_run(loop, UV_RUN_ONCE);
        if (trial->text[0]) hear(trial->listener, more, fine);
        else hear(trial->listener, trial->text, trial->answer);
    }
    assert_true(*is_done);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT); /* it lies on the stack */
}

static void on_stolen(uv_poll_t *poll, int status, int events)
{
    (void)poll, (void)status, (void)events;
}

/* CURLOPT_SOCKOPTFUNCTION. libuv takes one watcher of a descriptor, so that the next one fails, as without memory. */
static int steal(void *thief, curl_socket_t fd, curlsocktype purpose)
{
    uv_poll_t *poll = thief;
    (void)purpose;
    assert_int_equal(uv_poll_init_socket(poll->data, poll, fd), 0);
    assert_int_equal(uv_poll_start(poll, UV_READABLE, on_stolen), 0);
    watching = poll;
    return CURL_SOCKOPT_OK;
}

static void open_loop(uv_loop_t *loop, struct gyre__http *http)
{
    assert_int_equal(uv_loop_init(loop), 0);
    assert_int_equal(gyre__http_init(http, loop, 4), 0);
}

static void close_loop(uv_loop_t *loop, struct gyre__http *http)
{
    gyre__http_close(http);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

/* NULL: there is none, for want of memory. Give it back. */
static struct gyre__transfer *fetch_by(struct trial *trial, uv_loop_t *loop, struct gyre__http *http)
{
    struct gyre__fetch what = {.url = trial->url, .proxy = trial->proxy, .terms = trial->terms};
    int is_done = 0;

    trial->text[0] = '\0';
    allocations = 0;
    failing = trial->failing;
    struct gyre__transfer *transfer = gyre__transfer_new(http);
    if (transfer) {
        transfer->owner = &is_done;
        transfer->done = on_done;
        trial->is_made = !gyre__transfer_start(transfer, &what);
        allocations_at_setup = allocations;
        failing = 0;
        if (trial->thief) curl_easy_setopt(transfer->call.easy, CURLOPT_SOCKOPTFUNCTION, steal);
        if (trial->thief) curl_easy_setopt(transfer->call.easy, CURLOPT_SOCKOPTDATA, trial->thief);
        if (trial->is_made) wait_for_end(trial, loop, &is_done);
        curl_easy_setopt(transfer->call.easy, CURLOPT_SOCKOPTFUNCTION, NULL);
        snprintf(trial->kind, sizeof trial->kind, "%s", transfer->result.failed ? transfer->result.failure.kind : "");
    }
    return transfer;
}

/* By a loop of its own. */
static void fetch(struct trial *trial)
{
    struct gyre__http http;
    uv_loop_t loop;

    open_loop(&loop, &http);
    struct gyre__transfer *transfer = fetch_by(trial, &loop, &http);
    if (transfer) gyre__transfer_delete(transfer);
    close_loop(&loop, &http);
}

/* libcurl's allocator fails once, at each place in turn. */
static void test_fails_closed(void **state)
{
    char url[64], proxy[64], other[512];
    int target_port, proxy_port, target = listen_somewhere(&target_port), refused = 0;
    struct trial trial = {.url = url, .proxy = proxy, .answer = fine};

    (void)state;
    trial.listener = listen_somewhere(&proxy_port);
    trial.terms = gyre__terms_new();
    trial.terms->method = strdup("DELETE");
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", target_port);
    snprintf(proxy, sizeof proxy, "http://user:secret@127.0.0.1:%d", proxy_port);
    do {
        trial.failing++;
        trial.is_made = 0;
        fetch(&trial);
        hear(target, other, "");
        assert_string_equal(other, "");
        if (trial.text[0] && (!strstr(trial.text, "DELETE http") || !strstr(trial.text, "Proxy-Authorization: Basic")))
            fail_msg("%d: %s", trial.failing, trial.text);
        refused += !trial.is_made;
    } while (trial.failing < 1000 && !(trial.is_made && allocations_at_setup < trial.failing));
    assert_true(refused > 10 && trial.failing < 1000 && trial.text[0]);
    gyre__terms_release(trial.terms);
    close(target);
    close(trial.listener);
}

/* By a scope that a target gives them its visitors would meet on one connection. */
static void test_redirect_to_a_scope(void **state)
{
    static const struct {
        const char *location, *kind;
    } rows[] = {
        {"http://[::1%251]:9/", "redirect"}, {"http:///[::1%1]:9/", "redirect"}, {"//[::1%7]:9/?x#y", "redirect"},
        {"http://[::1]:9/[%20]", ""}, {"/[%20]", ""}, {"http://a%40b:c@x.test/", ""},
    };
    char answer[256], proxy[64];
    int port;
    struct trial trial = {.url = "http://x.test/", .proxy = proxy, .answer = answer};

    (void)state;
    trial.listener = listen_somewhere(&port);
    trial.terms = gyre__terms_new();
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", port);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(answer, sizeof answer, "HTTP/1.0 302 Found\r\nlocation: %s\r\n\r\n", rows[i].location);
        fetch(&trial);
        assert_string_equal(trial.kind, rows[i].kind);
    }
    gyre__terms_release(trial.terms);
    close(trial.listener);
}

/* A transfer whose socket cannot be watched ends, and those beside it and after it go on. */
static void test_socket_that_cannot_be_watched(void **state)
{
    char proxy[64];
    int port;
    struct trial trial = {.url = "http://x.test/", .proxy = proxy, .answer = fine}, next;
    struct gyre__http http;
    uv_loop_t loop;
    uv_poll_t thief = {.data = &loop};

    (void)state;
    trial.listener = listen_somewhere(&port);
    trial.terms = gyre__terms_new();
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", port);
    open_loop(&loop, &http);
    next = trial;
    trial.thief = &thief;
    struct gyre__transfer *transfer = fetch_by(&trial, &loop, &http);
    assert_string_equal(trial.kind, "system");
    gyre__transfer_delete(transfer);
    transfer = fetch_by(&next, &loop, &http);
    assert_string_equal(next.kind, "");
    gyre__transfer_delete(transfer);
    close_loop(&loop, &http);
    gyre__terms_release(trial.terms);
    close(trial.listener);
}

static size_t bytes_of_cookies(const struct gyre__transfer *transfer)
{
    struct curl_slist *cookies = NULL;
    size_t bytes = 0;

    curl_easy_getinfo(transfer->call.easy, CURLINFO_COOKIELIST, &cookies);
    for (struct curl_slist *cookie = cookies; cookie; cookie = cookie->next) bytes += strlen(cookie->data);
    curl_slist_free_all(cookies);
    return bytes;
}

/* A host that sets ever new cookies fills no memory; ones that are set again and again stay. */
static void test_cookies_are_bounded(void **state)
{
    enum { COOKIES = 15, SIZE = 4000, RESPONSES = 60 };
    static char answer[COOKIES * (SIZE + 64)], value[SIZE + 1];
    char proxy[64];
    int port;
    struct trial trial = {.url = "http://x.test/", .proxy = proxy, .answer = answer};

    (void)state;
    memset(value, 'x', SIZE);
    trial.listener = listen_somewhere(&port);
    trial.terms = gyre__terms_new();
    trial.terms->cookies = 1;
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", port);
    for (int is_new = 0; is_new < 2; is_new++) {
        struct gyre__http http;
        uv_loop_t loop;
        size_t most = 0, last = 0;

        open_loop(&loop, &http);
        for (int i = 0; i < RESPONSES; i++) {
            char *at = stpcpy(answer, "HTTP/1.0 204 No Content\r\n");
            for (int k = 0; k < COOKIES; k++) at += sprintf(at, "Set-Cookie: c%d=%s\r\n", is_new ? i * COOKIES + k : k, value);
            strcpy(at, "\r\n");
            struct gyre__transfer *transfer = fetch_by(&trial, &loop, &http);
            assert_string_equal(trial.kind, "");
            last = bytes_of_cookies(transfer);
            most = last > most ? last : most;
            gyre__transfer_delete(transfer);
        }
        if (is_new) assert_in_range(most, 1 << 19, 3 << 20);
        else assert_true(last == most && last >= COOKIES * SIZE);
        close_loop(&loop, &http);
    }
    gyre__terms_release(trial.terms);
    close(trial.listener);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fails_closed), cmocka_unit_test(test_redirect_to_a_scope),
        cmocka_unit_test(test_cookies_are_bounded), cmocka_unit_test(test_socket_that_cannot_be_watched),
        cmocka_unit_test(test_terms),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
