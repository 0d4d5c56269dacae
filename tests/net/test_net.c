/*
 * test_net.c: tasks on the loop, without a network: order, waiting, waking, cancelling, what ends a run.
 * Each test is Lua code on top of gyre.net; it leaves its trace in the global `trace`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/net.h"

static const char prelude[] =
    "net = require 'gyre.net' trace = '' function say(text) trace = trace .. tostring(text) .. ' ' end ";

struct run {
    struct gyre_host *host;
    struct gyre__net *net;
    int status;
};

static struct run start(const char *code)
{
    struct gyre_host_options options = {.size = sizeof options};
    struct run run = {0};

    assert_int_equal(gyre_host_open(&options, &run.host), 0);
    assert_int_equal(gyre__net_open(run.host, 10, &run.net), 0);
    lua_State *L = gyre_host_state(run.host);
    assert_int_equal(luaL_loadbuffer(L, prelude, strlen(prelude), "=prelude"), 0);
    assert_int_equal(gyre_host_call(run.host, 0, 0), 0);
    assert_int_equal(luaL_loadbuffer(L, code, strlen(code), "=test"), 0);
    assert_int_equal(gyre__net_main(run.net, 0), 0);
    run.status = gyre__net_run(run.net);
    assert_int_equal(gyre__net_drop(run.net), 0);
    assert_int_equal(lua_gettop(L), 0);
    return run;
}

static void finish(struct run *run)
{
    gyre_host_close(run->host);
    gyre__net_close(run->net);
}

static void check(const char *code, int status, const char *trace)
{
    struct run run = start(code);
    lua_State *L = gyre_host_state(run.host);

    assert_int_equal(run.status, status);
    lua_getglobal(L, "trace");
    assert_string_equal(lua_tostring(L, -1), trace);
    finish(&run);
}

static void check_error(const char *code, const char *text)
{
    struct run run = start(code);
    assert_int_equal(run.status, GYRE_EINVALID);
    if (!strstr(gyre_host_error(run.host)->text, text)) fail_msg("%s", gyre_host_error(run.host)->text);
    finish(&run);
}

static void test_order(void **state)
{
    (void)state;
    check("net.spawn(false, function(x, y) say(x) say(y) end, 'a', nil) say 'main'", 0, "main a nil ");
    check("for i = 1, 3 do net.spawn(false, function() say(i) net.sleep(0) say(-i) end) end", 0, "1 2 3 -1 -2 -3 ");
    check("net.spawn(false, function() net.sleep(0.02) say '2' end) net.sleep(0.01) say '1' net.sleep(0.02) say '3'", 0,
          "1 2 3 ");
}

static void test_park_and_wake(void **state)
{
    (void)state;
    check("local me = net.current() net.spawn(false, function() say 'w' net.wake(me) end) say(net.park())", 0,
          "w true ");
    check("net.wake(net.current()) say(net.park())", 0, "true "); /* a wake before the park is not lost */
    check("local t = net.spawn(false, function() end) net.sleep(0) net.wake(t) net.cancel(t) say 'ended'", 0, "ended ");
}

static void test_cancel(void **state)
{
    (void)state;
    check("local t = net.spawn(false, function() say(net.sleep(60)) say(net.sleep(60)) say(net.park()) end) "
          "net.sleep(0) net.cancel(t) net.cancel(t)",
          0, "false false false ");
    check("local t = net.spawn(false, function() net.request('http://127.0.0.1:1/', 'socks5h://127.0.0.1:1', {}) "
          "say(select(2, net.result())) end) net.cancel(t)",
          0, "aborted ");
}

/* A background task is not waited for; it is dropped where it stands, and its sleep with it. */
static void test_background(void **state)
{
    (void)state;
    check("net.spawn(true, function() say 'in' net.sleep(60) say 'never' end) net.sleep(0.01)", 0, "in ");
    check("net.on_close(function() say 'closed' end)", 0, "closed ");
}

static void test_errors(void **state)
{
    (void)state;
    check_error("error 'main'", "main");
    check_error("net.spawn(false, function() error 'task' end) net.sleep(60)", "task");
    check_error("net.spawn(true, function() error 'background' end) net.sleep(60)", "background");
    check_error("coroutine.yield()", "coroutine.yield");
    check_error("coroutine.wrap(function() net.sleep(1) end)()", "use gyre.spawn");
    check_error("net.park()", "waits for another");
    check_error("net.sleep(-1)", "not negative");
    check_error("net.wake(net)", "gyre.task expected");
    check_error("net.request('http://x/', nil, net.current())", "gyre.terms expected");
    check_error("net.result()", "no request has been made");
}

