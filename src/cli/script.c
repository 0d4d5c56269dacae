/*
 * script.c: runs Lua as a program: a file (gyre run) or one of the modules inside (all other verbs).
 * The script is the main task of a net, so that its calls may wait. Owns the signals while it runs.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <curl/curl.h>

#include "job/lua_job.h"
#include "net/net.h"
#include "verbs.h"

enum { OTHER_DESCRIPTORS = 256 }; /* for files, the resolver, what the script opens */

static struct gyre__net *interrupted_net; /* what the signal handler speaks to */

static void on_signal(int signal_number)
{
    (void)signal_number;
    /* A loop that has not even noticed the signal before this one is stuck in a script: no use in asking again. */
    if (gyre__net_interrupt(interrupted_net) < 2) return;
    gyre__cli_screen_restore();
    _exit(EXIT_INTERRUPTED);
}

static void catch_signals(struct gyre__net *net)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    interrupted_net = net;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void release_signals(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

/* How many transfers the descriptors allow at once: beside each connection in use there are idle ones. */
static unsigned max_running(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512;
    if (limit.rlim_cur > 1 << 20) return (1 << 20) / 2;
    if (limit.rlim_cur <= 2 * OTHER_DESCRIPTORS) return OTHER_DESCRIPTORS / 2;
    return (unsigned)((double)(limit.rlim_cur - OTHER_DESCRIPTORS) / 1.3);
}

static int report(struct gyre_host *host)
{
    const struct gyre_host_error *error = gyre_host_error(host);
    int no_proxy = strcmp(error->kind, "no_proxy") == 0 || strcmp(error->where, "proxy") == 0;

    fprintf(stderr, "gyre: %s\n", error->text);
    return no_proxy ? EXIT_NO_PROXY : EXIT_USAGE;
}

struct script {
    int is_verb; /* argv goes to the module gyre.cli; otherwise argv[0] is a file */
    int argc;
    char **argv;
};

/* Sets the global `arg` as the luajit program does. stack: script -> - */
static int set_arguments(lua_State *L)
{
    struct script *script = lua_touserdata(L, 1);
    lua_createtable(L, script->argc, 1); /* stack: script arg */
    for (int i = 0; i < script->argc; i++) {
        lua_pushstring(L, script->argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");
    return 0;
}

/* stack: - -> function | message; returns the status of luaL_load* */
static int load_chunk(lua_State *L, const struct script *script)
{
    static const char start[] = "return require('gyre.cli').main(...)";
    if (script->is_verb) return luaL_loadbuffer(L, start, sizeof start - 1, "=gyre");
    return luaL_loadfile(L, script->argv[0]);
}

/* Puts the script and its arguments on the stack of the main state. stack: - -> function args...; returns how many
 * arguments, or -1 with the host's error set. */
static int load(struct gyre_host *host, struct script *script)
{
    lua_State *L = gyre_host_state(host);
    int first = script->is_verb ? 0 : 1;

    if (gyre__host_protect(host, set_arguments, script) < 0) return -1;
    if (load_chunk(L, script) != 0) { /* stack: message */
        gyre__host_fail(host, lua_tostring(L, -1));
        lua_pop(L, 1);
        return -1;
    }
    if (!lua_checkstack(L, script->argc + 4)) {
        gyre__host_fail(host, "too many arguments");
        return -1;
    }
    for (int i = first; i < script->argc; i++) lua_pushstring(L, script->argv[i]);
    return script->argc - first; /* stack: function args... */
}

/* A file that was interrupted ends with EXIT_INTERRUPTED whatever it says; a verb knows by itself what it is then. */
static int run(struct gyre_host *host, struct gyre__net *net, struct script *script)
{
    int arguments = load(host, script);
    if (arguments < 0 || gyre__net_main(net, arguments) < 0) return report(host);

    catch_signals(net);
    int status = gyre__net_run(net);
    gyre__cli_screen_restore(); /* before anything is reported */
    int code = EXIT_ALL_GOOD;
    if (status == GYRE_EINVALID) code = report(host);
    if (gyre__net_drop(net) < 0 && code == EXIT_ALL_GOOD) code = report(host);
    release_signals();
    if (code != EXIT_ALL_GOOD) return code;
    if (status == GYRE_EBUSY || (net->draining && !script->is_verb)) return EXIT_INTERRUPTED;

    code = gyre__net_result(net);
    if (code >= 0) return code;
    fputs("gyre: a job returns an exit code from 0 to 255, or nothing\n", stderr);
    return EXIT_USAGE;
}

/* An environment variable that is set and not empty. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int start(struct script *script)
{
    struct gyre_host_options options = {
        .size = sizeof options,
        .lua_path = setting("GYRE_LUA_PATH"),
        .modules = gyre__cli_modules,
        .module_count = gyre__cli_module_count,
        .strategies = gyre__cli_strategies,
        .strategy_count = gyre__cli_strategy_count,
    };
    struct gyre_host *host = NULL;
    struct gyre__net *net = NULL;
    int code = EXIT_USAGE;

    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (gyre_host_open(&options, &host) < 0 || gyre__net_open(host, max_running(), &net) < 0 ||
        gyre__job_open(host) < 0 || gyre_host_preload(host, "cjson", luaopen_cjson) < 0 ||
        gyre_host_preload(host, "gyre.screen", gyre__cli_screen_open) < 0)
        fputs("gyre: not enough memory to start\n", stderr);
    else
        code = run(host, net, script);
    gyre_host_close(host);
    gyre__net_close(net);
    curl_global_cleanup();
    return code;
}

int gyre__cli_verb(int argc, char **argv)
{
    struct script script = {1, argc, argv};
    return start(&script);
}

int gyre__cli_run(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0) {
        struct script script = {0, argc - 1, argv + 1};
        return start(&script);
    }
    return gyre__cli_verb(argc, argv); /* its usage is said in Lua, as every verb's */
}
