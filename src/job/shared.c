/* shared.c: lists of what is shared, each with a mutex. */
#include "shared.h"

#include <stdlib.h>
#include <string.h>

/* Caller holds the mutex, here and below. */
static struct gyre__shared *find(const struct gyre__shared_kind *kind, const char *key)
{
    struct gyre__shared *shared = kind->first;
    while (shared && !(shared->key && key && strcmp(shared->key, key) == 0)) shared = shared->next;
    return shared;
}

static struct gyre__shared *add(struct gyre__shared_kind *kind, const char *key, void *(*make)(void *how), void *how)
{
    struct gyre__shared *shared = calloc(1, sizeof *shared);
    if (!shared) return NULL;
    if ((key && !(shared->key = strdup(key))) || !(shared->object = make(how))) {
        free(shared->key);
        free(shared);
        return NULL;
    }
    shared->next = kind->first;
    kind->first = shared;
    return shared;
}

struct gyre__shared *gyre__shared_get(struct gyre__shared_kind *kind, const char *key, void *(*make)(void *how), void *how)
{
    pthread_mutex_lock(&kind->mutex);
    struct gyre__shared *shared = find(kind, key);
    if (!shared) shared = add(kind, key, make, how);
    if (shared) shared->users++;
    pthread_mutex_unlock(&kind->mutex);
    return shared;
}

int gyre__shared_put(struct gyre__shared_kind *kind, struct gyre__shared *shared, int (*end)(void *object, void *how), void *how)
{
    int result = 0;

    pthread_mutex_lock(&kind->mutex);
    if (--shared->users == 0) {
        struct gyre__shared **link = &kind->first;
        while (*link != shared) link = &(*link)->next;
        *link = shared->next;
        result = end(shared->object, how);
        free(shared->key);
        free(shared);
    }
    pthread_mutex_unlock(&kind->mutex);
    return result;
}
