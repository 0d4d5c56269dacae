/*
 * schedule.c: URLs into a frontier, out of it, and their end.
 * Owns nothing: works on a frontier's hosts and store under its mutex, which every public function here takes.
 */
#include "frontier_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOAD_AT_ONCE = 64 };

static const int64_t ROBOTS_LIFE = 86400;    /* seconds: RFC 9309, 2.4 */
static const int64_t HOPELESS_LIFE = 600;    /* seconds until a robots.txt that could not be had is asked for again */

static int64_t seconds_since_1970(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

static int fail_store(struct gyre__frontier *frontier)
{
    return gyre__frontier_fail(frontier, frontier->store.why);
}

static int fail_memory(struct gyre__frontier *frontier)
{
    return gyre__frontier_fail(frontier, "not enough memory");
}

/* What is known of the host's robots.txt from before. */
static int recall_robots(struct gyre__frontier *frontier, struct gyre__host *host)
{
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_ROBOTS_GET);
    sqlite3_bind_text(statement, 1, host->origin, -1, SQLITE_STATIC);
    int found = gyre__store_step(&frontier->store, statement);

    if (found < 0) return fail_store(frontier);
    if (found > 0) {
        int status = sqlite3_column_int(statement, 1);
        double delay = sqlite3_column_double(statement, 2);
        host->robots_expires = sqlite3_column_int64(statement, 0) + (status ? ROBOTS_LIFE : HOPELESS_LIFE);
        host->robots = status ? GYRE__ROBOTS_KNOWN : GYRE__ROBOTS_HOPELESS;
        if (host->robots_expires <= seconds_since_1970()) {
            host->robots = GYRE__ROBOTS_UNKNOWN;
        } else if (status && delay >= 0) {
            struct gyre__gate_limits limits = {delay > frontier->limits.delay ? delay : frontier->limits.delay, 1};
            gyre__gate_limit(frontier->gate, host->authority, limits);
        }
    }
    sqlite3_reset(statement);
    return 0;
}

static void forgotten(void *data, struct gyre__host *host)
{
    struct gyre__frontier *frontier = data;
    gyre__gate_release(frontier->gate, host->authority);
}

/* A host in memory: NULL when there is no room (or after a failure). */
static struct gyre__host *load_host(struct gyre__frontier *frontier, int64_t id, const char *origin, size_t size,
                                    int complete)
{
    if (frontier->hosts.count == GYRE__MAX_HOSTS && !gyre__hosts_evict(&frontier->hosts, forgotten, frontier)) return NULL;
    struct gyre__host *host = gyre__hosts_add(&frontier->hosts, id, origin, size);
    if (!host) {
        fail_memory(frontier);
        return NULL;
    }
    host->complete = complete;
    host->robots = GYRE__ROBOTS_KNOWN;
    if (frontier->robots) {
        host->robots = GYRE__ROBOTS_UNKNOWN;
        if (recall_robots(frontier, host) < 0) return NULL;
    }
    return host;
}

enum { LOADED = 1, WAS_THERE = 0, NO_ROOM = 2 };

/* Loads a host found in the file. Returns one of the above, or -1. */
static int load_found(struct gyre__frontier *frontier, int64_t id)
{
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_HOST_NAME);
    sqlite3_bind_int64(statement, 1, id);
    if (gyre__store_step(&frontier->store, statement) <= 0) return fail_store(frontier);
    size_t size = (size_t)sqlite3_column_bytes(statement, 0);
    char *origin = strndup((const char *)sqlite3_column_text(statement, 0), size);
    sqlite3_reset(statement);
    if (!origin) return fail_memory(frontier);

    struct gyre__host *host = NULL;
    int there = gyre__hosts_find(&frontier->hosts, origin, size) != NULL;
    if (!there && (host = load_host(frontier, id, origin, size, 0))) gyre__hosts_schedule(&frontier->hosts, host, -INFINITY);
    free(origin);
    if (frontier->failed) return -1;
    return there ? WAS_THERE : host ? LOADED : NO_ROOM;
}

