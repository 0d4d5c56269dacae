/*
 * frontier.c: opening a crawl's state, and making it permanent.
 * Owns the store, the output, the gate and the hosts of a crawl. What goes in and out of the queues is in schedule.c.
 */
#include "frontier_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

static const double FLUSH_EVERY = 1.0;        /* seconds an item waits at most before it is in the output */
static const double FLUSH_STDOUT_EVERY = 0.1; /* likewise, where somebody reads along */

/* Where the output stood at the last commit, as it lies in the state. */
struct position {
    uint64_t file, position;
};

int gyre__frontier_fail(struct gyre__frontier *frontier, const char *why)
{
    if (!frontier->failed) snprintf(frontier->why, sizeof frontier->why, "%s", why);
    frontier->failed = 1;
    return -1;
}

static int fail_store(struct gyre__frontier *frontier)
{
    return gyre__frontier_fail(frontier, frontier->store.why);
}

static int fail_output(struct gyre__frontier *frontier)
{
    return gyre__frontier_fail(frontier, frontier->output.why);
}

/* What a host's robots.txt held back waits again. */
static int release_held_back(struct gyre__frontier *frontier)
{
    int64_t changed;

    if (frontier->counts.held_back == 0) return 0;
    if (gyre__store_execute(&frontier->store, "UPDATE url SET state = 0 WHERE state = 5", &changed) < 0 ||
        gyre__store_execute(&frontier->store, "DELETE FROM robots WHERE status = 0", NULL) < 0)
        return -1;
    frontier->counts.waiting += changed;
    frontier->counts.held_back = 0;
    return 0;
}

/* Items that were stored and not written. */
static int restore_items(struct gyre__frontier *frontier)
{
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_PENDING_GET);
    int row;

    while ((row = gyre__store_step(&frontier->store, statement)) > 0) {
        size_t size = (size_t)sqlite3_column_bytes(statement, 0);
        if (gyre__output_restore(&frontier->output, sqlite3_column_blob(statement, 0), size) < 0) row = fail_output(frontier);
        if (row < 0) break;
        frontier->has_pending = 1;
    }
    sqlite3_reset(statement);
    frontier->stored_items = frontier->output.size;
    return row;
}

static int read_header(struct gyre__frontier *frontier)
{
    char header[4096];
    size_t size;
    int got = gyre__store_get(&frontier->store, "header", header, sizeof header, &size);
    if (got > 0 && gyre__output_header(&frontier->output, header, size) < 0) return fail_output(frontier);
    return got;
}

/* Keeps a text in the state, or looks whether it is the one kept there. Returns 1: it is another one, then `known` has it. */
static int keep_text(struct gyre__frontier *frontier, const char *name, const char *text, char *known, size_t room)
{
    size_t size;
    int got = gyre__store_get(&frontier->store, name, known, room - 1, &size);

    if (got == 0) return gyre__store_set(&frontier->store, name, text, strlen(text));
    if (got < 0) return -1;
    known[size] = '\0';
    return strcmp(known, text) != 0;
}

static const char *shown(const char *path)
{
    return *path ? path : "(none, or standard output)";
}

/* Whose output the state knows the length of, and what is in it. */
static int check_output(struct gyre__frontier *frontier, const struct gyre__frontier_options *options)
{
    const struct gyre__output_options *output = &options->output;
    const char *format = options->format ? options->format : "", *path = output->path ? output->path : "";
    char known[4096];
    char now[4096];
    char *why = frontier->store.why;
    size_t room = sizeof frontier->store.why;

    snprintf(now, sizeof now, "%d %s", (int)output->compression, path);
    int other = keep_text(frontier, "output", now, known, sizeof known);
    if (other > 0) {
        const char *space = strchr(known, ' ');
        snprintf(why, room, "the state belongs to the output %.200s, not %.200s: use another state, or start over with --fresh",
                 shown(space ? space + 1 : known), shown(path));
        return -1;
    }
    if (other == 0) other = keep_text(frontier, "format", format, known, sizeof known);
    if (other > 0) {
        snprintf(why, room, "the output %.200s is %.20s so far, not %.20s: use another one, or start over with --fresh",
                 shown(path), known, format);
        return -1;
    }
    return other;
}

/* The output would be written over the state, by whatever name. */
static int is_state(const struct gyre__frontier *frontier, const char *path)
{
    struct stat state, output;

    return path && frontier->store.lock >= 0 && fstat(frontier->store.lock, &state) == 0 && stat(path, &output) == 0 &&
           state.st_dev == output.st_dev && state.st_ino == output.st_ino;
}

