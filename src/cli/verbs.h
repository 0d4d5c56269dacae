/* verbs.h: the verbs of the program, one file each. */
#ifndef GYRE_CLI_VERBS_H
#define GYRE_CLI_VERBS_H

#include <gyre/host.h>

/* Exit codes, the same for every verb. */
enum {
    EXIT_ALL_GOOD = 0,
    EXIT_SOME_FAILED = 1,
    EXIT_USAGE = 2, /* or an error in a script */
    EXIT_NO_PROXY = 3,
    EXIT_INTERRUPTED = 4,
};

/* argv[0] is the verb. Each returns an exit code. */
int gyre__cli_run(int argc, char **argv);
int gyre__cli_help(int argc, char **argv);
int gyre__cli_version(int argc, char **argv);

/* lua/ and strategies/ as they were when the program was built; made by embed.cmake. */
extern const struct gyre_source gyre__cli_modules[];
extern const size_t gyre__cli_module_count;
extern const struct gyre_source gyre__cli_strategies[];
extern const size_t gyre__cli_strategy_count;

#endif
