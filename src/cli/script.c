/*
 * script.c: runs Lua as a program: a file (gyre run) or one of the modules inside (all other verbs).
 * The script is the main task of a net, so that its calls may wait. Owns the signals while it runs.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <curl/curl.h>

#include <libxml/parser.h>

#include "job/lua_job.h"
#include "job/workers.h"
#include "net/net.h"
#include "verbs.h"

enum { OTHER_DESCRIPTORS = 256, FEWEST_OTHERS = 16 }; /* for files, the resolver, what the script opens */

/* What the signal handler speaks to: the loops that run, a worker's each. */
static struct gyre__net *_Atomic interrupted_nets[GYRE__MAX_WORKERS];
static atomic_uint interrupts; /* that have come */

static void on_signal(int signal_number)
{
    int error = errno; /* of whatever this interrupts */
    (void)signal_number;
    atomic_fetch_add(&interrupts, 1);
    for (int i = 0; i < GYRE__MAX_WORKERS; i++) {
        struct gyre__net *net = atomic_load(&interrupted_nets[i]);
        /* A loop that has not even noticed the signal before this one is stuck in a script: no use in asking again. */
        if (!net || gyre__net_interrupt(net) < 2) continue;
        gyre__cli_screen_restore();
        _exit(EXIT_INTERRUPTED);
    }
    errno = error;
}

/* From now on signals reach this loop; one that came before there was a loop does, too. */
static void interrupt_by_signals(unsigned number, struct gyre__net *net)
{
    sigset_t both, before;

    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &both, &before);
    int missed = atomic_load(&interrupts) > 0;
    atomic_store(&interrupted_nets[number - 1], net);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (missed) gyre__net_interrupt(net);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void release_signals(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

/* How many transfers the descriptors allow each worker at once, one at least: beside each connection in use there are
 * idle ones. Where there are few descriptors at all, less of them is kept for other things, but so much that all may
 * look up a name and connect at once. */
static unsigned max_running(unsigned workers)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512 / workers;
    if (limit.rlim_cur > 1 << 20) return (1 << 20) / 2 / workers;
    double all = (double)limit.rlim_cur, others = FEWEST_OTHERS + all / 4;
    if (others > OTHER_DESCRIPTORS) others = OTHER_DESCRIPTORS;
    double running = (all - others) / (others < OTHER_DESCRIPTORS ? 4 : 1.3) / workers;
    return running < 1 ? 1 : (unsigned)running;
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
    struct gyre__workers *workers;
};