/* The key of the hashes in the state: drawn with it. */
static int read_key(struct gyre__frontier *frontier)
{
    uint64_t *key = frontier->known.key;
    size_t size = sizeof frontier->known.key;
    int got = gyre__store_get(&frontier->store, "key", key, size, &size);

    if (got < 0) return fail_store(frontier);
    if (got > 0 && size == sizeof frontier->known.key) return 0;
    if (got > 0) return gyre__frontier_fail(frontier, "the state is damaged: it has no key");
    if (getrandom(key, sizeof frontier->known.key, 0) != (ssize_t)sizeof frontier->known.key)
        return gyre__frontier_fail(frontier, "the system has no random number");
    return gyre__store_set(&frontier->store, "key", key, sizeof frontier->known.key) < 0 ? fail_store(frontier) : 0;
}

static int load(struct gyre__frontier *frontier, const struct gyre__frontier_options *options)
{
    struct position position = {0, 0};
    size_t size;

    if (is_state(frontier, options->output.path)) return gyre__frontier_fail(frontier, "the output and the state are one file");
    if (check_output(frontier, options) < 0) return fail_store(frontier);
    if (read_key(frontier) < 0) return -1;
    if (gyre__store_get(&frontier->store, "position", &position, sizeof position, &size) < 0) return fail_store(frontier);
    if (gyre__output_open(&frontier->output, &options->output, (uint32_t)position.file, position.position) < 0)
        return fail_output(frontier);
    if (read_header(frontier) < 0 || restore_items(frontier) < 0 || release_held_back(frontier) < 0)
        return fail_store(frontier);
    frontier->more_hosts = 1;
    while (frontier->more_hosts && gyre__schedule_load(frontier) > 0) {}
    return frontier->failed ? -1 : 0;
}

static int read_counts(struct gyre__frontier *frontier)
{
    size_t size;
    memset(&frontier->counts, 0, sizeof frontier->counts);
    frontier->next_rank = 1;
    if (gyre__store_get(&frontier->store, "counts", &frontier->counts, sizeof frontier->counts, &size) < 0) return -1;
    return gyre__store_get(&frontier->store, "rank", &frontier->next_rank, sizeof frontier->next_rank, &size);
}

/* Returns 1: an unfinished crawl goes on; 2: a finished one starts over; 0: a new one. */
static int open_store(struct gyre__frontier *frontier, const struct gyre__frontier_options *options)
{
    struct gyre__store *store = &frontier->store;
    int known = gyre__store_open(store, options->path, options->job, options->fresh, options->sync);

    if (known < 0 || read_counts(frontier) < 0) return fail_store(frontier);
    if (!frontier->counts.finished) return known && frontier->counts.waiting + frontier->counts.held_back + frontier->counts.done > 0;
    if (gyre__store_clear(store) < 0 || gyre__store_set(store, "job", options->job, strlen(options->job)) < 0 ||
        read_counts(frontier) < 0)
        return fail_store(frontier);
    return 2;
}

static void destroy(struct gyre__frontier *frontier)
{
    gyre__store_close(&frontier->store);
    gyre__output_close(&frontier->output);
    gyre__gate_delete(frontier->gate);
    gyre__hosts_clear(&frontier->hosts);
    gyre__known_clear(&frontier->known);
    pthread_mutex_destroy(&frontier->mutex);
    free(frontier);
}

struct gyre__frontier *gyre__frontier_open(const struct gyre__frontier_options *options, int *resumed, char *why,
                                           size_t why_size)
{
    struct gyre__frontier *frontier = calloc(1, sizeof *frontier);

    snprintf(why, why_size, "not enough memory");
    if (!frontier) return NULL;
    pthread_mutex_init(&frontier->mutex, NULL);
    frontier->store.lock = frontier->output.fd = -1;
    frontier->concurrency = options->concurrency;
    frontier->max_pages = options->max_pages;
    frontier->max_depth = options->max_depth;
    frontier->robots = options->robots;
    frontier->limits = options->limits;
    frontier->last_flush = -INFINITY;
    frontier->gate = gyre__gate_new(options->limits);
    if (frontier->gate && (*resumed = open_store(frontier, options)) >= 0 && load(frontier, options) == 0) return frontier;
    if (frontier->failed) snprintf(why, why_size, "%s", frontier->why);
    destroy(frontier);
    return NULL;
}

/* Writes the collected items to the output and says in the state that they are there. */
static int flush(struct gyre__frontier *frontier, double now)
{
    frontier->last_flush = now;
    if (frontier->output.size == 0) return 0;
    if (gyre__output_flush(&frontier->output) < 0) return fail_output(frontier);
    struct position position = {frontier->output.file, frontier->output.position};
    frontier->stored_items = 0;
    if (gyre__store_set(&frontier->store, "position", &position, sizeof position) < 0) return fail_store(frontier);
    if (frontier->has_pending &&
        gyre__store_run(&frontier->store, gyre__store_use(&frontier->store, GYRE__SQL_PENDING_CLEAR)) < 0)
        return fail_store(frontier);
    frontier->has_pending = 0;
    return 0;
}

