/*
 * frontier.h: what a crawl has still to do, has done, and has brought home.
 *
 * URLs wait in a queue per host (scheme, host and port), best first: by priority, then in the order they came. A host's
 * turn comes when its gate (polite.h) lets one more request through; hosts that may be asked take turns. What a page led
 * to, its items and its end are stored together or not at all. A page keeps its place among the `concurrency` until that
 * is committed: a kill never costs more pages fetched again than there are places.
 *
 * Memory is bounded: at most GYRE__MAX_HOSTS hosts are loaded, each with the next GYRE__QUEUE of its URLs; the rest, and
 * all that is known of URLs seen before, is in the state file.
 *
 * Any thread; a call holds one mutex. Functions that can fail return -1, and gyre__frontier_why() tells why; after a
 * failed write every later call fails too, and what is in the file is the last commit.
 */
#ifndef GYRE_JOB_FRONTIER_H
#define GYRE_JOB_FRONTIER_H

#include "output.h"
#include "polite.h"
#include "store.h"

struct gyre__frontier;

enum { GYRE__MAX_HOSTS = 4096, GYRE__QUEUE = 32 };

struct gyre__frontier_options {
    const char *path;      /* of the state; NULL: a temporary one */
    const char *job;       /* what the crawl is; another job's state is refused */
    int fresh;             /* start over */
    int sync;              /* commits wait for the disk */
    unsigned concurrency;  /* pages at a time */
    uint64_t max_pages;    /* 0: any number */
    int max_depth;         /* -1: any */
    int robots;            /* ask each host for its robots.txt first */
    struct gyre__gate_limits limits; /* of each host over all proxies */
    struct gyre__output_options output;
    const char *format;    /* of the items in it; a state whose output is of another one is refused */
};

/* The numbers are the places of the counts in the state file. */
struct gyre__frontier_counts {
    int64_t waiting;   /* under way included */
    int64_t done, failed, refused, moved, held_back;
    int64_t too_deep;  /* links not followed for their depth */
    int64_t items, bytes;
    int64_t finished;  /* 1: the crawl of this state came to its end */
    int64_t reserve[2];
};

enum gyre__take { GYRE__TAKE_PAGE, GYRE__TAKE_ROBOTS, GYRE__TAKE_WAIT, GYRE__TAKE_FULL, GYRE__TAKE_ENOUGH, GYRE__TAKE_EMPTY };

/* What to fetch. Texts belong to the taker, who calls gyre__taken_clear(). */
struct gyre__taken {
    int64_t id;       /* 0: the host's robots.txt */
    int64_t host;
    int priority, depth, hops, tries;
    int64_t rank;
    double began;
    char *url, *referrer, *data;
    char *origin;     /* scheme://host[:port] */
};

/* A URL to add, in normal form. */
struct gyre__follow {
    const char *url;
    size_t size, path; /* see weburl.h */
    const char *data;  /* NULL: none */
    int priority, depth, hops;
};

/* How a page ended; AGAIN puts it at the end of its queue, BACK to where it was. */
enum gyre__end { GYRE__END_DONE, GYRE__END_FAILED, GYRE__END_REFUSED, GYRE__END_MOVED, GYRE__END_AGAIN, GYRE__END_BACK };

struct gyre__finish {
    enum gyre__end end;
    enum gyre__gate_answer answer;
    double retry_after;  /* seconds, < 0: none */
    const struct gyre__follow *follows;
    size_t follow_count;
    const char *const *items;
    const size_t *item_sizes;
    size_t item_count;
};

/* What a host's robots.txt was: `status` 0 when it could not be had, and its pages wait for another run. */
struct gyre__robots {
    int status;
    double delay; /* Crawl-delay in seconds, < 0: none */
    const char *body;
    size_t size;
};

/* Opens state and output. *resumed: the state held an unfinished crawl of this job. NULL with a text in `why`. */
struct gyre__frontier *gyre__frontier_open(const struct gyre__frontier_options *options, int *resumed, char *why,
                                           size_t why_size);

/* Commits and writes out what there is unless something failed before. Returns 0 or -1 with a text in `why`. */
int gyre__frontier_close(struct gyre__frontier *frontier, char *why, size_t why_size);

/* Adds URLs that no page led to. Returns how many are new. */
int64_t gyre__frontier_add(struct gyre__frontier *frontier, const struct gyre__follow *follows, size_t count);

/* One of enum gyre__take; *wait: seconds until it is worth asking again. ENOUGH and EMPTY: nothing more will come. */
int gyre__frontier_take(struct gyre__frontier *frontier, double now, struct gyre__taken *taken, double *wait);
void gyre__taken_clear(struct gyre__taken *taken);

/* Ends what was taken. */
int gyre__frontier_finish(struct gyre__frontier *frontier, const struct gyre__taken *taken, double now,
                          const struct gyre__finish *finish);

/* Ends what was taken as robots.txt. Returns how many URLs are held back because of it. */
int64_t gyre__frontier_robots(struct gyre__frontier *frontier, const struct gyre__taken *taken, double now,
                              const struct gyre__finish *finish, const struct gyre__robots *robots);

/* The stored robots.txt of an origin: its status, or -1; *body must be freed. */
int gyre__frontier_robots_text(struct gyre__frontier *frontier, const char *origin, char **body, size_t *size);

/* Makes everything so far permanent. Returns how many pages have given up their place. */
int gyre__frontier_commit(struct gyre__frontier *frontier, double now);

/* Pages that wait for a commit. */
unsigned gyre__frontier_uncommitted(struct gyre__frontier *frontier);

/* The first bytes of every output file: what the first caller says counts. *out must be freed. */
int gyre__frontier_header(struct gyre__frontier *frontier, const char *bytes, size_t size, char **out, size_t *out_size);

/* The crawl has come to its end: the next run starts over. */
int gyre__frontier_set_finished(struct gyre__frontier *frontier);

struct gyre__frontier_counts gyre__frontier_count(struct gyre__frontier *frontier);
struct gyre__gate *gyre__frontier_gate(struct gyre__frontier *frontier);
uint64_t gyre__frontier_syncs(struct gyre__frontier *frontier);
const char *gyre__frontier_why(struct gyre__frontier *frontier);

#endif
