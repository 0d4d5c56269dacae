/* test_host.c: the public interface of a host: modules, errors with traceback, nothing left on the stack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <lauxlib.h>
#include <lua.h>

#include <gyre/host.h>

static const struct gyre_source modules[] = {
    {"demo.one", "lua/demo/one.lua", "return { n = 1 }", 16},
    {"demo.bad", "lua/demo/bad.lua", "local x = = 1", 13},
};
static const struct gyre_source strategies[] = {{"mine", "strategies/mine.lua", "return {}", 9}};

static struct gyre_host *open_host(void)
{
    struct gyre_host_options options = {
        .size = sizeof options, .modules = modules, .module_count = 2, .strategies = strategies, .strategy_count = 1};
    struct gyre_host *host;
    assert_int_equal(gyre_host_open(&options, &host), 0);
    return host;
}

/* Runs Lua code; returns the status of gyre_host_call(). */
static int run(struct gyre_host *host, const char *code)
{
    lua_State *L = gyre_host_state(host);
    assert_int_equal(luaL_loadbuffer(L, code, strlen(code), "=test"), 0);
    int status = gyre_host_call(host, 0, 0);
    assert_int_equal(lua_gettop(L), 0);
    return status;
}

static void test_modules(void **state)
{
    (void)state;
    struct gyre_host *host = open_host();
    assert_int_equal(run(host, "assert(require('demo.one').n == 1)"), 0);
    assert_int_equal(run(host, "assert(package.loaded['gyre.embedded'].mine == 'return {}')"), 0);
    assert_int_equal(run(host, "require 'demo.bad'"), GYRE_EINVALID);
    assert_non_null(strstr(gyre_host_error(host)->text, "lua/demo/bad.lua:1:"));
    assert_int_equal(run(host, "require 'demo.none'"), GYRE_EINVALID);
    assert_non_null(strstr(gyre_host_error(host)->text, "no module 'demo.none' in the program"));
    gyre_host_close(host);
}

static void test_errors(void **state)
{
    (void)state;
    struct gyre_host *host = open_host();
    assert_int_equal(run(host, "local function f() error('no luck') end f()"), GYRE_EINVALID);
    assert_string_equal(gyre_host_error(host)->kind, "");
    assert_non_null(strstr(gyre_host_error(host)->text, "no luck"));
    assert_non_null(strstr(gyre_host_error(host)->text, "in function 'f'"));

    assert_int_equal(run(host, "error({ kind = 'no_proxy', where = 'proxy' })"), GYRE_EINVALID);
    assert_string_equal(gyre_host_error(host)->kind, "no_proxy");
    assert_string_equal(gyre_host_error(host)->where, "proxy");

    assert_int_equal(run(host, "error(setmetatable({}, { __tostring = function() return 'told' end }))"),
                     GYRE_EINVALID);
    assert_non_null(strstr(gyre_host_error(host)->text, "told"));
    assert_string_equal(gyre_host_error(host)->kind, "");

    assert_int_equal(run(host, "error(setmetatable({}, { __tostring = function() error('twice') end }))"),
                     GYRE_EINVALID);
    assert_non_null(strstr(gyre_host_error(host)->text, "another one"));
    assert_int_equal(run(host, "error(nil)"), GYRE_EINVALID);
    assert_non_null(gyre_host_error(host)->text);
    gyre_host_close(host);
}

static int open_native(lua_State *L)
{
    lua_pushinteger(L, 42);
    return 1;
}

static void test_preload(void **state)
{
    (void)state;
    struct gyre_host *host = open_host();
    assert_int_equal(gyre_host_preload(host, "demo.native", open_native), 0);
    assert_int_equal(run(host, "assert(require 'demo.native' == 42)"), 0);
    gyre_host_close(host);
}

static void test_options(void **state)
{
    (void)state;
    struct gyre_host_options options = {.size = 1};
    struct gyre_host *host = NULL;
    assert_int_equal(gyre_host_open(&options, &host), GYRE_EINVALID);
    assert_int_equal(gyre_host_open(NULL, &host), GYRE_EINVALID);
    assert_null(host);
    assert_null(gyre_host_state(NULL));
    assert_int_equal(gyre_host_call(NULL, 0, 0), GYRE_EINVALID);
    assert_string_equal(gyre_host_error(NULL)->text, "no host");
    assert_int_equal(gyre_host_preload(NULL, "demo.native", open_native), GYRE_EINVALID);
    gyre_host_close(NULL);
    gyre_host_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_preload),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
