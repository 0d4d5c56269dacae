/*
 * Requests that say more: a filter, excludes, a session. Each against the plain cycle of the same picker.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSIONS = 100000 };

struct asking {
    struct gyre_pool *pool;
    struct gyre_request request;
    uint64_t exclude[100];
    char session[16];
    uint32_t sessions, at;
};

/* "session-0012345", as fast as somebody would have it who has just read it from a request. */
static const char *session_id(char id[16], uint32_t n)
{
    memcpy(id, "session-0000000", 16);
    for (char *digit = id + 14; n; n /= 10) *digit-- = (char)('0' + n % 10);
    return id;
}

static void cycle(struct asking *asking)
{
    struct gyre_lease lease;
    if (gyre_acquire(asking->pool, &asking->request, &lease) == 0 && gyre_complete_ms(asking->pool, &lease, GYRE_OK, 100.0) == 0) return;
    fprintf(stderr, "a cycle failed: %s\n", gyre_detail());
    exit(2);
}

static void ask_run(void *context, unsigned worker, uint64_t count)
{
    struct asking *asking = context;
    (void)worker;
    while (count--) cycle(asking);
}

/* Session ids in an order without locality. They are written as they are needed, as they would come in from somewhere: a table of
 * them would cost a cache miss that is not the library's. */
static inline void next_id(struct asking *asking)
{
    asking->at = asking->at * 1664525u + 1013904223u;
    asking->request.session = session_id(asking->session, (uint32_t)((uint64_t)asking->at * asking->sessions >> 32));
}

static void session_run(void *context, unsigned worker, uint64_t count)
{
    struct asking *asking = context;
    (void)worker;
    while (count--) {
        next_id(asking);
        cycle(asking);
    }
}

static void id_run(void *context, unsigned worker, uint64_t count)
{
    struct asking *asking = context;
    (void)worker;
    while (count--) {
        next_id(asking);
        __asm__ volatile("" : : : "memory"); /* somebody may read it */
    }
}

/* Does the library look at request.country yet? */
static bool filters_work(struct gyre_pool *pool)
{
    struct gyre_request request = {.size = sizeof request, .country = "DE"};
    for (int i = 0; i < 8; i++) {
        struct gyre_proxy proxy = {.size = sizeof proxy};
        struct gyre_lease lease;
        if (gyre_acquire(pool, &request, &lease) < 0) return false;
        gyre_complete_ms(pool, &lease, GYRE_OK, 100.0);
        if (gyre_pool_get(pool, lease.id, &proxy) < 0 || strcmp(proxy.country, "DE")) return false;
    }
    return true;
}

static bool sessions_work(struct gyre_pool *pool)
{
    struct gyre_request request = {.size = sizeof request, .session = "probe"};
    uint64_t first = 0;
    for (int i = 0; i < 8; i++) {
        struct gyre_lease lease;
        if (gyre_acquire(pool, &request, &lease) < 0) return false;
        gyre_complete_ms(pool, &lease, GYRE_OK, 100.0);
        if (i && lease.id != first) return false;
        first = lease.id;
    }
    return true;
}

static double row(struct asking *asking, const char *what, uint32_t picker, uint32_t n, void (*run)(void *, unsigned, uint64_t))
{
    asking->request.size = sizeof asking->request;
    asking->request.picker = picker;
    struct figure figure = measure(&(struct work){run, asking, 0}, 1, false);
    table_row(what, picker_name(picker), n, 1, false, figure);
    return figure.best;
}

static void bench_filter(void)
{
    static const uint32_t sizes[] = {100, 1000, 10000};
    for (uint32_t picker = 1; picker <= GYRE_PICK_WEIGHTED; picker++) {
        double at_100 = 0;
        if (!wanted("country filter", picker_name(picker)) || !picker_exists(picker)) continue;
        for (unsigned s = 0; s < 3; s++) {
            struct asking asking = {.pool = pool_with(sizes[s], 0), .request.country = "DE"};
            if (!filters_work(asking.pool)) {
                table_skip("country filter", picker_name(picker), "not in this library");
            } else {
                double ns = row(&asking, "country filter", picker, sizes[s], ask_run);
                char text[120];
                if (s == 0) at_100 = ns;
                snprintf(text, sizeof text, "country filter + %s at 10,000 proxies against 100", picker_name(picker));
                if (s == 2 && at_100 > 0) promise(text, ns / at_100, 1.25, false);
            }
            gyre_pool_close(asking.pool);
        }
    }
}

static void bench_exclude(void)
{
    static const uint32_t counts[] = {3, 100};
    for (unsigned i = 0; i < 2; i++) {
        char what[32];
        snprintf(what, sizeof what, "exclude %u", counts[i]);
        for (uint32_t picker = 1; picker <= GYRE_PICK_BEST; picker++) {
            if (!wanted(what, picker_name(picker)) || !picker_exists(picker)) continue;
            struct asking asking = {.pool = pool_with(1000, 0)};
            for (uint32_t k = 0; k < counts[i]; k++) asking.exclude[k] = id_of(asking.pool, k * 9);
            asking.request.exclude = asking.exclude;
            asking.request.exclude_count = counts[i];
            row(&asking, what, picker, 1000, ask_run);
            gyre_pool_close(asking.pool);
        }
    }
}

static void bench_session(void)
{
    static const uint32_t counts[] = {100, 1000, 10000, SESSIONS};
    if (!wanted("existing session", "round-robin")) return;
    for (unsigned i = 0; i < 4; i++) {
        struct asking asking = {.pool = pool_with(1000, 0), .sessions = counts[i]};
        char what[32];
        snprintf(what, sizeof what, "session of %u", counts[i]);
        if (!sessions_work(asking.pool)) {
            table_skip(what, "round-robin", "not in this library");
        } else {
            asking.request.size = sizeof asking.request;
            for (uint32_t k = 0; k < counts[i]; k++) {
                asking.request.session = session_id(asking.session, k);
                cycle(&asking);
            }
            double ns = row(&asking, what, GYRE_PICK_ROUND_ROBIN, 1000, session_run);
            if (counts[i] == SESSIONS) {
                double id = row(&asking, "session id alone", GYRE_PICK_ROUND_ROBIN, 1000, id_run);
                promise("existing session among 100,000 with the cycle, its id already written, ns", ns - id, 50, false);
            }
        }
        gyre_pool_close(asking.pool);
    }
}

void bench_requests(void)
{
    bench_filter();
    bench_exclude();
    bench_session();
}