static void test_transfers(void **state)
{
    (void)state;
    check("say(select(2, net.request('ftp://x/', nil, {})))", 0,
          "the URL must begin with http:// or https:// ");
    check("say(select(2, net.request('http://x/', 'nonsense', {})))", 0, "proxy URL has no scheme (http, https, socks4, socks4a, socks5 or socks5h, then ://) ");
    check("say(select(2, net.request('http://x/', '', {})))", 0, "the proxy's URL is empty ");
    check("say(select(2, net.request('http://x/', nil, { method = 'G T' })))", 0, "the method is not a token ");
    check("local t = net.terms { method = 'G T' } for i = 1, 2 do say(select(2, net.request('http://x/', nil, t))) end", 0,
          "the method is not a token the method is not a token ");
    check("net.request('http://127.0.0.1:1/', 'http://127.0.0.1:1', {}) "
          "local good, kind, where, verdict = net.result() say(good) say(kind) say(where) say(verdict) say(select(2, pcall(net.result)))",
          0, "false connect proxy 4 no request has been made ");
    /* More than may run at once (10) wait their turn; the last ones are cancelled in the queue. */
    check("local n, list = 0, {} for i = 1, 40 do list[i] = net.spawn(false, function() "
          "net.request('http://127.0.0.1:1/', 'http://127.0.0.1:1', {}) "
          "local good, kind = net.result() if kind == (i <= 30 and 'connect' or 'aborted') then n = n + 1 end end) end "
          "net.sleep(0) for i = 31, 40 do net.cancel(list[i]) end net.sleep(0.2) say(n)",
          0, "40 ");
}

/* Somebody who never answers. Returns the descriptor. */
static int listen_in_silence(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* A request to somebody who never answers is dropped with its task; the sanitizers say whether anything is left behind. */
static void test_dropped_under_way(void **state)
{
    int port, fd = listen_in_silence(&port);
    char code[256];

    (void)state;
    snprintf(code, sizeof code,
             "net.spawn(true, function() say 'in' net.request('http://x/', 'http://127.0.0.1:%d', {}) say 'never' end) net.sleep(0.05) "
             "say 'gone'",
             port);
    check(code, 0, "in gone ");
    close(fd);
}

/* Requests that are cancelled under way make room for those that wait for a place, however they end. */
static void test_cancelled_make_room(void **state)
{
    int port, fd = listen_in_silence(&port);
    char code[1024];

    (void)state;
    snprintf(code, sizeof code,
             "local list, left = {}, 5 for i = 1, 10 do list[i] = net.spawn(false, function() "
             "net.request('http://x/', 'http://127.0.0.1:%d', {}) net.result() end) end net.sleep(0.02) "
             "for i = 1, 5 do net.spawn(i > 1, function() "
             "net.request('http://127.0.0.1:1/', 'http://127.0.0.1:1', { timeout = 1 }) "
             "say(select(2, net.result())) left = left - 1 end) end net.sleep(0.02) "
             "for i = 1, 10 do net.cancel(list[i]) end for i = 1, 200 do if left == 0 then break end net.sleep(0.01) end "
             "say(left) if left > 0 then error 'they wait for ever' end",
             port);
    check(code, 0, "connect connect connect connect connect 0 ");
    close(fd);
}

static void test_result(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        int result;
    } rows[] = {{"", 0},           {"return nil", 0}, {"return true", 0},  {"return false", 1}, {"return 3", 3},
                {"return 256", -1}, {"return 1.5", -1}, {"return 'x'", -1}, {"return -1", -1}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct run run = start(rows[i].code);
        assert_int_equal(run.status, 0);
        assert_int_equal(gyre__net_result(run.net), rows[i].result);
        finish(&run);
    }
}

static struct gyre__net *interrupting;

static int interrupt(lua_State *L)
{
    lua_pushinteger(L, gyre__net_interrupt(interrupting));
    return 1;
}

static void run_interrupted(const char *code, int status, const char *trace)
{
    struct gyre_host_options options = {.size = sizeof options};
    struct gyre_host *host;

    assert_int_equal(gyre_host_open(&options, &host), 0);
    assert_int_equal(gyre__net_open(host, 10, &interrupting), 0);
    lua_State *L = gyre_host_state(host);
    lua_pushcfunction(L, interrupt);
    lua_setglobal(L, "interrupt");
    assert_int_equal(luaL_loadbuffer(L, prelude, strlen(prelude), "=prelude"), 0);
    assert_int_equal(gyre_host_call(host, 0, 0), 0);
    assert_int_equal(luaL_loadbuffer(L, code, strlen(code), "=test"), 0);
    assert_int_equal(gyre__net_main(interrupting, 0), 0);
    assert_int_equal(gyre__net_run(interrupting), status);
    assert_int_equal(gyre__net_drop(interrupting), 0);
    lua_getglobal(L, "trace");
    assert_string_equal(lua_tostring(L, -1), trace);
    gyre_host_close(host);
    gyre__net_close(interrupting);
}

/* The first interrupt ends sleeps and lets the job end by itself; the second ends it, even one that spins. */
static void test_interrupts(void **state)
{
    (void)state;
    run_interrupted("net.spawn(false, function() say(net.sleep(60)) end) net.sleep(0) say(interrupt()) "
                    "say(net.stopping()) while not net.stopping() do net.sleep(0) end say(net.sleep(60))",
                    0, "1 false false false ");
    run_interrupted("interrupt() while not net.stopping() do net.sleep(0) end interrupt() "
                    "while true do net.sleep(60) end",
                    GYRE_EBUSY, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),      cmocka_unit_test(test_park_and_wake), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_background), cmocka_unit_test(test_errors),        cmocka_unit_test(test_transfers),
        cmocka_unit_test(test_dropped_under_way), cmocka_unit_test(test_cancelled_make_room),
        cmocka_unit_test(test_result),     cmocka_unit_test(test_interrupts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
