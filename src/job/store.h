/*
 * store.h: a crawl's state in an SQLite file: URLs, hosts, robots.txt, items not yet in the output, and where that ends.
 *
 * One connection in write-ahead mode. Everything between two calls of gyre__store_commit() is one transaction: after a
 * kill at any moment the file is as it was after one of them. Commits are not synced by themselves (SQLite's
 * synchronous=NORMAL): after a power failure the state is that of an earlier commit, never a damaged one; `sync` in the
 * options makes each commit wait for the disk.
 *
 * Not thread-safe: frontier.c calls it under its mutex. Functions return 0 or more, or -1 with `why` set.
 */
#ifndef GYRE_JOB_STORE_H
#define GYRE_JOB_STORE_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "weburl.h"

enum {
    GYRE__STORE_FORMAT = 2,             /* a state of another one is refused */
    GYRE__STORE_ID = 0x67797265,        /* "gyre", SQLite's application_id */
    GYRE__STORE_COUNTS = 12,
};

/* What has become of a URL; the numbers are in the file. */
enum gyre__url_state {
    GYRE__URL_WAITING = 0,
    GYRE__URL_DONE = 1,
    GYRE__URL_FAILED = 2,
    GYRE__URL_REFUSED = 3,   /* by robots.txt */
    GYRE__URL_MOVED = 4,     /* a redirect, whose target is a URL of its own */
    GYRE__URL_HELD_BACK = 5, /* waits for another run: the host's robots.txt could not be read */
};

/* The statements, one each for the life of the connection. */
enum gyre__statement {
    GYRE__SQL_BEGIN, GYRE__SQL_COMMIT, GYRE__SQL_META_SET, GYRE__SQL_META_GET, GYRE__SQL_HOST_FIND, GYRE__SQL_HOST_ADD,
    GYRE__SQL_HOST_NAME, GYRE__SQL_HOST_NEXT, GYRE__SQL_URL_FIND, GYRE__SQL_URL_ADD, GYRE__SQL_URL_READ, GYRE__SQL_URL_STATE,
    GYRE__SQL_URL_AGAIN, GYRE__SQL_URL_QUEUE, GYRE__SQL_HOLD_BACK, GYRE__SQL_ROBOTS_SET, GYRE__SQL_ROBOTS_GET,
    GYRE__SQL_PENDING_ADD, GYRE__SQL_PENDING_GET, GYRE__SQL_PENDING_CLEAR, GYRE__SQL_COUNT
};

struct gyre__store {
    sqlite3 *db;
    sqlite3_stmt *statements[GYRE__SQL_COUNT];
    int lock;      /* descriptor that holds the lock, or -1 */
    int in_batch;  /* a transaction is open */
    char why[512];
};

/* One URL as it waits. Texts live until the statement is used again. */
struct gyre__store_url {
    int64_t id, rank;
    int priority, depth, hops, tries;
    const char *url, *referrer, *data; /* the last two may be NULL */
};

/*
 * Opens the state at `path`, or makes it; NULL: a temporary one that nobody else sees. `job` says whose it is. A file of
 * another job, of another format, of no crawl at all, or in use is an error. Returns 1 when there was a state of this job
 * already, else 0.
 */
int gyre__store_open(struct gyre__store *store, const char *path, const char *job, int fresh, int sync);

/* Ends the open transaction without effect. */
void gyre__store_close(struct gyre__store *store);

/* Forgets all URLs, hosts and items; what robots.txt files said is kept for its 24 hours. */
int gyre__store_clear(struct gyre__store *store);

/* A statement ready to be bound, in a transaction. */
sqlite3_stmt *gyre__store_use(struct gyre__store *store, enum gyre__statement which);

/* Runs one that returns no row; resets it. */
int gyre__store_run(struct gyre__store *store, sqlite3_stmt *statement);

/* Runs one to its next row: 1, or 0 when there is none. The caller resets it. */
int gyre__store_step(struct gyre__store *store, sqlite3_stmt *statement);

int gyre__store_commit(struct gyre__store *store);

/* Sets *changed to the rows changed by SQL text without a result. For rare things. */
int gyre__store_execute(struct gyre__store *store, const char *sql, int64_t *changed);

/* Numbers and texts by name. get returns 1, or 0: never set. */
int gyre__store_set(struct gyre__store *store, const char *name, const void *value, size_t size);
int gyre__store_get(struct gyre__store *store, const char *name, void *value, size_t size, size_t *got);

#endif