/* One Lua state with its thread. */
struct worker {
    struct script *script;
    unsigned number; /* from 1 on: the one that the program's exit code comes from */
    pthread_t thread;
    struct gyre_host *host;
    struct gyre__net *net;
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
        /* The message has the name, and that of a proxy in its place may have a password. */
        int is_url = !script->is_verb && strstr(script->argv[0], "://");
        gyre__host_fail(host, is_url ? "a job is a file, and its name no URL" : lua_tostring(L, -1));
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
static int run(struct worker *worker)
{
    struct script *script = worker->script;
    struct gyre_host *host = worker->host;
    struct gyre__net *net = worker->net;
    int arguments = load(host, script);
    if (arguments < 0 || gyre__net_main(net, arguments) < 0) return report(host);

    interrupt_by_signals(worker->number, net);
    int status = gyre__net_run(net);
    gyre__cli_screen_restore(); /* before anything is reported */
    if (net->stopped && net->interrupts_seen < 2)
        fputs("gyre: stopped: the script goes on after the interrupt, of which gyre.stopping() tells\n", stderr);
    int code = EXIT_ALL_GOOD;
    if (status == GYRE_EINVALID) code = report(host);
    if (gyre__net_drop(net) < 0 && code == EXIT_ALL_GOOD) code = report(host);
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

static int run_worker(struct worker *worker)
{
    struct gyre_host_options options = {
        .size = sizeof options,
        .lua_path = setting("GYRE_LUA_PATH"),
        .modules = gyre__cli_modules,
        .module_count = gyre__cli_module_count,
        .strategies = gyre__cli_strategies,
        .strategy_count = gyre__cli_strategy_count,
    };
    struct gyre__workers *workers = worker->script->workers;
    int code = EXIT_USAGE;

    if (gyre_host_open(&options, &worker->host) < 0 ||
        gyre__net_open(worker->host, max_running(workers->count), &worker->net) < 0 ||
        gyre__job_open(worker->host) < 0 || gyre__workers_attach(worker->host, workers, worker->number) < 0 ||
        gyre_host_preload(worker->host, "cjson", luaopen_cjson) < 0 ||
        gyre_host_preload(worker->host, "gyre.screen", gyre__cli_screen_open) < 0)
        fputs("gyre: not enough memory to start\n", stderr);
    else
        code = run(worker);
    if (worker->number > 1) gyre__workers_ended(workers, worker->number);
    return code;
}

/* The thread of any worker but the first. */
static void *run_thread(void *data)
{
    struct worker *worker = data;
    if (gyre__workers_wait(worker->script->workers)) run_worker(worker);
    return NULL;
}

/* Waits for the others. They are told to stop when worker 1 has not waited for them itself. */
static void end_others(struct worker *all, unsigned started, int code)
{
    gyre__workers_over(all->script->workers);
    for (unsigned i = 1; i < started; i++) {
        struct gyre__net *net = atomic_load(&interrupted_nets[i]);
        if (net && code != EXIT_ALL_GOOD) gyre__net_interrupt(net);
    }
    for (unsigned i = 1; i < started; i++) pthread_join(all[i].thread, NULL);
}

/* Worker 1 in this thread, the others in theirs. All states stay until the last has ended: they lend each other pools,
 * and the signal handler may speak to any loop. */
static int run_workers(struct script *script)
{
    static struct worker all[GYRE__MAX_WORKERS];
    struct gyre__workers *workers = script->workers;
    unsigned started = 1;

    all[0] = (struct worker){.script = script, .number = 1};
    for (; started < workers->count; started++) {
        all[started] = (struct worker){.script = script, .number = started + 1};
        if (pthread_create(&all[started].thread, NULL, run_thread, &all[started]) != 0) break;
    }
    for (unsigned i = started; i < workers->count; i++) gyre__workers_ended(workers, i + 1); /* no thread to be had */
    int code = run_worker(&all[0]);
    end_others(all, started, code);
    release_signals();
    for (unsigned i = started; i-- > 0;) {
        gyre_host_close(all[i].host);
        gyre__net_close(all[i].net);
    }
    return code;
}

/* An option that had no effect is a mistake of whoever typed it, which nothing else has told. */
static int check_use(const struct gyre__workers *workers, int code)
{
    if (workers->is_open || code != EXIT_ALL_GOOD || (workers->count == 1 && !workers->fresh)) return code;
    fprintf(stderr, "gyre run: %s is for jobs that call gyre.crawl; this one did not\n",
            workers->count > 1 ? "--workers" : "--fresh");
    return EXIT_USAGE;
}

static int start(struct script *script, unsigned count, int fresh)
{
    struct gyre__workers workers;

    script->workers = &workers;
    gyre__workers_init(&workers, count, fresh);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    xmlInitParser(); /* before there are threads */
    catch_signals();
    int code = check_use(&workers, run_workers(script));
    curl_global_cleanup();
    gyre__workers_clear(&workers);
    return code;
}

int gyre__cli_verb(int argc, char **argv)
{
    struct script script = {1, argc, argv, NULL};
    return start(&script, 1, 0);
}

/* A number of workers, or 0. */
static unsigned read_count(const char *text)
{
    char *end;
    unsigned long count = text ? strtoul(text, &end, 10) : 0;
    return text && *text && !*end && count <= GYRE__MAX_WORKERS ? (unsigned)count : 0;
}

static int refuse_workers(void)
{
    fprintf(stderr, "gyre run: --workers takes a number from 1 to %d\n", GYRE__MAX_WORKERS);
    return -1;
}

/* Where the script's name should be. */
static int is_unknown(const char *text)
{
    return text[0] == '-' && text[1] && strcmp(text, "-h") != 0 && strcmp(text, "--help") != 0;
}

/* Takes gyre's own options out of the arguments, up to "--"; the rest is the script's. Returns how many are left, or -1
 * when something was wrong, which has been said. */
static int take_options(int argc, char **argv, unsigned *count, int *fresh)
{
    int kept = 1;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            while (++i < argc) argv[kept++] = argv[i];
        } else if (strcmp(argv[i], "--fresh") == 0) {
            *fresh = 1;
        } else if (strcmp(argv[i], "--workers") == 0) {
            if (!(*count = read_count(++i < argc ? argv[i] : NULL))) return refuse_workers();
        } else if (kept == 1 && is_unknown(argv[i])) {
            fprintf(stderr, "gyre run: unknown option '%s'; those of the job follow its name, but --workers and --fresh only "
                    "behind a --\n", argv[i]);
            return -1;
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    return kept;
}

int gyre__cli_run(int argc, char **argv)
{
    unsigned count = 1;
    int fresh = 0;

    if ((argc = take_options(argc, argv, &count, &fresh)) < 0) return EXIT_USAGE;
    if (argc >= 2 && strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0) {
        struct script script = {0, argc - 1, argv + 1, NULL};
        return start(&script, count, fresh);
    }
    return gyre__cli_verb(argc, argv); /* its usage is said in Lua, as every verb's */
}
