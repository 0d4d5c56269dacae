/*
 * Hooks: a function of another library decides in place of the native pickers. The core only knows when to ask it. Owns
 * pool->hook.
 */
#include "lease.h"

#include <stdlib.h>

GYRE_API int gyre_pool_hook(struct gyre_pool *pool, const struct gyre_hook *hook)
{
    if (!pool || !hook || hook->size < sizeof *hook || !hook->acquire || !hook->complete || !hook->close)
        return gyre__fail(GYRE_EINVALID, "no pool, or a hook that is not complete");
    struct gyre_hook *copy = malloc(sizeof *copy), *none = NULL;
    if (!copy) return gyre__fail(GYRE_ESYSTEM, "no memory for a hook");
    *copy = *hook;
    if (compare_swap(&pool->hook, &none, copy)) return 0; /* pairs with hook_of */
    free(copy);
    return gyre__fail(GYRE_EEXISTS, "the handle has a hook already");
}

GYRE_API int gyre_hook_fail(int error, const char *text)
{
    return gyre__fail(error, "%s", text ? text : "");
}

void gyre__hook_complete(struct gyre_pool *pool, const struct gyre_lease *lease, const struct ending *ending)
{
    const struct gyre_hook *hook = hook_of(pool);
    struct gyre_outcome outcome = {.size = sizeof outcome, .verdict = ending->verdict, .has_ms = ending->has_ms,
                                   .ms = ending->ms, .bytes = ending->bytes, .retry_after = ending->retry_after};
    if (hook) hook->complete(hook->data, lease, &outcome);
}

void gyre__hook_close(struct gyre_pool *pool)
{
    struct gyre_hook *hook = pool->hook;
    pool->hook = NULL;
    if (hook) hook->close(hook->data);
    free(hook);
}
