/* frontiers.h: what the tests of the frontier share: opening one, adding URLs by text, walking it to its end. */
#ifndef GYRE_TESTS_JOB_FRONTIERS_H
#define GYRE_TESTS_JOB_FRONTIERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "job/frontier.h"

static char frontiers_folder[] = "/tmp/gyre-frontier.XXXXXX";

static inline const char *frontiers_path(const char *name)
{
    static char paths[64][256];
    static int turn;
    char *to = paths[turn++ % 64];
    snprintf(to, sizeof paths[0], "%s/%s", frontiers_folder, name);
    return to;
}

static inline struct gyre__frontier_options frontiers_options(const char *name)
{
    return (struct gyre__frontier_options){
        .path = name ? frontiers_path(name) : NULL, .job = "test", .concurrency = 1000, .max_depth = -1};
}

static inline struct gyre__frontier *frontiers_open(const struct gyre__frontier_options *options, int wanted)
{
    char why[512];
    int resumed;
    struct gyre__frontier *frontier = gyre__frontier_open(options, &resumed, why, sizeof why);
    if (!frontier) fail_msg("%s", why);
    assert_int_equal(resumed, wanted);
    return frontier;
}

static inline void frontiers_close(struct gyre__frontier *frontier)
{
    char why[512];
    assert_int_equal(gyre__frontier_close(frontier, why, sizeof why), 0);
}

static inline struct gyre__follow frontiers_follow(const char *url, int priority, int depth)
{
    return (struct gyre__follow){.url = url, .size = strlen(url), .path = (size_t)(strchr(url + 8, '/') - url),
                                 .priority = priority, .depth = depth};
}

static inline int64_t frontiers_add(struct gyre__frontier *frontier, const char *url, int priority)
{
    struct gyre__follow follow = frontiers_follow(url, priority, 0);
    return gyre__frontier_add(frontier, &follow, 1);
}

/* Takes a page that must be there. */
static inline struct gyre__taken frontiers_take(struct gyre__frontier *frontier, double now)
{
    struct gyre__taken taken;
    double wait;
    int kind = gyre__frontier_take(frontier, now, &taken, &wait);
    if (kind != GYRE__TAKE_PAGE) fail_msg("take said %d, wait %g: %s", kind, wait, gyre__frontier_why(frontier));
    return taken;
}

static inline void frontiers_end(struct gyre__frontier *frontier, struct gyre__taken *taken, enum gyre__end end, double now)
{
    struct gyre__finish finish = {.end = end, .retry_after = -1};
    assert_int_equal(gyre__frontier_finish(frontier, taken, now, &finish), 0);
    gyre__taken_clear(taken);
}

static inline int frontiers_begin(void **state)
{
    (void)state;
    return mkdtemp(frontiers_folder) ? 0 : -1;
}

static inline int frontiers_finish(void **state)
{
    char command[300];
    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", frontiers_folder);
    return system(command);
}

#endif
