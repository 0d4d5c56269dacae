/* shared.h: what the Lua states of a process hold together: made by the first that asks, found by its key, ended by the last. */
#ifndef GYRE_JOB_SHARED_H
#define GYRE_JOB_SHARED_H

#include <pthread.h>

struct gyre__shared {
    struct gyre__shared *next;
    void *object;
    char *key; /* NULL: nobody else can find it */
    unsigned users;
};

/* All of one kind. */
struct gyre__shared_kind {
    pthread_mutex_t mutex;
    struct gyre__shared *first;
};

#define GYRE__SHARED_KIND {PTHREAD_MUTEX_INITIALIZER, NULL}

/* The one with this key, or else what make(how) returns. NULL when that does, or there is no memory. */
struct gyre__shared *gyre__shared_get(struct gyre__shared_kind *kind, const char *key, void *(*make)(void *how), void *how);

/* Gives it back. The last to do so gets what end(object, how) returns, others 0. Nobody can get it, nor a new one with its key,
 * before that is over. */
int gyre__shared_put(struct gyre__shared_kind *kind, struct gyre__shared *shared, int (*end)(void *object, void *how), void *how);

#endif