int gyre__schedule_load(struct gyre__frontier *frontier)
{
    int loaded = 0;

    for (int steps = 0; steps < LOAD_AT_ONCE; steps++) {
        sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_HOST_NEXT);
        sqlite3_bind_int64(statement, 1, frontier->host_cursor);
        int found = gyre__store_step(&frontier->store, statement);
        int64_t id = found > 0 ? sqlite3_column_int64(statement, 0) : 0;
        sqlite3_reset(statement);
        if (found < 0) return fail_store(frontier);
        if (found == 0) { /* once around: all are loaded, unless some came while there was no room */
            frontier->more_hosts = frontier->more_hosts == 2 || frontier->hosts.count == GYRE__MAX_HOSTS;
            frontier->host_cursor = 0;
            break;
        }
        int one = load_found(frontier, id);
        if (one < 0) return -1;
        if (one == NO_ROOM) break;
        frontier->host_cursor = id;
        loaded += one;
    }
    return loaded;
}

/* The number of a host in the file, which gets one if it has none. */
static int64_t host_id(struct gyre__frontier *frontier, const char *origin, size_t size, int *is_new)
{
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_HOST_FIND);
    sqlite3_bind_text(statement, 1, origin, (int)size, SQLITE_STATIC);
    int found = gyre__store_step(&frontier->store, statement);
    int64_t id = found > 0 ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    *is_new = found == 0;
    if (found > 0) return id;
    if (found < 0) return fail_store(frontier);

    statement = gyre__store_use(&frontier->store, GYRE__SQL_HOST_ADD);
    sqlite3_bind_text(statement, 1, origin, (int)size, SQLITE_STATIC);
    if (gyre__store_run(&frontier->store, statement) < 0) return fail_store(frontier);
    return sqlite3_last_insert_rowid(frontier->store.db);
}

/* Whether the file has the URL. */
static int is_known(struct gyre__frontier *frontier, const struct gyre__follow *follow, uint64_t hash)
{
    if (gyre__known_has(&frontier->known, follow->url, follow->size, hash)) return 1;
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_URL_FIND);
    sqlite3_bind_int64(statement, 1, (int64_t)hash);
    sqlite3_bind_text(statement, 2, follow->url, (int)follow->size, SQLITE_STATIC);
    int found = gyre__store_step(&frontier->store, statement);
    sqlite3_reset(statement);
    if (found < 0) return fail_store(frontier);
    gyre__known_add(&frontier->known, follow->url, follow->size, hash); /* if it is not there yet it will be in a moment */
    return found;
}

static int insert(struct gyre__frontier *frontier, const struct gyre__follow *follow, uint64_t hash, int64_t host,
                  int64_t rank, int64_t referrer)
{
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_URL_ADD);
    sqlite3_bind_int64(statement, 1, (int64_t)hash);
    sqlite3_bind_int64(statement, 2, host);
    sqlite3_bind_int(statement, 3, follow->depth);
    sqlite3_bind_int(statement, 4, follow->hops);
    sqlite3_bind_int(statement, 5, follow->priority);
    sqlite3_bind_int64(statement, 6, rank);
    if (referrer) sqlite3_bind_int64(statement, 7, referrer);
    else sqlite3_bind_null(statement, 7);
    sqlite3_bind_text(statement, 8, follow->url, (int)follow->size, SQLITE_STATIC);
    sqlite3_bind_text(statement, 9, follow->data, -1, SQLITE_STATIC);
    return gyre__store_run(&frontier->store, statement) < 0 ? fail_store(frontier) : 0;
}

static int write_state(struct gyre__frontier *frontier, int64_t id, enum gyre__url_state state)
{
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_URL_STATE);
    sqlite3_bind_int64(statement, 1, id);
    sqlite3_bind_int(statement, 2, (int)state);
    return gyre__store_run(&frontier->store, statement) < 0 ? fail_store(frontier) : 0;
}

