/*
 * What the files of the benchmark share. Each figure is nanoseconds of one operation and, beside it, its ratio to a
 * floor measured in windows that alternate with its own.
 */
#ifndef GYRE_BENCH_H
#define GYRE_BENCH_H

#include <gyre/gyre.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_WORKERS = 128, MAX_ROUNDS = 64 };

struct settings {
    bool quick;
    const char *only; /* part of a row's name, or NULL */
    unsigned rounds;
    double window_ms;
};
extern struct settings settings;

/* One kind of work. `run` does `count` operations as worker `worker`; it must not measure or print. */
struct work {
    void (*run)(void *context, unsigned worker, uint64_t count);
    void *context;
    uint64_t least; /* operations of a window, for work whose cost is spread over so many; 0: as many as fit */
};

struct figure {
    double best, median;             /* ns of an operation; of all workers together: wall / operations */
    double floor_best;               /* of the windows in between, one thread */
    double ratio;                    /* median over the pairs of a window and the floor next to it */
    char class[8];                   /* of the line transfer: S, C, X, or "-" with one worker */
    bool dirty;                      /* the machine was busy: the workers got less than 90 % of their processors, or most
                                      * floors around windows were a sixth above the best of the run */
};

/* measure.c */
double now_ns(void);
struct figure measure(const struct work *work, unsigned workers, bool processes);
/* One-way transfer of a cache line between processors 0 and 1, ns. */
double line_transfer(void);
const char *line_class(double ns);
/* The floor alone, for a header line. */
double floor_ns(void);

/* table.c */
unsigned table_rows(void); /* printed so far */
void table_row(const char *what, const char *variant, uint32_t n, unsigned workers, bool processes, struct figure figure);
void table_skip(const char *what, const char *variant, const char *why);
void table_memory(const char *what, double bytes);
/* A promise of the design: `value` against `limit`, "at most" or "at least". Remembered for the list at the end. */
void promise(const char *text, double value, double limit, bool at_least);
/* Prints that list; the number of promises missed. */
unsigned promises_print(void);
bool wanted(const char *what, const char *variant);

/* Subjects: picks.c, requests.c, memory.c */
struct gyre_pool *pool_with(uint32_t n, uint32_t max_sessions);
uint64_t id_of(struct gyre_pool *pool, uint32_t nth);
const char *picker_name(uint32_t picker);
bool picker_exists(uint32_t picker);
void bench_picks(void);
void bench_contention(void);
void bench_requests(void);
void bench_memory(void);
void bench_hosted(void); /* hosted.c, where there is a host */

#endif
