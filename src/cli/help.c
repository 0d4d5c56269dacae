/* help.c: gyre help, gyre --version. */
#include <stdio.h>

#include "verbs.h"

static const char text[] =
    "usage: gyre run JOB.lua [ARGUMENT...]   run a job: a Lua script that makes requests through a pool\n"
    "       gyre help                        this text\n"
    "       gyre --version                   version and ABI number\n"
    "\n"
    "Exit status: 0 all good, 1 some failed, 2 usage or script error, 3 no usable proxy, 4 interrupted.\n"
    "Ctrl-C lets requests in flight finish; a second one stops at once.\n"
    "\n"
    "environment\n"
    "  GYRE_LUA_PATH       directory of Lua modules to use instead of the built-in ones\n"
    "  GYRE_STRATEGY_PATH  directory of strategies, likewise\n"
    "  GYRE_COREDUMP=1     allow core dumps and debuggers; a dump may hold credentials\n";

int gyre__cli_help(int argc, char **argv)
{
    (void)argc, (void)argv;
    fputs(text, stdout);
    return EXIT_ALL_GOOD;
}

int gyre__cli_version(int argc, char **argv)
{
    (void)argc, (void)argv;
    printf("gyre %s (abi %d)\n", gyre_version(), gyre_abi());
    return EXIT_ALL_GOOD;
}