/* Nothing more of the host is fetched in this run. Returns how many URLs that concerns: not those under way. */
static int64_t hold_back(struct gyre__frontier *frontier, struct gyre__host *host)
{
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_HOLD_BACK);
    sqlite3_bind_int64(statement, 1, host->id);
    if (gyre__store_run(&frontier->store, statement) < 0) return fail_store(frontier);
    int64_t count = sqlite3_changes64(frontier->store.db) - host->taken_count;
    for (unsigned i = 0; i < host->taken_count; i++)
        if (write_state(frontier, host->taken[i], GYRE__URL_WAITING) < 0) return -1;
    frontier->counts.waiting -= count;
    frontier->counts.held_back += count;
    frontier->dirty = 1;
    host->count = 0;
    host->complete = 1;
    gyre__hosts_unschedule(&frontier->hosts, host);
    return count;
}

/* Adds one URL. Returns 1: it is new, 0: known or too deep, or -1. */
static int add(struct gyre__frontier *frontier, const struct gyre__follow *follow, int64_t referrer)
{
    uint64_t hash = gyre__known_hash(&frontier->known, follow->url, follow->size);
    int is_new_host = 0, known;

    if (frontier->max_depth >= 0 && follow->depth > frontier->max_depth) {
        frontier->counts.too_deep++;
        frontier->dirty = 1;
        return 0;
    }
    if ((known = is_known(frontier, follow, hash)) != 0) return known < 0 ? -1 : 0;
    struct gyre__host *host = gyre__hosts_find(&frontier->hosts, follow->url, follow->path);
    int64_t id = host ? host->id : host_id(frontier, follow->url, follow->path, &is_new_host);
    if (id < 0) return -1;
    int64_t rank = frontier->next_rank++;
    if (insert(frontier, follow, hash, id, rank, referrer) < 0) return -1;
    int64_t row = sqlite3_last_insert_rowid(frontier->store.db);
    frontier->counts.waiting++;
    frontier->dirty = 1;
    if (!host && !(host = load_host(frontier, id, follow->url, follow->path, is_new_host))) {
        frontier->more_hosts = 2;
        return frontier->failed ? -1 : 1;
    }
    if (host->robots == GYRE__ROBOTS_HOPELESS) return hold_back(frontier, host) < 0 ? -1 : 1;
    gyre__host_offer(host, (struct gyre__queued){row, rank, follow->priority});
    if (host->place == 0 && host->robots != GYRE__ROBOTS_ASKED) gyre__hosts_schedule(&frontier->hosts, host, -INFINITY);
    return 1;
}

int64_t gyre__frontier_add(struct gyre__frontier *frontier, const struct gyre__follow *follows, size_t count)
{
    int64_t added = 0;

    pthread_mutex_lock(&frontier->mutex);
    for (size_t i = 0; i < count && !frontier->failed; i++) added += add(frontier, &follows[i], 0) > 0;
    if (frontier->failed) added = -1;
    pthread_mutex_unlock(&frontier->mutex);
    return added;
}

/* Fills a host's queue from the file, leaving out what is under way. */
static int refill(struct gyre__frontier *frontier, struct gyre__host *host)
{
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_URL_QUEUE);
    unsigned rows = 0, limit = GYRE__QUEUE + host->taken_count;
    int row;

    sqlite3_bind_int64(statement, 1, host->id);
    sqlite3_bind_int(statement, 2, (int)limit);
    while ((row = gyre__store_step(&frontier->store, statement)) > 0) {
        int64_t id = sqlite3_column_int64(statement, 0);
        rows++;
        if (host->count < GYRE__QUEUE && !gyre__host_has_taken(host, id))
            host->queue[host->count++] =
                (struct gyre__queued){id, sqlite3_column_int64(statement, 2), sqlite3_column_int(statement, 1)};
    }
    sqlite3_reset(statement);
    host->complete = rows < limit;
    return row < 0 ? fail_store(frontier) : 0;
}

static char *copy_column(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text ? strdup(text) : NULL;
}

