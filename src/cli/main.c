/*
 * main.c: finds the verb and prepares the process for it.
 * Everything a verb prints for programs goes to stdout, everything for people to stderr.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "verbs.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"run", gyre__cli_run},         {"help", gyre__cli_help},           {"--help", gyre__cli_help},
    {"-h", gyre__cli_help},         {"--version", gyre__cli_version},   {"version", gyre__cli_version},
};

/*
 * Proxy credentials are in this process's memory, in Lua strings among other places. Not dumpable means no core file,
 * not even to a crash collector that a limit on core files would not stop, and no debugger by another process of the
 * same user. The price is that gdb and perf need GYRE_COREDUMP=1.
 */
static void protect_credentials(void)
{
    const char *allowed = getenv("GYRE_COREDUMP");
    if (!allowed || strcmp(allowed, "1") != 0) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* Every connection is a descriptor, and the usual soft limit of 1024 is for programs that use select(). */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    protect_credentials();
    raise_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is an error of one request */

    const char *name = argc > 1 ? argv[1] : NULL;
    for (size_t i = 0; name && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(name, verbs[i].name) == 0) return verbs[i].run(argc - 1, argv + 1);
    if (name) fprintf(stderr, "gyre: no verb '%s'; gyre help lists them\n", name);
    else fputs("gyre: no verb given; gyre help lists them\n", stderr);
    return EXIT_USAGE;
}
