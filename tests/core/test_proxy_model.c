/*
 * 10,000 random operations on the set of proxies, each compared with a model: an array of the proxies that
 * should exist. The universe is small (200 URLs on 64 places), so that EXISTS, FULL, NOT_FOUND and slot reuse
 * happen all the time.
 */
#include "support.h"

#include <strings.h>

enum { UNIVERSE = 200, CAPACITY = 64, OLD_IDS = 512 };

struct entry {
    uint64_t id; /* 0: not in the pool */
    uint32_t max_active;
    char country[4];
    uint32_t off; /* disabled */
};

struct model {
    struct gyre_pool *pool;
    struct rng rng;
    struct entry entries[UNIVERSE];
    int count;
    uint64_t old[OLD_IDS]; /* ids of removed proxies: must stay dead */
    uint32_t removed;
};

/* Neighbours differ only in user, password, port or scheme. */
static const char *url_of(uint32_t i)
{
    static const char *const schemes[] = {"http", "socks5"};
    static char url[128];

    snprintf(url, sizeof url, "%s://user%u:p%%40%u@gateway.example:%u", schemes[i % 2], i / 2 % 5, i / 10 % 5,
             8000 + i / 50);
    return url;
}

static void add(struct model *model, uint32_t i)
{
    struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url_of(i), .country = "nl"};
    struct entry *entry = &model->entries[i];
    uint64_t id = 0;

    if (entry->id) {
        EXPECT(GYRE_EEXISTS, gyre_pool_add(model->pool, &spec, &id));
        EXPECT_COUNT(id, entry->id, "url %u", i);
    } else if (model->count == CAPACITY) {
        EXPECT(GYRE_EFULL, gyre_pool_add(model->pool, &spec, &id));
    } else {
        OK(gyre_pool_add(model->pool, &spec, &id));
        for (uint32_t k = 0; k < OLD_IDS; k++) assert_true(model->old[k] != id);
        *entry = (struct entry){.id = id, .country = "NL"};
        model->count++;
    }
}

static void drop(struct model *model, uint32_t i)
{
    struct entry *entry = &model->entries[i];

    if (!entry->id) return;
    OK(gyre_pool_remove(model->pool, entry->id));
    model->old[model->removed++ % OLD_IDS] = entry->id;
    *entry = (struct entry){0};
    model->count--;
}

static void update(struct model *model, uint32_t i)
{
    struct entry *entry = &model->entries[i];
    struct gyre_proxy_spec spec = {.size = sizeof spec, .has_max_active = 1};

    if (!entry->id) return;
    spec.max_active = rng_below(&model->rng, 9);
    if (rng_below(&model->rng, 2)) {
        spec.country = rng_below(&model->rng, 2) ? "FR" : "";
        snprintf(entry->country, sizeof entry->country, "%s", spec.country);
    }
    OK(gyre_pool_update(model->pool, entry->id, &spec));
    entry->max_active = spec.max_active;
}

static void toggle(struct model *model, uint32_t i)
{
    struct entry *entry = &model->entries[i];

    if (!entry->id) return;
    entry->off = !entry->off;
    OK(entry->off ? gyre_pool_disable(model->pool, entry->id) : gyre_pool_enable(model->pool, entry->id));
}

static void look_up(struct model *model, uint32_t i)
{
    const struct entry *entry = &model->entries[i];
    struct gyre_proxy dead = {.size = sizeof dead};
    uint64_t id = 0, old = model->old[rng_below(&model->rng, OLD_IDS)];

    EXPECT(entry->id ? 0 : GYRE_ENOT_FOUND, gyre_pool_find(model->pool, url_of(i), &id));
    EXPECT_COUNT(id, entry->id, "url %u", i);
    if (old) EXPECT(GYRE_ENOT_FOUND, gyre_pool_get(model->pool, old, &dead));
    if (entry->id) {
        struct gyre_proxy proxy = proxy_of(model->pool, id);

        assert_int_equal(proxy.port, 8000 + i / 50);
        assert_int_equal(proxy.scheme, i % 2 ? GYRE_SOCKS5 : GYRE_HTTP);
        assert_int_equal(proxy.max_active, entry->max_active);
        assert_int_equal(strcasecmp(proxy.country, entry->country), 0);
        assert_int_equal(proxy.state, entry->off ? GYRE_DISABLED : GYRE_CLOSED);
    }
}

/* Whoever is handed out exists and is not switched off. */
static void lease(struct model *model)
{
    struct gyre_lease lease;
    int possible = 0;

    for (uint32_t i = 0; i < UNIVERSE; i++) possible += model->entries[i].id && !model->entries[i].off;
    EXPECT(possible ? 0 : GYRE_ENO_PROXY, gyre_acquire(model->pool, NULL, &lease));
    if (!possible) return;
    for (uint32_t i = 0; i < UNIVERSE; i++) {
        if (model->entries[i].id != lease.id) continue;
        assert_false(model->entries[i].off);
        OK(gyre_complete_ms(model->pool, &lease, GYRE_OK, 5.0));
        return;
    }
    fail_msg("leased %llx, which is not in the pool", (unsigned long long)lease.id);
}

static void check_all(struct model *model)
{
    struct gyre_stats stats = stats_of(model->pool);
    uint64_t id = 0;
    uint32_t disabled = 0;
    int seen = 0;

    while (gyre_pool_next(model->pool, &id) == 1) {
        uint32_t i = 0;

        while (i < UNIVERSE && model->entries[i].id != id) i++;
        assert_true(i < UNIVERSE);
        disabled += model->entries[i].off;
        seen++;
    }
    assert_int_equal(seen, model->count);
    assert_int_equal(gyre_pool_count(model->pool), model->count);
    assert_int_equal(stats.proxies, model->count);
    assert_int_equal(stats.disabled, disabled);
    assert_int_equal(stats.eligible, (uint32_t)model->count - disabled);
}

static void test_random_operations(void **state)
{
    struct gyre_options options = manual_options();
    static struct model model;

    (void)state;
    model.rng.state = test_seed(7);
    options.max_proxies = CAPACITY;
    model.pool = pool_of(0, NULL, &options);
    for (unsigned long step = 0; step < rounds(10000); step++) {
        uint32_t i = rng_below(&model.rng, UNIVERSE);

        switch (rng_below(&model.rng, 8)) {
        case 0:
        case 1: add(&model, i); break;
        case 2:
        case 3: drop(&model, i); break;
        case 4: update(&model, i); break;
        case 5: toggle(&model, i); break;
        case 6: look_up(&model, i); break;
        case 7: lease(&model); break;
        }
        if (step % 64 == 0) check_all(&model);
        /* Tides: fill to the brim, then nearly empty, so that FULL and "no proxy" both come up. */
        if (step % 1000 < 500)
            add(&model, rng_below(&model.rng, UNIVERSE));
        else
            drop(&model, rng_below(&model.rng, UNIVERSE));
    }
    check_all(&model);
    assert_true(model.removed > OLD_IDS || rounds(1000) < 1000);
    gyre_pool_close(model.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_operations)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