/* Puts the items that came since the last commit into the state: the output gets them with its next chunk. */
static int keep_items(struct gyre__frontier *frontier)
{
    struct gyre__output *output = &frontier->output;

    if (output->size == frontier->stored_items) return 0;
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_PENDING_ADD);
    sqlite3_bind_blob64(statement, 1, output->items + frontier->stored_items, output->size - frontier->stored_items,
                        SQLITE_STATIC);
    if (gyre__store_run(&frontier->store, statement) < 0) return fail_store(frontier);
    frontier->stored_items = output->size;
    frontier->has_pending = 1;
    return 0;
}

static int is_flush_due(const struct gyre__frontier *frontier, double now)
{
    const char *path = frontier->output.path;
    double every = path && strcmp(path, "-") == 0 ? FLUSH_STDOUT_EVERY : FLUSH_EVERY;
    /* A compressed file waits for a whole chunk. */
    if (frontier->output.compression != GYRE__PLAIN) every = INFINITY;
    return gyre__output_is_full(&frontier->output) || now - frontier->last_flush >= every;
}

/* Caller holds the mutex. */
static int commit(struct gyre__frontier *frontier, double now, int everything)
{
    struct gyre__store *store = &frontier->store;

    if (frontier->failed) return -1;
    if (!frontier->dirty && !(everything && frontier->output.size > 0)) return 0;
    if ((everything || is_flush_due(frontier, now)) && flush(frontier, now) < 0) return -1;
    if (keep_items(frontier) < 0) return -1;
    if (gyre__store_set(store, "counts", &frontier->counts, sizeof frontier->counts) < 0 ||
        gyre__store_set(store, "rank", &frontier->next_rank, sizeof frontier->next_rank) < 0 ||
        gyre__store_commit(store) < 0)
        return fail_store(frontier);
    gyre__output_stored(&frontier->output);
    int freed = (int)frontier->uncommitted;
    frontier->places -= frontier->uncommitted;
    frontier->uncommitted = 0;
    frontier->dirty = 0;
    return freed;
}

int gyre__frontier_commit(struct gyre__frontier *frontier, double now)
{
    pthread_mutex_lock(&frontier->mutex);
    int freed = commit(frontier, now, 0);
    pthread_mutex_unlock(&frontier->mutex);
    return freed;
}

int gyre__frontier_close(struct gyre__frontier *frontier, char *why, size_t why_size)
{
    pthread_mutex_lock(&frontier->mutex);
    int result = commit(frontier, 0, 1) < 0 ? -1 : 0;
    snprintf(why, why_size, "%s", frontier->why);
    pthread_mutex_unlock(&frontier->mutex);
    destroy(frontier);
    return result;
}

int gyre__frontier_header(struct gyre__frontier *frontier, const char *bytes, size_t size, char **out, size_t *out_size)
{
    struct gyre__output *output = &frontier->output;
    int result = 0;

    *out = NULL;
    pthread_mutex_lock(&frontier->mutex);
    if (!output->header && bytes) {
        if (size > 4096) result = gyre__frontier_fail(frontier, "the heading of the CSV is longer than 4096 bytes");
        else if (gyre__store_set(&frontier->store, "header", bytes, size) < 0) result = fail_store(frontier);
        else if (gyre__output_header(output, bytes, size) < 0) result = fail_output(frontier);
    }
    if (result == 0 && output->header && (*out = malloc(output->header_size + 1))) {
        memcpy(*out, output->header, output->header_size);
        *out_size = output->header_size;
    }
    pthread_mutex_unlock(&frontier->mutex);
    return result;
}

int gyre__frontier_set_finished(struct gyre__frontier *frontier)
{
    pthread_mutex_lock(&frontier->mutex);
    frontier->counts.finished = 1;
    frontier->dirty = 1;
    int result = commit(frontier, 0, 1) < 0 ? -1 : 0;
    pthread_mutex_unlock(&frontier->mutex);
    return result;
}

struct gyre__frontier_counts gyre__frontier_count(struct gyre__frontier *frontier)
{
    pthread_mutex_lock(&frontier->mutex);
    struct gyre__frontier_counts counts = frontier->counts;
    pthread_mutex_unlock(&frontier->mutex);
    return counts;
}

unsigned gyre__frontier_uncommitted(struct gyre__frontier *frontier)
{
    pthread_mutex_lock(&frontier->mutex);
    unsigned count = frontier->uncommitted;
    pthread_mutex_unlock(&frontier->mutex);
    return count;
}

uint64_t gyre__frontier_syncs(struct gyre__frontier *frontier)
{
    pthread_mutex_lock(&frontier->mutex);
    uint64_t syncs = frontier->output.syncs;
    pthread_mutex_unlock(&frontier->mutex);
    return syncs;
}

struct gyre__gate *gyre__frontier_gate(struct gyre__frontier *frontier)
{
    return frontier->gate;
}

const char *gyre__frontier_why(struct gyre__frontier *frontier)
{
    return frontier->why;
}
