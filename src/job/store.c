/*
 * store.c: opening a state file, its schema and statements.
 * Owns the connection and the lock. May call SQLite only; knows nothing of politeness, requests and Lua.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE = 5000 }; /* milliseconds */

static const char *const texts[GYRE__SQL_COUNT] = {
    [GYRE__SQL_BEGIN] = "BEGIN IMMEDIATE",
    [GYRE__SQL_COMMIT] = "COMMIT",
    [GYRE__SQL_META_SET] = "INSERT OR REPLACE INTO meta(name, value) VALUES(?1, ?2)",
    [GYRE__SQL_META_GET] = "SELECT value FROM meta WHERE name = ?1",
    [GYRE__SQL_HOST_FIND] = "SELECT id FROM host WHERE origin = ?1",
    [GYRE__SQL_HOST_ADD] = "INSERT INTO host(origin) VALUES(?1)",
    [GYRE__SQL_HOST_NAME] = "SELECT origin FROM host WHERE id = ?1",
    /* A step from one host with waiting URLs to the next, without reading what lies between. */
    [GYRE__SQL_HOST_NEXT] = "SELECT host FROM url INDEXED BY url_waiting WHERE state = 0 AND host > ?1 ORDER BY host LIMIT 1",
    [GYRE__SQL_URL_FIND] = "SELECT id FROM url INDEXED BY url_hash WHERE hash = ?1 AND url = ?2",
    [GYRE__SQL_URL_ADD] = "INSERT INTO url(hash, host, state, depth, hops, tries, priority, rank, referrer, url, data) "
                          "VALUES(?1, ?2, 0, ?3, ?4, 0, ?5, ?6, ?7, ?8, ?9)",
    [GYRE__SQL_URL_READ] = "SELECT u.url, u.depth, u.hops, u.tries, u.data, r.url FROM url u "
                           "LEFT JOIN url r ON r.id = u.referrer WHERE u.id = ?1",
    [GYRE__SQL_URL_STATE] = "UPDATE url SET state = ?2 WHERE id = ?1",
    [GYRE__SQL_URL_AGAIN] = "UPDATE url SET tries = tries + 1, rank = ?2 WHERE id = ?1",
    [GYRE__SQL_URL_QUEUE] = "SELECT id, priority, rank FROM url INDEXED BY url_waiting WHERE state = 0 AND host = ?1 "
                            "ORDER BY priority DESC, rank LIMIT ?2",
    [GYRE__SQL_HOLD_BACK] = "UPDATE url SET state = 5 WHERE host = ?1 AND state = 0",
    [GYRE__SQL_ROBOTS_SET] = "INSERT OR REPLACE INTO robots(origin, fetched, status, delay, body) "
                             "VALUES(?1, ?2, ?3, ?4, ?5)",
    [GYRE__SQL_ROBOTS_GET] = "SELECT fetched, status, delay, body FROM robots WHERE origin = ?1",
    [GYRE__SQL_PENDING_ADD] = "INSERT INTO pending(items) VALUES(?1)",
    [GYRE__SQL_PENDING_GET] = "SELECT items FROM pending ORDER BY id",
    [GYRE__SQL_PENDING_CLEAR] = "DELETE FROM pending",
};

static const char tables[] =
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;"
    "CREATE TABLE robots(origin TEXT PRIMARY KEY, fetched INTEGER, status INTEGER, delay REAL, body BLOB) WITHOUT ROWID;";

/* Made anew when a crawl starts over. */
static const char crawl_tables[] =
    "CREATE TABLE host(id INTEGER PRIMARY KEY, origin TEXT UNIQUE);"
    "CREATE TABLE url(id INTEGER PRIMARY KEY, hash INTEGER, host INTEGER, state INTEGER, depth INTEGER, hops INTEGER,"
    " tries INTEGER, priority INTEGER, rank INTEGER, referrer INTEGER, url TEXT, data BLOB);"
    "CREATE INDEX url_hash ON url(hash);"
    "CREATE INDEX url_waiting ON url(host, priority DESC, rank) WHERE state = 0;"
    "CREATE TABLE pending(id INTEGER PRIMARY KEY, items BLOB);";

