/*
 * main.c: prepares the process and starts the verb.
 * Everything a verb prints for programs goes to stdout, everything for people to stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "verbs.h"

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

/*
 * A caller may have closed any of the first three. The next file to be opened would then be what messages are written to, and
 * libuv aborts when it closes one. The place is held by something that can be neither read nor written, so that it is an
 * error still.
 */
static void hold_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) continue;
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) _exit(EXIT_USAGE);
    }
}

/* What close_stdout() has no other way to know. */
static int is_verb, code;

/* Whoever read us has seen enough (`gyre run job.lua | head`): no reason for words. */
static int reader_has_left(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP));
}

/*
 * At the very end, also when a script calls os.exit(): output that is lost is a failure, of print() too, which tells
 * nobody. A verb that has failed has said why.
 */
static void close_stdout(void)
{
    errno = 0;
    int lost = fflush(stdout) != 0, why = errno;
    if (!lost && !ferror(stdout)) return;
    if (!(is_verb && code != EXIT_ALL_GOOD) && !reader_has_left())
        fprintf(stderr, "gyre: stdout: %s\n", why ? strerror(why) : "not all of it could be written");
    _exit(code == EXIT_ALL_GOOD ? EXIT_SOME_FAILED : code);
}

int main(int argc, char **argv)
{
    hold_standard_descriptors();
    atexit(close_stdout);
    protect_credentials();
    raise_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is an error of one request */
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is a full disk */

    argv = gyre__cli_take_arguments(argc, argv);
    if (!argv) {
        fputs("gyre: not enough memory to start\n", stderr);
        return EXIT_USAGE;
    }
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "--version") == 0 || strcmp(verb, "version") == 0) {
        printf("gyre %s (abi %d)\n", gyre_version(), gyre_abi());
        return EXIT_ALL_GOOD;
    }
    is_verb = strcmp(verb, "run") != 0;
    return code = is_verb ? gyre__cli_verb(argc - 1, argv + 1) : gyre__cli_run(argc - 1, argv + 1);
}
