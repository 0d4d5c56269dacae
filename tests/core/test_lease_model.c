/*
 * Random acquires, completes of every kind (also double, stale, invalid), removals and resets, against a model
 * that keeps each counter by hand. The breaker is out of the way: it has its own tests.
 */
#include "support.h"

#include <inttypes.h>
#include <math.h>

enum { PROXIES = 8, IN_FLIGHT = 200, ENDED = 64 };

struct record {
    uint64_t id, started, succeeded, failed, aborted, bytes;
    uint32_t active;
    double ema, rate;
};

struct held {
    struct gyre_lease lease;
    int owner; /* index of the record, or -1 when its proxy has been removed */
};

struct model {
    struct gyre_pool *pool;
    struct rng rng;
    struct record records[PROXIES];
    struct held held[IN_FLIGHT];
    struct gyre_lease ended[ENDED];
    uint32_t holding, endings, next_url;
};

static void add(struct model *model, int i)
{
    model->records[i] = (struct record){.ema = NAN, .rate = 1.0};
    add_numbered(model->pool, model->next_url++, 1, &model->records[i].id);
}

static void acquire(struct model *model)
{
    struct held *held = &model->held[model->holding];
    int wanted = (int)rng_below(&model->rng, PROXIES);

    if (model->holding == IN_FLIGHT) return;
    if (rng_below(&model->rng, 2)) {
        OK(gyre_acquire(model->pool, NULL, &held->lease));
        for (wanted = 0; wanted < PROXIES && model->records[wanted].id != held->lease.id;) wanted++;
        assert_true(wanted < PROXIES);
    } else {
        OK(gyre_acquire_id(model->pool, model->records[wanted].id, &held->lease));
    }
    held->owner = wanted;
    model->records[wanted].started++;
    model->records[wanted].active++;
    model->holding++;
}

static void count(struct record *record, const struct gyre_outcome *outcome)
{
    int ok = outcome->verdict == GYRE_OK, bad = outcome->verdict == GYRE_PROXY_BAD;

    record->active--;
    record->bytes += outcome->bytes;
    switch (outcome->verdict) {
    case GYRE_OK:
    case GYRE_THROTTLED:
    case GYRE_TARGET_BAD: record->succeeded++; break;
    case GYRE_PROXY_BAD:
    case GYRE_BANNED: record->failed++; break;
    default: record->aborted++;
    }
    if (ok && outcome->has_ms)
        record->ema = isnan(record->ema) ? outcome->ms : record->ema + 0.2 * (outcome->ms - record->ema);
    if (ok || bad) record->rate += 0.05 * (ok - record->rate);
}

static void complete(struct model *model)
{
    static const double bad[] = {NAN, INFINITY, -0.5, 86400000.1};
    struct gyre_outcome outcome = outcome_of(1 + (int)rng_below(&model->rng, 6));
    uint32_t i = rng_below(&model->rng, IN_FLIGHT);
    struct gyre_lease copy;
    struct held *held;

    if (i >= model->holding) return;
    held = &model->held[i];
    copy = held->lease;
    outcome.has_ms = rng_below(&model->rng, 4) > 0;
    outcome.ms = bad[rng_below(&model->rng, COUNT(bad))];
    if (outcome.has_ms && rng_below(&model->rng, 4) == 0)
        EXPECT(GYRE_EINVALID, gyre_complete(model->pool, &copy, &outcome));
    if (outcome.has_ms) outcome.ms = rng_below(&model->rng, 5) ? 1000 * rng_unit(&model->rng) : 0.0;
    if (outcome.verdict != GYRE_ABORTED) outcome.bytes = rng_below(&model->rng, 100000);
    OK(gyre_complete(model->pool, rng_below(&model->rng, 2) ? &copy : &held->lease, &outcome));
    EXPECT(GYRE_ECLOSED, gyre_complete(model->pool, rng_below(&model->rng, 2) ? &copy : &held->lease, &outcome));
    if (held->owner >= 0) count(&model->records[held->owner], &outcome);
    model->ended[model->endings++ % ENDED] = held->lease;
    *held = model->held[--model->holding];
}

static void replace(struct model *model)
{
    int i = (int)rng_below(&model->rng, PROXIES);

    OK(gyre_pool_remove(model->pool, model->records[i].id));
    for (uint32_t k = 0; k < model->holding; k++)
        if (model->held[k].owner == i) model->held[k].owner = -1;
    add(model, i);
}

static void reset(struct model *model)
{
    OK(gyre_pool_reset_counters(model->pool));
    for (int i = 0; i < PROXIES; i++) {
        struct record *record = &model->records[i];

        *record = (struct record){
            .id = record->id, .started = record->active, .active = record->active, .ema = NAN, .rate = 1.0};
    }
}

static void check(struct model *model)
{
    struct gyre_stats stats = stats_of(model->pool);
    uint64_t started = 0, active = 0, failed = 0;

    for (int i = 0; i < PROXIES; i++) {
        const struct record *record = &model->records[i];
        struct gyre_proxy proxy = proxy_of(model->pool, record->id);

        EXPECT_COUNT(proxy.started, record->started, "proxy %d", i);
        EXPECT_COUNT(proxy.active, record->active, "proxy %d", i);
        EXPECT_COUNT(proxy.succeeded, record->succeeded, "proxy %d", i);
        EXPECT_COUNT(proxy.failed, record->failed, "proxy %d", i);
        EXPECT_COUNT(proxy.aborted, record->aborted, "proxy %d", i);
        EXPECT_COUNT(proxy.bytes, record->bytes, "proxy %d", i);
        assert_true(isnan(record->ema) ? isnan(proxy.ema_ms) : proxy.ema_ms == record->ema);
        assert_true(fabs(proxy.success_rate - record->rate) < 1e-5);
        started += record->started;
        active += record->active;
        failed += record->failed;
    }
    EXPECT_COUNT(stats.started, started, "pool");
    EXPECT_COUNT(stats.active, active, "pool");
    EXPECT_COUNT(stats.failed, failed, "pool");
}

static void test_random_leases(void **state)
{
    struct gyre_options options = manual_options();
    static struct model model;

    (void)state;
    model.rng.state = test_seed(1);
    options.max_proxies = 64;
    options.max_leases = 256;
    options.breaker_failures = 1000000000;
    options.lease_timeout = 1e6;
    model.pool = pool_of(0, NULL, &options);
    for (int i = 0; i < PROXIES; i++) add(&model, i);
    for (unsigned long step = 0; step < rounds(100000); step++) {
        uint32_t dice = rng_below(&model.rng, 1000);

        if (dice < 480)
            acquire(&model);
        else if (dice < 975)
            complete(&model);
        else if (dice < 985)
            replace(&model);
        else if (dice < 986)
            reset(&model);
        else if (model.endings)
            EXPECT(
                GYRE_ECLOSED,
                gyre_complete_ms(model.pool,
                                 &model.ended[rng_below(&model.rng, model.endings < ENDED ? model.endings : ENDED)],
                                 GYRE_PROXY_BAD, 1.0));
        if (step % 16 == 0) check(&model);
        if (step % 100 == 0) pass_time(model.pool, 100 * rng_unit(&model.rng));
    }
    check(&model);
    while (model.holding) complete(&model);
    check(&model);
    EXPECT_COUNT(stats_of(model.pool).active, 0, "at rest");
    gyre_pool_close(model.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_leases)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
