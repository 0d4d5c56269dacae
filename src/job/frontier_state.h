/* frontier_state.h: what frontier.c (opening, committing) and schedule.c (URLs in and out) share. */
#ifndef GYRE_JOB_FRONTIER_STATE_H
#define GYRE_JOB_FRONTIER_STATE_H

#include <pthread.h>

#include "frontier.h"
#include "hosts.h"
#include "known.h"

struct gyre__frontier {
    pthread_mutex_t mutex;
    struct gyre__store store;
    struct gyre__output output;
    struct gyre__gate *gate;
    struct gyre__frontier_counts counts;
    int64_t next_rank;
    struct gyre__hosts hosts;
    struct gyre__known known;
    int64_t host_cursor;   /* where the search for hosts that are not loaded goes on */
    int more_hosts;        /* 1: some may not be loaded; 2: some that the cursor has passed */
    unsigned concurrency, places; /* places: taken and not yet given up */
    unsigned taken_pages;  /* of those, what was taken and has not ended */
    unsigned uncommitted;  /* ended, and keep their place until the commit */
    uint64_t max_pages;
    int max_depth, robots;
    struct gyre__gate_limits limits;
    int dirty;             /* something to commit */
    size_t stored_items;   /* bytes of output.items that are in the file already */
    int has_pending;       /* the file holds items that the output does not */
    double last_flush;
    int failed;
    char why[512];
};

/* Keeps the first reason, and makes every later call fail. Returns -1. Caller holds the mutex. */
int gyre__frontier_fail(struct gyre__frontier *frontier, const char *why);

/* Loads up to a few hosts that have something to do and are not in memory. Returns how many, or -1. Caller holds the
 * mutex. */
int gyre__schedule_load(struct gyre__frontier *frontier);

#endif