/* SQLite knows the path, in full; it is empty for a state that no file remembers. */
static int fail(struct gyre__store *store, const char *what)
{
    const char *path = store->db ? sqlite3_db_filename(store->db, "main") : NULL;
    snprintf(store->why, sizeof store->why, "the state%s%.300s %s: %s", path && *path ? " " : "", path ? path : "", what,
             store->db ? sqlite3_errmsg(store->db) : "not enough memory");
    return -1;
}

int gyre__store_execute(struct gyre__store *store, const char *sql, int64_t *changed)
{
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK) return fail(store, "cannot be written");
    if (changed) *changed = sqlite3_changes64(store->db);
    return 0;
}

static int execute(struct gyre__store *store, const char *sql)
{
    return gyre__store_execute(store, sql, NULL);
}

static int pragma(struct gyre__store *store, const char *sql)
{
    sqlite3_stmt *statement;
    int value = -1;

    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK) return -1;
    if (sqlite3_step(statement) == SQLITE_ROW) value = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

/* Makes an empty file ours, in one transaction: killed half-way it is still empty. */
static int create(struct gyre__store *store)
{
    char sql[128];

    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d", GYRE__STORE_ID, GYRE__STORE_FORMAT);
    if (execute(store, "BEGIN IMMEDIATE") < 0 || execute(store, tables) < 0 || execute(store, crawl_tables) < 0 ||
        execute(store, sql) < 0)
        return -1;
    return execute(store, "COMMIT");
}

int gyre__store_clear(struct gyre__store *store)
{
    if (execute(store, "DROP TABLE url; DROP TABLE host; DROP TABLE pending;"
                       "DELETE FROM meta; DELETE FROM robots WHERE fetched < unixepoch() - 86400") < 0)
        return -1;
    return execute(store, crawl_tables);
}

/* Held by the open descriptor, so that it ends with the process, however that ends. */
static int take_lock(struct gyre__store *store, const char *path)
{
    struct stat is;

    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock < 0) {
        snprintf(store->why, sizeof store->why, "the state %s cannot be opened: %s", path, strerror(errno));
        return -1;
    }
    if (fstat(store->lock, &is) == 0 && !S_ISREG(is.st_mode)) {
        snprintf(store->why, sizeof store->why, "the state %s is no regular file", path);
        return -1;
    }
    if (flock(store->lock, LOCK_EX | LOCK_NB) == 0) return 0;
    snprintf(store->why, sizeof store->why, "the state %s is in use by another run", path);
    return -1;
}

/* 0: new and empty, 1: ours, -1: something else. */
static int recognise(struct gyre__store *store, const char *path)
{
    int objects = pragma(store, "SELECT count(*) FROM sqlite_schema");
    if (objects == 0) return 0;
    if (objects < 0 || pragma(store, "PRAGMA application_id") != GYRE__STORE_ID) {
        snprintf(store->why, sizeof store->why, "%s is no state of a crawl", path);
        return -1;
    }
    int format = pragma(store, "PRAGMA user_version");
    if (format == GYRE__STORE_FORMAT) return 1;
    snprintf(store->why, sizeof store->why, "the state %s has format %d, this gyre knows %d: use another file", path,
             format, GYRE__STORE_FORMAT);
    return -1;
}

static int prepare(struct gyre__store *store)
{
    for (int i = 0; i < GYRE__SQL_COUNT; i++)
        if (sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[i], NULL) != SQLITE_OK)
            return fail(store, "cannot be read");
    return 0;
}

