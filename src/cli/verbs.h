/* verbs.h: how main.c starts what was asked for. Every verb but `run` is a Lua module: lua/gyre/cli/init.lua. */
#ifndef GYRE_CLI_VERBS_H
#define GYRE_CLI_VERBS_H

#include <gyre/host.h>

/* Exit codes, the same for every verb; lua/gyre/cli/exit.lua has them too. */
enum {
    EXIT_ALL_GOOD = 0,
    EXIT_SOME_FAILED = 1,
    EXIT_USAGE = 2, /* or an error in a script */
    EXIT_NO_PROXY = 3,
    EXIT_INTERRUPTED = 4,
};

/* gyre run FILE: argv[0] is "run". Returns an exit code. */
int gyre__cli_run(int argc, char **argv);

/* Any other verb, argv[0]; argc may be 0. Returns an exit code. */
int gyre__cli_verb(int argc, char **argv);

/* Copies of the arguments, for as long as the process lives; in argv itself credentials are overwritten. NULL: no memory. */
char **gyre__cli_take_arguments(int argc, char **argv);

/* The lua_CFunction behind require "gyre.screen". */
int gyre__cli_screen_open(struct lua_State *L);

/* Gives the terminal back as it was, if a screen is shown. Async-signal-safe. */
void gyre__cli_screen_restore(void);

/* lua-cjson, linked into the program. */
int luaopen_cjson(struct lua_State *L);

/* lua/ and strategies/ as they were when the program was built; made by embed.cmake. */
extern const struct gyre_source gyre__cli_modules[];
extern const size_t gyre__cli_module_count;
extern const struct gyre_source gyre__cli_strategies[];
extern const size_t gyre__cli_strategy_count;

#endif
