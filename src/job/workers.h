/*
 * workers.h: what the Lua states of one job share: which of them is which, counters, and how a crawl of all begins and
 * ends. Worker 1 runs the script first; when it has opened everything, the others run it too.
 */
#ifndef GYRE_JOB_WORKERS_H
#define GYRE_JOB_WORKERS_H

#include <pthread.h>

#include "host/host.h"

enum { GYRE__MAX_WORKERS = 64, GYRE__MAX_SHARED = 256, GYRE__MAX_POOLS = 16 };

struct gyre__shared_counter {
    char name[48];
    double value;
};

struct gyre__workers {
    unsigned count;
    int fresh;               /* --fresh */
    pthread_mutex_t mutex;   /* of all below */
    pthread_cond_t changed;
    int is_open, is_over;    /* the others may begin; or never will */
    unsigned running;        /* of the others */
    char has_left[GYRE__MAX_WORKERS]; /* by number: it is none of them any more */
    char stop[16], why[512]; /* why all stop; "": they do not */
    char *reports[GYRE__MAX_WORKERS]; /* what each leaves for worker 1 */
    unsigned report_count;
    struct gyre__shared_counter counters[GYRE__MAX_SHARED];
    unsigned counter_count;
    double pools[GYRE__MAX_POOLS]; /* addresses of worker 1's private pools, in the order they were opened */
};

void gyre__workers_init(struct gyre__workers *workers, unsigned count, int fresh);
void gyre__workers_clear(struct gyre__workers *workers);

/* Makes require "gyre.workers" work in the state of worker `number`, from 1 on. Returns 0 or GYRE_ESYSTEM. */
int gyre__workers_attach(struct gyre_host *host, struct gyre__workers *workers, unsigned number);

/* A thread of another worker: waits until it may begin. Returns 0 when it never will. */
int gyre__workers_wait(struct gyre__workers *workers);

/* Worker 1 has ended. */
void gyre__workers_over(struct gyre__workers *workers);

/* Another worker's state has ended: when it had not left the crawl, all stop. */
void gyre__workers_ended(struct gyre__workers *workers, unsigned number);

#endif