/* Reads what the queue's first URL is, and takes it. */
static int take_page(struct gyre__frontier *frontier, struct gyre__host *host, struct gyre__taken *taken)
{
    struct gyre__queued first = gyre__host_pop(host);
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_URL_READ);

    sqlite3_bind_int64(statement, 1, first.id);
    if (gyre__store_step(&frontier->store, statement) <= 0) return fail_store(frontier);
    taken->id = first.id;
    taken->rank = first.rank;
    taken->priority = first.priority;
    taken->url = copy_column(statement, 0);
    taken->depth = sqlite3_column_int(statement, 1);
    taken->hops = sqlite3_column_int(statement, 2);
    taken->tries = sqlite3_column_int(statement, 3);
    taken->data = copy_column(statement, 4);
    taken->referrer = copy_column(statement, 5);
    sqlite3_reset(statement);
    if (!taken->url || gyre__host_take(host, first.id) < 0) return fail_memory(frontier);
    return 0;
}

static int take_from(struct gyre__frontier *frontier, struct gyre__host *host, double now, struct gyre__taken *taken)
{
    int robots = host->robots == GYRE__ROBOTS_UNKNOWN;

    memset(taken, 0, sizeof *taken);
    taken->host = host->id;
    taken->began = now;
    if (!(taken->origin = strdup(host->origin))) return fail_memory(frontier);
    if (robots) {
        host->robots = GYRE__ROBOTS_ASKED;
        gyre__hosts_unschedule(&frontier->hosts, host);
    } else {
        if (take_page(frontier, host, taken) < 0) return -1;
        gyre__hosts_schedule(&frontier->hosts, host, now); /* behind all who have waited longer */
    }
    frontier->places++;
    frontier->taken_pages++;
    return robots ? GYRE__TAKE_ROBOTS : GYRE__TAKE_PAGE;
}

/* Whether a host has something to do; it leaves the order when it has not. */
static int has_work(struct gyre__frontier *frontier, struct gyre__host *host)
{
    if (host->count == 0 && !host->complete && refill(frontier, host) < 0) return 0;
    if (host->robots == GYRE__ROBOTS_HOPELESS && host->count > 0 && hold_back(frontier, host) < 0) return 0;
    if (host->count > 0) return 1;
    gyre__hosts_unschedule(&frontier->hosts, host);
    return 0;
}

/* The host whose turn is next; loads others when none in memory is ready. */
static struct gyre__host *next_host(struct gyre__frontier *frontier, double now)
{
    struct gyre__host *host = gyre__hosts_first(&frontier->hosts);

    /* Twice around the hosts in memory at most: with none of them in the order, all that wait are in the file. */
    for (int i = 0; i < (host ? 1 : 2 * GYRE__MAX_HOSTS / LOAD_AT_ONCE + 2); i++) {
        if ((host && host->ready_at <= now) || !frontier->more_hosts || gyre__schedule_load(frontier) < 0) break;
        host = gyre__hosts_first(&frontier->hosts);
    }
    return host;
}

static int find_work(struct gyre__frontier *frontier, double now, struct gyre__taken *taken, double *wait)
{
    struct gyre__host *host;

    *wait = INFINITY;
    for (;;) {
        host = next_host(frontier, now);
        if (frontier->failed) return -1;
        if (!host) break;
        if (host->ready_at > now) {
            *wait = host->ready_at - now;
            return GYRE__TAKE_WAIT;
        }
        if (!has_work(frontier, host)) continue;
        if (frontier->robots && host->robots == GYRE__ROBOTS_KNOWN && host->robots_expires <= seconds_since_1970())
            host->robots = GYRE__ROBOTS_UNKNOWN;
        double ask = gyre__gate_enter(frontier->gate, host->authority, now);
        if (ask < 0) return fail_memory(frontier);
        if (ask == 0) return take_from(frontier, host, now, taken);
        gyre__hosts_schedule(&frontier->hosts, host, now + ask); /* infinite: until one of its requests ends */
    }
    return frontier->places > 0 ? GYRE__TAKE_WAIT : GYRE__TAKE_EMPTY;
}

