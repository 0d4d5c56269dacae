/*
 * What a request says, and the views that follow from it: for acquire.c and look.c.
 */
#ifndef GYRE_ACQUIRE_H
#define GYRE_ACQUIRE_H

#include "pick.h"

#define MAX_CHOICES 64u

/* Does the request leave out nobody but by its labels? */
static inline bool request_is_easy(const struct gyre_request *request)
{
    return likely(!((uintptr_t)request->session | request_wishes(request)));
}

/* Is it of this size and without labels? */
static inline bool request_is_unfiltered(const struct gyre_request *request)
{
    return likely(request->size == sizeof *request && request->choices <= MAX_CHOICES && !request_labels(request));
}

/* Does the request say nothing but how to pick? */
static inline bool request_is_plain(const struct gyre_request *request)
{
    return request_is_unfiltered(request) && request_is_easy(request);
}

/* acquire.c. Any request. Its rest, by views: of one without session or host that was tried quickly. A plain one, quickly or else
 * slowly, whatever its picker. One that is not plain. */
int gyre__acquire_any(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease);
int gyre__acquire_slowly(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease,
                         struct thread *thread, uint32_t stamp);
int gyre__acquire_quickly(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease,
                          struct thread *thread, uint32_t stamp);
int gyre__acquire_other(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease);

/* 0, or GYRE_EINVALID and what is wrong with the request. Pure. */
int gyre__request_check(const struct gyre_request *request);
/* The picker of a request that is sound (NULL: the segment's), or 0 and a detail. Lock-free. */
uint32_t gyre__request_picker(const struct gyre_pool *pool, const struct gyre_request *request);
/* Calls `use` with each view of the request, in order of preference, until it returns other than GYRE_ENO_PROXY. */
int gyre__each_view(struct gyre_pool *pool, struct pick *pick, int (*use)(struct gyre_pool *, struct pick *, void *),
                    void *context);

#endif
