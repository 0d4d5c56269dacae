/*
 * gyre's benchmark: how far each operation is from what the machine can do at all.
 *
 *     bench [--quick] [--only PART]      PART of a row's name: "round-robin", "contention", "memory" ...
 *
 * Floor: one atomic add that nobody contends for plus one read of CLOCK_MONOTONIC_COARSE. "best" and "median" are of the
 * windows; "x floor" is the median of the ratios of each window to the floor beside it. Rows of two threads name the class of the line transfer
 * between the two processors (S below 24 ns, C below 80, X above, mix when it changed); "*": the machine was busy.
 * Exit code 0; with --strict 1 when a promise was missed.
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>

struct settings settings = {.rounds = 25, .window_ms = 5};

int main(int argc, char **argv)
{
    bool strict = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) settings.quick = true;
        else if (!strcmp(argv[i], "--strict")) strict = true;
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) settings.only = argv[++i];
        else {
            fprintf(stderr, "usage: bench [--quick] [--strict] [--only PART]\n");
            return 2;
        }
    }
    if (settings.quick) settings.rounds = 9, settings.window_ms = 2;
    double transfer = line_transfer();
    printf("gyre %s, floor %.2f ns, line transfer %.0f ns (%s)\n", gyre_version(), floor_ns(), transfer, line_class(transfer));
    printf("%-18s %-14s %8s %4s %-9s %8s %8s %8s  class\n", "what", "", "proxies", "", "", "best ns", "median", "x floor");
    bench_picks();
    bench_requests();
    bench_contention();
    bench_memory();
#ifdef SOURCE_DIR
    bench_hosted();
#endif
    if (settings.only && !table_rows()) {
        fprintf(stderr, "bench: there is no row whose name has '%s' in it\n", settings.only);
        return 2;
    }
    unsigned missed = promises_print();
    return strict && missed ? 1 : 0;
}