int gyre__frontier_take(struct gyre__frontier *frontier, double now, struct gyre__taken *taken, double *wait)
{
    int answer;

    pthread_mutex_lock(&frontier->mutex);
    uint64_t begun = (uint64_t)(frontier->counts.done + frontier->counts.failed) + frontier->taken_pages;
    *wait = INFINITY;
    if (frontier->failed) answer = -1;
    else if (frontier->max_pages > 0 && begun >= frontier->max_pages)
        answer = frontier->taken_pages > 0 ? GYRE__TAKE_WAIT : GYRE__TAKE_ENOUGH;
    else if (frontier->places >= frontier->concurrency) answer = GYRE__TAKE_FULL;
    else answer = find_work(frontier, now, taken, wait);
    pthread_mutex_unlock(&frontier->mutex);
    return answer;
}

void gyre__taken_clear(struct gyre__taken *taken)
{
    free(taken->url);
    free(taken->referrer);
    free(taken->data);
    free(taken->origin);
    memset(taken, 0, sizeof *taken);
}

/* A request of the host has ended: hosts that share its gate may be asked again. */
static void wake(struct gyre__frontier *frontier, struct gyre__host *host, double now)
{
    char sibling[GYRE__WEBURL_MAX + 16];
    int secure = strncmp(host->origin, "https", 5) == 0;

    if (host->place != 0) gyre__hosts_schedule(&frontier->hosts, host, host->ready_at < now ? host->ready_at : now);
    size_t size = strlen(host->authority) + (secure ? 7 : 8);
    strcpy(stpcpy(sibling, secure ? "http://" : "https://"), host->authority);
    struct gyre__host *other = gyre__hosts_find(&frontier->hosts, sibling, size);
    if (other && other->place != 0 && other->ready_at > now) gyre__hosts_schedule(&frontier->hosts, other, now);
}

static struct gyre__host *host_of(struct gyre__frontier *frontier, const struct gyre__taken *taken)
{
    return gyre__hosts_find(&frontier->hosts, taken->origin, strlen(taken->origin));
}

static int set_state(struct gyre__frontier *frontier, int64_t id, enum gyre__url_state state, int64_t *count)
{
    if (write_state(frontier, id, state) < 0) return -1;
    ++*count;
    frontier->counts.waiting--;
    return 0;
}

static int put_again(struct gyre__frontier *frontier, struct gyre__host *host, const struct gyre__taken *taken)
{
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_URL_AGAIN);
    int64_t rank = frontier->next_rank++;
    sqlite3_bind_int64(statement, 1, taken->id);
    sqlite3_bind_int64(statement, 2, rank);
    if (gyre__store_run(&frontier->store, statement) < 0) return fail_store(frontier);
    gyre__host_offer(host, (struct gyre__queued){taken->id, rank, taken->priority});
    return 0;
}

static int end_page(struct gyre__frontier *frontier, struct gyre__host *host, const struct gyre__taken *taken,
                    enum gyre__end end)
{
    struct gyre__frontier_counts *counts = &frontier->counts;

    gyre__host_untake(host, taken->id);
    switch (end) {
    case GYRE__END_DONE: return set_state(frontier, taken->id, GYRE__URL_DONE, &counts->done);
    case GYRE__END_FAILED: return set_state(frontier, taken->id, GYRE__URL_FAILED, &counts->failed);
    case GYRE__END_REFUSED: return set_state(frontier, taken->id, GYRE__URL_REFUSED, &counts->refused);
    case GYRE__END_MOVED: return set_state(frontier, taken->id, GYRE__URL_MOVED, &counts->moved);
    case GYRE__END_AGAIN: return put_again(frontier, host, taken);
    case GYRE__END_BACK:
        gyre__host_offer(host, (struct gyre__queued){taken->id, taken->rank, taken->priority});
        return 0;
    }
    return 0;
}