static int open_file(struct gyre__store *store, const char *path, int sync)
{
    if (path && take_lock(store, path) < 0) return -1;
    if (sqlite3_open_v2(path ? path : "", &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return fail(store, "cannot be opened");
    sqlite3_busy_timeout(store->db, PATIENCE); /* somebody may look at it with a tool of SQLite's */
    int known = path ? recognise(store, path) : 0;
    if (known < 0) return -1;
    /* The cache is what bounds memory: a state of ten million URLs is read and written through it. */
    if (execute(store, "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4000; PRAGMA temp_store = FILE") < 0 ||
        (path && execute(store, "PRAGMA journal_mode = WAL") < 0) ||
        execute(store, sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL") < 0 ||
        (known == 0 && create(store) < 0) || prepare(store) < 0)
        return -1;
    return known;
}

/* Whether the state is of this job: 1, 0: of none yet. */
static int same_job(struct gyre__store *store, const char *path, const char *job)
{
    char owner[4096];
    size_t size;
    int got = gyre__store_get(store, "job", owner, sizeof owner - 1, &size);

    if (got <= 0) return got;
    owner[size] = '\0';
    if (strncmp(owner, job, sizeof owner - 1) == 0) return 1;
    snprintf(store->why, sizeof store->why, "the state %s is of another crawl (%.150s): use another file, or start over "
                                            "with --fresh", path, owner);
    return -1;
}

int gyre__store_open(struct gyre__store *store, const char *path, const char *job, int fresh, int sync)
{
    memset(store, 0, sizeof *store);
    store->lock = -1;
    int known = open_file(store, path, sync);
    if (known == 1 && !fresh) known = same_job(store, path, job);
    if (known >= 0 && (gyre__store_use(store, GYRE__SQL_META_GET) == NULL || (fresh && gyre__store_clear(store) < 0) ||
                       gyre__store_set(store, "job", job, strlen(job)) < 0))
        known = -1;
    if (known < 0) gyre__store_close(store);
    return known < 0 ? -1 : known && !fresh;
}

void gyre__store_close(struct gyre__store *store)
{
    for (int i = 0; i < GYRE__SQL_COUNT; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    sqlite3_close(store->db);
    store->db = NULL;
    if (store->lock >= 0) close(store->lock); /* after SQLite: closing any descriptor of a file drops its own locks */
    store->lock = -1;
}

sqlite3_stmt *gyre__store_use(struct gyre__store *store, enum gyre__statement which)
{
    if (!store->in_batch) {
        if (gyre__store_run(store, store->statements[GYRE__SQL_BEGIN]) < 0) return NULL;
        store->in_batch = 1;
    }
    return store->statements[which];
}

int gyre__store_step(struct gyre__store *store, sqlite3_stmt *statement)
{
    int status = statement ? sqlite3_step(statement) : SQLITE_ERROR;
    if (status == SQLITE_ROW) return 1;
    if (status == SQLITE_DONE) return 0;
    if (!store->why[0] || statement) fail(store, "cannot be written");
    sqlite3_reset(statement);
    return -1;
}

int gyre__store_run(struct gyre__store *store, sqlite3_stmt *statement)
{
    int status = gyre__store_step(store, statement);
    sqlite3_reset(statement);
    return status < 0 ? -1 : 0;
}

int gyre__store_commit(struct gyre__store *store)
{
    if (!store->in_batch) return 0;
    if (gyre__store_run(store, store->statements[GYRE__SQL_COMMIT]) < 0) return -1;
    store->in_batch = 0;
    return 0;
}

int gyre__store_set(struct gyre__store *store, const char *name, const void *value, size_t size)
{
    sqlite3_stmt *statement = gyre__store_use(store, GYRE__SQL_META_SET);
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 2, value, size, SQLITE_STATIC);
    return gyre__store_run(store, statement);
}

int gyre__store_get(struct gyre__store *store, const char *name, void *value, size_t size, size_t *got)
{
    sqlite3_stmt *statement = gyre__store_use(store, GYRE__SQL_META_GET);
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    int found = gyre__store_step(store, statement);
    if (found > 0) {
        *got = (size_t)sqlite3_column_bytes(statement, 0);
        if (*got > size) *got = size;
        if (*got > 0) memcpy(value, sqlite3_column_blob(statement, 0), *got);
    }
    sqlite3_reset(statement);
    return found;
}