/* What the page led to and brought home. */
static int keep_results(struct gyre__frontier *frontier, const struct gyre__taken *taken, const struct gyre__finish *finish)
{
    for (size_t i = 0; i < finish->follow_count; i++)
        if (add(frontier, &finish->follows[i], taken->id) < 0) return -1;
    for (size_t i = 0; i < finish->item_count; i++) {
        if (gyre__output_add(&frontier->output, finish->items[i], finish->item_sizes[i]) < 0) return fail_memory(frontier);
        frontier->counts.items++;
        frontier->counts.bytes += (int64_t)finish->item_sizes[i];
    }
    return 0;
}

int gyre__frontier_finish(struct gyre__frontier *frontier, const struct gyre__taken *taken, double now,
                          const struct gyre__finish *finish)
{
    pthread_mutex_lock(&frontier->mutex);
    struct gyre__host *host = host_of(frontier, taken);
    int result = frontier->failed ? -1 : 0;

    gyre__gate_leave(frontier->gate, host->authority, taken->began, now, finish->answer, finish->retry_after);
    if (result == 0 && finish->end != GYRE__END_BACK) result = keep_results(frontier, taken, finish);
    if (result == 0) result = end_page(frontier, host, taken, finish->end);
    frontier->taken_pages--;
    if (finish->end == GYRE__END_BACK) {
        frontier->places--;
    } else {
        frontier->uncommitted++;
        frontier->dirty = 1;
    }
    if (host->place == 0 && host->count > 0) gyre__hosts_schedule(&frontier->hosts, host, now);
    wake(frontier, host, now);
    pthread_mutex_unlock(&frontier->mutex);
    return result;
}

static int keep_robots(struct gyre__frontier *frontier, const struct gyre__host *host, const struct gyre__robots *robots)
{
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_ROBOTS_SET);
    sqlite3_bind_text(statement, 1, host->origin, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, seconds_since_1970());
    sqlite3_bind_int(statement, 3, robots->status);
    sqlite3_bind_double(statement, 4, robots->delay);
    sqlite3_bind_blob64(statement, 5, robots->body, robots->size, SQLITE_STATIC);
    frontier->dirty = 1;
    return gyre__store_run(&frontier->store, statement) < 0 ? fail_store(frontier) : 0;
}

int64_t gyre__frontier_robots(struct gyre__frontier *frontier, const struct gyre__taken *taken, double now,
                              const struct gyre__finish *finish, const struct gyre__robots *robots)
{
    int64_t held_back = 0;

    pthread_mutex_lock(&frontier->mutex);
    struct gyre__host *host = host_of(frontier, taken);
    gyre__gate_leave(frontier->gate, host->authority, taken->began, now, finish->answer, finish->retry_after);
    frontier->places--;
    frontier->taken_pages--;
    host->robots = GYRE__ROBOTS_UNKNOWN;
    if (finish->end == GYRE__END_DONE && !frontier->failed) {
        if (keep_robots(frontier, host, robots) < 0 || recall_robots(frontier, host) < 0) held_back = -1;
        else if (host->robots == GYRE__ROBOTS_HOPELESS) held_back = hold_back(frontier, host);
    }
    if (host->robots != GYRE__ROBOTS_HOPELESS) gyre__hosts_schedule(&frontier->hosts, host, now);
    wake(frontier, host, now);
    pthread_mutex_unlock(&frontier->mutex);
    return held_back;
}

int gyre__frontier_robots_text(struct gyre__frontier *frontier, const char *origin, char **body, size_t *size)
{
    int status = -1;

    *body = NULL;
    pthread_mutex_lock(&frontier->mutex);
    sqlite3_stmt *statement = gyre__store_use(&frontier->store, GYRE__SQL_ROBOTS_GET);
    sqlite3_bind_text(statement, 1, origin, -1, SQLITE_STATIC);
    if (gyre__store_step(&frontier->store, statement) > 0) {
        status = sqlite3_column_int(statement, 1);
        *size = (size_t)sqlite3_column_bytes(statement, 3);
        if ((*body = malloc(*size + 1)) && *size > 0) memcpy(*body, sqlite3_column_blob(statement, 3), *size);
    }
    sqlite3_reset(statement);
    pthread_mutex_unlock(&frontier->mutex);
    return *body ? status : -1;
}
